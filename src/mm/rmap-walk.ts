// Reverse mapping, the walks: from a frame to every entry that maps it, to unmap the page for migration, reclaim,
// poison or exclusive use by a device, and to map it again. Follows mm/rmap.c and mm/migrate.c of Linux 6.1. An
// invalidation is raised for every mapping that *may* map the page, before its entry is looked at (T-36).

import { type Addr, PAGE_SIZE, type Pfn, pteIndex } from '../base/addr.ts'
import { assert } from '../base/assert.ts'
import type { IntervalTree } from '../base/interval-tree.ts'
import { AnonVma } from './anon-vma.ts'
import { hugePmdMaps, removeHugeMigrationEntry, setHugeMigrationEntry, splitHugePmdAddress } from './huge-pmd.ts'
import { hugetlbRemoveMigrationEntry, hugetlbTryToMigrateOne, hugetlbTryToUnmapOne } from './hugetlb-unmap.ts'
import { isDevicePrivatePage } from './memremap.ts'
import { MM_ANONPAGES, MM_SWAPENTS, type Mm } from './mm.ts'
import {
  MMU_NOTIFY_CLEAR,
  MmuNotifierRange,
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from './mmu-notifier.ts'
import { PG_ANON, PG_DIRTY, PG_HEAD, PG_HUGETLB, PG_HWPOISON, PG_SWAPBACKED, PG_SWAPCACHE, PG_TAIL } from './page.ts'
import { getPage, putPage } from './page-alloc.ts'
import type { PteTable } from './pgtable.ts'
import {
  PTE_DIRTY,
  PTE_EXCLUSIVE,
  PTE_KIND_DEVICE_EXCLUSIVE,
  PTE_KIND_DEVICE_PRIVATE,
  PTE_KIND_HWPOISON,
  PTE_KIND_MIGRATION,
  PTE_KIND_SWAP,
  PTE_MKDIRTY,
  PTE_PRESENT,
  PTE_SOFT_DIRTY,
  PTE_WRITE,
  PTE_YOUNG,
  type PteFlags,
  pteKind,
} from './pte.ts'
import { pageAddAnonRmap, pageAddFileRmap, pageRemoveRmap, pageTryShareAnonRmap, rssKind } from './rmap.ts'
import type { System } from './system.ts'
import { tlbUnmap } from './tlb.ts'
import { VM_LOCKED, VM_WRITE } from './vm-flags.ts'
import { type Vma, vmaAddress, vmaProtection } from './vma.ts'

/** Called for each mapping that may map the page, with the page's address there. Returns false to stop the walk. */
export type RmapVisitor = (vma: Vma, addr: Addr) => boolean

/** Visits every mapping that may map the page, until `visit` says false or, if asked to, the page is not mapped any more. */
export function rmapWalk(sys: System, pfn: Pfn, untilUnmapped: boolean, visit: RmapVisitor): void {
  const { pages } = sys
  const head = pages.head(pfn)
  const first = pages.index[head]
  const npages = (pages.flags[head] & PG_HEAD) !== 0 ? 1 << pages.getCompound(head).order : 1
  const tree = rmapTree(sys, head)
  if (tree === null) return
  for (let node = tree.first(first, first + npages - 1); node !== undefined; ) {
    // The visit may change mappings' trees no more than by removing this page's entries, which keeps nodes in place.
    const next = tree.next(node, first, first + npages - 1)
    const vma = node.value
    const addr = rmapAddress(vma, first, npages)
    if (!visit(vma, addr)) return
    if (untilUnmapped && !pages.isMapped(head)) return
    node = next
  }
}

/** The mappings that may map the page, by page offset; null if it has no identity. */
function rmapTree(sys: System, head: Pfn): IntervalTree<Vma> | null {
  const mapping = sys.mappings.get(sys.pages.mapping[head])
  if (mapping === undefined) return null
  return mapping instanceof AnonVma ? mapping.tree : mapping.iMmap
}

/** Where the page lies in the mapping; the first part of it that does, for a compound page. */
function rmapAddress(vma: Vma, pgoff: number, npages: number): Addr {
  const addr = vmaAddress(vma, pgoff)
  if (addr >= 0) return addr
  assert(pgoff + npages > vma.pgoff, 'the tree only names mappings that overlap the page')
  return vma.start
}

/** The entry at `addr` refers to a frame in `[pfn, pfn + npages)`, as a mapping (`page_vma_mapped_walk`). */
function entryMaps(flags: number, low: number, pfn: Pfn, npages: number): boolean {
  if ((flags & PTE_PRESENT) === 0) {
    const kind = pteKind(flags)
    if (kind !== PTE_KIND_DEVICE_PRIVATE && kind !== PTE_KIND_DEVICE_EXCLUSIVE) return false
  }
  return low >= pfn && low < pfn + npages
}

/** End of the page in the mapping: of all its parts, for a compound page (`vma_address_end`). */
function extentEnd(vma: Vma, head: Pfn, npages: number): Addr {
  const pgoffEnd = vma.mm.sys.pages.index[head] + npages
  return Math.min(vma.end, vma.start + (pgoffEnd - vma.pgoff) * PAGE_SIZE)
}

/** Frames in the page. */
function pageFrames(sys: System, head: Pfn): number {
  return (sys.pages.flags[head] & PG_HEAD) !== 0 ? 1 << sys.pages.getCompound(head).order : 1
}

export interface UnmapOptions {
  /** Unmap even where the mapping is locked in memory (mlock). */
  readonly ignoreMlock?: boolean
  /** Leave poison entries behind for a poisoned page. */
  readonly hwpoison?: boolean
  /** Split huge entries on the way, which a compound page needs. */
  readonly splitPmd?: boolean
}

/** Unmaps the page everywhere for reclaim or poison: swap entries, poison entries, or nothing for a file page. The caller holds the page lock. */
export function tryToUnmap(sys: System, pfn: Pfn, options: UnmapOptions = {}): void {
  rmapWalk(sys, pfn, true, (vma, addr) => tryToUnmapOne(sys, vma, addr, pfn, options))
}

function tryToUnmapOne(sys: System, vma: Vma, addr: Addr, pfn: Pfn, options: UnmapOptions): boolean {
  const { pages } = sys
  const { mm } = vma
  const head = pages.head(pfn)
  if ((pages.flags[head] & PG_HUGETLB) !== 0) return hugetlbTryToUnmapOne(sys, vma, addr, head)
  if (options.splitPmd === true) splitHugePmdAddress(vma, addr, { head })
  const npages = pageFrames(sys, head)
  const end = extentEnd(vma, head, npages)
  const range = new MmuNotifierRange(MMU_NOTIFY_CLEAR, vma, mm, addr, end)
  mmuNotifierInvalidateRangeStart(range)
  tlbUnmap(mm, addr, end)
  let goOn = true
  for (let at = addr; at < end && goOn; at += PAGE_SIZE) {
    const table = mm.pageTable.findPte(at)
    if (table === null) continue
    const i = pteIndex(at)
    if (!entryMaps(table.words[2 * i + 1], table.words[2 * i], head, npages)) continue
    if (options.ignoreMlock !== true && (vma.flags & VM_LOCKED) !== 0) {
      goOn = false
      break
    }
    goOn = unmapEntry(sys, vma, table, i, options)
  }
  mmuNotifierInvalidateRangeEnd(range)
  return goOn
}

function unmapEntry(sys: System, vma: Vma, table: PteTable, i: number, options: UnmapOptions): boolean {
  const { pages, swap } = sys
  const { mm } = vma
  const words = table.words
  const subpage = words[2 * i]
  const flags = words[2 * i + 1]
  if (pteKind(flags) === PTE_KIND_DEVICE_EXCLUSIVE) return false // a part of a compound page that a device has for itself
  const head = pages.head(subpage)
  const anonExclusive = pages.isAnon(subpage) && pages.isAnonExclusive(subpage)
  words[2 * i] = 0
  words[2 * i + 1] = 0
  if ((flags & PTE_PRESENT) !== 0 && (flags & PTE_DIRTY) !== 0) pages.setDirty(subpage)

  const pageFlags = pages.flags[head]
  if ((pages.flags[subpage] & PG_HWPOISON) !== 0 && options.hwpoison === true) {
    mm.rss[rssKind(sys, subpage)]--
    words[2 * i] = subpage
    words[2 * i + 1] = PTE_KIND_HWPOISON
  } else if ((pageFlags & PG_ANON) !== 0) {
    if ((pageFlags & PG_SWAPBACKED) === 0) {
      // Marked free by madvise: drop it, unless it was written or is used otherwise since.
      const clean = (pageFlags & PG_DIRTY) === 0
      if (!clean || pages.refcount[head] !== 1 + pages.folioMapcount(head)) {
        words[2 * i] = subpage
        words[2 * i + 1] = flags
        pages.flags[head] |= PG_SWAPBACKED
        return false
      }
      mm.rss[MM_ANONPAGES]--
    } else {
      assert(swap !== null && (pageFlags & PG_SWAPCACHE) !== 0, () => `frame ${subpage} has a swap slot`)
      const slot = pages.swap[subpage]
      if (anonExclusive && !pageTryShareAnonRmap(sys, subpage)) {
        words[2 * i] = subpage
        words[2 * i + 1] = flags
        return false
      }
      swap.duplicate(slot)
      mm.rss[MM_ANONPAGES]--
      mm.rss[MM_SWAPENTS]++
      words[2 * i] = slot
      words[2 * i + 1] = PTE_KIND_SWAP | (anonExclusive ? PTE_EXCLUSIVE : 0) | (flags & PTE_SOFT_DIRTY)
    }
  } else {
    mm.rss[rssKind(sys, subpage)]--
  }
  pageRemoveRmap(sys, subpage)
  putPage(sys, subpage)
  return true
}

/**
 * Replaces every mapping of the page by a migration entry. The caller holds the page lock and a reference. With
 * `splitPmd` a huge entry is split on the way, as the split of the page itself needs it.
 */
export function tryToMigrate(sys: System, pfn: Pfn, splitPmd = false): void {
  rmapWalk(sys, pfn, true, (vma, addr) => tryToMigrateOne(sys, vma, addr, pfn, splitPmd))
}

function tryToMigrateOne(sys: System, vma: Vma, addr: Addr, pfn: Pfn, splitPmd: boolean): boolean {
  const { pages } = sys
  const { mm } = vma
  const head = pages.head(pfn)
  if (splitPmd) splitHugePmdAddress(vma, addr, { head, freeze: true })
  if ((pages.flags[head] & PG_HUGETLB) !== 0) return hugetlbTryToMigrateOne(sys, vma, addr, head)
  const npages = pageFrames(sys, head)
  const end = extentEnd(vma, head, npages)
  const range = new MmuNotifierRange(MMU_NOTIFY_CLEAR, vma, mm, addr, end)
  mmuNotifierInvalidateRangeStart(range)
  tlbUnmap(mm, addr, end)
  let goOn = true
  if (npages > 1 && hugePmdMaps(mm, addr, head)) {
    goOn = setHugeMigrationEntry(vma, addr, head)
  } else {
    for (let at = addr; at < end && goOn; at += PAGE_SIZE) {
      const table = mm.pageTable.findPte(at)
      if (table === null) continue
      const i = pteIndex(at)
      if (!entryMaps(table.words[2 * i + 1], table.words[2 * i], head, npages)) continue
      goOn = setMigrationEntry(sys, table, i)
    }
  }
  mmuNotifierInvalidateRangeEnd(range)
  return goOn
}

/**
 * Turns one mapping into a migration entry of its kind (T-25). False if the page may be pinned, or if a device has it for
 * itself: such an entry is no mapping. Only a part of a compound page can get here like that.
 */
export function setMigrationEntry(sys: System, table: PteTable, i: number): boolean {
  const { pages } = sys
  const words = table.words
  const subpage = words[2 * i]
  const flags = words[2 * i + 1]
  if (pteKind(flags) === PTE_KIND_DEVICE_EXCLUSIVE) return false
  const anonExclusive = pages.isAnon(subpage) && pages.isAnonExclusive(subpage)
  if (anonExclusive && !pageTryShareAnonRmap(sys, subpage)) return false
  let entry = PTE_KIND_MIGRATION | (flags & PTE_SOFT_DIRTY)
  if ((flags & PTE_WRITE) !== 0) entry |= PTE_WRITE
  else if (anonExclusive) entry |= PTE_EXCLUSIVE
  if ((flags & PTE_PRESENT) !== 0) {
    if ((flags & PTE_DIRTY) !== 0) {
      pages.setDirty(subpage)
      entry |= PTE_DIRTY
    }
    entry |= flags & PTE_YOUNG
  }
  words[2 * i] = subpage
  words[2 * i + 1] = entry
  pageRemoveRmap(sys, subpage)
  putPage(sys, subpage)
  return true
}

/** Where the page before was mapped. Who goes from page to page keeps one as long as no mapping changes. */
export class RmapCursor {
  /** `Pages.mapping` of pages that only `vma` may map. */
  mapping = 0
  vma: Vma | null = null

  /** Points at the mapping of a page, if there is only one that can have it. */
  find(sys: System, pfn: Pfn): void {
    const tree = rmapTree(sys, pfn)
    if (tree === null || tree.size !== 1) return
    const pgoff = sys.pages.index[pfn]
    const node = tree.first(pgoff, pgoff)
    if (node === undefined) return
    this.mapping = sys.pages.mapping[pfn]
    this.vma = node.value
  }
}

/**
 * Turns all migration entries of `from` into mappings of `to`, which may be the same page (MG-70 to MG-72). With a cursor
 * neighbours are found without a search.
 */
export function removeMigrationPtes(sys: System, from: Pfn, to: Pfn, cursor: RmapCursor | null = null): void {
  const { pages } = sys
  if (((pages.flags[from] | pages.flags[to]) & (PG_HEAD | PG_TAIL)) === 0) {
    removeSmallMigrationPtes(sys, from, to, cursor)
    return
  }
  const npages = pageFrames(sys, pages.head(from))
  const isHugetlb = (pages.flags[to] & PG_HUGETLB) !== 0
  rmapWalk(sys, to, false, (vma, addr) => {
    if (isHugetlb) {
      hugetlbRemoveMigrationEntry(sys, vma, addr, from, to)
      return true
    }
    const end = extentEnd(vma, pages.head(to), npages)
    if (npages > 1 && removeHugeMigrationEntry(vma, addr, from, to)) return true
    for (let at = addr; at < end; at += PAGE_SIZE) {
      const table = vma.mm.pageTable.findPte(at)
      if (table === null) continue
      const i = pteIndex(at)
      const flags = table.words[2 * i + 1]
      const low = table.words[2 * i]
      if (pteKind(flags) !== PTE_KIND_MIGRATION || low < from || low >= from + npages) continue
      restoreMigrationEntry(sys, vma, at, table.words, i, to + (low - from))
    }
    return true
  })
}

/** The same for pages of one frame, without a visitor: it runs for each page of each migration. */
function removeSmallMigrationPtes(sys: System, from: Pfn, to: Pfn, cursor: RmapCursor | null): void {
  const { pages } = sys
  const mapping = pages.mapping[to]
  const pgoff = pages.index[to]
  if (cursor !== null && cursor.vma !== null && cursor.mapping === mapping) {
    removeSmallMigrationPte(sys, cursor.vma, pgoff, from, to)
    return
  }
  const tree = rmapTree(sys, to)
  if (tree === null) return
  for (let node = tree.first(pgoff, pgoff); node !== undefined; node = tree.next(node, pgoff, pgoff)) {
    removeSmallMigrationPte(sys, node.value, pgoff, from, to)
    if (cursor === null || tree.size > 1) continue
    cursor.mapping = mapping
    cursor.vma = node.value
  }
}

function removeSmallMigrationPte(sys: System, vma: Vma, pgoff: number, from: Pfn, to: Pfn): void {
  const addr = vmaAddress(vma, pgoff)
  const table = addr < 0 ? null : vma.mm.pageTable.findPte(addr)
  if (table === null) return
  const { words } = table
  const i = pteIndex(addr)
  if (words[2 * i] === from && pteKind(words[2 * i + 1]) === PTE_KIND_MIGRATION) {
    restoreMigrationEntry(sys, vma, addr, words, i, to)
  }
}

function restoreMigrationEntry(sys: System, vma: Vma, addr: Addr, words: Uint32Array, i: number, target: Pfn): void {
  const { pages } = sys
  const old = words[2 * i + 1]
  getPage(sys, target)
  const isDirty = (pages.flags[pages.head(target)] & PG_DIRTY) !== 0
  const flags = migratedFlags(vma, old, isDevicePrivatePage(sys, target), isDirty)
  const readable = (old & (PTE_WRITE | PTE_EXCLUSIVE)) === 0
  if (pages.isAnon(target)) pageAddAnonRmap(vma, target, addr, !readable)
  else pageAddFileRmap(sys, target)
  words[2 * i] = target
  words[2 * i + 1] = flags
}

/** What the migration entry with the flags `old` becomes, for a target that is private memory of a device or not, dirty or not. */
export function migratedFlags(vma: Vma, old: PteFlags, isDevicePrivate: boolean, isDirty: boolean): PteFlags {
  let flags = old & PTE_SOFT_DIRTY
  if ((old & PTE_WRITE) !== 0 && (vma.flags & VM_WRITE) !== 0) flags |= PTE_WRITE
  if (isDevicePrivate) return flags | PTE_KIND_DEVICE_PRIVATE
  flags |= (vmaProtection(vma) & ~PTE_WRITE) | (old & PTE_YOUNG)
  return (old & PTE_DIRTY) !== 0 && isDirty ? flags | PTE_MKDIRTY : flags
}

/**
 * Replaces every mapping of an anonymous page by a device-exclusive entry (EX-4, EX-5), raising EXCLUSIVE with `owner`
 * for each mapping visited. The caller holds the page lock and a reference.
 *
 * Returns true if the mapping at `addr` of `mm` was converted and writable, and no mapping is left.
 */
export function pageMakeDeviceExclusive(
  sys: System,
  pfn: Pfn,
  mm: Mm,
  addr: Addr,
  raise: (vma: Vma, start: Addr, end: Addr) => MmuNotifierRange,
): boolean {
  const { pages } = sys
  if (!pages.isAnon(pfn) || (pages.flags[pfn] & PG_HUGETLB) !== 0) return false
  const npages = pageFrames(sys, pfn)
  let valid = false
  rmapWalk(sys, pfn, true, (vma, first) => {
    const end = extentEnd(vma, pfn, npages)
    const range = raise(vma, first, Math.min(vma.end, first + npages * PAGE_SIZE))
    mmuNotifierInvalidateRangeStart(range)
    tlbUnmap(vma.mm, first, end)
    let goOn = true
    for (let at = first; at < end; at += PAGE_SIZE) {
      const table = vma.mm.pageTable.findPte(at)
      if (table === null) continue
      const i = pteIndex(at)
      const flags = table.words[2 * i + 1]
      const subpage = table.words[2 * i]
      if (!entryMaps(flags, subpage, pfn, npages)) continue
      if ((flags & PTE_PRESENT) === 0) {
        goOn = false
        break
      }
      if ((flags & PTE_DIRTY) !== 0) pages.setDirty(subpage)
      const writable = (flags & PTE_WRITE) !== 0
      if (vma.mm === mm && at === addr && writable) valid = true
      table.words[2 * i + 1] = PTE_KIND_DEVICE_EXCLUSIVE | (flags & (PTE_WRITE | PTE_SOFT_DIRTY))
      pageRemoveRmap(sys, subpage)
    }
    mmuNotifierInvalidateRangeEnd(range)
    return goOn
  })
  return valid && !pages.isMapped(pfn)
}
