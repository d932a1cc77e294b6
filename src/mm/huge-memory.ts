// Faults where transparent huge pages come in: a whole aligned 2 MiB block of anonymous memory is filled at once, with
// a compound page for a write and the huge zero page for a read. Follows mm/huge_memory.c of Linux 6.1 (spec CP-2,
// CP-3). What happens to huge entries later is in huge-pmd.ts, how a huge page is taken apart in huge-split.ts.

import { type Addr, HPAGE_PMD_NR, type Pfn, PMD_ORDER, PMD_SIZE, pmdAlignDown } from '../base/addr.ts'
import { anonVmaPrepare } from './anon-vma.ts'
import { hugeProtection, splitHugePmd } from './huge-pmd.ts'
import { MM_ANONPAGES } from './mm.ts'
import { PG_RESERVED, PG_UPTODATE } from './page.ts'
import { allocCompoundPage, waitForPage } from './page-alloc.ts'
import type { PmdTable } from './pgtable.ts'
import { PTE_MKDIRTY, PTE_PRESENT, PTE_SPECIAL, PTE_WRITE, PTE_YOUNG } from './pte.ts'
import { pageAddNewAnonRmap, pageMoveAnonRmap } from './rmap.ts'
import type { System } from './system.ts'
import { tlbInstallHuge } from './tlb.ts'
import { FAULT_FLAG_UNSHARE, FAULT_FLAG_WRITE, VM_FAULT_FALLBACK, VM_FAULT_RETRY, VM_FAULT_SIGBUS } from './vm-fault.ts'
import { VM_HUGEPAGE, VM_HUGETLB, VM_NOHUGEPAGE, VM_SPECIAL, VM_WRITE } from './vm-flags.ts'
import type { Vma } from './vma.ts'

/** Faults in the mapping may bring huge pages (`hugepage_vma_check`). */
export function hugepageVmaCheck(vma: Vma): boolean {
  const { sys } = vma.mm
  if (!vma.isAnonymous || !sys.mmu.capabilities.hugePages) return false
  if ((vma.flags & (VM_NOHUGEPAGE | VM_SPECIAL | VM_HUGETLB)) !== 0) return false
  return sys.thp === 'always' || (sys.thp === 'madvise' && (vma.flags & VM_HUGEPAGE) !== 0)
}

/** The 2 MiB around `addr` lie in the mapping as a whole (`transhuge_vma_suitable`). */
export function hugeBlockInVma(vma: Vma, addr: Addr): boolean {
  const start = pmdAlignDown(addr)
  return start >= vma.start && start + PMD_SIZE <= vma.end
}

/**
 * A fault while huge pages are on or a huge entry may exist; `slot` of `pmd` is the place of `addr`.
 *
 * Returns VM_FAULT_FALLBACK to go on with small pages, else what `handleMmFault` returns.
 */
export function doHugePmdFault(vma: Vma, addr: Addr, flags: number, pmd: PmdTable, slot: number): number {
  if (pmd.tables[slot] !== null) return VM_FAULT_FALLBACK
  const huge = pmd.hugeFlags(slot)
  if (huge === 0) {
    if (!hugepageVmaCheck(vma) || !hugeBlockInVma(vma, addr)) return VM_FAULT_FALLBACK
    return doHugeAnonymousPage(vma, pmdAlignDown(addr), flags, pmd, slot)
  }
  if ((huge & PTE_PRESENT) === 0) {
    waitForPage(vma.mm.sys, pmd.hugePfn(slot))
    return VM_FAULT_RETRY
  }
  if ((flags & (FAULT_FLAG_WRITE | FAULT_FLAG_UNSHARE)) !== 0 && (huge & PTE_WRITE) === 0) {
    return doHugeWpPage(vma, addr, flags, pmd, slot)
  }
  setHugeAccessed(vma, addr, flags, pmd, slot)
  return 0
}

