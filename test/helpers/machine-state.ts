// Everything that a machine keeps, as plain values that can be compared: to show that a call which was refused has changed
// nothing. Large tables are folded into one number each.

import { AddressSpace } from '../../src/mm/address-space.ts'
import type { Mm } from '../../src/mm/mm.ts'
import type { System } from '../../src/mm/system.ts'

/** The state of all address spaces and of what they share. */
export function machineState(sys: System): Record<string, unknown> {
  const { pages, lru, swap, hugetlb } = sys
  const arrays = { ...pages } as Record<string, unknown>
  const books = Object.entries(arrays).filter((entry): entry is [string, ArrayBufferView] =>
    ArrayBuffer.isView(entry[1]),
  )
  const order: number[] = []
  for (let pfn = lru.first; pfn >= 0; pfn = pages.lruNext[pfn]) order.push(pfn)
  return {
    mms: [...sys.mms].map(mmState),
    nframes: pages.nframes,
    // Links of frames that are off the LRU mean nothing.
    pages: Object.fromEntries(
      books.filter(([name]) => !name.startsWith('lru')).map(([name, view]) => [name, fold(view)]),
    ),
    compound: [...pages.compound].map(([head, { order, mapcount, pincount }]) => [head, order, mapcount, pincount]),
    zoneDeviceData: [...pages.zoneDeviceData.keys()],
    contents: contentsOf(sys),
    lru: order,
    swap: swap === null ? null : { nfree: swap.nfree, counts: fold(swap.counts), cache: [...swap.cache] },
    mappings: [...sys.mappings].map(([id, mapping]) =>
      mapping instanceof AddressSpace
        ? [id, mapping.npages, [...mapping.pages], [...mapping.swapped], mapping.iMmap.size]
        : [id, mapping.tree.size, mapping.numChildren, mapping.numActiveVmas],
    ),
    pagemaps: sys.pagemaps.map((pagemap) =>
      pagemap === null ? null : [pagemap.id, pagemap.pfn, pagemap.npages, pagemap.live],
    ),
    nfree: sys.mmu.nfree,
    hugetlb: [hugetlb.npages, hugetlb.nfree, hugetlb.reserved],
  }
}

function mmState(mm: Mm): Record<string, unknown> {
  const { users, count, hasPinned, isUnstable, rss, mmapLock, subscriptions } = mm
  return {
    users,
    count,
    hasPinned,
    isUnstable,
    rss: [...rss],
    lock: [mmapLock.readers, mmapLock.writer],
    vmas: mm.vmas.map((vma) => [
      vma.start,
      vma.end,
      vma.flags,
      vma.pgoff,
      vma.file?.name,
      vma.ops?.name,
      vma.anonVma?.id,
    ]),
    tables: tablesOf(mm),
    subscriptions:
      subscriptions === null
        ? null
        : {
            seq: subscriptions.invalidateSeq,
            active: subscriptions.activeInvalidateRanges,
            deferred: subscriptions.deferred.length,
            subs: [...subscriptions.tree].map(({ value }) => [value.start, value.end, value.invalidateSeq]),
          },
  }
}

/** Every table of the page table, at every level, by its place. */
function tablesOf(mm: Mm): unknown[] {
  const found: unknown[] = []
  mm.pageTable.puds.forEach((pud, i) => {
    if (pud === null) return
    found.push([i])
    pud.pmds.forEach((pmd, j) => {
      if (pmd === null) return
      found.push([i, j, pmd.huge === null ? 0 : fold(pmd.huge)])
      pmd.tables.forEach((table, k) => {
        if (table !== null) found.push([i, j, k, fold(table.words)])
      })
    })
  })
  return found
}

/** The bytes of all frames in use that have any. */
function contentsOf(sys: System): number {
  let sum = 0
  for (let pfn = 0; pfn < sys.mmu.nframes; pfn++) {
    if (sys.pages.flags[pfn] !== 0) sum = (Math.imul(sum, 31) + fold(sys.mmu.bytes(pfn))) >>> 0
  }
  return sum
}

/** FNV-1a over the bytes. */
function fold(view: ArrayBufferView): number {
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
  let hash = 0x811c9dc5
  for (let i = 0; i < bytes.length; i++) hash = Math.imul(hash ^ bytes[i], 0x01000193)
  return hash >>> 0
}
