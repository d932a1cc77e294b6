// The memory of an explicit heap. Nobody traps the CPU, so mm learns of a page when a device is about to use it: until then its
// entry is empty, the CPU may do with it what it likes, and what is in the buffer is its contents.

import { type Addr, addrToVpn, PAGE_SIZE, type Pfn, pmdAddrEnd, pteIndex } from '../../base/addr.ts'
import { assert } from '../../base/assert.ts'
import { EAGAIN, EFAULT } from '../../base/errno.ts'
import type { DevicePolicy } from '../../hmm/policy.ts'
import { handleMmFault } from '../../mm/fault.ts'
import type { Mm } from '../../mm/mm.ts'
import { FAULT_FLAG_WRITE, VM_FAULT_ERROR, VM_FAULT_RETRY, vmFaultToErrno } from '../../mm/vm-fault.ts'
import type { Vma } from '../../mm/vma.ts'
import { ExplicitMmu } from '../../mmu/explicit/explicit-mmu.ts'
import type { Finding } from '../../mmu/explicit/page-guard.ts'
import { DEFAULT_POLICY } from '../../policies/index.ts'
import type { MappedArray } from './array-table.ts'
import type { ArrayRange, CpuAccess, HeapBackend } from './backend.ts'
import type { ArrayFile } from './protocol.ts'

/** Pages that one call looks at beyond those that it is about: some milliseconds. */
const GUARDED_PAGES_PER_CALL = 4096
const OWN_PAGES_PER_CALL = 2048

/** Pages of the CPU that are searched when the heap is closed. */
const OWN_PAGES_AT_CLOSE = 65536

/**
 * Frames are pages of buffers: one that is freed is of no use to anybody else, so nothing is gained by it. And the CPU may go on
 * reading what a launch reads, so that is always duplicated.
 */
const POLICY: DevicePolicy = {
  ...DEFAULT_POLICY,
  place: ({ access, hint }) => (access === 'read' ? 'duplicate' : hint === 'migrate' ? 'migrate' : 'pin'),
}

export class ExplicitBackend implements HeapBackend {
  readonly mmu: ExplicitMmu
  readonly policy = POLICY
  /** Where the search through the CPU's pages goes on. */
  #searched: Addr = 0

  /** `tagOf` makes the backend look for accesses that are not allowed. */
  constructor(nframes: number, tagOf: ((pfn: Pfn) => number) | undefined) {
    this.mmu = new ExplicitMmu({ nframes, guardTags: tagOf })
    this.mmu.handsOut = false
  }

  addSegment(addr: Addr, buffer: ArrayBufferLike): void {
    this.mmu.addSegment(addr, buffer)
  }

  prepare(): void {}

  /** Nobody would read it: the heap fills such arrays when it makes them. */
  showFile(_vma: Vma, { path }: ArrayFile): void {
    assert(false, () => `no file is shown in explicit mode, ${path} least of all`)
  }

  hideFile(): void {}

  renew(addr: Addr, npages: number): void {
    this.mmu.renew(addr, npages)
  }

  clear(addr: Addr, npages: number): void {
    this.mmu.clear(addr, npages)
  }

  retire(addr: Addr, npages: number, zap: () => void): void {
    const { guard } = this.mmu
    if (guard === null) {
      zap()
      return
    }
    guard.isActive = false
    zap()
    guard.isActive = true
    const first = addrToVpn(addr)
    for (let pfn = first; pfn < first + npages; pfn++) guard.reset(pfn)
  }

  cpuAccess(mm: Mm, addr: Addr): CpuAccess {
    const table = mm.pageTable.findPte(addr)
    if (table === null || table.words[2 * pteIndex(addr) + 1] === 0) return 'write'
    return this.mmu.cpuAccess(addr)
  }

  cpuRun(mm: Mm, start: Addr, end: Addr, write: boolean): number {
    const to = pmdAddrEnd(start, end)
    const npages = (to - start) / PAGE_SIZE
    const table = mm.pageTable.findPte(start)
    if (table === null) return npages
    const { words } = table
    const first = 2 * pteIndex(start) + 1
    const stop = (first + 2 * npages) | 0
    const isEmpty = words[first] === 0
    let w = first + 2
    while (w < stop && (words[w] === 0) === isEmpty) w += 2
    const n = (w - first) >>> 1
    return isEmpty ? n : this.mmu.cpuRun(start, n, write)
  }

  forCpu<T>(call: () => T): T {
    const { mmu } = this
    const outer = mmu.handsOut
    mmu.handsOut = true
    try {
      return call()
    } finally {
      mmu.handsOut = outer
    }
  }

  adopt(mm: Mm, start: Addr, end: Addr): number {
    return this.forCpu(() => adopt(mm, start, end))
  }

  verify(ranges: readonly ArrayRange[], others: Iterable<MappedArray>): void {
    const { guard } = this.mmu
    if (guard === null) return
    for (const { array, start, end } of ranges) {
      const [from, to] = [addrToVpn(start), addrToVpn(end - 1) + 1]
      guard.verify(from, to)
      guard.scan(from, to, array.kind)
    }
    guard.verifySome(GUARDED_PAGES_PER_CALL)
    this.#search(others, OWN_PAGES_PER_CALL)
  }

  verifyAll(arrays: Iterable<MappedArray>): void {
    const { guard } = this.mmu
    if (guard === null) return
    guard.verifySome(guard.nguarded)
    this.#search(arrays, OWN_PAGES_AT_CLOSE)
  }

  takeFindings(): readonly Finding[] {
    return this.mmu.guard?.takeFindings() ?? []
  }

  /** Searches the CPU's pages of arrays for patterns, beginning where the last search ended. */
  #search(arrays: Iterable<MappedArray>, npages: number): void {
    const { guard } = this.mmu
    if (guard === null || !guard.hasTaken) return
    const all = [...arrays]
    const from = all.findIndex(({ end }) => end > this.#searched)
    let left = npages
    for (let i = 0; i < all.length && left > 0; i++) {
      const { start, end, kind } = all[(Math.max(from, 0) + i) % all.length]
      const first = i === 0 && from >= 0 ? Math.max(start, this.#searched) : start
      const last = Math.min(end, first + left * PAGE_SIZE)
      guard.scan(addrToVpn(first), addrToVpn(last), kind)
      left -= (last - first) / PAGE_SIZE
      this.#searched = last
    }
  }
}

/** Faults every page in that has no entry. */
function adopt(mm: Mm, start: Addr, end: Addr): number {
  const vma = mm.vmaLookup(start)
  if (vma === null) return -EFAULT
  for (let at = start; at < end; at = pmdAddrEnd(at, end)) {
    const to = pmdAddrEnd(at, end)
    let table = mm.pageTable.findPte(at)
    const first = pteIndex(at)
    const npages = ((to - at) / PAGE_SIZE) | 0
    for (let i = 0; i < npages; i++) {
      if (table !== null && table.words[2 * (first + i) + 1] !== 0) continue
      const fault = handleMmFault(vma, at + i * PAGE_SIZE, FAULT_FLAG_WRITE)
      if ((fault & VM_FAULT_ERROR) !== 0) return vmFaultToErrno(fault, true)
      if ((fault & VM_FAULT_RETRY) !== 0) return -EAGAIN
      table ??= mm.pageTable.findPte(at)
    }
  }
  return 0
}
