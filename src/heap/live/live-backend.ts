// The memory of a live heap: the hardware asks for every page, so mm knows of each, and nobody can touch what is not his.

import { closeSync, openSync } from 'node:fs'
import { type Addr, addrToVpn, PAGE_SIZE } from '../../base/addr.ts'
import type { DevicePolicy } from '../../hmm/policy.ts'
import type { Mm } from '../../mm/mm.ts'
import { PTE_WRITE, ptePresent } from '../../mm/pte.ts'
import { adoptSwapped } from '../../mm/swap-in.ts'
import type { Vma } from '../../mm/vma.ts'
import type { Finding } from '../../mmu/explicit/page-guard.ts'
import type { UserfaultfdMmu } from '../../mmu/userfaultfd/userfaultfd-mmu.ts'
import { DEFAULT_POLICY, placeWithSwap } from '../../policies/index.ts'
import type { CpuAccess, HeapBackend } from '../engine/backend.ts'
import { entryFlags } from '../engine/hand-over.ts'
import type { ArrayFile } from '../engine/protocol.ts'
import type { FileSwap, MappedFile } from './file-swap.ts'

export class LiveBackend implements HeapBackend {
  readonly mmu: UserfaultfdMmu
  readonly policy: DevicePolicy
  #isInCall = false

  readonly #swap: FileSwap
  /** By the address of the array. */
  readonly #files = new Map<Addr, MappedFile>()

  constructor(mmu: UserfaultfdMmu, swap: FileSwap) {
    this.mmu = mmu
    this.#swap = swap
    this.policy = swap.isWritable ? { ...DEFAULT_POLICY, place: placeWithSwap } : DEFAULT_POLICY
  }

  /** The segments are those of the MMU. */
  addSegment(): void {}

  prepare(addr: Addr, npages: number): void {
    this.mmu.dropStrays(addr, npages)
  }

  showFile(vma: Vma, { path, fd, offset, size, mtimeMs }: ArrayFile, nbytes: number): void {
    const pfn = addrToVpn(vma.start)
    const npages = addrToVpn(vma.end) - pfn
    // Whoever opened it may close it, or end with all that he has opened, before the array is freed.
    const own = openSync(`/proc/self/fd/${fd}`, 'r')
    const file: MappedFile = { path, fd: own, offset, nbytes, pfn, npages, version: { nbytes: size, mtimeMs } }
    this.#swap.addFile(file)
    this.#files.set(vma.start, file)
    adoptSwapped(vma, vma.start, vma.end)
  }

  hideFile(addr: Addr): void {
    const file = this.#files.get(addr)
    if (file === undefined) return
    this.#files.delete(addr)
    this.#swap.removeFile(file)
    closeSync(file.fd)
  }

  /** The heap is closed, and nothing is under way. */
  close(): void {
    for (const addr of [...this.#files.keys()]) this.hideFile(addr)
  }

  /** A page without a frame is one of zeroes, whoever had it before. */
  renew(): void {}

  clear(): void {}

  retire(_addr: Addr, _npages: number, zap: () => void): void {
    zap()
  }

  /** A page that has no contents yet is the CPU's: a touch waits for nobody. */
  cpuAccess(mm: Mm, addr: Addr): CpuAccess {
    const flags = entryFlags(mm, addr)
    if (flags === 0) return 'write'
    if (!ptePresent(flags) || !this.mmu.isInstalled(addr)) return 'none'
    return (flags & PTE_WRITE) === 0 ? 'read' : 'write'
  }

  cpuRun(mm: Mm, start: Addr, end: Addr, write: boolean): number {
    const has = (addr: Addr): boolean => {
      const access = this.cpuAccess(mm, addr)
      return access === 'write' || (access === 'read' && !write)
    }
    const isHeld = has(start)
    let addr = start + PAGE_SIZE
    while (addr < end && has(addr) === isHeld) addr += PAGE_SIZE
    return ((isHeld ? 1 : -1) * (addr - start)) / PAGE_SIZE
  }

  /** What the calls install goes to the kernel in one piece. */
  forCpu<T>(call: () => T): T {
    if (this.#isInCall) return call()
    this.#isInCall = true
    try {
      return this.mmu.batch(call)
    } finally {
      this.#isInCall = false
    }
  }

  adopt(): number {
    return 0
  }

  verify(): void {}

  verifyAll(): void {}

  takeFindings(): readonly Finding[] {
    return []
  }
}
