// Bringing a page back from swap (`swapin_readahead` and the synchronous path of `do_swap_page`, Linux 6.1).

import { type Addr, addrToVpn, PAGE_SIZE, type Pfn, pteIndex } from '../base/addr.ts'
import { assert, formatAddr } from '../base/assert.ts'
import { EAGAIN, EIO, ENOMEM } from '../base/errno.ts'
import { anonVmaPrepare } from './anon-vma.ts'
import { MM_SWAPENTS } from './mm.ts'
import { PG_READAHEAD, PG_SWAPBACKED, PG_UPTODATE } from './page.ts'
import { allocPage, getPage, waitForPage } from './page-alloc.ts'
import { PTE_EXCLUSIVE, PTE_KIND_SWAP } from './pte.ts'
import { addToSwapCache, type SwapArea } from './swap.ts'
import { swapReadPages, waitForSwapIo } from './swap-io.ts'
import { beginsAhead, swapReadAhead, swapReadNext } from './swap-readahead.ts'
import type { System } from './system.ts'
import type { Vma } from './vma.ts'

/**
 * The page of a swap slot, with a reference for the caller: from the swap cache, or read.
 *
 * A synchronous device reads a slot with one user into a page of its own; one with several enters the swap cache, so that all
 * of them get the same page. With any other device the page enters the cache first and is read together with its neighbours.
 *
 * Returns the frame, or
 * - -EAGAIN the page is being read or written: `sys.waitFor` is set
 * - -ENOMEM there is no frame: `sys.waitFor` is set if there may be one later
 * - -EIO    the contents were lost
 */
export function swapInPage(vma: Vma, addr: Addr, slot: number): Pfn {
  const { mm } = vma
  const { sys } = mm
  const { swap } = sys
  assert(swap !== null, 'there is swap')
  const cached = swap.cache.get(slot)
  if (cached !== undefined) {
    if (beginsAhead(vma, addr)) readNext(vma, addr, swap)
    return fromCache(sys, swap, cached)
  }
  if (swap.lost.has(slot)) return -EIO
  const pfn = allocPage(mm, addr)
  if (pfn < 0) return -ENOMEM
  if (swap.device.isSynchronous) return readNow(sys, swap, pfn, slot)
  swapReadPages(sys, swap, [{ slot, pfn }, ...swapReadAhead(vma, addr)], 1)
  readNext(vma, addr, swap)
  swap.stats.waits++
  waitForPage(sys, pfn)
  return -EAGAIN
}

function readNext(vma: Vma, addr: Addr, swap: SwapArea): void {
  const next = swapReadNext(vma, addr)
  if (next.length > 0) swapReadPages(vma.mm.sys, swap, next, 0)
}

function fromCache(sys: System, swap: SwapArea, pfn: Pfn): Pfn {
  if (waitForSwapIo(sys, swap, pfn)) return -EAGAIN
  const { pages } = sys
  if ((pages.flags[pfn] & PG_READAHEAD) !== 0) {
    pages.flags[pfn] &= ~PG_READAHEAD
    swap.stats.readAheadHits++
  }
  getPage(sys, pfn)
  return pfn
}

function readNow(sys: System, swap: SwapArea, pfn: Pfn, slot: number): Pfn {
  const { pages } = sys
  readSwapSlot(swap, pfn, slot)
  pages.flags[pfn] |= PG_UPTODATE
  if (swap.counts[slot] > 1) {
    swap.duplicate(slot)
    addToSwapCache(sys, swap, pfn, slot)
    pages.flags[pfn] |= PG_SWAPBACKED
    sys.lru.add(pfn)
  }
  return pfn
}

/** Fills a frame from a slot of a synchronous device. */
export function readSwapSlot(swap: SwapArea, pfn: Pfn, slot: number): void {
  let result = 0
  swap.device.read([{ slot, pfn }], (_page, err) => {
    result = err
  })
  assert(result === 0, () => `reading swap slot ${slot} from memory returned ${result}`)
  swap.stats.pagesIn++
}

/**
 * Makes the empty pages `[start, end)` of a private mapping those whose contents are in their home slots: they are in swap from now
 * on, without having been anywhere else. For files that can be read by page, as if somebody had swapped them out.
 *
 * Preconditions: mmapLock is held for writing.
 */
export function adoptSwapped(vma: Vma, start: Addr, end: Addr): void {
  const { mm } = vma
  const { swap } = mm.sys
  assert(swap !== null && start >= vma.start && end <= vma.end, 'there is swap, and the pages are of the mapping')
  anonVmaPrepare(vma)
  for (let addr = start; addr < end; addr += PAGE_SIZE) {
    const { words } = mm.pageTable.allocPte(addr)
    const i = pteIndex(addr)
    assert(words[2 * i + 1] === 0, () => `page ${formatAddr(addr)} is empty`)
    const slot = addrToVpn(addr) + 1
    swap.adopt(slot)
    words[2 * i] = slot
    words[2 * i + 1] = PTE_KIND_SWAP | PTE_EXCLUSIVE
  }
  mm.rss[MM_SWAPENTS] += (end - start) / PAGE_SIZE
}
