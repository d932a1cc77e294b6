// Writing pages of a file back to where it is kept: a page has to become clean and write-protected in every mapping first, so
// that the next store is noticed. Follows `folio_mkclean` of mm/rmap.c and `folio_clear_dirty_for_io` of
// mm/page-writeback.c, Linux 6.1 (spec MN-73). For whoever keeps a file somewhere else; files in memory are kept nowhere.

import { PAGE_SIZE, type Pfn, pteIndex } from '../base/addr.ts'
import { assert } from '../base/assert.ts'
import {
  MMU_NOTIFY_PROTECTION_PAGE,
  MmuNotifierRange,
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from './mmu-notifier.ts'
import { PG_DIRTY } from './page.ts'
import { PTE_DIRTY, PTE_PRESENT, PTE_WRITE } from './pte.ts'
import { rmapWalk } from './rmap-walk.ts'
import type { System } from './system.ts'
import { tlbProtect } from './tlb.ts'
import { VM_SHARED } from './vm-flags.ts'

/**
 * Takes dirty bit and write permission from every shared mapping of a page, with a PROTECTION_PAGE event for each mapping
 * that may have it. Private mappings are passed by: what they write is a copy. The caller holds the page lock.
 *
 * Returns how many entries were dirty or writable; the page may have been written through those.
 */
export function pageMkclean(sys: System, pfn: Pfn): number {
  assert(sys.pages.isLocked(pfn), () => `frame ${pfn} is locked`)
  if (!sys.pages.isMapped(pfn) || sys.pages.isAnon(pfn)) return 0
  let ncleaned = 0
  rmapWalk(sys, pfn, false, (vma, addr) => {
    if ((vma.flags & VM_SHARED) === 0) return true
    const { mm } = vma
    const range = new MmuNotifierRange(MMU_NOTIFY_PROTECTION_PAGE, vma, mm, addr, addr + PAGE_SIZE)
    mmuNotifierInvalidateRangeStart(range)
    const table = mm.pageTable.findPte(addr)
    if (table !== null) {
      tlbProtect(mm, addr, addr + PAGE_SIZE)
      const i = pteIndex(addr)
      const flags = table.words[2 * i + 1]
      const isMapping = (flags & PTE_PRESENT) !== 0 && table.words[2 * i] === pfn
      if (isMapping && (flags & (PTE_DIRTY | PTE_WRITE)) !== 0) {
        table.words[2 * i + 1] = flags & ~(PTE_DIRTY | PTE_WRITE)
        ncleaned++
      }
    }
    mmuNotifierInvalidateRangeEnd(range)
    return true
  })
  return ncleaned
}

/**
 * Begins the writing of a page: true if it was dirty and has to be written. It is clean then, and stays so until somebody
 * stores to it, which is a fault. The caller holds the page lock and writes the contents afterwards.
 */
export function clearPageDirtyForIo(sys: System, pfn: Pfn): boolean {
  const { pages } = sys
  if (pageMkclean(sys, pfn) > 0) pages.setDirty(pfn)
  const isDirty = (pages.flags[pages.head(pfn)] & PG_DIRTY) !== 0
  pages.clearDirty(pfn)
  return isDirty
}
