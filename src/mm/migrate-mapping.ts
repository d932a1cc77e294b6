// The identity of a page moves to another frame: which page of which mapping it is, where it is cached, its flags. What is
// mapped where is not touched here: entries are migration entries meanwhile. Follows `folio_migrate_mapping` and
// `folio_migrate_flags` of mm/migrate.c, Linux 6.1 (spec MG-53, MG-54).

import type { Pfn } from '../base/addr.ts'
import { assert } from '../base/assert.ts'
import { AddressSpace } from './address-space.ts'
import {
  PG_ACTIVE,
  PG_ANON,
  PG_DIRTY,
  PG_REFERENCED,
  PG_SWAPBACKED,
  PG_SWAPCACHE,
  PG_UNEVICTABLE,
  PG_UPTODATE,
} from './page.ts'
import { putPage } from './page-alloc.ts'
import type { System } from './system.ts'

/** What goes along with a page. */
export const MOVED_FLAGS = PG_SWAPBACKED | PG_ANON | PG_REFERENCED | PG_UPTODATE | PG_ACTIVE | PG_UNEVICTABLE | PG_DIRTY

/** A page cache or the swap cache holds a reference on the page. */
export function isInCache(sys: System, page: Pfn): boolean {
  return isSwapCached(sys, page) || fileOf(sys, page) !== null
}

/** References of a page that is not mapped and that nobody but its cache and whoever moves it holds. */
export function idleReferences(sys: System, page: Pfn): number {
  return isInCache(sys, page) ? 2 : 1
}

/** Makes `newPage` what `page` was, in its cache too. Both are locked, and `page` is mapped nowhere. Copies no contents. */
export function moveIdentity(sys: System, page: Pfn, newPage: Pfn): void {
  const { pages, swap } = sys
  pages.index[newPage] = pages.index[page]
  pages.mapping[newPage] = pages.mapping[page]
  pages.flags[newPage] |= pages.flags[page] & MOVED_FLAGS
  if ((pages.flags[page] & (PG_ANON | PG_SWAPCACHE)) === PG_ANON) return
  const file = fileOf(sys, page)
  if (isSwapCached(sys, page)) {
    assert(swap !== null, 'a page in the swap cache implies a swap area')
    const slot = pages.swap[page]
    swap.cache.set(slot, newPage)
    pages.swap[newPage] = slot
    pages.flags[newPage] |= PG_SWAPCACHE
    pages.flags[page] &= ~(PG_SWAPCACHE | PG_DIRTY)
  } else if (file !== null) {
    file.pages.set(pages.index[page], newPage)
    pages.mapping[page] = 0
    pages.flags[page] &= ~PG_DIRTY
  } else {
    return
  }
  pages.refcount[newPage]++ // the reference of the cache
  putPage(sys, page)
}

function isSwapCached(sys: System, page: Pfn): boolean {
  return (sys.pages.flags[page] & PG_SWAPCACHE) !== 0
}

/** The page cache that the page is in, null for anonymous memory. */
function fileOf(sys: System, page: Pfn): AddressSpace | null {
  if ((sys.pages.flags[page] & PG_ANON) !== 0) return null
  const mapping = sys.mappings.get(sys.pages.mapping[page])
  return mapping instanceof AddressSpace ? mapping : null
}
