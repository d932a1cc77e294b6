// Which pages are cold. The part at the cold end of the LRU is aged: entries lose their young bits, and where a real MMU has
// translations, these too, so that the next touch is a fault that sets the bit again. A page that comes to the end of the list
// untouched is reclaimed; one that was touched begins again at the warm end. Follows `shrink_active_list` and `page_referenced`
// of mm/vmscan.c, Linux 6.1, with one list in two parts.
//
// A page that is touched all the time costs a fault for each turn of the list, together with its neighbours that are brought
// back by the same fault.

import { type Addr, PAGE_SIZE, type Pfn, pteIndex } from '../base/addr.ts'
import type { Mm } from './mm.ts'
import { PTE_PRESENT, PTE_YOUNG } from './pte.ts'
import { rmapWalk } from './rmap-walk.ts'
import type { System } from './system.ts'
import { tlbUnmap } from './tlb.ts'

/** One page in so many is aged: long enough for a touch to be seen before the end of the list comes. */
const AGED_SHARE = 4

/** Pages that were touched are passed by up to so many times the number that is wanted; then the next call goes on. */
const PASSES_MAX = 4

/**
 * Takes up to `npages` cold pages off the LRU, with a reference for each, coldest first. Fewer if many were touched since they
 * were aged: those are warm again.
 */
export function isolateUntouched(sys: System, npages: number): Pfn[] {
  const { lru } = sys
  agePages(sys, Math.min(2 * npages, Math.max(npages, Math.ceil(lru.size / AGED_SHARE)) - lru.naged))
  const isolated: Pfn[] = []
  for (let i = 0; i < PASSES_MAX * npages && isolated.length < npages && lru.naged > 0; i++) {
    const pfn = lru.last
    if (isTouched(sys, pfn)) {
      lru.touch(pfn)
    } else {
      lru.isolate(pfn)
      isolated.push(pfn)
    }
  }
  return isolated
}

/** Begins to watch the `npages` coldest pages that are not watched yet. Neighbours in memory lose their translations together. */
function agePages(sys: System, npages: number): void {
  let mm: Mm | null = null
  let start: Addr = 0
  let end: Addr = 0
  for (let i = 0; i < npages; i++) {
    const pfn = sys.lru.age()
    if (pfn < 0) break
    // Whoever pinned it relies on its translations: system calls of a program may not be able to bring them back.
    if (sys.pages.maybeDmaPinned(pfn)) continue
    rmapWalk(sys, pfn, false, (vma, addr) => {
      if (!clearYoung(vma.mm, addr, pfn)) return true
      if (vma.mm !== mm || addr !== end) {
        if (mm !== null) tlbUnmap(mm, start, end)
        mm = vma.mm
        start = addr
      }
      end = addr + PAGE_SIZE
      return true
    })
  }
  if (mm !== null) tlbUnmap(mm, start, end)
}

/** Whether any mapping of the page was used since it was aged; if so that is forgotten. */
function isTouched(sys: System, pfn: Pfn): boolean {
  let touched = sys.pages.maybeDmaPinned(pfn)
  rmapWalk(sys, pfn, false, ({ mm }, addr) => {
    if (clearYoung(mm, addr, pfn)) touched = true
    return true
  })
  return touched
}

/** Clears the young bit of the entry if it maps the page; true if it was set. */
function clearYoung(mm: Mm, addr: Addr, pfn: Pfn): boolean {
  const table = mm.pageTable.findPte(addr)
  if (table === null) return false
  const i = pteIndex(addr)
  const flags = table.words[2 * i + 1]
  if ((flags & (PTE_PRESENT | PTE_YOUNG)) !== (PTE_PRESENT | PTE_YOUNG) || table.words[2 * i] !== pfn) return false
  table.words[2 * i + 1] = flags & ~PTE_YOUNG
  return true
}
