// The list of pages that reclaim may take, coldest last (`struct lruvec` with one list per kind folded into one, as there is
// neither NUMA nor a memory cgroup). A page on the list has PG_LRU; isolating it takes it off and adds a reference (T-33).
// Links live in `Pages`, so adding and removing cost no memory.
//
//   first (warm) ── ... ── agedFirst ── ... ── last (cold)
//                          |------- aged -------|
//
// The cold end is aged where reclaim gives pages a second chance (aging.ts): it has begun to look whether those are touched. This
// takes the place of the kernel's inactive list.

import type { Pfn } from '../base/addr.ts'
import { assert } from '../base/assert.ts'
import { setFrames } from './frame-runs.ts'
import { badFrame, type Pages, PG_AGED, PG_LRU } from './page.ts'

export class Lru {
  /** Pages on the list. */
  size = 0
  /** Warmest page, -1 if empty. */
  first: Pfn = -1
  /** Coldest page, -1 if empty. */
  last: Pfn = -1
  /** Pages that are aged. */
  naged = 0
  /** Warmest of them, -1 if there is none. */
  agedFirst: Pfn = -1
  private readonly pages: Pages

  constructor(pages: Pages) {
    this.pages = pages
  }

  /** Enters the page at the warm end. */
  add(pfn: Pfn): void {
    const { pages } = this
    if ((pages.flags[pfn] & PG_LRU) !== 0) badFrame(pfn, 'is on the LRU already')
    pages.flags[pfn] |= PG_LRU
    pages.lruPrev[pfn] = -1
    pages.lruNext[pfn] = this.first
    if (this.first >= 0) pages.lruPrev[this.first] = pfn
    else this.last = pfn
    this.first = pfn
    this.size++
  }

  /** Enters neighbouring pages with the same flags, as `add` does one by one: the last one is the warmest then. */
  addRun(first: Pfn, npages: number): void {
    const { flags, lruPrev, lruNext } = this.pages
    const from = first | 0
    const end = (from + npages) | 0
    const state = flags[from]
    if ((state & PG_LRU) !== 0) badFrame(from, 'is on the LRU already')
    setFrames(flags, state | PG_LRU, from, npages)
    for (let pfn = from; pfn < end; pfn++) {
      lruNext[pfn] = pfn - 1
      lruPrev[pfn] = pfn + 1
    }
    lruNext[from] = this.first
    lruPrev[end - 1] = -1
    if (this.first >= 0) lruPrev[this.first] = first
    else this.last = first
    this.first = end - 1
    this.size += npages
  }

  /** Enters the page just above another, on its warm side. */
  addBefore(pfn: Pfn, other: Pfn): void {
    const { pages } = this
    assert((pages.flags[pfn] & PG_LRU) === 0, () => `frame ${pfn} is not on the LRU yet`)
    assert((pages.flags[other] & PG_LRU) !== 0, () => `frame ${other} is on the LRU`)
    const prev = pages.lruPrev[other]
    pages.flags[pfn] |= PG_LRU
    pages.lruPrev[pfn] = prev
    pages.lruNext[pfn] = other
    pages.lruPrev[other] = pfn
    if (prev >= 0) pages.lruNext[prev] = pfn
    else this.first = pfn
    this.size++
  }

  remove(pfn: Pfn): void {
    const { pages } = this
    if ((pages.flags[pfn] & PG_LRU) === 0) badFrame(pfn, 'is not on the LRU')
    const next = pages.lruNext[pfn]
    if ((pages.flags[pfn] & PG_AGED) !== 0) {
      if (this.agedFirst === pfn) this.agedFirst = next
      this.naged--
    }
    pages.flags[pfn] &= ~(PG_LRU | PG_AGED)
    const prev = pages.lruPrev[pfn]
    if (prev >= 0) pages.lruNext[prev] = next
    else this.first = next
    if (next >= 0) pages.lruPrev[next] = prev
    else this.last = prev
    this.size--
  }

  /** Removes neighbouring pages. Those that came in order are neighbours here too, and leave together. */
  removeRun(first: Pfn, npages: number): void {
    const { flags, lruPrev, lruNext } = this.pages
    const end = first + npages
    for (let pfn = first; pfn < end; ) {
      let next = pfn + 1
      while (next < end && lruNext[next] === next - 1 && (flags[next] & (PG_LRU | PG_AGED)) === PG_LRU) next++
      // The first one as any other page, which names the neighbours of the others too.
      const warmer = lruPrev[next - 1]
      this.remove(pfn)
      if (next > pfn + 1) {
        for (let at = pfn + 1; at < next; at++) flags[at] &= ~PG_LRU
        const colder = lruNext[pfn]
        if (warmer >= 0) lruNext[warmer] = colder
        else this.first = colder
        if (colder >= 0) lruPrev[colder] = warmer
        else this.last = warmer
        this.size -= next - pfn - 1
      }
      pfn = next
    }
  }

  /** Moves the page to the warm end: it was used. */
  touch(pfn: Pfn): void {
    if ((this.pages.flags[pfn] & PG_LRU) === 0) return
    this.remove(pfn)
    this.add(pfn)
  }

  /** Makes the coldest page that is not aged one of those that are. Returns it, or -1 if there is none. */
  age(): Pfn {
    const { pages } = this
    const pfn = this.agedFirst < 0 ? this.last : pages.lruPrev[this.agedFirst]
    if (pfn < 0) return -1
    pages.flags[pfn] |= PG_AGED
    this.agedFirst = pfn
    this.naged++
    return pfn
  }

  /** Takes the page off for migration or reclaim and gives the caller a reference; false if it is not on the list. */
  isolate(pfn: Pfn): boolean {
    const head = this.pages.head(pfn)
    if ((this.pages.flags[head] & PG_LRU) === 0) return false
    this.remove(head)
    this.pages.refcount[head]++
    return true
  }
}
