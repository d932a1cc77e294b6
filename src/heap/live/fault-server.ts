// Answers the page faults of programs: for each it does what the kernel's fault handler would do, and the program's thread goes
// on. The loop of the engine brings them (mmu/userfaultfd/fault-events.ts).
//
//   a store to a protected page    ── resolveStore ──> done
//   anything else                  ── handleMmFault ─> done, with the pages around it
//                                        └ has to wait ─> others are served meanwhile; then it is tried again
//
// Nobody is forgotten. A touch that waits is looked at again and again, and when nothing at all has moved for as long as the
// heap is told to be patient, it will never be answered: that is the end, with the name of whom it waited for. A kernel may take
// longer than that: while one is at work the device's own deadline counts (devices/driver/progress.ts).

import { type Addr, PAGE_SIZE } from '../../base/addr.ts'
import { assert, formatAddr } from '../../base/assert.ts'
import { isClaimed, runningWriter } from '../../devices/claims.ts'
import { waitForOther } from '../../devices/edge.ts'
import { handleMmFault } from '../../mm/fault.ts'
import type { Mm } from '../../mm/mm.ts'
import { PTE_WRITE, ptePresent } from '../../mm/pte.ts'
import { FAULT_FLAG_WRITE, VM_FAULT_ERROR, VM_FAULT_RETRY, vmFaultToErrno } from '../../mm/vm-fault.ts'
import { VM_WRITE } from '../../mm/vm-flags.ts'
import type { Vma } from '../../mm/vma.ts'
import type { Fault } from '../../mmu/userfaultfd/fault-events.ts'
import type { UserfaultfdMmu } from '../../mmu/userfaultfd/userfaultfd-mmu.ts'
import { LARGEST_WINDOW } from '../../policies/index.ts'
import type { Tracer } from '../../trace/tracer.ts'
import type { ArrayTable } from '../engine/array-table.ts'
import { entryFlags } from '../engine/hand-over.ts'
import type { WaitingTouch } from '../engine/protocol.ts'
import { isSwapCached, isSwapped, whenSwapIdle } from '../engine/swapped.ts'
import { FaultWindows } from './fault-windows.ts'

/** Faults on one page that may end without the access being possible. Hardware would go on forever. */
const FRUITLESS_FAULTS_MAX = 100

/** Pages that one touch installs at most, of those that have come before it. */
const INSTALL_MAX = 2 * LARGEST_WINDOW // 4 MiB

/** Waits that are worth an event. */
const STALL_MS = 50

/** How often those who wait are looked at. */
const LOOK_MS = 200

export interface FaultSite {
  readonly mm: Mm
  readonly mmu: UserfaultfdMmu
  readonly arrays: ArrayTable
  readonly tracer: Tracer
  /** Takes the calls that have come and were not looked at: one of them may map the page. */
  takeCalls(): void
  /** What the touch of a page means that cannot be had, as a sentence. */
  explain(errno: number, addr: Addr): string
  /** Counts whatever gets somebody ahead. */
  progress(): number
  /** Somebody else measures whether there is progress: a device at work. */
  isWatched(): boolean
  /** Milliseconds without progress after which a touch is given up. */
  readonly patienceMs: number
  /** A touch cannot be answered; does not return. */
  giveUp(message: string): never
}

/** A thread wants a page. */
interface Touch {
  readonly addr: Addr
  readonly thread: number
  write: boolean
  readonly since: number
  reason: string
}

interface Wait {
  readonly until: Promise<unknown>
  readonly reason: string
}

export class FaultServer {
  readonly #site: FaultSite
  readonly #windows = new FaultWindows()
  /** By address of the page. Of several threads that want the same page the first stands for all. */
  readonly #waiting = new Map<Addr, Touch>()
  #timer: ReturnType<typeof setInterval> | null = null
  #lastProgress = 0
  #progressAt = 0
  #nstrays = 0

  constructor(site: FaultSite) {
    this.#site = site
  }

  /** Touches of memory that nobody has. */
  get nstrays(): number {
    return this.#nstrays
  }

