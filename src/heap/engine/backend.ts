// What the engine needs of the memory under a heap beyond what mm needs of it. The difference between the modes is here: who
// knows of the pages that only the CPU has touched, and who finds out about wrong accesses.

import type { Addr } from '../../base/addr.ts'
import type { DevicePolicy } from '../../hmm/policy.ts'
import type { Mm } from '../../mm/mm.ts'
import type { Vma } from '../../mm/vma.ts'
import type { Finding } from '../../mmu/explicit/page-guard.ts'
import type { Mmu } from '../../mmu/mmu.ts'
import type { MappedArray } from './array-table.ts'
import type { ArrayFile, ByteRange } from './protocol.ts'

/** What the CPU may do with a page at the moment. */
export type CpuAccess = 'none' | 'read' | 'write'

/** Some bytes of an array. */
export interface ArrayRange extends ByteRange {
  readonly array: MappedArray
}

export interface HeapBackend {
  readonly mmu: Mmu
  /** For the devices of the heap. */
  readonly policy: DevicePolicy

  /** Memory for arrays to come. */
  addSegment(addr: Addr, buffer: ArrayBufferLike): void
  /** An array is going to be mapped there. */
  prepare(addr: Addr, npages: number): void
  /** The pages of a new mapping are those of a file, read when they are needed. The caller may change mappings. */
  showFile(vma: Vma, file: ArrayFile, nbytes: number): void
  /** The mapping at an address is gone. If it showed a file, nobody reads that any more. */
  hideFile(addr: Addr): void
  /** Pages that somebody had before are the program's again, with what is in them. They have no frames. */
  renew(addr: Addr, npages: number): void
  /** Makes pages zero that nobody has. */
  clear(addr: Addr, npages: number): void
  /** Runs `zap`, which takes the frames of pages away for good. From then on nobody looks after the pages. */
  retire(addr: Addr, npages: number, zap: () => void): void

  /** What the CPU may do with the page at `addr`. */
  cpuAccess(mm: Mm, addr: Addr): CpuAccess
  /**
   * How many pages from `start` on are alike, at least one and not beyond `end`: that the CPU has for this access, or, as a negative
   * number, that it has not.
   */
  cpuRun(mm: Mm, start: Addr, end: Addr, write: boolean): number
  /** Runs calls into mm on behalf of the CPU: it gets the pages that they fault in. */
  forCpu<T>(call: () => T): T
  /**
   * Tells mm of the pages in `[start, end)` of one mapping that the CPU may have written without its knowing. The caller holds
   * mmapLock for reading. Returns 0 or a negative errno.
   */
  adopt(mm: Mm, start: Addr, end: Addr): number

  /** Looks for accesses that were not allowed: everywhere in `ranges`, and here and there in the others. */
  verify(ranges: readonly ArrayRange[], others: Iterable<MappedArray>): void
  /** The same, everywhere. */
  verifyAll(arrays: Iterable<MappedArray>): void
  /** What was found since the last call. */
  takeFindings(): readonly Finding[]
}
