// Reclaim: writing pages to swap and freeing them (`shrink_page_list` of mm/vmscan.c, Linux 6.1). Where the swap device is
// synchronous a page that nobody else holds is free when the call returns; otherwise its write is under way then (swap-io.ts).
// A transparent huge page is taken apart first and swapped page by page, which the kernel does too where swap has no 2 MiB in
// one piece.

import { HPAGE_PMD_NR, type Pfn } from '../base/addr.ts'
import { AddressSpace } from './address-space.ts'
import { isolateUntouched } from './aging.ts'
import { splitHugePage } from './huge-split.ts'
import { PG_ANON, PG_DIRTY, PG_LRU, PG_SWAPBACKED, PG_SWAPCACHE, PG_UNEVICTABLE, PG_WRITEBACK } from './page.ts'
import { putPage, unlockPage } from './page-alloc.ts'
import { tryToUnmap } from './rmap-walk.ts'
import { shmemMoveToSwap } from './shmem.ts'
import { addToSwapCache, deleteFromSwapCache } from './swap.ts'
import { isInFlight, swapUnplug, swapWritePage } from './swap-io.ts'
import type { System } from './system.ts'
import { deleteFromPageCache } from './truncate.ts'

/**
 * Reclaims isolated pages (off the LRU, one reference each for the caller), in order. What cannot be reclaimed goes back on
 * the LRU. Returns the number of pages freed.
 */
export function reclaimPages(sys: System, isolated: readonly Pfn[]): number {
  let freed = 0
  const queue = [...isolated]
  for (let i = 0; i < queue.length; i++) {
    const pfn = queue[i]
    const isHuge = sys.pages.isCompound(pfn)
    const isLazy = (sys.pages.flags[pfn] & (PG_ANON | PG_SWAPBACKED)) === PG_ANON
    let npages = 0
    if (isHuge && isLazy) npages = freeLazyHugePage(sys, pfn) ? HPAGE_PMD_NR : 0
    else if (!isHuge || splitIsolated(sys, pfn, queue)) npages = reclaimPage(sys, pfn) ? 1 : 0
    // The reference of a page that is being written is that of the write now.
    if (npages === 0 && !isInFlight(sys, pfn)) putBack(sys, pfn)
    freed += npages
  }
  swapUnplug(sys)
  return freed
}

/** Drops a huge page that madvise marked free, unless it was written since. True if it is gone. */
function freeLazyHugePage(sys: System, head: Pfn): boolean {
  const { pages } = sys
  if ((pages.flags[head] & PG_UNEVICTABLE) !== 0 || !pages.trylock(head)) return false
  tryToUnmap(sys, head, { splitPmd: true })
  const gone = !pages.isMapped(head) && (pages.flags[head] & PG_DIRTY) === 0 && pages.refcount[head] === 1
  unlockPage(sys, head)
  if (gone) putPage(sys, head)
  return gone
}

/** Takes a huge page apart; the new small pages join the queue. False if it cannot be reclaimed now. */
function splitIsolated(sys: System, head: Pfn, queue: Pfn[]): boolean {
  const { pages } = sys
  if ((pages.flags[head] & PG_UNEVICTABLE) !== 0) return false
  if (pages.maybeDmaPinned(head) || !pages.trylock(head)) return false
  const err = splitHugePage(sys, head, queue)
  unlockPage(sys, head)
  return err === 0
}

/**
 * Takes up to `npages` from the cold end of the LRU and reclaims what it can. Where swapping takes its time, pages that were
 * touched lately get a second chance. Returns the number of pages freed.
 */
export function shrinkLru(sys: System, npages: number): number {
  if (sys.swap?.device.isSynchronous === false) return reclaimPages(sys, isolateUntouched(sys, npages))
  const isolated: Pfn[] = []
  while (isolated.length < npages && sys.lru.last >= 0) {
    const pfn = sys.lru.last
    sys.lru.isolate(pfn)
    isolated.push(pfn)
  }
  return reclaimPages(sys, isolated)
}

function putBack(sys: System, pfn: Pfn): void {
  if (sys.pages.refcount[pfn] > 1 && (sys.pages.flags[pfn] & PG_LRU) === 0) sys.lru.add(pfn)
  putPage(sys, pfn)
}

function reclaimPage(sys: System, pfn: Pfn): boolean {
  const { pages, swap } = sys
  if (!pages.trylock(pfn)) return false
  const reclaimed = unmapAndWrite()
  if ((pages.flags[pfn] & 1) !== 0) unlockPage(sys, pfn) // PG_LOCKED
  if (reclaimed) putPage(sys, pfn)
  return reclaimed

  function unmapAndWrite(): boolean {
    if ((pages.flags[pfn] & (PG_UNEVICTABLE | PG_WRITEBACK)) !== 0) return false
    const anon = (pages.flags[pfn] & PG_ANON) !== 0
    if (anon && (pages.flags[pfn] & (PG_SWAPBACKED | PG_SWAPCACHE)) === PG_SWAPBACKED) {
      if (swap === null || pages.maybeDmaPinned(pfn)) return false
      const slot = swap.alloc(pfn)
      if (slot < 0) return false
      addToSwapCache(sys, swap, pfn, slot)
      pages.flags[pfn] |= PG_DIRTY
    }
    if (pages.isMapped(pfn)) {
      tryToUnmap(sys, pfn)
      if (pages.isMapped(pfn)) return false
    }
    const mapping = anon ? null : sys.mappings.get(pages.mapping[pfn])
    const isDirty = (pages.flags[pfn] & PG_DIRTY) !== 0
    if (isDirty && !writeOut(sys, pfn, mapping instanceof AddressSpace ? mapping : null)) return false
    const isSwapped = (pages.flags[pfn] & PG_SWAPCACHE) !== 0
    if (!detach(sys, pfn)) return false
    if (isSwapped && !isDirty && swap !== null) swap.stats.pagesDropped++
    return true
  }
}

/** Writes a dirty page to swap; false if somebody else holds it or there is no room. */
function writeOut(sys: System, pfn: Pfn, mapping: AddressSpace | null): boolean {
  const { pages, swap } = sys
  if (swap === null) return false
  // The caller's reference and that of the cache it is in.
  if (pages.refcount[pfn] !== 2) return false
  if ((pages.flags[pfn] & PG_SWAPCACHE) === 0) {
    if (mapping === null) return false
    const slot = swap.alloc(pfn)
    if (slot < 0) return false
    shmemMoveToSwap(sys, mapping, pfn, slot)
  }
  return swapWritePage(sys, swap, pfn)
}

/** Takes a clean page that only the caller and its cache hold out of the cache. */
function detach(sys: System, pfn: Pfn): boolean {
  const { pages } = sys
  const flags = pages.flags[pfn]
  if ((flags & PG_ANON) !== 0 && (flags & PG_SWAPBACKED) === 0) return pages.refcount[pfn] === 1
  if (pages.refcount[pfn] !== 2) return false
  if ((flags & PG_SWAPCACHE) !== 0) {
    deleteFromSwapCache(sys, pfn)
    return true
  }
  const mapping = sys.mappings.get(pages.mapping[pfn])
  if (!(mapping instanceof AddressSpace)) return false
  deleteFromPageCache(sys, mapping, pfn)
  return true
}