  serve(faults: readonly Fault[]): void {
    const { mmu } = this.#site
    for (const { addr: userAddr, write, wp, tid } of faults) {
      const addr = mmu.heapAddr(userAddr)
      assert(addr >= 0, () => `a fault at ${formatAddr(userAddr)} is one of the heap`)
      if (wp && mmu.resolveStore(addr)) continue
      const waiting = this.#waiting.get(addr)
      if (waiting !== undefined) {
        waiting.write ||= write
        continue
      }
      const touch: Touch = { addr, thread: tid, write, since: performance.now(), reason: '' }
      const wait = this.#attempt(touch)
      if (wait !== null) void this.#serveLater(touch, wait)
    }
  }

  /** Touches that wait now, for statistics. */
  waiting(): WaitingTouch[] {
    const now = performance.now()
    return [...this.#waiting.values()].map(({ addr, thread, write, since, reason }) => ({
      array: this.#site.arrays.nameAt(addr) ?? '',
      thread,
      access: write ? 'write' : 'read',
      ms: now - since,
      reason,
    }))
  }

  async #serveLater(touch: Touch, first: Wait): Promise<void> {
    this.#waiting.set(touch.addr, touch)
    this.#startLooking()
    for (let wait: Wait | null = first; wait !== null; wait = this.#attempt(touch)) {
      touch.reason = wait.reason
      await wait.until
      // Somebody else may have been served meanwhile, or the heap is closed.
      if (!this.#waiting.has(touch.addr)) return
    }
    this.#end(touch)
  }

  #end(touch: Touch): void {
    const { addr, thread, since, reason } = touch
    this.#waiting.delete(addr)
    if (this.#waiting.size === 0) this.#stopLooking()
    const ms = performance.now() - since
    const { tracer } = this.#site
    if (ms < STALL_MS || !tracer.on) return
    tracer.emit({ kind: 'stall', start: addr, end: addr + PAGE_SIZE, duration: 1000 * ms, thread, reason })
  }

  /** Tries to answer a touch. Returns null if that is done. */
  #attempt(touch: Touch): Wait | null {
    const { mm, mmu, giveUp } = this.#site
    const { addr, write } = touch
    if (mm.vmaLookup(addr) === null) this.#site.takeCalls()
    if (mm.vmaLookup(addr) === null) {
      const until = whenSwapIdle(mm.sys, addr, addr + PAGE_SIZE)
      if (until !== null) return { until, reason: 'a page that was freed on its way to swap' }
      if (this.#mapStray(addr)) return null
    }
    const vma = mm.vmaLookup(addr)
    assert(vma !== null, () => `page ${formatAddr(addr)} is mapped or a stray`)
    if (write && (vma.flags & VM_WRITE) === 0) giveUp(this.#describe(touch, 'which is for reading only'))
    const claim = runningWriter(mm, { start: addr, end: addr + PAGE_SIZE })
    if (claim !== undefined) return { until: claim.whenEnded(), reason: 'a launch that writes it' }
    if (!mm.mmapLock.tryRead()) {
      return { until: mm.mmapLock.released.promise(), reason: 'a change of mappings' }
    }
    const fault = mmu.batch(() => this.#faultIn(vma, touch), write ? { addr, npages: 1 } : undefined)
    // Unlocking wakes others, and with them whoever calls mm next: the queue is taken before that.
    const until = (fault & VM_FAULT_RETRY) !== 0 ? waitForOther(mm.sys) : null
    mm.mmapLock.unlockRead()
    if ((fault & VM_FAULT_ERROR) !== 0) {
      giveUp(this.#describe(touch, this.#site.explain(vmFaultToErrno(fault, true), addr)))
    }
    if (until === null) return null
    if (isSwapped(mm, addr)) return { until, reason: 'a page that is in swap' }
    return { until, reason: entryFlags(mm, addr) === 0 ? 'room in memory' : 'a page that is with a device' }
  }

  /**
   * Lets a touch of a page that is nobody's go on. Somebody may be allocating it at this moment: he sends the call that maps it, looks
   * whether there are strays, and stores to the page. Here it is counted, then calls are looked for. So one sees the other, and
   * nothing is stored to a page that is about to be dropped. Returns false if it is somebody's now.
   */
  #mapStray(addr: Addr): boolean {
    const { mm, mmu } = this.#site
    mmu.addStray(addr)
    this.#site.takeCalls()
    if (mm.vmaLookup(addr) !== null) return false
    this.#nstrays++
    mmu.mapStray(addr)
    return true
  }

  /** Makes the access possible, and those to the pages around it. Returns VM_FAULT_* bits. */
  #faultIn(vma: Vma, { addr, write, thread, since }: Touch): number {
    const { mm, mmu, arrays, tracer } = this.#site
    let fault = 0
    let nfaults = 0
    do {
      fault = handleMmFault(vma, addr, write ? FAULT_FLAG_WRITE : 0)
      if ((fault & (VM_FAULT_ERROR | VM_FAULT_RETRY)) !== 0) return fault
      assert(++nfaults < FRUITLESS_FAULTS_MAX, () => `the fault at ${formatAddr(addr)} has an effect`)
      // What came back from a device has an entry now; the access that is repeated installs it.
    } while (!mmu.isInstalled(addr) || (write && (entryFlags(mm, addr) & PTE_WRITE) === 0))
    const array = arrays.at(addr)
    const { start, end } =
      array === undefined ? { start: addr, end: addr + PAGE_SIZE } : this.#windows.next(thread, array, addr)
    this.#faultAround(vma, Math.max(start, vma.start), Math.min(end, vma.end))
    const duration = 1000 * (performance.now() - since)
    if (tracer.on) tracer.emit({ kind: 'cpu-fault', start, end, access: write ? 'write' : 'read', thread, duration })
    return fault
  }

  /**
   * Installs what can be had at once: pages that are here, and new ones up to `end`; what a device or swap has brought along
   * goes on behind that. What is elsewhere stays, unless it is touched.
   */
  #faultAround(vma: Vma, start: Addr, end: Addr): void {
    const { mm, mmu } = this.#site
    const limit = Math.min(vma.end, start + INSTALL_MAX * PAGE_SIZE)
    if (isClaimed(mm, { start, end: limit })) return
    for (let addr = start; addr < limit; addr += PAGE_SIZE) {
      const isInstalled = mmu.isInstalled(addr)
      const flags = entryFlags(mm, addr)
      const isHere = ptePresent(flags) || isSwapCached(mm, addr)
      if (addr >= end && (isInstalled || !isHere)) return
      if (isInstalled || (flags !== 0 && !isHere)) continue
      if (handleMmFault(vma, addr, 0) !== 0) return
    }
  }

  // ---- those who wait ----

  #startLooking(): void {
    if (this.#timer !== null) return
    this.#lastProgress = this.#site.progress()
    this.#progressAt = performance.now()
    this.#timer = setInterval(() => this.#look(), LOOK_MS)
  }

  #stopLooking(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#timer = null
  }

  #look(): void {
    const { patienceMs, giveUp } = this.#site
    const progress = this.#site.progress()
    if (progress !== this.#lastProgress || this.#site.isWatched()) {
      this.#lastProgress = progress
      this.#progressAt = performance.now()
      return
    }
    if (performance.now() - this.#progressAt < patienceMs) return
    for (const touch of this.#waiting.values()) {
      const ms = Math.round(performance.now() - this.#progressAt)
      giveUp(this.#describe(touch, `waits for ${touch.reason}, and nothing has moved for ${ms} ms`))
    }
  }

  #describe({ addr, thread, write }: Touch, what: string): string {
    const array = this.#site.arrays.at(addr)
    const where =
      array === undefined
        ? `memory at ${formatAddr(addr)}`
        : `"${array.name}"[${Math.floor((addr - array.start) / array.elementBytes)}]`
    return `the CPU ${write ? 'stores to' : 'loads'} ${where} (thread ${thread}): ${what}`
  }
}
