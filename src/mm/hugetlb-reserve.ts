// Reservations of hugetlb mappings: mmap promises every page of the mapping, a fault uses the promise up, so what could be
// mapped can also be touched. Follows the region maps, `hugetlb_reserve_pages` and `alloc_huge_page` of mm/hugetlb.c, Linux 6.1.
//
//   shared mapping    one map per file; it has the pages that are promised, or were
//   private mapping   one map per mmap; it has the pages whose promise is used up. Parts that the mapping is split into share
//                     it. A child has none: what it touches must come from pages that nobody was promised.
//
// Maps count in huge pages of the file. An allocation that has its page cannot fail any more, so none is ever given back.

import { type Addr, HPAGE_PMD_NR, type Pfn } from '../base/addr.ts'
import { assert } from '../base/assert.ts'
import type { Mm } from './mm.ts'
import { VM_MAYSHARE, VM_NORESERVE } from './vm-flags.ts'
import { linearPageIndex, type Vma } from './vma.ts'

/** A set of huge pages of a file (`struct resv_map`). */
export class ReserveMap {
  private readonly indexes = new Set<number>()

  has(index: number): boolean {
    return this.indexes.has(index)
  }

  add(index: number): void {
    this.indexes.add(index)
  }

  /** Pages of `[from, to)` that are in the map. */
  count(from: number, to: number): number {
    let count = 0
    for (const index of this.indexes) if (index >= from && index < to) count++
    return count
  }

  /** Takes the pages of `[from, to)` out; returns how many were in. */
  delete(from: number, to: number): number {
    const before = this.indexes.size
    for (const index of this.indexes) if (index >= from && index < to) this.indexes.delete(index)
    return before - this.indexes.size
  }
}

/** What a hugetlb mapping knows besides its file (`vm_private_data`). */
export class HugetlbVmaState {
  /** Whose mapping it is; a copy of the mapping in another address space is that of a child. */
  readonly mm: Mm
  /** null for a private mapping that was not promised anything. */
  readonly map: ReserveMap | null
  /** A page was taken away here in favour of the parent: what was on it is lost, so the next touch is SIGBUS. */
  unmappedForParent: boolean

  constructor(mm: Mm, map: ReserveMap | null, unmappedForParent = false) {
    this.mm = mm
    this.map = map
    this.unmappedForParent = unmappedForParent
  }
}

export function hugetlbStateOf(vma: Vma): HugetlbVmaState {
  const state = vma.privateData
  assert(state instanceof HugetlbVmaState, 'a hugetlb mapping has its state')
  return state
}

/** Number of the huge page of the file behind `addr` (`vma_hugecache_offset`). */
export function hugePageIndex(vma: Vma, addr: Addr): number {
  return Math.floor(linearPageIndex(vma, addr) / HPAGE_PMD_NR)
}

/** The mapping is private and of the process that called mmap, which was promised its pages (HPAGE_RESV_OWNER). */
export function isReserveOwner(vma: Vma): boolean {
  return (vma.flags & VM_MAYSHARE) === 0 && hugetlbStateOf(vma).map !== null
}

/** Promises huge pages `[from, to)` of a file to a new mapping; false if the pool has not as many left. */
export function reserveHugePages(vma: Vma, fileMap: ReserveMap, from: number, to: number): boolean {
  const { mm } = vma
  const { hugetlb } = mm.sys
  const shared = (vma.flags & VM_MAYSHARE) !== 0
  if ((vma.flags & VM_NORESERVE) !== 0) {
    vma.privateData = new HugetlbVmaState(mm, shared ? fileMap : null)
    return true
  }
  if (!hugetlb.reserve(shared ? to - from - fileMap.count(from, to) : to - from)) return false
  if (shared) for (let index = from; index < to; index++) fileMap.add(index)
  vma.privateData = new HugetlbVmaState(mm, shared ? fileMap : new ReserveMap())
  return true
}

/** The mapping is a copy: part of a split one, moved, or of a child. */
export function inheritReservation(vma: Vma): void {
  const state = hugetlbStateOf(vma)
  const isChild = state.mm !== vma.mm
  if (isChild && (vma.flags & VM_MAYSHARE) === 0) vma.privateData = new HugetlbVmaState(vma.mm, null)
  else vma.privateData = new HugetlbVmaState(vma.mm, state.map, state.unmappedForParent)
}

/**
 * The pages of the mapping were moved: the new mapping has the promises. As in the kernel that goes for the whole map, so
 * parts that were not moved have none any more, and what they had not used up stays promised to nobody.
 */
export function forgetReservation(vma: Vma): void {
  if ((vma.flags & VM_MAYSHARE) === 0) vma.privateData = new HugetlbVmaState(vma.mm, null)
}

/** The mapping is gone: what a private one did not use up is free for others. A file keeps the promises of shared ones. */
export function dropReservation(vma: Vma): void {
  const { map } = hugetlbStateOf(vma)
  if (map === null || !isReserveOwner(vma)) return
  const from = hugePageIndex(vma, vma.start)
  const to = hugePageIndex(vma, vma.end)
  vma.mm.sys.hugetlb.unreserve(to - from - map.count(from, to))
}

/**
 * A page of the pool for `addr`: one reference, contents undefined. It uses up the promise for this page, if there still is
 * one; a copy of a page that was touched before has none, so it never takes what a first touch elsewhere will need.
 *
 * Returns its head frame, or -1 if all free pages are promised to others.
 */
export function allocHugePage(vma: Vma, addr: Addr): Pfn {
  const { hugetlb } = vma.mm.sys
  const { map } = hugetlbStateOf(vma)
  const index = hugePageIndex(vma, addr)
  const useReservation = isPromised(vma, map, index)
  if (!useReservation && !hugetlb.hasUnreserved) return -1
  const head = hugetlb.take(useReservation)
  if (head >= 0) map?.add(index)
  return head
}

/** The pool keeps a page for this one of the mapping. */
function isPromised(vma: Vma, map: ReserveMap | null, index: number): boolean {
  if (map === null) return false
  return (vma.flags & VM_MAYSHARE) !== 0 ? map.has(index) : !map.has(index)
}
