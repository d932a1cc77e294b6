// Collapsing small pages into a huge one: MADV_COLLAPSE. Follows mm/khugepaged.c of Linux 6.1 for anonymous memory
// (spec MN-75). It differs in that there is no daemon that does the same now and then: memory changes only when
// somebody asks.
//
//   look      every page of the 2 MiB must be there or never touched, on the LRU, and held by its mappings alone; one writable
//   fetch     what is swapped or on a device comes back
//   unlink    the table leaves its slot, under a CLEAR event over the 2 MiB that names no mapping
//   copy      into a fresh compound page; the small pages are freed, and one huge entry maps the copy

import {
  type Addr,
  HPAGE_PMD_NR,
  PAGE_SIZE,
  type Pfn,
  PMD_ORDER,
  PMD_SIZE,
  pmdAlignDown,
  pmdAlignUp,
  pmdIndex,
} from '../base/addr.ts'
import { assert } from '../base/assert.ts'
import { EAGAIN, EINVAL, ENOMEM } from '../base/errno.ts'
import { handleMmFault } from './fault.ts'
import { hugeProtection } from './huge-pmd.ts'
import { MM_ANONPAGES } from './mm.ts'
import {
  MMU_NOTIFY_CLEAR,
  MmuNotifierRange,
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from './mmu-notifier.ts'
import { PG_LRU, PG_SWAPCACHE, PG_UPTODATE } from './page.ts'
import { allocCompoundPage, putPage } from './page-alloc.ts'
import type { PmdTable, PteTable } from './pgtable.ts'
import { PTE_MKDIRTY, PTE_PRESENT, PTE_SPECIAL, PTE_WRITE, PTE_YOUNG } from './pte.ts'
import { pageAddNewAnonRmap, pageRemoveRmap } from './rmap.ts'
import { freeSwapCache } from './swap.ts'
import { tlbInstallHuge, tlbUnmap } from './tlb.ts'
import { VM_FAULT_ERROR, VM_FAULT_RETRY } from './vm-fault.ts'
import { VM_HUGETLB, VM_NOHUGEPAGE, VM_SPECIAL, VM_WRITE } from './vm-flags.ts'
import type { Vma } from './vma.ts'

/**
 * Collapses every aligned 2 MiB of `[start, end)`, which lies in the mapping. Whether huge pages are switched on does
 * not matter. Blocks that cannot be collapsed are passed by.
 *
 * Returns 0 if all are huge now, or if the range has no aligned 2 MiB but touches where one begins; -EINVAL if it lies
 * inside one, or if the mapping takes no huge pages; or for the last block that could not be collapsed -EINVAL (nothing
 * there, not anonymous, or none writable), -EAGAIN (a page is in use; with `sys.waitFor` set: on its way) or -ENOMEM
 * (no free 2 MiB).
 */
export function collapseRange(vma: Vma, start: Addr, end: Addr): number {
  if (!canCollapse(vma) || pmdAlignUp(start) > pmdAlignDown(end)) return -EINVAL
  let result = 0
  for (let addr = pmdAlignUp(start); addr + PMD_SIZE <= end; addr += PMD_SIZE) {
    const err = collapseBlock(vma, addr)
    if (err === 0) continue
    result = err
    // The next block will not fare better.
    if (err === -ENOMEM) break
  }
  return result
}

/** Anonymous memory with pages in it, large enough for a huge one (`hugepage_vma_check` outside a fault). */
function canCollapse(vma: Vma): boolean {
  if (!vma.isAnonymous || vma.anonVma === null || !vma.mm.sys.mmu.capabilities.hugePages) return false
  if ((vma.flags & (VM_NOHUGEPAGE | VM_SPECIAL | VM_HUGETLB)) !== 0) return false
  const lastBlock = pmdAlignDown(vma.end - PMD_SIZE)
  return lastBlock >= vma.start
}

function collapseBlock(vma: Vma, start: Addr): number {
  const { mm } = vma
  const { sys, pageTable } = mm
  const pmd = pageTable.findPmd(start)
  const slot = pmdIndex(start)
  if (pmd === null || pmd.isNone(slot)) return -EINVAL
  if (pmd.hugeFlags(slot) !== 0) return (pmd.hugeFlags(slot) & PTE_PRESENT) !== 0 ? 0 : -EINVAL
  const table = pmd.tables[slot]
  assert(table !== null, 'a slot that is not empty holds a table or a huge entry')
  const unfit = look(vma, table, true)
  if (unfit !== 0) return unfit
  const head = allocCompoundPage(sys, mm.space, start, PMD_ORDER)
  if (head < 0) return -ENOMEM
  let err = fetch(vma, table, start)
  if (err === 0) err = unlink(vma, pmd, slot, start, table)
  if (err !== 0) {
    putPage(sys, head)
    return err
  }
  copy(vma, table, head)
  sys.pages.flags[head] |= PG_UPTODATE
  pageAddNewAnonRmap(vma, head, start)
  const writable = (vma.flags & VM_WRITE) !== 0 ? PTE_WRITE : 0
  pmd.setHuge(slot, hugeProtection(vma) | PTE_YOUNG | PTE_MKDIRTY | writable, head)
  pageTable.hasHuge = true
  tlbInstallHuge(mm, start, pmd, slot)
  return 0
}

/** 0 if the pages behind the table can be collapsed. `mayFetch`: pages that are elsewhere count as present. */
function look(vma: Vma, table: PteTable, mayFetch: boolean): number {
  const { sys } = vma.mm
  const { pages } = sys
  const { words } = table
  let writable = false
  for (let i = 0; i < HPAGE_PMD_NR; i++) {
    const flags = words[2 * i + 1]
    const pfn = words[2 * i]
    if (isVacant(vma, flags, pfn)) continue
    if ((flags & PTE_PRESENT) === 0) {
      if (!mayFetch) return -EINVAL
      continue
    }
    if ((flags & PTE_WRITE) !== 0) writable = true
    if ((flags & PTE_SPECIAL) !== 0 || pages.pagemap[pfn] !== 0 || !pages.isAnon(pfn)) return -EINVAL
    const head = pages.head(pfn)
    if ((pages.flags[head] & PG_LRU) === 0 || pages.isLocked(head)) return -EAGAIN
    const cached = (pages.flags[head] & PG_SWAPCACHE) !== 0 ? 1 : 0
    if (pages.refcount[head] !== pages.folioMapcount(head) + cached) return -EAGAIN
  }
  return writable ? 0 : -EINVAL
}

/** Nothing there yet, or only the zero page. */
function isVacant(vma: Vma, flags: number, pfn: Pfn): boolean {
  return flags === 0 || ((flags & PTE_SPECIAL) !== 0 && pfn === vma.mm.sys.zeroPfn)
}

/** Brings pages back from swap and devices. */
function fetch(vma: Vma, table: PteTable, start: Addr): number {
  for (let i = 0; i < HPAGE_PMD_NR; i++) {
    const flags = table.words[2 * i + 1]
    if (flags === 0 || (flags & PTE_PRESENT) !== 0) continue
    const fault = handleMmFault(vma, start + i * PAGE_SIZE, 0)
    if ((fault & VM_FAULT_ERROR) !== 0) return -EINVAL
    if ((fault & VM_FAULT_RETRY) !== 0) return -EAGAIN
  }
  return 0
}

/** Takes the table out of its slot under an event, and looks again: now nobody can change it. */
function unlink(vma: Vma, pmd: PmdTable, slot: number, start: Addr, table: PteTable): number {
  const { mm } = vma
  const range = new MmuNotifierRange(MMU_NOTIFY_CLEAR, null, mm, start, start + PMD_SIZE)
  mmuNotifierInvalidateRangeStart(range)
  tlbUnmap(mm, start, start + PMD_SIZE)
  mm.pageTable.clearPteTable(pmd, slot)
  mmuNotifierInvalidateRangeEnd(range)
  const err = look(vma, table, false)
  if (err !== 0) mm.pageTable.setPteTable(pmd, slot, table)
  return err
}

/** Copies what the unlinked table maps, and lets it go. */
function copy(vma: Vma, table: PteTable, head: Pfn): void {
  const { mm } = vma
  const { sys } = mm
  const { words } = table
  for (let i = 0; i < HPAGE_PMD_NR; i++) {
    const pfn = words[2 * i]
    if (isVacant(vma, words[2 * i + 1], pfn)) {
      sys.mmu.clearFrame(head + i)
      mm.rss[MM_ANONPAGES]++
      continue
    }
    sys.mmu.copyFrame(head + i, pfn)
    pageRemoveRmap(sys, pfn)
    freeSwapCache(sys, sys.pages.head(pfn))
    putPage(sys, pfn)
  }
}
