// hugetlb mappings: faults, copy on write, fork, mprotect and moves of entries that map 2 MiB at once. Follows mm/hugetlb.c of
// Linux 6.1 for the one size that a middle-level entry maps. Such memory differs from all other: every page of it comes from
// a pool, there is no zero page and no swap, a mapping is promised its pages when it is made, and the owner of a private page
// gets its copy even if a child has to lose the original for it.
//
//   hugetlb-pool.ts  the pages       hugetlb-reserve.ts  the promises       hugetlb-file.ts  page cache, mmap, split
//   hugetlb-unmap.ts entries that go away                                   hugetlb-poison.ts broken pages

import { type Addr, HPAGE_PMD_NR, type Pfn, PMD_SIZE, pmdAlignDown, pmdIndex } from '../base/addr.ts'
import { assert } from '../base/assert.ts'
import { ENOMEM } from '../base/errno.ts'
import type { AddressSpace } from './address-space.ts'
import { anonVmaPrepare } from './anon-vma.ts'
import { allocHugePage, hugetlbStateOf, isReserveOwner } from './hugetlb-reserve.ts'
import { unmapHugepageRange, widenForPmdSharing } from './hugetlb-unmap.ts'
import {
  MMU_NOTIFY_CLEAR,
  MMU_NOTIFY_PROTECTION_VMA,
  MmuNotifierRange,
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from './mmu-notifier.ts'
import { PG_ANON, PG_ANON_EXCLUSIVE, PG_DIRTY, PG_HWPOISON, PG_UPTODATE } from './page.ts'
import { getPage, putPage, waitForPage } from './page-alloc.ts'
import type { PmdTable } from './pgtable.ts'
import {
  PTE_DIRTY,
  PTE_EXCLUSIVE,
  PTE_HUGE,
  PTE_KIND_HWPOISON,
  PTE_KIND_MIGRATION,
  PTE_PRESENT,
  PTE_PROTNONE,
  PTE_WRITE,
  PTE_YOUNG,
  type PteFlags,
  pteKind,
} from './pte.ts'
import { pageMoveAnonRmap } from './rmap.ts'
import type { System } from './system.ts'
import {
  FAULT_FLAG_UNSHARE,
  FAULT_FLAG_WRITE,
  VM_FAULT_HWPOISON_LARGE,
  VM_FAULT_RETRY,
  VM_FAULT_SIGBUS,
  VM_FAULT_SIGSEGV,
} from './vm-fault.ts'
import { isCowMapping, VM_MAYSHARE, VM_SHARED, VM_WRITE } from './vm-flags.ts'
import { linearPageIndex, type Vma, vmaAddress, vmaProtection } from './vma.ts'

/** The part of `handleMmFault` for hugetlb mappings; the same contract. SIGBUS also means that the pool is empty. */
export function hugetlbFault(vma: Vma, addr: Addr, flags: number): number {
  const { mm } = vma
  const { sys } = mm
  const start = pmdAlignDown(addr)
  const pmd = mm.pageTable.allocPmd(start)
  const slot = pmdIndex(start)
  const entry = pmd.hugeFlags(slot)
  if (entry === 0) return hugetlbNoPage(vma, start, flags, pmd, slot)
  const head = pmd.hugePfn(slot)
  if ((entry & PTE_PRESENT) === 0) {
    if (pteKind(entry) === PTE_KIND_HWPOISON) return VM_FAULT_HWPOISON_LARGE
    assert(pteKind(entry) === PTE_KIND_MIGRATION, 'a hugetlb entry is present, poisoned or migrating')
    waitForPage(sys, head)
    return VM_FAULT_RETRY
  }
  if (sys.pages.isLocked(head)) {
    waitForPage(sys, head)
    return VM_FAULT_RETRY
  }
  const mayChange = (flags & (FAULT_FLAG_WRITE | FAULT_FLAG_UNSHARE)) !== 0
  if (mayChange && (entry & PTE_WRITE) === 0) return hugetlbWp(vma, start, flags, pmd, slot)
  pmd.setHuge(slot, entry | PTE_YOUNG | ((flags & FAULT_FLAG_WRITE) !== 0 ? PTE_DIRTY : 0), head)
  return 0
}

// ---- empty entries ----

/** The page comes from the page cache, or is a new one: for the cache if the mapping is shared, anonymous if it is private. */
function hugetlbNoPage(vma: Vma, start: Addr, flags: number, pmd: PmdTable, slot: number): number {
  const { sys } = vma.mm
  const { pages } = sys
  if (hugetlbStateOf(vma).unmappedForParent) return VM_FAULT_SIGBUS
  const mapping = mappingOf(vma)
  const pgoff = linearPageIndex(vma, start)
  const shared = (vma.flags & VM_SHARED) !== 0
  let head = mapping.pages.get(pgoff) ?? -1
  if (head >= 0) {
    if (pages.isLocked(head)) {
      waitForPage(sys, head)
      return VM_FAULT_RETRY
    }
    if ((pages.flags[head] & PG_HWPOISON) !== 0) return VM_FAULT_HWPOISON_LARGE
    getPage(sys, head)
    pages.getCompound(head).mapcount++
  } else {
    if (pgoff >= mapping.npages) return VM_FAULT_SIGBUS
    head = allocHugePage(vma, start)
    if (head < 0) return VM_FAULT_SIGBUS
    for (let i = 0; i < HPAGE_PMD_NR; i++) sys.mmu.clearFrame(head + i)
    pages.flags[head] |= PG_UPTODATE
    if ((vma.flags & VM_MAYSHARE) !== 0) {
      addToPageCache(sys, mapping, pgoff, head)
      pages.getCompound(head).mapcount++
    } else {
      addNewAnonMapping(vma, head, start)
    }
  }
  const writable = shared && (vma.flags & VM_WRITE) !== 0
  pmd.setHuge(slot, makeHugeEntry(vma, writable), head)
  return !shared && (flags & FAULT_FLAG_WRITE) !== 0 ? hugetlbWp(vma, start, flags, pmd, slot) : 0
}

function mappingOf(vma: Vma): AddressSpace {
  const mapping = vma.file?.mapping
  assert(mapping?.isHugetlb === true, 'a hugetlb mapping has a file of the pool')
  return mapping
}

function addToPageCache(sys: System, mapping: AddressSpace, pgoff: number, head: Pfn): void {
  const { pages } = sys
  pages.mapping[head] = mapping.id
  pages.index[head] = pgoff
  pages.flags[head] |= PG_DIRTY // nobody may take it for clean and drop it
  mapping.pages.set(pgoff, head)
  getPage(sys, head)
}

/** First mapping of a new anonymous page. Exclusivity of all its frames is kept in the head. */
function addNewAnonMapping(vma: Vma, head: Pfn, start: Addr): void {
  const { pages } = vma.mm.sys
  anonVmaPrepare(vma)
  assert(vma.anonVma !== null, 'anonVmaPrepare() gives the mapping an AnonVma')
  pages.mapping[head] = vma.anonVma.id
  pages.index[head] = linearPageIndex(vma, start)
  pages.flags[head] |= PG_ANON | PG_ANON_EXCLUSIVE
  pages.getCompound(head).mapcount = 1
}

function makeHugeEntry(vma: Vma, writable: boolean): PteFlags {
  const entry = (vmaProtection(vma) & ~PTE_WRITE) | PTE_HUGE | PTE_YOUNG
  return writable ? entry | PTE_WRITE | PTE_DIRTY : entry
}

// ---- copy on write ----

/** A write, or a pin, through a read-only entry: the page is taken over if nobody else maps it, else copied. */
function hugetlbWp(vma: Vma, start: Addr, flags: number, pmd: PmdTable, slot: number): number {
  const { sys } = vma.mm
  const { pages } = sys
  const unshare = (flags & FAULT_FLAG_UNSHARE) !== 0
  if (!unshare && (vma.flags & VM_WRITE) === 0) return VM_FAULT_SIGSEGV
  if ((vma.flags & VM_MAYSHARE) !== 0) {
    if (!unshare) makeWritable(pmd, slot)
    return 0
  }
  const old = pmd.hugePfn(slot)
  const inPageCache = mappingOf(vma).pages.get(linearPageIndex(vma, start)) === old
  for (;;) {
    if (pages.isAnon(old) && pages.totalMapcount(old) === 1) {
      if (!pages.isAnonExclusive(old)) pageMoveAnonRmap(vma, old)
      if (!unshare) makeWritable(pmd, slot)
      return 0
    }
    const copy = allocHugePage(vma, start)
    if (copy >= 0) {
      replaceByCopy(vma, start, pmd, slot, copy, !unshare)
      return 0
    }
    if (!isReserveOwner(vma) || inPageCache) return VM_FAULT_SIGBUS
    // The pool is empty and the children hold the page: its owner takes it from them, and finds itself alone with it.
    unmapForOwner(vma, old, start)
  }
}

function makeWritable(pmd: PmdTable, slot: number): void {
  pmd.setHuge(slot, pmd.hugeFlags(slot) | PTE_WRITE | PTE_DIRTY | PTE_YOUNG, pmd.hugePfn(slot))
}

/** Maps a copy of the page, which is anonymous, under CLEAR. */
function replaceByCopy(vma: Vma, start: Addr, pmd: PmdTable, slot: number, copy: Pfn, writable: boolean): void {
  const { mm } = vma
  const { sys } = mm
  const old = pmd.hugePfn(slot)
  copyHugePage(sys, copy, old)
  const range = new MmuNotifierRange(MMU_NOTIFY_CLEAR, vma, mm, start, start + PMD_SIZE)
  mmuNotifierInvalidateRangeStart(range)
  sys.pages.getCompound(old).mapcount--
  addNewAnonMapping(vma, copy, start)
  pmd.setHuge(slot, makeHugeEntry(vma, writable), copy)
  mmuNotifierInvalidateRangeEnd(range)
  putPage(sys, old)
}

function copyHugePage(sys: System, copy: Pfn, old: Pfn): void {
  for (let i = 0; i < HPAGE_PMD_NR; i++) sys.mmu.copyFrame(copy + i, old + i)
  sys.pages.flags[copy] |= PG_UPTODATE
}

/** Takes a private page from every mapping that was not promised it; who touches it there gets SIGBUS (`unmap_ref_private`). */
function unmapForOwner(owner: Vma, head: Pfn, start: Addr): void {
  const pgoff = linearPageIndex(owner, start)
  mappingOf(owner).iMmap.forEachOverlap(pgoff, pgoff, ({ value: vma }) => {
    if (vma === owner || (vma.flags & VM_MAYSHARE) !== 0 || isReserveOwner(vma)) return
    // The kernel looks at the owner's address, and misses a child that has moved its mapping.
    const addr = vmaAddress(vma, pgoff)
    unmapHugepageRange(vma, addr, addr + PMD_SIZE, head)
  })
}

// ---- whole mappings ----

/** Brings the entries of `[start, end)` in line with the mapping's flags, under PROTECTION_VMA even if there are none. */
export function hugetlbChangeProtection(vma: Vma, start: Addr, end: Addr): void {
  const range = new MmuNotifierRange(MMU_NOTIFY_PROTECTION_VMA, vma, vma.mm, start, end)
  widenForPmdSharing(range)
  mmuNotifierInvalidateRangeStart(range)
  forEachHugeEntry(vma, start, end, (pmd, slot, flags, head) => {
    if ((flags & PTE_PRESENT) !== 0) {
      pmd.setHuge(slot, (flags & ~(PTE_WRITE | PTE_PROTNONE)) | vmaProtection(vma), head)
    } else if (pteKind(flags) === PTE_KIND_MIGRATION && (flags & PTE_WRITE) !== 0) {
      const exclusive = vma.mm.sys.pages.isAnon(head) ? PTE_EXCLUSIVE : 0
      pmd.setHuge(slot, (flags & ~PTE_WRITE) | exclusive, head)
    }
  })
  mmuNotifierInvalidateRangeEnd(range)
}

/**
 * Copies the entries of a hugetlb mapping to the child, under CLEAR over the whole mapping if it is private.
 *
 * Returns 0, or -ENOMEM if the child needs a copy of a pinned page and the pool has none that nobody was promised.
 */
export function copyHugetlbPageRange(dst: Vma, src: Vma): number {
  const cow = isCowMapping(src.flags)
  const range = cow ? new MmuNotifierRange(MMU_NOTIFY_CLEAR, src, src.mm, src.start, src.end) : null
  if (range !== null) mmuNotifierInvalidateRangeStart(range)
  let err = 0
  for (let addr = src.start; addr < src.end && err === 0; addr += PMD_SIZE) {
    const pmd = src.mm.pageTable.findPmd(addr)
    if (pmd !== null) err = copyHugeEntry(dst, src, pmd, addr, cow)
  }
  if (range !== null) mmuNotifierInvalidateRangeEnd(range)
  return err
}

function copyHugeEntry(dst: Vma, src: Vma, from: PmdTable, addr: Addr, cow: boolean): number {
  const { sys } = src.mm
  const slot = pmdIndex(addr)
  const head = from.hugePfn(slot)
  let flags = from.hugeFlags(slot)
  const to = dst.mm.pageTable.allocPmd(addr) // also for an empty entry: a range fault sees the difference (RF-79)
  if (flags === 0) return 0
  if ((flags & PTE_PRESENT) !== 0) {
    if (!tryDupMapping(src, head)) return copyPinnedPage(dst, head, to, slot, addr)
    getPage(sys, head)
  }
  if (cow && pteKind(flags) !== PTE_KIND_HWPOISON) {
    flags &= ~(PTE_WRITE | PTE_EXCLUSIVE)
    from.setHuge(slot, flags, head)
  }
  to.setHuge(slot, flags, head)
  return 0
}

/** One mapping more, and the page is nobody's own; false if DMA may be going on in it, so that the child needs a copy. */
function tryDupMapping(src: Vma, head: Pfn): boolean {
  const { pages } = src.mm.sys
  if (pages.isAnon(head) && pages.isAnonExclusive(head)) {
    if (src.mm.hasPinned && pages.maybeDmaPinned(head)) return false
    pages.flags[head] &= ~PG_ANON_EXCLUSIVE
  }
  pages.getCompound(head).mapcount++
  return true
}

function copyPinnedPage(dst: Vma, head: Pfn, to: PmdTable, slot: number, addr: Addr): number {
  const copy = allocHugePage(dst, addr)
  if (copy < 0) return -ENOMEM
  copyHugePage(dst.mm.sys, copy, head)
  addNewAnonMapping(dst, copy, addr)
  // The kernel makes the entry writable in a read-only mapping too, which lets the child write there.
  to.setHuge(slot, makeHugeEntry(dst, (dst.flags & VM_WRITE) !== 0), copy)
  return 0
}

/** Moves the entries of `[oldAddr, oldAddr + length)` to the new mapping, under CLEAR over the old range. */
export function moveHugetlbPageTables(vma: Vma, newVma: Vma, oldAddr: Addr, newAddr: Addr, length: number): void {
  const end = oldAddr + length
  const range = new MmuNotifierRange(MMU_NOTIFY_CLEAR, vma, vma.mm, oldAddr, end)
  widenForPmdSharing(range)
  mmuNotifierInvalidateRangeStart(range)
  forEachHugeEntry(vma, oldAddr, end, (pmd, slot, flags, head, addr) => {
    const target = newAddr + (addr - oldAddr)
    pmd.setHuge(slot, 0, 0)
    newVma.mm.pageTable.allocPmd(target).setHuge(pmdIndex(target), flags, head)
  })
  mmuNotifierInvalidateRangeEnd(range)
}

type HugeEntryVisitor = (pmd: PmdTable, slot: number, flags: PteFlags, head: Pfn, addr: Addr) => void

/** Visits the entries of `[start, end)` that are not empty. */
function forEachHugeEntry(vma: Vma, start: Addr, end: Addr, visit: HugeEntryVisitor): void {
  const { pageTable } = vma.mm
  for (let addr = start; addr < end; addr += PMD_SIZE) {
    const pmd = pageTable.findPmd(addr)
    if (pmd === null) continue
    const slot = pmdIndex(addr)
    const flags = pmd.hugeFlags(slot)
    if (flags !== 0) visit(pmd, slot, flags, pmd.hugePfn(slot), addr)
  }
}
