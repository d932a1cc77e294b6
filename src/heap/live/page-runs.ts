// Neighbouring pages in a list that is sorted by frame number.

import type { Pfn } from '../../base/addr.ts'

/** Calls `visit` with the first page and the number of pages of each run of neighbours. */
export function forEachRun(pages: readonly { readonly pfn: Pfn }[], visit: (first: Pfn, npages: number) => void): void {
  for (let i = 0; i < pages.length; ) {
    let end = i + 1
    while (end < pages.length && pages[end].pfn === pages[end - 1].pfn + 1) end++
    visit(pages[i].pfn, end - i)
    i = end
  }
}
