// A frame of a hugetlb page is broken: all of the page is taken from its users, and an anonymous one is broken up, so that its
// other frames are not lost. Follows `try_memory_failure_hugetlb` and `me_huge_page` of mm/memory-failure.c, Linux 6.1.

import type { Pfn } from '../base/addr.ts'
import { EAGAIN, EBUSY, EHWPOISON } from '../base/errno.ts'
import { PG_ANON, PG_HWPOISON } from './page.ts'
import { putPage, unlockPage, waitForPage } from './page-alloc.ts'
import { tryToUnmap } from './rmap-walk.ts'
import type { System } from './system.ts'

/**
 * Declares a frame of a hugetlb page broken. The caller's reference is taken over.
 *
 * Returns 0, -EHWPOISON (the page is broken already), -EBUSY (somebody else holds a reference: when the page is let go it goes
 * back to the pool as a whole, which hands it out no more), -EAGAIN with `sys.waitFor` set (the page is locked).
 */
export function hugetlbMemoryFailure(sys: System, pfn: Pfn): number {
  const { pages } = sys
  const head = pages.head(pfn)
  if ((pages.flags[head] & PG_HWPOISON) !== 0) {
    putPage(sys, head)
    return -EHWPOISON
  }
  if (!pages.trylock(head)) {
    waitForPage(sys, head)
    putPage(sys, head)
    return -EAGAIN
  }
  pages.flags[head] |= PG_HWPOISON
  tryToUnmap(sys, head, { ignoreMlock: true, hwpoison: true })
  const mapped = pages.isMapped(head)
  const cached = (pages.flags[head] & PG_ANON) === 0 && pages.mapping[head] !== 0
  unlockPage(sys, head)
  if (mapped) return -EBUSY
  // A page of a file stays in its cache, where later faults find it broken; one reference is the cache's, one the caller's.
  if (cached) return pages.refcount[head] > 2 ? -EBUSY : 0
  putPage(sys, head)
  return sys.hugetlb.dissolve(head, pfn) ? 0 : -EBUSY
}
