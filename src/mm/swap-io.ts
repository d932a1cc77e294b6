// How pages are written to swap and read back. Follows mm/page_io.c and mm/swap_state.c of Linux 6.1. A synchronous device
// is done at once. With any other a page stays in memory, and in the swap cache, until its write has ended:
//
//   write   unmapped, dirty ── swapWritePage ──> PG_WRITEBACK ── end ──> gone, or kept if somebody waits for it
//   read    swap entry ── swapReadPages ──> PG_LOCKED in the swap cache ── end ──> PG_UPTODATE, or lost
//
// A page in flight has one reference for it and is not on the LRU. It is stable: who touches it waits (the kernel maps pages
// under writeback; here what is in a slot always has the checksum that was taken on the way). A write that fails leaves the page
// where it is, dirty. A read that fails marks the slot as lost, and every touch is SIGBUS from then on.

import type { Pfn } from '../base/addr.ts'
import { assert } from '../base/assert.ts'
import { PG_DIRTY, PG_LOCKED, PG_READAHEAD, PG_SWAP_IO, PG_SWAPBACKED, PG_UPTODATE, PG_WRITEBACK } from './page.ts'
import { putPage, unlockPage, waitForPage, wakePage } from './page-alloc.ts'
import { addToSwapCache, deleteFromSwapCache, freeSwapOfPage, type SwapArea } from './swap.ts'
import type { SwapPage } from './swap-device.ts'
import type { System } from './system.ts'

/**
 * Writes a page of the swap cache that nobody maps to its slot. The caller holds the page lock and the only other reference.
 *
 * Returns true if that has been done. False: it failed and the page is dirty as before, or it is under way. Then PG_WRITEBACK
 * is set, and the caller's reference is that of the write; `swapUnplug` begins all writes that have come together.
 */
export function swapWritePage(sys: System, swap: SwapArea, pfn: Pfn): boolean {
  const { pages } = sys
  const page: SwapPage = { slot: pages.swap[pfn], pfn }
  if (swap.device.isSynchronous) {
    let result = 0
    swap.device.write([page], (_page, err) => {
      result = err
    })
    countWrite(swap, result)
    if (result === 0) pages.flags[pfn] &= ~PG_DIRTY
    return result === 0
  }
  pages.flags[pfn] = (pages.flags[pfn] & ~PG_DIRTY) | PG_WRITEBACK | PG_SWAP_IO
  swap.ninFlight++
  swap.plugged.push(page)
  return false
}

/** Hands the writes that have come together to the device. */
export function swapUnplug(sys: System): void {
  const { swap } = sys
  if (swap === null || swap.plugged.length === 0) return
  const batch = swap.plugged
  swap.plugged = []
  swap.device.write(batch, (page, err) => endSwapWrite(sys, swap, page, err))
}

/** A write has ended: a page that nobody has asked for since is free then. */
function endSwapWrite(sys: System, swap: SwapArea, { slot, pfn }: SwapPage, err: number): void {
  const { pages } = sys
  assert((pages.flags[pfn] & PG_WRITEBACK) !== 0, () => `frame ${pfn} is being written to swap slot ${slot}`)
  pages.flags[pfn] &= ~(PG_WRITEBACK | PG_SWAP_IO)
  swap.ninFlight--
  countWrite(swap, err)
  if (err !== 0) pages.flags[pfn] |= PG_DIRTY
  const isWanted = sys.pageWaits.size > 0 && sys.pageWaits.has(pfn)
  const isClean = (pages.flags[pfn] & PG_DIRTY) === 0
  // Our reference and that of the cache: nobody else can get at the page.
  if (pages.refcount[pfn] === 2 && pages.trylock(pfn)) {
    if (swap.users(slot) === 0 || (isClean && !isWanted)) deleteFromSwapCache(sys, pfn)
    unlockPage(sys, pfn)
  }
  release(sys, swap, pfn)
}

/**
 * Begins to read slots into frames that the caller has just taken, all locked and in the swap cache from now on; the
 * caller's references become those of the reads. From the place `ahead` on they are read in case that they are needed.
 */
export function swapReadPages(sys: System, swap: SwapArea, batch: readonly SwapPage[], ahead = batch.length): void {
  const { pages } = sys
  batch.forEach(({ slot, pfn }, i) => {
    swap.duplicate(slot)
    addToSwapCache(sys, swap, pfn, slot)
    pages.flags[pfn] |= PG_LOCKED | PG_SWAPBACKED | PG_SWAP_IO | (i >= ahead ? PG_READAHEAD : 0)
  })
  swap.ninFlight += batch.length
  swap.stats.pagesReadAhead += batch.length - ahead
  swap.device.read(batch, (page, err) => endSwapRead(sys, swap, page, err))
}

function endSwapRead(sys: System, swap: SwapArea, { slot, pfn }: SwapPage, err: number): void {
  const { pages } = sys
  assert((pages.flags[pfn] & PG_SWAP_IO) !== 0, () => `frame ${pfn} is being read from swap slot ${slot}`)
  pages.flags[pfn] &= ~PG_SWAP_IO
  swap.ninFlight--
  if (err === 0) {
    swap.stats.pagesIn++
    pages.flags[pfn] |= PG_UPTODATE
    // Whoever had the slot may have gone meanwhile.
    if (swap.users(slot) === 0) freeSwapOfPage(sys, pfn)
  } else {
    swap.stats.readErrors++
    if (swap.users(slot) > 0) swap.lost.set(slot, err)
    deleteFromSwapCache(sys, pfn)
  }
  unlockPage(sys, pfn)
  release(sys, swap, pfn)
}

/** The page is not in flight any more: back on the LRU if anybody has it, and whoever waits looks again. */
function release(sys: System, swap: SwapArea, pfn: Pfn): void {
  if (sys.pages.refcount[pfn] > 1) sys.lru.add(pfn)
  putPage(sys, pfn)
  wakePage(sys, pfn)
  swap.progress.wake()
}

export function isInFlight({ pages }: System, pfn: Pfn): boolean {
  return (pages.flags[pfn] & PG_SWAP_IO) !== 0
}

/** Whether a page is under way to or from swap; if so, `sys.waitFor` is set for whoever wants it. */
export function waitForSwapIo(sys: System, swap: SwapArea, pfn: Pfn): boolean {
  if (!isInFlight(sys, pfn)) return false
  swap.stats.waits++
  waitForPage(sys, pfn)
  return true
}

function countWrite(swap: SwapArea, err: number): void {
  swap.isFailing = err !== 0
  if (err === 0) swap.stats.pagesOut++
  else swap.stats.writeErrors++
}
