// hugetlb pages: placeholder with the signatures that the rest of mm uses.

import type { Addr, Pfn } from '../base/addr.ts'
import type { System } from './system.ts'
import { VM_FAULT_SIGBUS } from './vm-fault.ts'
import type { Vma, VmFile } from './vma.ts'

export function hugetlbFault(_vma: Vma, _addr: Addr, _flags: number): number {
  return VM_FAULT_SIGBUS
}

/** The last reference of a hugetlb page is gone: back to the pool. */
export function freeHugetlbPage(_sys: System, _head: Pfn): void {}

export function hugetlbTryToUnmapOne(_sys: System, _vma: Vma, _addr: Addr, _head: Pfn): boolean {
  return true
}

export function hugetlbTryToMigrateOne(_sys: System, _vma: Vma, _addr: Addr, _head: Pfn): boolean {
  return true
}

/** Zaps `[start, end)` of a hugetlb mapping; the caller has raised the event. */
export function unmapHugepageRange(_vma: Vma, _start: Addr, _end: Addr): void {}

/** The file behind a MAP_HUGETLB mapping. */
export function makeHugetlbFile(_sys: System, _npages: number): VmFile {
  throw new Error('hugetlb: not there yet')
}

/** Brings the entries of `[start, end)` in line with the mapping's flags; raises its own event. */
export function hugetlbChangeProtection(_vma: Vma, _start: Addr, _end: Addr): void {}

/** Copies the entries of a hugetlb mapping to the child. Returns 0 or a negative errno. */
export function copyHugetlbPageRange(_dst: Vma, _src: Vma): number {
  return 0
}

/** Moves the entries of a hugetlb mapping; raises its own event. */
export function moveHugetlbPageTables(_vma: Vma, _newVma: Vma, _oldAddr: Addr, _newAddr: Addr, _length: number): void {}

/** A frame of a hugetlb page is broken. Returns 0 or a negative errno, like `memoryFailure`. */
export function hugetlbMemoryFailure(_sys: System, _pfn: Pfn): number {
  return -16
}
