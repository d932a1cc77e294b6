// Mappings: one Vma is a page-aligned interval of an address space with one set of flags. Follows `struct vm_area_struct` of
// Linux 6.1; how mappings are split, merged and moved against each other is in vma-adjust.ts.

import { type Addr, PAGE_SIZE } from '../base/addr.ts'
import { EINVAL } from '../base/errno.ts'
import type { IntervalNode } from '../base/interval-tree.ts'
import type { AddressSpace } from './address-space.ts'
import type { AnonVma, AnonVmaChain } from './anon-vma.ts'
import type { Mm } from './mm.ts'
import { PTE_PRESENT, PTE_PROTNONE, PTE_WRITE, type PteFlags } from './pte.ts'
import type { VmFault } from './vm-fault.ts'
import { VM_ACCESS_FLAGS, VM_ACCOUNT, VM_HUGETLB, VM_NORESERVE, VM_SHARED, VM_SOFTDIRTY, VM_WRITE } from './vm-flags.ts'

/** What a mapping can map. `mapping` is null for device files without a page cache. */
export interface VmFile {
  readonly name: string
  readonly mapping: AddressSpace | null
  /** Called by mmap once the Vma is in place; may set `vma.ops` and `vma.flags`. Returns 0 or a negative errno. */
  mmap(vma: Vma): number
  /** The last mapping is gone, of a file with a page cache: nobody refers to it but who made it (`fput`). */
  unmapped?(): void
}

/** How a mapping that is not anonymous gets its pages. */
export interface VmOps {
  readonly name: string
  /** Finds the page for `vmf.pgoff` and leaves it in `vmf.page`, referenced and locked. Returns VM_FAULT_* bits. */
  fault?(vmf: VmFault): number
  /** Maps pages of the page cache around a read fault. Returns VM_FAULT_NOPAGE if the faulting page was one of them. */
  mapPages?(vmf: VmFault, startPgoff: number, endPgoff: number): number
  /** 0 if the mapping may be split at `addr`. */
  maySplit?(vma: Vma, addr: Addr): number
  /** The mapping is about to be split at `addr`. */
  split?(vma: Vma, addr: Addr): void
  /** A copy of the mapping was made (split, fork, mremap). */
  open?(vma: Vma): void
  /** The mapping is gone. */
  close?(vma: Vma): void
}

/** Operations of a file whose driver set none: not anonymous, and a fault on an empty entry is SIGBUS. */
export const DUMMY_VM_OPS: VmOps = { name: 'none' }

/** A mapping: a range of addresses with one set of properties; `struct vm_area_struct`. */
export class Vma {
  readonly mm: Mm
  start: Addr
  /** Exclusive. */
  end: Addr
  /** VM_* bits. */
  flags: number
  /** Page of the file at `start`; for anonymous memory the virtual page number that `start` had when first faulted. */
  pgoff: number
  file: VmFile | null
  /** null makes the mapping anonymous (T-3). */
  ops: VmOps | null
  /** Holds the anonymous pages first faulted here; null until there is one (T-7). */
  anonVma: AnonVma | null = null
  /** Every AnonVma whose pages may be mapped here; the oldest link first. */
  anonVmaChain: AnonVmaChain[] = []
  /** Place in the file's tree of mappings. */
  fileNode: IntervalNode<Vma> | null = null
  /** For the driver of a device file. */
  privateData: unknown = null

  constructor(mm: Mm, start: Addr, end: Addr, flags: number, pgoff: number, file: VmFile | null, ops: VmOps | null) {
    this.mm = mm
    this.start = start
    this.end = end
    this.flags = flags
    this.pgoff = pgoff
    this.file = file
    this.ops = ops
  }

  get isAnonymous(): boolean {
    return this.ops === null
  }

  /** Page offset of the last page. */
  get lastPgoff(): number {
    return this.pgoff + (this.end - this.start) / PAGE_SIZE - 1
  }
}

/** Pages of 4 KiB that a mapping covers (`vma_pages`). */
export function vmaPages(vma: Vma): number {
  return (vma.end - vma.start) / PAGE_SIZE
}

/** Page offset of an address in the mapping (`linear_page_index`). */
export function linearPageIndex(vma: Vma, addr: Addr): number {
  return vma.pgoff + Math.floor((addr - vma.start) / PAGE_SIZE)
}

/** Address of page `pgoff` in the mapping, or -1 if it is not in there (`vma_address`). */
export function vmaAddress(vma: Vma, pgoff: number): Addr {
  if (pgoff < vma.pgoff) return -1
  const addr = vma.start + (pgoff - vma.pgoff) * PAGE_SIZE
  return addr < vma.end ? addr : -1
}

/**
 * Flags of a new present entry of the mapping (`vm_page_prot`): private pages start read-only (T-6), and shared ones too
 * where the first write has to be noticed (`vma_wants_writenotify`).
 */
export function vmaProtection(vma: Vma): PteFlags {
  const { flags } = vma
  if ((flags & VM_ACCESS_FLAGS) === 0) return PTE_PRESENT | PTE_PROTNONE
  if ((flags & (VM_SHARED | VM_WRITE)) !== (VM_SHARED | VM_WRITE)) return PTE_PRESENT
  return (flags & (VM_SOFTDIRTY | VM_HUGETLB)) !== 0 ? PTE_PRESENT | PTE_WRITE : PTE_PRESENT
}

/** A copy of a mapping, for another address space or for a split (`vm_area_dup`). It is in no list yet. */
export function vmaDup(vma: Vma, mm: Mm = vma.mm): Vma {
  const copy = new Vma(mm, vma.start, vma.end, vma.flags, vma.pgoff, vma.file, vma.ops)
  copy.anonVma = vma.anonVma
  copy.privateData = vma.privateData
  return copy
}

/** Enters the mapping in the address space and in its file's tree. */
export function vmaLink(vma: Vma): void {
  vma.mm.insertVma(vma)
  vmaLinkFile(vma)
}

/** Enters a mapping where its file finds those who map it (`i_mmap`). */
export function vmaLinkFile(vma: Vma): void {
  const mapping = vma.file?.mapping
  if (mapping) vma.fileNode = mapping.iMmap.insert(vma.pgoff, vma.lastPgoff, vma)
}

/** Takes a mapping out of there. */
export function vmaUnlinkFile(vma: Vma): void {
  if (vma.fileNode !== null) {
    vma.file?.mapping?.iMmap.remove(vma.fileNode)
    vma.fileNode = null
  }
}

/** Private memory that may be written is counted against the commit limit (`accountable_mapping`). */
export function accountFlags(flags: number): number {
  return (flags & (VM_WRITE | VM_SHARED | VM_NORESERVE)) === VM_WRITE ? VM_ACCOUNT : 0
}

/** Checks `[start, start + length)` of a system call: page aligned, not empty, inside the address space. */
export function checkRange(start: Addr, length: number, taskSize: number): number {
  if (!Number.isSafeInteger(start) || !Number.isSafeInteger(length)) return -EINVAL
  if (start < 0 || start % PAGE_SIZE !== 0 || length <= 0 || start + length > taskSize) return -EINVAL
  return 0
}
