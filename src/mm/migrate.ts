// Moving pages to other frames of system memory, as compaction, memory hot-remove and move_pages(2) do. Follows
// `migrate_pages` and `do_pages_move` of mm/migrate.c, Linux 6.1 (spec MN-72, CP-73). Nobody waits for anybody: a page that is
// locked, pinned or held otherwise stays where it is.
//
//   isolate   off the LRU, with a reference
//   unmap     every mapping becomes a migration entry (CLEAR for each that may map the page)
//   move      if nobody else holds it, its identity goes to the new frame, then its contents
//   remap     the migration entries become mappings of the new frame, or of the old one if that failed

import { type Addr, isPageAligned, PAGE_SIZE, type Pfn, pmdIndex, pteIndex } from '../base/addr.ts'
import { EACCES, EAGAIN, EBUSY, EFAULT, EINVAL, ENOENT, ENOMEM, EOPNOTSUPP } from '../base/errno.ts'
import { splitHugePage } from './huge-split.ts'
import { idleReferences, moveIdentity } from './migrate-mapping.ts'
import type { Mm } from './mm.ts'
import { PG_HEAD, PG_HUGETLB, PG_LRU, PG_WRITEBACK } from './page.ts'
import { allocCompoundPage, allocPage, getPage, putPage, unlockPage, waitForPage } from './page-alloc.ts'
import { PTE_PRESENT, PTE_SPECIAL } from './pte.ts'
import { removeMigrationPtes, tryToMigrate } from './rmap-walk.ts'
import type { System } from './system.ts'
import { VM_IO, VM_PFNMAP } from './vm-flags.ts'

/** A fresh frame, or a compound page of `order`, with one reference; -1 if there is none. */
export type MigrationTarget = (order: number) => Pfn

/**
 * Moves one page, which the caller has isolated: it is off the LRU and the caller's reference is the only one besides those of
 * mappings and caches. A compound page moves as a whole. Either way the reference is taken over; a page that stays goes back
 * on the LRU.
 *
 * Returns 0, or
 * - -EAGAIN the page is locked: wait for `sys.waitFor`
 * - -EBUSY  somebody else holds the page, or it is being written
 * - -ENOMEM there is no target
 * - -EINVAL this is no page of system memory that somebody holds; then nothing is taken over
 */
export function migratePage(sys: System, page: Pfn, getTarget: MigrationTarget): number {
  const { pages } = sys
  if (!(pages.refcount[page] > 0) || pages.head(page) !== page || pages.pagemap[page] !== 0) return -EINVAL
  if (!pages.trylock(page)) {
    waitForPage(sys, page)
    putBack(sys, page)
    return -EAGAIN
  }
  const ret = moveLocked(sys, page, getTarget)
  unlockPage(sys, page)
  if (ret === 0) putPage(sys, page)
  else putBack(sys, page)
  return ret
}

function moveLocked(sys: System, page: Pfn, getTarget: MigrationTarget): number {
  const { pages } = sys
  if ((pages.flags[page] & PG_WRITEBACK) !== 0) return -EBUSY
  const order = orderOf(sys, page)
  const target = getTarget(order)
  if (target < 0) return -ENOMEM
  pages.trylock(target)
  if (pages.isMapped(page)) tryToMigrate(sys, page)
  const moved = !pages.isMapped(page) && pages.refcount[page] === idleReferences(sys, page)
  if (moved) {
    moveIdentity(sys, page, target)
    for (let i = 0; i < 1 << order; i++) sys.mmu.copyFrame(target + i, page + i)
    if ((pages.flags[target] & PG_HUGETLB) === 0) sys.lru.add(target)
  }
  removeMigrationPtes(sys, page, moved ? target : page)
  unlockPage(sys, target)
  putPage(sys, target)
  return moved ? 0 : -EBUSY
}

function orderOf(sys: System, page: Pfn): number {
  return (sys.pages.flags[page] & PG_HEAD) === 0 ? 0 : sys.pages.getCompound(page).order
}

/** Ends the isolation of a page that stays. */
function putBack(sys: System, page: Pfn): void {
  const { pages } = sys
  const wasUsed = pages.refcount[page] > 1
  if (wasUsed && (pages.flags[page] & (PG_HUGETLB | PG_LRU)) === 0) sys.lru.add(page)
  putPage(sys, page)
}

/** How pages are to be moved. */
export interface MovePagesOptions {
  /** Also pages that others map too (MPOL_MF_MOVE_ALL). Default false. */
  readonly all?: boolean
}

