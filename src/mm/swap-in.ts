// Bringing a page back from swap (`swapin_readahead` and the synchronous path of `do_swap_page`, Linux 6.1).

import type { Addr, Pfn } from '../base/addr.ts'
import { assert } from '../base/assert.ts'
import type { Mm } from './mm.ts'
import { PG_SWAPBACKED, PG_UPTODATE } from './page.ts'
import { allocPage, getPage } from './page-alloc.ts'
import { addToSwapCache, readSwapSlot } from './swap.ts'
import type { System } from './system.ts'

/**
 * The page of a swap slot, with a reference for the caller: from the swap cache, or read. A slot with one user is read into
 * a page of its own; one with several enters the swap cache, so that all of them get the same page. Returns -1 if there is
 * no frame.
 */
export function swapInPage(sys: System, mm: Mm, addr: Addr, slot: number): Pfn {
  const { swap, pages } = sys
  assert(swap !== null, 'there is swap')
  const cached = swap.cache.get(slot)
  if (cached !== undefined) {
    getPage(sys, cached)
    return cached
  }
  const pfn = allocPage(mm, addr)
  if (pfn < 0) return -1
  readSwapSlot(sys, swap, pfn, slot)
  pages.flags[pfn] |= PG_UPTODATE
  if (swap.counts[slot] > 1) {
    swap.duplicate(slot)
    addToSwapCache(sys, swap, pfn, slot)
    pages.flags[pfn] |= PG_SWAPBACKED
    sys.lru.add(pfn)
  }
  return pfn
}