/** Fills an empty block (`do_huge_pmd_anonymous_page`). */
function doHugeAnonymousPage(vma: Vma, start: Addr, flags: number, pmd: PmdTable, slot: number): number {
  const { mm } = vma
  const { sys } = mm
  if (mm.isUnstable) return VM_FAULT_SIGBUS
  // Also for the huge zero page, unlike the small one: fork copies the mapping then.
  anonVmaPrepare(vma)
  if ((flags & FAULT_FLAG_WRITE) === 0 && sys.zeroPfn >= 0) {
    const zero = getHugeZeroPage(sys)
    if (zero < 0) return VM_FAULT_FALLBACK
    pmd.setHuge(slot, hugeProtection(vma) | PTE_SPECIAL | PTE_YOUNG, zero)
  } else {
    const head = allocClearedHugePage(sys, mm.space, start)
    if (head < 0) return VM_FAULT_FALLBACK
    pageAddNewAnonRmap(vma, head, start)
    const writable = (vma.flags & VM_WRITE) !== 0 ? PTE_WRITE : 0
    pmd.setHuge(slot, hugeProtection(vma) | PTE_YOUNG | PTE_MKDIRTY | writable, head)
    mm.rss[MM_ANONPAGES] += HPAGE_PMD_NR
  }
  mm.pageTable.hasHuge = true
  tlbInstallHuge(mm, start, pmd, slot)
  return 0
}

/** A compound page of 2 MiB, all zero, with one reference; -1 if there is none. */
function allocClearedHugePage(sys: System, space: number, start: Addr): Pfn {
  const head = allocCompoundPage(sys, space, start, PMD_ORDER)
  if (head < 0) return -1
  for (let i = 0; i < HPAGE_PMD_NR; i++) sys.mmu.clearFrame(head + i)
  sys.pages.flags[head] |= PG_UPTODATE
  return head
}

/** The huge zero page, made on first use and kept; -1 if there is no room for it. */
function getHugeZeroPage(sys: System): Pfn {
  if (sys.hugeZeroPfn < 0) {
    const zero = allocClearedHugePage(sys, -1, 0)
    if (zero < 0) return -1
    for (let i = 0; i < HPAGE_PMD_NR; i++) sys.pages.flags[zero + i] |= PG_RESERVED
    sys.hugeZeroPfn = zero
  }
  return sys.hugeZeroPfn
}

/**
 * A write to a read-only huge entry (`do_huge_pmd_wp_page`): the page is taken over as a whole if the mapping is its
 * only user; otherwise the entry is split, and the small page is copied.
 */
function doHugeWpPage(vma: Vma, addr: Addr, flags: number, pmd: PmdTable, slot: number): number {
  const { sys } = vma.mm
  const { pages } = sys
  const head = pmd.hugePfn(slot)
  const isZero = (pmd.hugeFlags(slot) & PTE_SPECIAL) !== 0
  if (!isZero && vma.isAnonymous) {
    if (!pages.isAnonExclusive(head) && pages.isLocked(head)) {
      waitForPage(sys, head)
      return VM_FAULT_RETRY
    }
    if (pages.isAnonExclusive(head) || takeOverHugePage(vma, head)) {
      if ((flags & FAULT_FLAG_UNSHARE) === 0) setHugeAccessed(vma, addr, flags, pmd, slot)
      return 0
    }
  }
  splitHugePmd(vma, pmd, slot, addr)
  return VM_FAULT_FALLBACK
}

/** The entry holds the only reference: the page becomes exclusive to the mapping. */
function takeOverHugePage(vma: Vma, head: Pfn): boolean {
  const { sys } = vma.mm
  if (sys.pages.refcount[head] !== 1) return false
  pageMoveAnonRmap(vma, head)
  return true
}

/** The access bits, and for a write the permission (`huge_pmd_set_accessed`). */
function setHugeAccessed(vma: Vma, addr: Addr, flags: number, pmd: PmdTable, slot: number): void {
  let huge = pmd.hugeFlags(slot) | PTE_YOUNG
  if ((flags & FAULT_FLAG_WRITE) !== 0) {
    huge |= PTE_MKDIRTY
    if ((vma.flags & VM_WRITE) !== 0) huge |= PTE_WRITE
  }
  pmd.setHuge(slot, huge, pmd.hugePfn(slot))
  tlbInstallHuge(vma.mm, pmdAlignDown(addr), pmd, slot)
}
