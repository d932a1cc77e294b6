// hugetlb pages: placeholder with the signatures that the rest of mm uses.

import type { Addr, Pfn } from '../base/addr.ts'
import type { System } from './system.ts'
import { VM_FAULT_SIGBUS } from './vm-fault.ts'
import type { Vma } from './vma.ts'

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
