// Taking a transparent huge page apart: one compound page becomes 512 small pages. Follows `split_huge_page_to_list` of
// mm/huge_memory.c, Linux 6.1, for anonymous memory.
//
//   unmap     every mapping, huge or small, becomes small migration entries (two CLEAR events per mapping that may map the
//             page: one for the split of the entry, one for the unmapping)
//   split     allowed only if nobody but the caller holds a reference; each frame gets a state of its own
//   remap     the migration entries become mappings again, of small pages; frames that nothing maps are freed

import type { Pfn } from '../base/addr.ts'
import { EBUSY } from '../base/errno.ts'
import {
  PG_ACTIVE,
  PG_ALLOCATED,
  PG_ANON,
  PG_DIRTY,
  PG_HWPOISON,
  PG_LOCKED,
  PG_LRU,
  PG_MLOCKED,
  PG_REFERENCED,
  PG_SWAPBACKED,
  PG_UNEVICTABLE,
  PG_UPTODATE,
  PG_WRITEBACK,
} from './page.ts'
import { putPage, unlockPage } from './page-alloc.ts'
import { removeMigrationPtes, tryToMigrate } from './rmap-walk.ts'
import type { System } from './system.ts'

/** What every frame inherits from the head. */
const INHERITED =
  PG_ACTIVE | PG_ANON | PG_DIRTY | PG_MLOCKED | PG_REFERENCED | PG_SWAPBACKED | PG_UNEVICTABLE | PG_UPTODATE

/** Nobody holds the page but its mappings and the caller, with one reference (`can_split_folio`). */
export function canSplitPage(sys: System, head: Pfn): boolean {
  return sys.pages.folioMapcount(head) === sys.pages.refcount[head] - 1
}

/**
 * Splits the transparent huge page around the frame `page`. The caller holds its lock and one reference; afterwards
 * lock and reference are those of the small page `page` alone. With `isolated` the other pages are left off the LRU and
 * appended to that list with a reference each.
 *
 * Returns 0, or -EBUSY if somebody else holds the page, or for the huge zero page; nothing has changed then but that
 * entries may be small.
 */
export function splitHugePage(sys: System, page: Pfn, isolated: Pfn[] | null = null): number {
  const { pages } = sys
  const head = pages.head(page)
  if (head === sys.hugeZeroPfn || (pages.flags[head] & PG_WRITEBACK) !== 0) return -EBUSY
  if (!pages.isMapped(head) || !canSplitPage(sys, head)) return -EBUSY
  tryToMigrate(sys, head, true)
  if (pages.refcount[head] !== 1) {
    removeMigrationPtes(sys, head, head)
    return -EBUSY
  }
  const npages = splitFrames(sys, head, page, isolated)
  for (let i = 0; i < npages; i++) removeMigrationPtes(sys, head + i, head + i)
  for (let i = 0; i < npages; i++) if (head + i !== page && isolated === null) putPage(sys, head + i)
  return 0
}

/** Gives each frame its own state and one reference. Returns the number of frames. */
function splitFrames(sys: System, head: Pfn, page: Pfn, isolated: Pfn[] | null): number {
  const { pages, lru } = sys
  const npages = 1 << pages.getCompound(head).order
  if (page !== head) unlockPage(sys, head)
  const inherited = pages.flags[head] & INHERITED
  const onLru = (pages.flags[head] & PG_LRU) !== 0
  pages.flags[head] &= PG_ALLOCATED | PG_LRU | PG_LOCKED | PG_HWPOISON | INHERITED
  pages.compound.delete(head)
  for (let i = npages - 1; i > 0; i--) {
    const tail = head + i
    pages.flags[tail] = PG_ALLOCATED | inherited | (pages.flags[tail] & PG_HWPOISON)
    pages.mapping[tail] = pages.mapping[head]
    pages.index[tail] = pages.index[head] + i
    pages.refcount[tail] = 1
    if (isolated === null && onLru) lru.addBefore(tail, head)
  }
  if (page !== head) pages.flags[page] |= PG_LOCKED
  if (isolated !== null) for (let i = 0; i < npages; i++) if (head + i !== page) isolated.push(head + i)
  return npages
}
