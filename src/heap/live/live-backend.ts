// The memory of a live heap: the hardware asks for every page, so mm knows of each, and nobody can touch what is not his.

import type { Addr } from '../../base/addr.ts'
import type { DevicePolicy } from '../../hmm/policy.ts'
import type { Mm } from '../../mm/mm.ts'
import { PTE_WRITE, ptePresent } from '../../mm/pte.ts'
import type { Finding } from '../../mmu/explicit/page-guard.ts'
import type { UserfaultfdMmu } from '../../mmu/userfaultfd/userfaultfd-mmu.ts'
import { DEFAULT_POLICY } from '../../policies/index.ts'
import type { CpuAccess, HeapBackend } from '../engine/backend.ts'
import { entryFlags } from '../engine/hand-over.ts'

export class LiveBackend implements HeapBackend {
  readonly mmu: UserfaultfdMmu
  readonly policy: DevicePolicy = DEFAULT_POLICY
  #isInCall = false

  constructor(mmu: UserfaultfdMmu) {
    this.mmu = mmu
  }

  /** The segments are those of the MMU. */
  addSegment(): void {}

  prepare(addr: Addr, npages: number): void {
    this.mmu.dropStrays(addr, npages)
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
