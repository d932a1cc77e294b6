// Taking entries out of a page table for good: munmap, exit, MADV_DONTNEED, truncation. Follows `unmap_vmas` and
// `zap_pte_range` in mm/memory.c of Linux 6.1 (spec CP-20).

import { type Addr, PAGE_SIZE, pgdAddrEnd, pmdAddrEnd, pmdIndex, pteIndex, pudAddrEnd } from '../base/addr.ts'
import { zapHugePmd } from './huge-pmd.ts'
import { unmapHugepageRange, widenForPmdSharing } from './hugetlb-unmap.ts'
import { MM_SWAPENTS } from './mm.ts'
import {
  MMU_NOTIFY_CLEAR,
  MmuNotifierRange,
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from './mmu-notifier.ts'
import { putPage } from './page-alloc.ts'
import type { PteTable } from './pgtable.ts'
import {
  PTE_DIRTY,
  PTE_KIND_DEVICE_EXCLUSIVE,
  PTE_KIND_DEVICE_PRIVATE,
  PTE_KIND_MIGRATION,
  PTE_KIND_SWAP,
  PTE_PRESENT,
  PTE_SPECIAL,
  pteKind,
} from './pte.ts'
import { pageRemoveRmap, rssKind } from './rmap.ts'
import { freeSwapAndCache, freeSwapCache } from './swap.ts'
import { tlbUnmap } from './tlb.ts'
import { VM_HUGETLB } from './vm-flags.ts'
import type { Vma } from './vma.ts'

/** Which pages a zap spares. */
export interface ZapDetails {
  /** Take private copies too; false for a hole punched into a file. */
  readonly evenCows: boolean
}

/** Zaps `[start, end)` of one mapping under a CLEAR event (`zap_page_range_single`). */
export function zapPageRangeSingle(vma: Vma, start: Addr, end: Addr, details: ZapDetails | null = null): void {
  const range = new MmuNotifierRange(MMU_NOTIFY_CLEAR, vma, vma.mm, start, end)
  if ((vma.flags & VM_HUGETLB) !== 0) widenForPmdSharing(range)
  mmuNotifierInvalidateRangeStart(range)
  unmapSingleVma(vma, start, end, details)
  mmuNotifierInvalidateRangeEnd(range)
}

/** The part of `[start, end)` that lies in the mapping; the caller has raised the event (`unmap_single_vma`). */
export function unmapSingleVma(vma: Vma, start: Addr, end: Addr, details: ZapDetails | null): void {
  const from = Math.max(vma.start, start)
  const to = Math.min(vma.end, end)
  if (from >= to) return
  if ((vma.flags & VM_HUGETLB) !== 0) {
    unmapHugepageRange(vma, from, to)
    return
  }
  const { pageTable } = vma.mm
  tlbUnmap(vma.mm, from, to)
  for (let addr = from; addr < to; ) {
    if (pageTable.findPud(addr) === null) {
      addr = pgdAddrEnd(addr, to)
      continue
    }
    const pmd = pageTable.findPmd(addr)
    if (pmd === null) {
      addr = pudAddrEnd(addr, to)
      continue
    }
    const next = pmdAddrEnd(addr, to)
    const i = pmdIndex(addr)
    if (pmd.hugeFlags(i) === 0 || !zapHugePmd(vma, pmd, i, addr, next)) {
      const table = pmd.tables[i]
      if (table !== null) zapPteRange(vma, table, addr, next, details)
    }
    addr = next
  }
}

function zapPteRange(vma: Vma, table: PteTable, start: Addr, end: Addr, details: ZapDetails | null): void {
  const { mm } = vma
  const { sys } = mm
  const { pages } = sys
  const { words } = table
  const evenCows = details === null || details.evenCows
  const first = pteIndex(start)
  const npages = (end - start) / PAGE_SIZE
  for (let i = first; i < first + npages; i++) {
    const flags = words[2 * i + 1]
    if (flags === 0) continue
    const low = words[2 * i]
    if ((flags & PTE_PRESENT) !== 0) {
      const isPage = (flags & PTE_SPECIAL) === 0
      if (isPage && !evenCows && pages.isAnon(low)) continue
      words[2 * i] = 0
      words[2 * i + 1] = 0
      if (!isPage) continue
      if ((flags & PTE_DIRTY) !== 0 && !pages.isAnon(low)) pages.setDirty(low)
      mm.rss[rssKind(sys, low)]--
      pageRemoveRmap(sys, low)
      if (sys.swap !== null) freeSwapCache(sys, pages.head(low))
      putPage(sys, low)
      continue
    }
    switch (pteKind(flags)) {
      case PTE_KIND_DEVICE_PRIVATE:
      case PTE_KIND_DEVICE_EXCLUSIVE:
        if (!evenCows && pages.isAnon(low)) continue
        mm.rss[rssKind(sys, low)]--
        if (pteKind(flags) === PTE_KIND_DEVICE_PRIVATE) pageRemoveRmap(sys, low)
        else if (sys.swap !== null) freeSwapCache(sys, low)
        putPage(sys, low)
        break
      case PTE_KIND_SWAP:
        if (!evenCows) continue
        mm.rss[MM_SWAPENTS]--
        freeSwapAndCache(sys, low)
        break
      case PTE_KIND_MIGRATION:
        if (!evenCows && pages.isAnon(low)) continue
        mm.rss[rssKind(sys, low)]--
        break
      default:
        if (!evenCows) continue
    }
    words[2 * i] = 0
    words[2 * i + 1] = 0
  }
}