/**
 * Moves the pages of `[start, start + npages * 4096)` to other frames of system memory. `status[i]` becomes 0 for a page that
 * moved (a huge page moves as a whole, once), or says why it did not:
 * - -EFAULT no mapping, one of raw frames, or the zero page
 * - -ENOENT no page there, or one on a device
 * - -EACCES others map the page too
 * - -EBUSY  somebody holds the page
 * - -EAGAIN it is locked: wait for `sys.waitFor`
 * - -ENOMEM no free frame
 *
 * The caller holds mmapLock for reading. Returns 0, -EINVAL for a range that is not one of pages or a status that is too short,
 * or -EOPNOTSUPP where each page has its one home frame.
 */
export function movePages(
  mm: Mm,
  start: Addr,
  npages: number,
  status: Int32Array,
  options: MovePagesOptions = {},
): number {
  if (!Number.isSafeInteger(start) || start < 0 || !isPageAligned(start)) return -EINVAL
  if (!Number.isSafeInteger(npages) || npages < 0 || status.length < npages) return -EINVAL
  if (!mm.sys.mmu.capabilities.anyFrame) return -EOPNOTSUPP
  const moved = new Set<Pfn>()
  for (let i = 0; i < npages; i++) status[i] = moveAt(mm, start + i * PAGE_SIZE, options.all === true, moved)
  return 0
}

/** Moves the page behind one address. `moved` are the heads of huge pages that the call has moved already. */
function moveAt(mm: Mm, addr: Addr, all: boolean, moved: Set<Pfn>): number {
  const { sys } = mm
  const { pages } = sys
  const page = pageAt(mm, addr)
  if (page < 0) return page
  const head = pages.head(page)
  if (moved.has(head)) return 0
  if (pages.totalMapcount(page) > 1 && !all) return -EACCES
  if (!isolate(sys, head)) return -EBUSY
  const isHuge = (pages.flags[head] & (PG_HEAD | PG_HUGETLB)) === PG_HEAD
  const target: MigrationTarget = (order) => allocTarget(mm, addr, head, order)
  const ret = migratePage(sys, head, target)
  if (ret === 0) {
    const now = pageAt(mm, addr)
    if (pages.isCompound(now)) moved.add(pages.head(now))
    return 0
  }
  // Without 2 MiB in one piece a transparent huge page is taken apart, and its small pages move one by one.
  return ret === -ENOMEM && isHuge && split(sys, page) ? moveAt(mm, addr, all, moved) : ret
}

function isolate(sys: System, head: Pfn): boolean {
  if ((sys.pages.flags[head] & PG_HUGETLB) === 0) return sys.lru.isolate(head)
  getPage(sys, head)
  return true
}

/** A page of the pool for a page of the pool; it must not be one that was promised to somebody. */
function allocTarget(mm: Mm, addr: Addr, head: Pfn, order: number): Pfn {
  const { sys } = mm
  if ((sys.pages.flags[head] & PG_HUGETLB) !== 0) return sys.hugetlb.hasUnreserved ? sys.hugetlb.take(false) : -1
  return order === 0 ? allocPage(mm, addr) : allocCompoundPage(sys, mm.space, addr, order)
}

function split(sys: System, page: Pfn): boolean {
  const { pages } = sys
  if (!pages.trylock(page)) return false
  getPage(sys, page)
  const done = splitHugePage(sys, page) === 0
  unlockPage(sys, page)
  putPage(sys, page)
  return done
}

/** The frame behind the entry at `addr`, or -EFAULT or -ENOENT. */
function pageAt(mm: Mm, addr: Addr): Pfn {
  const vma = mm.vmaLookup(addr)
  if (vma === null || (vma.flags & (VM_IO | VM_PFNMAP)) !== 0) return -EFAULT
  const pmd = mm.pageTable.findPmd(addr)
  if (pmd === null) return -ENOENT
  const slot = pmdIndex(addr)
  const table = pmd.tables[slot]
  const i = pteIndex(addr)
  const flags = table === null ? pmd.hugeFlags(slot) : table.words[2 * i + 1]
  if ((flags & PTE_PRESENT) === 0) return -ENOENT
  if ((flags & PTE_SPECIAL) !== 0) return -EFAULT
  const pfn = table === null ? pmd.hugePfn(slot) + i : table.words[2 * i]
  return mm.sys.pages.pagemap[pfn] === 0 ? pfn : -ENOENT
}
