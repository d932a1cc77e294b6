// Swap: slots, their use counts, and the swap cache, which holds a page while it is both in memory and in a slot. Follows
// mm/swapfile.c and mm/swap_state.c of Linux 6.1. Contents are written and read by a device (swap-device.ts), and how that
// begins and ends is told in swap-io.ts.

import type { Pfn } from '../base/addr.ts'
import { assert } from '../base/assert.ts'
import { WaitQueue } from '../base/wait-queue.ts'
import { PG_DIRTY, PG_SWAPCACHE, PG_WRITEBACK } from './page.ts'
import { putPage } from './page-alloc.ts'
import { SwapCache } from './swap-cache.ts'
import type { SwapDevice, SwapPage } from './swap-device.ts'
import type { System } from './system.ts'

/** What swap has done since the machine was made. */
export interface SwapStats {
  /** Pages written. */
  pagesOut: number
  /** Pages that left memory without being written, as their slot still held the same. */
  pagesDropped: number
  /** Pages read, read-ahead included. */
  pagesIn: number
  /** Pages read because a neighbour was touched. */
  pagesReadAhead: number
  /** Of these, pages that were touched before they left memory again. */
  readAheadHits: number
  /** Touches that had to wait for a read or write. */
  waits: number
  /** Writes that failed: the page stayed in memory. */
  writeErrors: number
  /** Reads that failed: the page is lost. */
  readErrors: number
}

function makeSwapStats(): SwapStats {
  return {
    pagesOut: 0,
    pagesDropped: 0,
    pagesIn: 0,
    pagesReadAhead: 0,
    readAheadHits: 0,
    waits: 0,
    writeErrors: 0,
    readErrors: 0,
  }
}

export class SwapArea {
  readonly npages: number
  readonly device: SwapDevice
  /** Users of a slot: page-table entries, file pages, and one for the swap cache. Empty until a slot is used. */
  counts = new Uint16Array(0)
  /** Page in the cache for a slot. */
  readonly cache: SwapCache
  /** Pages that the device is writing or reading (PG_SWAP_IO). Each has a reference for that, and is not on the LRU. */
  ninFlight = 0
  /** Pages to be written, until `swapUnplug` hands them to the device together. */
  plugged: SwapPage[] = []
  /** Slots whose contents could not be read back, with the errno: a touch is an error until the page is freed. */
  readonly lost = new Map<number, number>()
  /** The last write failed: nobody should wait for others to free memory. */
  isFailing = false
  /** Woken whenever a read or write has ended. */
  readonly progress = new WaitQueue()
  readonly stats: SwapStats = makeSwapStats()
  nfree: number
  private next = 1

  /** Slot 0 holds the header of a swap device and is never used. */
  constructor(npages: number, device: SwapDevice) {
    this.npages = npages
    this.device = device
    this.cache = new SwapCache(npages)
    this.nfree = npages
  }

  /** A free slot for a page, with one user, or -1 when swap is full or only for reading. */
  alloc(pfn: Pfn): number {
    if (this.nfree === 0 || !this.device.isWritable) return -1
    this.makeCounts()
    const slot = this.device.hasHomeSlots ? pfn + 1 : this.findFree()
    assert(this.counts[slot] === 0, () => `swap slot ${slot} is free for frame ${pfn}`)
    this.counts[slot] = 1
    this.nfree--
    return slot
  }

  /** A slot of home that has contents already gets its first user. */
  adopt(slot: number): void {
    this.makeCounts()
    assert(this.device.hasHomeSlots && this.counts[slot] === 0, () => `swap slot ${slot} is free and a home`)
    this.counts[slot] = 1
    this.nfree--
  }

  /** Most heaps never swap, and the table of one of 16 GiB has 8 MiB. */
  private makeCounts(): void {
    if (this.counts.length === 0) this.counts = new Uint16Array(this.npages + 1)
  }

  private findFree(): number {
    let slot = this.next
    while (this.counts[slot] !== 0) slot = slot === this.npages ? 1 : slot + 1
    this.next = slot === this.npages ? 1 : slot + 1
    return slot
  }

  duplicate(slot: number): void {
    assert(this.counts[slot] > 0, () => `swap slot ${slot} is in use`)
    this.counts[slot]++
  }

  free(slot: number): void {
    assert(this.counts[slot] > 0, () => `swap slot ${slot} is in use`)
    this.counts[slot]--
    if (this.counts[slot] === 0) {
      this.lost.delete(slot)
      this.device.discard(slot)
      this.nfree++
    }
  }

  /** Users other than the swap cache (`__swap_count`). */
  users(slot: number): number {
    return this.counts[slot] - (this.cache.has(slot) ? 1 : 0)
  }
}

/** Enters a page in the swap cache under `slot`, whose first user becomes the cache. The cache holds a reference. */
export function addToSwapCache(sys: System, swap: SwapArea, pfn: Pfn, slot: number): void {
  const { pages } = sys
  swap.cache.set(slot, pfn)
  pages.flags[pfn] |= PG_SWAPCACHE
  pages.swap[pfn] = slot
  pages.refcount[pfn]++
}

/** Takes a page out of the swap cache again, with the cache's reference and its use of the slot. */
export function deleteFromSwapCache(sys: System, pfn: Pfn): void {
  const { pages, swap } = sys
  assert(swap !== null && (pages.flags[pfn] & PG_SWAPCACHE) !== 0, () => `frame ${pfn} is in the swap cache`)
  const slot = pages.swap[pfn]
  swap.cache.delete(slot)
  pages.flags[pfn] &= ~PG_SWAPCACHE
  swap.free(slot)
  putPage(sys, pfn)
}

/**
 * Drops the swap copy of a page that is in memory, if no entry needs it any more (`folio_free_swap`). The page becomes
 * dirty: its only copy is in memory now. The caller holds the page lock and a reference.
 */
export function freeSwapOfPage(sys: System, pfn: Pfn): boolean {
  const { pages, swap } = sys
  const flags = pages.flags[pfn]
  if (swap === null || (flags & PG_SWAPCACHE) === 0 || (flags & PG_WRITEBACK) !== 0) return false
  if (swap.users(pages.swap[pfn]) > 0) return false
  deleteFromSwapCache(sys, pfn)
  pages.flags[pfn] |= PG_DIRTY
  return true
}

/** The last mapping of a page in the swap cache went away: forget the cached copy if nothing else uses it (`free_swap_cache`). */
export function freeSwapCache(sys: System, pfn: Pfn): void {
  const { pages } = sys
  if ((pages.flags[pfn] & PG_SWAPCACHE) === 0 || pages.isMapped(pfn) || !pages.trylock(pfn)) return
  freeSwapOfPage(sys, pfn)
  pages.flags[pfn] &= ~1 // PG_LOCKED, nobody can wait for it
}

/** An entry or a file gives up its use of a slot (`free_swap_and_cache`): a cached page nobody maps goes with it. */
export function freeSwapAndCache(sys: System, slot: number): void {
  const { swap } = sys
  assert(swap !== null, 'there is swap')
  swap.free(slot)
  const pfn = swap.cache.get(slot)
  if (pfn === undefined || swap.users(slot) > 0) return
  if (sys.pages.isMapped(pfn) || !sys.pages.trylock(pfn)) return
  sys.pages.refcount[pfn]++
  freeSwapOfPage(sys, pfn)
  sys.pages.flags[pfn] &= ~1 // PG_LOCKED
  putPage(sys, pfn)
}
