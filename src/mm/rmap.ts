// Reverse mapping, the books: how often a frame is mapped, whose anonymous memory it is, and whether it is exclusive.
// Every change of an entry goes through one of these functions. Follows mm/rmap.c of Linux 6.1. The `compound` ones are
// for a huge entry, which maps a compound page as a whole; the others count one small entry of one frame, also inside a
// compound page.

import type { Addr, Pfn } from '../base/addr.ts'
import { assert } from '../base/assert.ts'
import { isDevicePrivatePage } from './memremap.ts'
import { MM_ANONPAGES, MM_FILEPAGES, MM_SHMEMPAGES } from './mm.ts'
import { badFrame, PG_ANON, PG_ANON_EXCLUSIVE, PG_HEAD, PG_SWAPBACKED } from './page.ts'
import type { System } from './system.ts'
import { linearPageIndex, type Vma } from './vma.ts'

/** Which counter of `Mm.rss` the page belongs to (`mm_counter`). */
export function rssKind(sys: System, pfn: Pfn): number {
  const flags = sys.pages.flags[sys.pages.head(pfn)]
  if ((flags & PG_ANON) !== 0) return MM_ANONPAGES
  return (flags & PG_SWAPBACKED) !== 0 ? MM_SHMEMPAGES : MM_FILEPAGES
}

/** Makes the page anonymous memory of `vma` at `addr`, unless it already is anonymous (`__page_set_anon_rmap`). */
function setAnonRmap(vma: Vma, pfn: Pfn, addr: Addr, exclusive: boolean): void {
  const { pages } = vma.mm.sys
  const head = pages.head(pfn)
  if ((pages.flags[head] & PG_ANON) === 0) {
    const anonVma = vma.anonVma
    assert(anonVma !== null, 'a mapping has an AnonVma before its first anonymous page')
    // A page that others may map too belongs to the oldest ancestor: all of them are linked to it.
    pages.mapping[head] = (exclusive ? anonVma : anonVma.root).id
    pages.index[head] = linearPageIndex(vma, addr) - (pfn - head)
    pages.flags[head] |= PG_ANON
  }
  if (exclusive) pages.flags[pfn] |= PG_ANON_EXCLUSIVE
}

/**
 * First mapping of a new anonymous page; it is exclusive and goes on the LRU (`page_add_new_anon_rmap`). A compound
 * page is mapped as a whole.
 */
export function pageAddNewAnonRmap(vma: Vma, pfn: Pfn, addr: Addr): void {
  const { pages, lru } = vma.mm.sys
  pages.flags[pfn] |= PG_SWAPBACKED
  if ((pages.flags[pfn] & PG_HEAD) !== 0) pages.getCompound(pfn).mapcount = 1
  else pages.mapcount[pfn] = 1
  setAnonRmap(vma, pfn, addr, true)
  if (pages.pagemap[pfn] === 0) lru.add(pfn)
}

/** A further mapping of an anonymous page, or one after swap-in or migration (`page_add_anon_rmap`). */
export function pageAddAnonRmap(vma: Vma, pfn: Pfn, addr: Addr, exclusive: boolean): void {
  vma.mm.sys.pages.mapcount[pfn]++
  setAnonRmap(vma, pfn, addr, exclusive)
}

export function pageAddFileRmap(sys: System, pfn: Pfn): void {
  sys.pages.mapcount[pfn]++
}

/** One page-table entry less (`page_remove_rmap`). */
export function pageRemoveRmap(sys: System, pfn: Pfn): void {
  const { pages } = sys
  if (pages.mapcount[pfn] <= 0) badFrame(pfn, 'is not mapped')
  pages.mapcount[pfn]--
}

/** The only user of the page takes it over (`page_move_anon_rmap`). */
export function pageMoveAnonRmap(vma: Vma, pfn: Pfn): void {
  const { pages } = vma.mm.sys
  assert(vma.anonVma !== null, 'a mapping has an AnonVma before its first anonymous page')
  pages.mapping[pages.head(pfn)] = vma.anonVma.id
  pages.flags[pfn] |= PG_ANON_EXCLUSIVE
}

/** Before a page is shared by an entry that hides it: false if it may be pinned (`page_try_share_anon_rmap`). */
export function pageTryShareAnonRmap(sys: System, pfn: Pfn): boolean {
  if (!isDevicePrivatePage(sys, pfn) && sys.pages.maybeDmaPinned(pfn)) return false
  sys.pages.flags[pfn] &= ~PG_ANON_EXCLUSIVE
  return true
}

/** Before fork shares a page: false if the child needs its own copy, as DMA may be going on (`page_try_dup_anon_rmap`). */
export function pageTryDupAnonRmap(vma: Vma, pfn: Pfn): boolean {
  const { sys } = vma.mm
  if (sys.pages.isAnonExclusive(pfn)) {
    if (!isDevicePrivatePage(sys, pfn) && vma.mm.hasPinned && sys.pages.maybeDmaPinned(pfn)) return false
    sys.pages.flags[pfn] &= ~PG_ANON_EXCLUSIVE
  }
  sys.pages.mapcount[pfn]++
  return true
}

// ---- huge entries ----

/** A huge entry more maps an anonymous compound page (`page_add_anon_rmap` of a compound page). */
export function compoundAddAnonRmap(vma: Vma, head: Pfn, addr: Addr, exclusive: boolean): void {
  vma.mm.sys.pages.getCompound(head).mapcount++
  setAnonRmap(vma, head, addr, exclusive)
}

/** One huge entry less. */
export function compoundRemoveRmap(sys: System, head: Pfn): void {
  const compound = sys.pages.getCompound(head)
  assert(compound.mapcount > 0, () => `compound page ${head} is mapped as a whole`)
  compound.mapcount--
}

/** Before fork shares a whole page: false if the child needs copies, as DMA may be going on. */
export function compoundTryDupAnonRmap(vma: Vma, head: Pfn): boolean {
  const { pages } = vma.mm.sys
  if (pages.isAnonExclusive(head)) {
    if (vma.mm.hasPinned && pages.maybeDmaPinned(head)) return false
    pages.flags[head] &= ~PG_ANON_EXCLUSIVE
  }
  pages.getCompound(head).mapcount++
  return true
}
