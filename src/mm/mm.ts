// One address space (`struct mm_struct` of Linux 6.1): its mappings, its page table, its counters and its lock.
//
// Lock order, outermost first. The core never sleeps, so a lock that is taken is given back before control returns, except
// for the two marked *: they are held across the waits of a migration, and whoever meets them gets -EAGAIN or
// VM_FAULT_RETRY together with the queue to wait on.
//
//   * Mm.mmapLock (readers or one writer)
//       * page lock (PG_LOCKED)
//           Subscriptions: start of an invalidation
//               driver lock (taken by callbacks)

import { type Addr, PAGE_SIZE, TASK_SIZE } from '../base/addr.ts'
import { assert } from '../base/assert.ts'
import type { SpaceId } from '../mmu/mmu.ts'
import { MmapLock } from './mmap-lock.ts'
import type { Subscriptions } from './mmu-notifier.ts'
import { PageTable } from './pgtable.ts'
import type { System } from './system.ts'
import type { Vma } from './vma.ts'

/** Indexes of `Mm.rss`, as in the kernel. */
export const MM_FILEPAGES = 0
export const MM_ANONPAGES = 1
export const MM_SWAPENTS = 2
export const MM_SHMEMPAGES = 3

/** The address space of a process; `struct mm_struct`. */
export class Mm {
  readonly sys: System
  /** What the MMU backend knows this address space by. */
  readonly space: SpaceId
  /** End of the address space. Where a page has one home frame it is as large as memory: frame n is at home at page n. */
  readonly taskSize: Addr
  readonly pageTable = new PageTable()
  readonly mmapLock = new MmapLock()
  /** Pages by kind, indexed by MM_*. */
  readonly rss = new Int32Array(4)
  /** Interval notifiers; null until the first one is inserted. */
  subscriptions: Subscriptions | null = null
  /** The address space is alive while this is positive (`mm_users`). */
  users = 1
  /** The object is kept while this is positive (`mm_count`). */
  count = 1
  /** Somebody pinned pages here once; fork then looks at each page (`MMF_HAS_PINNED`). */
  hasPinned = false
  /** The OOM reaper took private memory: a fault must not put zeroes where data was (`MMF_UNSTABLE`). */
  isUnstable = false
  /** Mappings in ascending order of address. */
  readonly vmas: Vma[] = []
  private lastFound: Vma | null = null

  constructor(sys: System) {
    this.sys = sys
    const { capabilities, nframes } = sys.mmu
    this.taskSize = capabilities.anyFrame ? TASK_SIZE : Math.min(TASK_SIZE, nframes * PAGE_SIZE)
    this.space = sys.mmu.attach()
    sys.mms.add(this)
  }

  /** First mapping that ends above `addr` (it may start above it too), or null. */
  findVma(addr: Addr): Vma | null {
    const last = this.lastFound
    if (last !== null && addr >= last.start && addr < last.end) return last
    const i = this.vmaIndexAbove(addr)
    if (i === this.vmas.length) return null
    const found = this.vmas[i]
    if (found.start <= addr) this.lastFound = found
    return found
  }

  /** The mapping that covers `addr`, or null. */
  vmaLookup(addr: Addr): Vma | null {
    const vma = this.findVma(addr)
    return vma !== null && vma.start <= addr ? vma : null
  }

  /** First mapping that overlaps `[start, end)`, or null. */
  findVmaIntersection(start: Addr, end: Addr): Vma | null {
    const vma = this.findVma(start)
    return vma !== null && vma.start < end ? vma : null
  }

  /** The mapping behind a mapping, or null (`vma->vm_next`). */
  nextVma(vma: Vma): Vma | null {
    const i = this.vmaIndexAbove(vma.start)
    return i + 1 < this.vmas.length ? this.vmas[i + 1] : null
  }

  /** The mapping before a mapping, or null (`vma->vm_prev`). */
  prevVma(vma: Vma): Vma | null {
    const i = this.vmaIndexAbove(vma.start)
    return i > 0 ? this.vmas[i - 1] : null
  }

  /** Last mapping that starts below `addr`, or null. */
  vmaBefore(addr: Addr): Vma | null {
    let low = 0
    let high = this.vmas.length
    while (low < high) {
      const mid = (low + high) >>> 1
      if (this.vmas[mid].start < addr) low = mid + 1
      else high = mid
    }
    return low === 0 ? null : this.vmas[low - 1]
  }

  /** Enters a mapping, which overlaps no other one. mmapLock is held for writing. */
  insertVma(vma: Vma): void {
    let low = 0
    let high = this.vmas.length
    while (low < high) {
      const mid = (low + high) >>> 1
      if (this.vmas[mid].start < vma.start) low = mid + 1
      else high = mid
    }
    this.vmas.splice(low, 0, vma)
    this.vmaChanged()
  }

  /** Takes a mapping out. mmapLock is held for writing. */
  removeVma(vma: Vma): void {
    const i = this.vmas.indexOf(vma, Math.max(0, this.vmaIndexAbove(vma.start) - 1))
    if (i >= 0) this.vmas.splice(i, 1)
    this.vmaChanged()
  }

  /** Borders changed: forget what look-ups remembered. */
  vmaChanged(): void {
    this.lastFound = null
  }

  /** Index in `vmas` of the first mapping that ends above `addr`, `vmas.length` if none does. For walks. */
  vmaIndexAbove(addr: Addr): number {
    const vmas = this.vmas
    let low = 0
    let high = vmas.length
    while (low < high) {
      const mid = (low + high) >>> 1
      if (vmas[mid].end <= addr) low = mid + 1
      else high = mid
    }
    return low
  }
}

/** Takes a user reference, of an address space that the caller knows to be alive (`mmget`). `mmput` gives it back. */
export function mmget(mm: Mm): void {
  assert(mm.users > 0, () => `address space ${mm.space} is alive`)
  mm.users++
}

/** Takes a user reference (`mmget_not_zero`); false if the address space is dead. */
export function mmgetNotZero(mm: Mm): boolean {
  if (mm.users <= 0) return false
  mm.users++
  return true
}
