// Read duplicates: an extension beyond Linux, where a device may keep a copy of a page beside its live entry. The present
// entries are write-protected and marked; a write fault on a marked entry raises CLEAR before the entry becomes writable,
// also where Linux would reuse the page without an event. Where the backend lets writes through without a fault, the mark
// means *armed*, and `collectWrites` raises the event for every page that was written meanwhile.

import { type Addr, PAGE_SIZE, pmdAddrEnd, pmdIndex, pteIndex } from '../base/addr.ts'
import { EINVAL } from '../base/errno.ts'
import { splitHugePmd } from './huge-pmd.ts'
import type { Mm } from './mm.ts'
import {
  MMU_NOTIFY_CLEAR,
  MMU_NOTIFY_PROTECTION_PAGE,
  MmuNotifierRange,
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from './mmu-notifier.ts'
import { PTE_DIRTY, PTE_DUPLICATED, PTE_PRESENT, PTE_SPECIAL, PTE_WRITE } from './pte.ts'
import { tlbProtect } from './tlb.ts'
import { VM_HUGETLB } from './vm-flags.ts'
import type { Vma } from './vma.ts'

/**
 * Marks the present pages of `[start, end)` as duplicated: they lose write permission, and the next write raises CLEAR. The
 * caller holds mmapLock for reading and copies the pages afterwards.
 *
 * Returns the number of pages marked, or -EINVAL for a range that is not page aligned.
 */
export function shareForRead(mm: Mm, start: Addr, end: Addr): number {
  if (start % PAGE_SIZE !== 0 || end % PAGE_SIZE !== 0 || start >= end) return -EINVAL
  let marked = 0
  for (let at = start; at < end; ) {
    const vma = mm.findVmaIntersection(at, end)
    if (vma === null) break
    const from = Math.max(at, vma.start)
    const to = Math.min(end, vma.end)
    const range = new MmuNotifierRange(MMU_NOTIFY_PROTECTION_PAGE, vma, mm, from, to)
    splitHugePmds(vma, from, to)
    mmuNotifierInvalidateRangeStart(range)
    tlbProtect(mm, from, to)
    marked += forEachEntry(mm, from, to, (words, i) => {
      if ((words[2 * i + 1] & (PTE_PRESENT | PTE_SPECIAL)) !== PTE_PRESENT) return false
      if ((words[2 * i + 1] & PTE_DIRTY) !== 0) mm.sys.pages.setDirty(words[2 * i])
      words[2 * i + 1] = (words[2 * i + 1] & ~(PTE_WRITE | PTE_DIRTY)) | PTE_DUPLICATED
      return true
    })
    mmuNotifierInvalidateRangeEnd(range)
    at = to
  }
  return marked
}

/**
 * Finds the marked pages of `[start, end)` that were written although no fault said so, raises CLEAR for each run of them
 * and takes the mark away. Every launch calls it first. The only place that re-arms write tracking.
 *
 * Returns the number of pages written.
 */
export function collectWrites(mm: Mm, start: Addr, end: Addr): number {
  const { mmu, pages } = mm.sys
  const npages = (end - start) / PAGE_SIZE
  if (mmu.capabilities.walksPageTable) return 0
  const dirty = new Uint8Array(npages)
  mmu.collectDirty(mm.space, start, npages, dirty)
  const written = new Uint8Array(npages)
  let count = 0
  forEachEntry(mm, start, end, (words, i, page) => {
    if (dirty[page] === 0 || (words[2 * i + 1] & PTE_PRESENT) === 0) return false
    pages.setDirty(words[2 * i])
    words[2 * i + 1] |= PTE_DIRTY
    if ((words[2 * i + 1] & PTE_DUPLICATED) === 0) return false
    words[2 * i + 1] &= ~PTE_DUPLICATED
    written[page] = 1
    count++
    return true
  })
  for (let i = 0; i < npages && count > 0; i++) {
    if (written[i] === 0) continue
    let j = i
    while (j < npages && written[j] !== 0) j++
    clearEvent(mm, null, start + i * PAGE_SIZE, start + j * PAGE_SIZE)
    i = j
  }
  return count
}

/** A write fault is about to make a duplicated page writable: all mirrors drop their copy. */
export function dropDuplicate(vma: Vma, addr: Addr): void {
  clearEvent(vma.mm, vma, addr, addr + PAGE_SIZE)
}

function clearEvent(mm: Mm, vma: Vma | null, start: Addr, end: Addr): void {
  const range = new MmuNotifierRange(MMU_NOTIFY_CLEAR, vma, mm, start, end)
  mmuNotifierInvalidateRangeStart(range)
  mmuNotifierInvalidateRangeEnd(range)
}

/** A mark is for one page, so huge entries are split first. */
function splitHugePmds(vma: Vma, start: Addr, end: Addr): void {
  if ((vma.flags & VM_HUGETLB) !== 0) return
  for (let addr = start; addr < end; addr = pmdAddrEnd(addr, end)) {
    const pmd = vma.mm.pageTable.findPmd(addr)
    const slot = pmdIndex(addr)
    if (pmd !== null && (pmd.hugeFlags(slot) & PTE_PRESENT) !== 0) splitHugePmd(vma, pmd, slot, addr)
  }
}

/** Calls `visit` for each entry of the tables under `[start, end)`; returns how often it said true. */
function forEachEntry(
  mm: Mm,
  start: Addr,
  end: Addr,
  visit: (words: Uint32Array, i: number, page: number) => boolean,
): number {
  let count = 0
  for (let addr = start; addr < end; addr = pmdAddrEnd(addr, end)) {
    const table = mm.pageTable.findPte(addr)
    if (table === null) continue
    const npages = (pmdAddrEnd(addr, end) - addr) / PAGE_SIZE
    const first = pteIndex(addr)
    const base = (addr - start) / PAGE_SIZE
    for (let k = 0; k < npages; k++) if (visit(table.words, first + k, base + k)) count++
  }
  return count
}
