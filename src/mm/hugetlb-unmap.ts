// Taking hugetlb entries away: zap, poison and migration, and what their events cover. Follows `__unmap_hugepage_range` in
// mm/hugetlb.c and the hugetlb branches of mm/rmap.c and mm/migrate.c, Linux 6.1. A hugetlb entry lies in the middle level of
// the page table, where it stands for 512 pages; its page counts such mappings in `Compound.mapcount`, and none in RSS.

import { type Addr, type Pfn, PMD_SIZE, PUD_SIZE, pmdIndex, pudAlignDown, pudAlignUp } from '../base/addr.ts'
import { hugetlbStateOf } from './hugetlb-reserve.ts'
import {
  MMU_NOTIFY_CLEAR,
  MMU_NOTIFY_UNMAP,
  MmuNotifierRange,
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from './mmu-notifier.ts'
import { PG_ANON_EXCLUSIVE, PG_DIRTY, PG_HWPOISON } from './page.ts'
import { getPage, putPage } from './page-alloc.ts'
import {
  PTE_DIRTY,
  PTE_EXCLUSIVE,
  PTE_HUGE,
  PTE_KIND_HWPOISON,
  PTE_KIND_MIGRATION,
  PTE_PRESENT,
  PTE_WRITE,
  PTE_YOUNG,
  pteKind,
} from './pte.ts'
import type { System } from './system.ts'
import { VM_MAYSHARE, VM_WRITE } from './vm-flags.ts'
import { type Vma, vmaProtection } from './vma.ts'

/**
 * Widens an event on a shared hugetlb mapping to whole blocks of 1 GiB (MN-89). The kernel lets such mappings share the page
 * table of a block, so a change of one entry may reach them all; every mapping has tables of its own here.
 */
export function widenForPmdSharing(range: MmuNotifierRange): void {
  const { vma } = range
  if (vma === null || (vma.flags & VM_MAYSHARE) === 0) return
  const start = pudAlignUp(vma.start)
  const end = pudAlignDown(vma.end)
  if (start >= end || range.end <= start || range.start >= end) return
  if (range.start > start) range.start = pudAlignDown(range.start)
  if (range.end < end) range.end = pudAlignUp(range.end)
}

/** A split at `addr` keeps the block of 1 GiB around it from being shared any longer: CLEAR over the block (`hugetlb_split`). */
export function unshareForSplit(vma: Vma, addr: Addr): void {
  const floor = pudAlignDown(addr)
  const ceiling = floor + PUD_SIZE
  if ((vma.flags & VM_MAYSHARE) === 0 || floor === addr || floor < vma.start || ceiling > vma.end) return
  const range = new MmuNotifierRange(MMU_NOTIFY_CLEAR, vma, vma.mm, floor, ceiling)
  mmuNotifierInvalidateRangeStart(range)
  mmuNotifierInvalidateRangeEnd(range)
}

/**
 * Zaps `[start, end)` under an UNMAP event of its own, besides the one that the caller may have raised. With `only` nothing
 * but that page goes, and the mapping remembers that it lost a page.
 */
export function unmapHugepageRange(vma: Vma, start: Addr, end: Addr, only: Pfn = -1): void {
  const { mm } = vma
  const { sys, pageTable } = mm
  const range = new MmuNotifierRange(MMU_NOTIFY_UNMAP, vma, mm, start, end)
  widenForPmdSharing(range)
  mmuNotifierInvalidateRangeStart(range)
  for (let addr = start; addr < end; addr += PMD_SIZE) {
    const pmd = pageTable.findPmd(addr)
    if (pmd === null) continue
    const slot = pmdIndex(addr)
    const flags = pmd.hugeFlags(slot)
    const head = pmd.hugePfn(slot)
    if (flags === 0) continue
    const present = (flags & PTE_PRESENT) !== 0
    if (only >= 0 && present && head !== only) continue
    pmd.setHuge(slot, 0, 0)
    // A poisoned or migrating page left its entry, and its reference, before.
    if (!present) continue
    if (only >= 0) hugetlbStateOf(vma).unmappedForParent = true
    removeMapping(sys, flags, head)
  }
  mmuNotifierInvalidateRangeEnd(range)
}

/** Replaces the entry at `addr` by a poison entry, if it maps the page. True: go on with the next mapping. */
export function hugetlbTryToUnmapOne(sys: System, vma: Vma, addr: Addr, head: Pfn): boolean {
  const { pages } = sys
  changeMapping(vma, addr, head, (flags) => {
    removeMapping(sys, flags, head)
    return (pages.flags[head] & PG_HWPOISON) !== 0 ? PTE_KIND_HWPOISON | PTE_HUGE : 0
  })
  return true
}

/** Replaces the entry at `addr` by a migration entry, if it maps the page; false if the page may be pinned. */
export function hugetlbTryToMigrateOne(sys: System, vma: Vma, addr: Addr, head: Pfn): boolean {
  const { pages } = sys
  let goOn = true
  changeMapping(vma, addr, head, (flags) => {
    const exclusive = pages.isAnon(head) && pages.isAnonExclusive(head)
    if (exclusive && pages.maybeDmaPinned(head)) {
      goOn = false
      return flags
    }
    pages.flags[head] &= ~PG_ANON_EXCLUSIVE
    const kind = (flags & PTE_WRITE) !== 0 ? PTE_WRITE : exclusive ? PTE_EXCLUSIVE : 0
    removeMapping(sys, flags, head)
    return PTE_KIND_MIGRATION | PTE_HUGE | kind | (flags & (PTE_DIRTY | PTE_YOUNG))
  })
  return goOn
}

/** Turns a migration entry of the page `from` at `addr` into a mapping of `to`, which may be the same page. */
export function hugetlbRemoveMigrationEntry(sys: System, vma: Vma, addr: Addr, from: Pfn, to: Pfn): void {
  const { pages } = sys
  const pmd = vma.mm.pageTable.findPmd(addr)
  if (pmd === null) return
  const slot = pmdIndex(addr)
  const old = pmd.hugeFlags(slot)
  if (pteKind(old) !== PTE_KIND_MIGRATION || pmd.hugePfn(slot) !== from) return
  let flags = (vmaProtection(vma) & ~PTE_WRITE) | PTE_HUGE | (old & PTE_YOUNG)
  if ((pages.flags[to] & PG_DIRTY) !== 0) flags |= old & PTE_DIRTY
  if ((old & PTE_WRITE) !== 0) flags |= (vma.flags & VM_WRITE) !== 0 ? PTE_WRITE : 0
  if (pages.isAnon(to) && (old & (PTE_WRITE | PTE_EXCLUSIVE)) !== 0) pages.flags[to] |= PG_ANON_EXCLUSIVE
  getPage(sys, to)
  pages.getCompound(to).mapcount++
  pmd.setHuge(slot, flags, to)
}

/** Gives a present entry of the page at `addr` new flags, under CLEAR; the event comes even if nothing is mapped (T-36). */
function changeMapping(vma: Vma, addr: Addr, head: Pfn, change: (flags: number) => number): void {
  const { mm } = vma
  const range = new MmuNotifierRange(MMU_NOTIFY_CLEAR, vma, mm, addr, Math.min(vma.end, addr + PMD_SIZE))
  widenForPmdSharing(range)
  mmuNotifierInvalidateRangeStart(range)
  const pmd = mm.pageTable.findPmd(addr)
  const slot = pmdIndex(addr)
  if (pmd !== null && (pmd.hugeFlags(slot) & PTE_PRESENT) !== 0 && pmd.hugePfn(slot) === head) {
    const flags = change(pmd.hugeFlags(slot))
    pmd.setHuge(slot, flags, flags === 0 ? 0 : head)
  }
  mmuNotifierInvalidateRangeEnd(range)
}

/** An entry with these flags mapped the page and is gone. */
function removeMapping(sys: System, flags: number, head: Pfn): void {
  const { pages } = sys
  if ((flags & PTE_DIRTY) !== 0) pages.setDirty(head)
  pages.getCompound(head).mapcount--
  putPage(sys, head)
}
