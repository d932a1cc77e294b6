// What a page fault carries along and what its handlers answer. Values of include/linux/mm_types.h, Linux 6.1.

import type { Addr, Pfn } from '../base/addr.ts'
import { EFAULT, EHWPOISON, ENOMEM } from '../base/errno.ts'
import type { PteTable } from './pgtable.ts'
import type { Vma } from './vma.ts'

export const VM_FAULT_OOM = 0x1
export const VM_FAULT_SIGBUS = 0x2
export const VM_FAULT_MAJOR = 0x4
export const VM_FAULT_HWPOISON = 0x10
export const VM_FAULT_HWPOISON_LARGE = 0x20
export const VM_FAULT_SIGSEGV = 0x40
/** The entry is in place; there is no page for the caller to map. */
export const VM_FAULT_NOPAGE = 0x100
/** `vmf.page` is locked. */
export const VM_FAULT_LOCKED = 0x200
/** Somebody else must finish first: wait on `sys.waitFor`, then fault again. */
export const VM_FAULT_RETRY = 0x400
/** Handle the fault with small pages. */
export const VM_FAULT_FALLBACK = 0x800
export const VM_FAULT_DONE_COW = 0x1000

export const VM_FAULT_ERROR =
  VM_FAULT_OOM | VM_FAULT_SIGBUS | VM_FAULT_SIGSEGV | VM_FAULT_HWPOISON | VM_FAULT_HWPOISON_LARGE

export const FAULT_FLAG_WRITE = 1 << 0
/** The access is not by the process that owns the address space: a device, GUP. */
export const FAULT_FLAG_REMOTE = 1 << 7
/** Make the page exclusive for a pin without making the entry writable. */
export const FAULT_FLAG_UNSHARE = 1 << 10

/** A page fault on its way; `struct vm_fault`. */
export class VmFault {
  readonly vma: Vma
  /** Page-aligned. */
  readonly address: Addr
  readonly pgoff: number
  flags: number
  /** Last-level table and index of the entry; null while there is no table. */
  table: PteTable | null = null
  index = 0
  /** The entry as it was found. */
  origFlags = 0
  origPfn: Pfn = 0
  /** Page found by `VmOps.fault`, -1 for none. */
  page: Pfn = -1
  /** Page that a private write fault copies to, -1 for none. */
  cowPage: Pfn = -1

  constructor(vma: Vma, address: Addr, pgoff: number, flags: number) {
    this.vma = vma
    this.address = address
    this.pgoff = pgoff
    this.flags = flags
  }
}

/** The errno that system calls make of a failed fault (`vm_fault_to_errno`); 0 if it did not fail. */
export function vmFaultToErrno(fault: number, reportHwpoison: boolean): number {
  if ((fault & VM_FAULT_OOM) !== 0) return -ENOMEM
  if ((fault & (VM_FAULT_HWPOISON | VM_FAULT_HWPOISON_LARGE)) !== 0) return reportHwpoison ? -EHWPOISON : -EFAULT
  if ((fault & (VM_FAULT_SIGBUS | VM_FAULT_SIGSEGV)) !== 0) return -EFAULT
  return 0
}
