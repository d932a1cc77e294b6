// Transparent huge pages: placeholder with the signatures that the rest of mm uses.

import type { Addr, Pfn } from '../base/addr.ts'
import type { Mm } from './mm.ts'
import type { PmdTable } from './pgtable.ts'
import type { System } from './system.ts'
import { VM_FAULT_FALLBACK } from './vm-fault.ts'
import type { Vma } from './vma.ts'

/** A fault while THP is on or a huge entry may exist. VM_FAULT_FALLBACK: go on with small pages. */
export function doHugePmdFault(_vma: Vma, _addr: Addr, _flags: number, _pmd: PmdTable, _slot: number): number {
  return VM_FAULT_FALLBACK
}

/** Splits the huge entry of the block around `addr`; raises CLEAR even if there is none, when the upper table exists (MN-90). With `freezeHead` the small entries become migration entries of that page. */
export function splitHugePmdAddress(_vma: Vma, _addr: Addr, _freezeHead: Pfn = -1): void {}

/** Splits the huge entry in `slot` under a CLEAR event. */
export function splitHugePmd(_vma: Vma, _pmd: PmdTable, _slot: number, _addr: Addr): void {}

/** Splits a locked, referenced THP into small pages. Returns 0 or -EBUSY. */
export function splitHugePage(_sys: System, _head: Pfn): number {
  return 0
}

/** True if the whole entry was zapped, false if it was split and small entries are to be zapped. */
export function zapHugePmd(_vma: Vma, _pmd: PmdTable, _slot: number, _start: Addr, _end: Addr): boolean {
  return false
}

/** True if the whole entry was changed; false if it was split. */
export function changeHugePmd(_vma: Vma, _pmd: PmdTable, _slot: number, _start: Addr, _end: Addr): boolean {
  return false
}

/** Copies a huge entry to the child. True if done; false if it was split and small entries are to be copied. */
export function copyHugePmd(_dst: Vma, _src: Vma, _pmd: PmdTable, _slot: number, _addr: Addr): boolean {
  return false
}

/** A huge entry maps the compound page `head` at `addr`. */
export function hugePmdMaps(_mm: Mm, _addr: Addr, _head: Pfn): boolean {
  return false
}

export function setHugeMigrationEntry(_vma: Vma, _addr: Addr, _head: Pfn): boolean {
  return true
}

export function removeHugeMigrationEntry(_vma: Vma, _addr: Addr, _from: Pfn, _to: Pfn): boolean {
  return false
}

/** MADV_FREE on a huge entry. True if it was dealt with as a whole; false if it was split and small entries remain. */
export function freeHugePmd(_vma: Vma, _pmd: PmdTable, _slot: number, _start: Addr, _end: Addr): boolean {
  return false
}

/** MADV_COLD / PAGEOUT on a huge entry; isolated pages are added to `isolated`. True if dealt with as a whole. */
export function pageoutHugePmd(
  _vma: Vma,
  _pmd: PmdTable,
  _slot: number,
  _start: Addr,
  _end: Addr,
  _pageout: boolean,
  _isolated: number[],
): boolean {
  return false
}
