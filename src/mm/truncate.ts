// Taking pages of a file away: out of every mapping, then out of the page cache. Follows mm/truncate.c and
// `unmap_mapping_range` in mm/memory.c of Linux 6.1.

import { PAGE_SIZE, type Pfn } from '../base/addr.ts'
import { AddressSpace } from './address-space.ts'
import { PG_DIRTY, PG_WRITEBACK } from './page.ts'
import { putPage } from './page-alloc.ts'
import type { System } from './system.ts'
import { zapPageRangeSingle } from './zap.ts'

/**
 * Zaps pages `[first, first + npages)` of the file in every mapping of it, one CLEAR event per mapping (MN-64). With
 * `evenCows` private copies go too. `npages` may be Infinity.
 */
export function unmapMappingRange(mapping: AddressSpace, first: number, npages: number, evenCows: boolean): void {
  const last = first + npages - 1
  mapping.iMmap.forEachOverlap(first, last, (node) => {
    const vma = node.value
    const from = Math.max(first, vma.pgoff)
    const to = Math.min(last, vma.lastPgoff)
    const start = vma.start + (from - vma.pgoff) * PAGE_SIZE
    zapPageRangeSingle(vma, start, start + (to - from + 1) * PAGE_SIZE, { evenCows })
  })
}

/** Unmaps one page of a page cache everywhere. */
export function unmapMappingPage(sys: System, pfn: Pfn): void {
  const mapping = sys.mappings.get(sys.pages.mapping[pfn])
  if (mapping instanceof AddressSpace) unmapMappingRange(mapping, sys.pages.index[pfn], 1, false)
}

/** Drops a page from its page cache if it is clean, not mapped and not used otherwise. */
export function invalidateCachedPage(sys: System, pfn: Pfn): boolean {
  const { pages } = sys
  const mapping = sys.mappings.get(pages.mapping[pfn])
  if (!(mapping instanceof AddressSpace)) return false
  if ((pages.flags[pfn] & (PG_DIRTY | PG_WRITEBACK)) !== 0) return false
  if (pages.isMapped(pfn) || pages.refcount[pfn] > 2) return false
  deleteFromPageCache(sys, mapping, pfn)
  return true
}

/** Takes a page out of its page cache, with the cache's reference. */
export function deleteFromPageCache(sys: System, mapping: AddressSpace, pfn: Pfn): void {
  const { pages } = sys
  mapping.pages.delete(pages.index[pfn])
  pages.mapping[pfn] = 0
  putPage(sys, pfn)
}
