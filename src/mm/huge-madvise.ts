// MADV_FREE, MADV_COLD and MADV_PAGEOUT on a huge entry. Advice about all of it treats the page as a whole; advice
// about a part takes the page apart first, so that the rest keeps its standing. Follows `madvise_free_huge_pmd` of
// mm/huge_memory.c and `madvise_cold_or_pageout_pte_range` of mm/madvise.c, Linux 6.1.

import { type Addr, type Pfn, PMD_SIZE } from '../base/addr.ts'
import { splitHugePage } from './huge-split.ts'
import { PG_ACTIVE, PG_DIRTY, PG_LRU, PG_REFERENCED, PG_SWAPBACKED, PG_UNEVICTABLE } from './page.ts'
import { getPage, putPage, unlockPage } from './page-alloc.ts'
import type { PmdTable } from './pgtable.ts'
import { PTE_DIRTY, PTE_PRESENT, PTE_SPECIAL, PTE_YOUNG } from './pte.ts'
import type { System } from './system.ts'
import type { Vma } from './vma.ts'

/**
 * Locks and splits the transparent huge page around a frame, if nobody else uses it. The caller holds no reference.
 * True if the frame is a small page now.
 */
export function trySplitHugePage(sys: System, pfn: Pfn): boolean {
  getPage(sys, pfn)
  if (!sys.pages.trylock(pfn)) {
    putPage(sys, pfn)
    return false
  }
  const err = splitHugePage(sys, pfn)
  unlockPage(sys, pfn)
  putPage(sys, pfn)
  return err === 0
}

/**
 * MADV_FREE of `[start, end)` of the 2 MiB. Pages that others map too are left alone. True if the entry was dealt with
 * as a whole; false if small entries may be there now.
 */
export function freeHugePmd(vma: Vma, pmd: PmdTable, slot: number, start: Addr, end: Addr): boolean {
  const { sys } = vma.mm
  const { pages } = sys
  const flags = pmd.hugeFlags(slot)
  const head = pmd.hugePfn(slot)
  if ((flags & PTE_SPECIAL) !== 0 || (flags & PTE_PRESENT) === 0) return false
  if (pages.folioMapcount(head) !== 1 || pages.isLocked(head)) return false
  if (end - start !== PMD_SIZE) {
    trySplitHugePage(sys, head)
    return false
  }
  pages.flags[head] &= ~PG_DIRTY
  pmd.setHuge(slot, flags & ~(PTE_YOUNG | PTE_DIRTY), head)
  const lazy = PG_LRU | PG_SWAPBACKED
  if ((pages.flags[head] & (lazy | PG_UNEVICTABLE)) === lazy) {
    pages.flags[head] &= ~(PG_SWAPBACKED | PG_REFERENCED | PG_ACTIVE)
  }
  return true
}

/**
 * MADV_COLD or, with `pageout`, MADV_PAGEOUT of `[start, end)` of the 2 MiB; a page that is to be reclaimed is isolated
 * and appended to `isolated`. True if the entry was dealt with as a whole; false if small entries are to be dealt with.
 */
export function pageoutHugePmd(
  vma: Vma,
  pmd: PmdTable,
  slot: number,
  start: Addr,
  end: Addr,
  pageout: boolean,
  isolated: Pfn[],
): boolean {
  const { sys } = vma.mm
  const { pages } = sys
  const flags = pmd.hugeFlags(slot)
  const head = pmd.hugePfn(slot)
  if ((flags & PTE_SPECIAL) !== 0 || (flags & PTE_PRESENT) === 0) return true
  if (pages.totalMapcount(head) !== 1) return true
  if (end - start !== PMD_SIZE) return !trySplitHugePage(sys, head)
  pmd.setHuge(slot, flags & ~PTE_YOUNG, head)
  pages.flags[head] &= ~PG_REFERENCED
  if (pageout && sys.lru.isolate(head)) isolated.push(head)
  return true
}
