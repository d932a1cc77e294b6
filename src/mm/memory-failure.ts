// A frame is broken: it is taken out of every mapping, and whoever touches the page later gets SIGBUS (mm/memory-failure.c
// of Linux 6.1; spec CP-75).

import type { Pfn } from '../base/addr.ts'
import { EBUSY, EHWPOISON, ENXIO } from '../base/errno.ts'
import { splitHugePage } from './huge-split.ts'
import { hugetlbMemoryFailure } from './hugetlb-poison.ts'
import { PG_ANON, PG_DIRTY, PG_HUGETLB, PG_HWPOISON, PG_LRU, PG_RESERVED, PG_SWAPCACHE, PG_UPTODATE } from './page.ts'
import { putPage, unlockPage } from './page-alloc.ts'
import { tryToUnmap } from './rmap-walk.ts'
import type { System } from './system.ts'

/**
 * Declares a frame broken. The caller's reference is taken over: it keeps the frame from being used again.
 *
 * Returns 0, -EHWPOISON (it is broken already), -EBUSY (the page cannot be taken from its users), -ENXIO (device memory).
 */
export function memoryFailure(sys: System, pfn: Pfn): number {
  const { pages } = sys
  if (pages.pagemap[pfn] !== 0) {
    putPage(sys, pfn)
    return -ENXIO
  }
  if ((pages.flags[pages.head(pfn)] & PG_HUGETLB) !== 0) return hugetlbMemoryFailure(sys, pfn)
  if ((pages.flags[pfn] & PG_HWPOISON) !== 0) {
    putPage(sys, pfn)
    return -EHWPOISON
  }
  pages.flags[pfn] |= PG_HWPOISON
  if ((pages.flags[pfn] & PG_RESERVED) !== 0) return -EBUSY
  if (pages.isCompound(pfn)) {
    if (!pages.trylock(pfn)) return -EBUSY
    const err = splitHugePage(sys, pfn)
    unlockPage(sys, pfn)
    if (err !== 0) {
      putPage(sys, pfn)
      return -EBUSY
    }
  }
  if (!pages.trylock(pfn)) return -EBUSY
  const ret = takeFromUsers(sys, pfn)
  unlockPage(sys, pfn)
  return ret
}

function takeFromUsers(sys: System, pfn: Pfn): number {
  const { pages } = sys
  const inSwapCache = (pages.flags[pfn] & PG_SWAPCACHE) !== 0
  if ((pages.flags[pfn] & PG_LRU) !== 0 && pages.isMapped(pfn)) {
    tryToUnmap(sys, pfn, { ignoreMlock: true, hwpoison: !inSwapCache })
    if (pages.isMapped(pfn)) return -EBUSY
  }
  if ((pages.flags[pfn] & PG_LRU) === 0) return -EBUSY
  sys.lru.remove(pfn)
  if (inSwapCache) {
    pages.flags[pfn] &= ~(PG_DIRTY | PG_UPTODATE)
    return pages.refcount[pfn] > 2 ? -EBUSY : 0
  }
  if ((pages.flags[pfn] & PG_ANON) !== 0) return 0
  // A page of a file in memory stays in its cache, marked: later faults find it broken.
  return pages.refcount[pfn] > 2 ? -EBUSY : 0
}
