// The pool of 2 MiB pages that hugetlb mappings are made of: set aside when the machine starts, never given to anybody else.
// Follows `struct hstate` and `free_huge_page` of mm/hugetlb.c, Linux 6.1, for one page size, one node and no overcommit.
//
//   |<------------------------- npages ------------------------->|
//   |  in use                  |  free                           |
//   |                          |  reserved  |  for anybody        |
//
// A reservation is a promise to a mapping that its next touch finds a page. It is a number, not a page.

import { type Pfn, PMD_ORDER } from '../base/addr.ts'
import { assert } from '../base/assert.ts'
import type { Mmu } from '../mmu/mmu.ts'
import { Compound, type Pages, PG_ALLOCATED, PG_HEAD, PG_HUGETLB, PG_HWPOISON, PG_TAIL } from './page.ts'
import type { System } from './system.ts'

/** Frames of one page of the pool. */
const NFRAMES = 1 << PMD_ORDER

export class HugetlbPool {
  /** Pages that belong to the pool, in use or free (`nr_huge_pages`). */
  npages = 0
  /** Free pages that are promised to mappings (`resv_huge_pages`). */
  reserved = 0
  /** Free pages, the one freed last at the end. Broken ones stay among them and are passed by. */
  private readonly free: Pfn[] = []
  private readonly mmu: Mmu
  private readonly pages: Pages

  /** Sets aside `wanted` pages, or as many as there is memory for. */
  constructor(mmu: Mmu, pages: Pages, wanted: number) {
    this.mmu = mmu
    this.pages = pages
    const { capabilities } = mmu
    assert(
      wanted === 0 || (capabilities.hugePages && capabilities.walksPageTable),
      () => `a pool of ${wanted} hugetlb pages needs an MMU that reads huge entries of the page table`,
    )
    while (this.npages < wanted && this.grow());
  }

  /** Free pages, reserved or not (`free_huge_pages`). */
  get nfree(): number {
    return this.free.length
  }

  /** Some free page is not promised to anybody. */
  get hasUnreserved(): boolean {
    return this.free.length > this.reserved
  }

  /** Promises `count` more pages; false if there are not as many. */
  reserve(count: number): boolean {
    if (this.free.length - this.reserved < count) return false
    this.reserved += count
    return true
  }

  unreserve(count: number): void {
    assert(count <= this.reserved, () => `${count} hugetlb pages are unreserved, ${this.reserved} are reserved`)
    this.reserved -= count
  }

  /** A free page with one reference, contents undefined; -1 if there is none. Who uses a reservation up says so here. */
  take(useReservation: boolean): Pfn {
    const { free, pages } = this
    for (let i = free.length - 1; i >= 0; i--) {
      const head = free[i]
      if ((pages.flags[head] & PG_HWPOISON) !== 0) continue
      free.splice(i, 1)
      pages.refcount[head] = 1
      if (useReservation) this.unreserve(1)
      return head
    }
    return -1
  }

  /** Takes a page back whose last reference is gone. */
  put(head: Pfn): void {
    const { pages } = this
    const { mapcount, pincount } = pages.getCompound(head)
    assert(
      mapcount === 0 && pincount === 0,
      () => `hugetlb page ${head} is free, mapped ${mapcount}, pinned ${pincount}`,
    )
    pages.flags[head] = PG_ALLOCATED | PG_HEAD | PG_HUGETLB | (pages.flags[head] & PG_HWPOISON)
    pages.mapping[head] = 0
    this.free.push(head)
  }

  /**
   * Takes a free page out of the pool because frame `broken` of it is: the other frames become ordinary memory, the broken
   * one keeps a reference, so that nobody gets it (`dissolve_free_huge_page`).
   *
   * Returns false if the page is in use, or if the pool could then not keep its promises.
   */
  dissolve(head: Pfn, broken: Pfn): boolean {
    const { free, pages } = this
    const i = free.indexOf(head)
    if (i < 0 || !this.hasUnreserved) return false
    free.splice(i, 1)
    this.npages--
    pages.compound.delete(head)
    pages.flags.fill(0, head, head + NFRAMES)
    pages.flags[broken] = PG_ALLOCATED | PG_HWPOISON
    pages.refcount[broken] = 1
    for (let pfn = head; pfn < head + NFRAMES; pfn++) if (pfn !== broken) this.mmu.freeFrame(pfn, 0)
    return true
  }

  private grow(): boolean {
    const { pages } = this
    const head = this.mmu.allocFrame(-1, 0, PMD_ORDER)
    if (head < 0) return false
    pages.flags[head] = PG_ALLOCATED | PG_HEAD | PG_HUGETLB
    pages.flags.fill(PG_ALLOCATED | PG_TAIL | PG_HUGETLB, head + 1, head + NFRAMES)
    pages.compound.set(head, new Compound(PMD_ORDER))
    this.free.push(head)
    this.npages++
    return true
  }
}

/** The last reference of a hugetlb page is gone. */
export function freeHugetlbPage(sys: System, head: Pfn): void {
  sys.hugetlb.put(head)
}
