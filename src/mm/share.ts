// Read duplicates: an extension beyond Linux, where a device may keep a copy of a page beside its live entry. The present
// entries are write-protected and marked (PTE_DUPLICATED); a write fault on a marked entry raises CLEAR before the entry
// becomes writable, also where Linux would reuse the page without an event. Where the backend lets writes through without a
// fault, the mark means *armed*, and `collectWrites` raises the event for every page that was written meanwhile.
//
// A duplicate exists only beside a marked entry. A mark may outlive the duplicates, as every other event over the page ends
// them too; that costs one more event at the next write. Entries of other kinds have no mark, and fork gives the child none.

import { type Addr, PAGE_SIZE, type Pfn, PTRS_PER_PTE, pmdAddrEnd, pmdIndex, pteIndex } from '../base/addr.ts'
import { assert } from '../base/assert.ts'
import { makeByteSet } from '../base/byte-set.ts'
import { EINVAL } from '../base/errno.ts'
import { firstPageIn, forEachRunIn, type PageRuns, runsOfPages, runsOfSet, runsWithout } from '../base/page-runs.ts'
import { alikeFrames, framesOfMemory, setFrames } from './frame-runs.ts'
import { splitHugePmd } from './huge-pmd.ts'
import type { Mm } from './mm.ts'
import {
  MMU_NOTIFY_CLEAR,
  MMU_NOTIFY_PROTECTION_PAGE,
  MmuNotifierRange,
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from './mmu-notifier.ts'
import { PG_DIRTY } from './page.ts'
import {
  PTE_DIRTY,
  PTE_DUPLICATED,
  PTE_PRESENT,
  PTE_PROTNONE,
  PTE_SPECIAL,
  PTE_WRITE,
  pteRun,
  setPteFlags,
} from './pte.ts'
import type { System } from './system.ts'
import { nextDirty, tlbCollectDirty, tlbProtect } from './tlb.ts'
import { VM_HUGETLB } from './vm-flags.ts'
import type { Vma } from './vma.ts'

/** Somebody who makes his copies of marked pages new himself, so that he need not be told to drop them. */
export interface Renewal {
  /** Whose mirrors filter the events about these pages. */
  readonly owner: unknown
  /**
   * Returns the pages, of those that were written, of which he makes the copies new before anybody uses them, as runs in ascending order.
   * What the CPU stores from now on is found by the next `collectWrites`. Changes nothing in mm.
   */
  renew(written: PageRuns): PageRuns
}

/** What a marked entry has that was written since it was marked. */
const WRITTEN = PTE_PRESENT | PTE_DUPLICATED | PTE_DIRTY

/**
 * Marks the present anonymous pages of `[start, end)` as duplicated, under a PROTECTION_PAGE event for each mapping: they lose
 * write permission, and the next write raises CLEAR. Pages that were marked before and written since raise it now, so that
 * nobody keeps an older copy. The caller copies the marked pages afterwards.
 *
 * Left out is what can be written past all entries of this address space, so that the copy would be stale: pages of files,
 * pages that may be pinned for DMA, and device memory. Pages that nobody may access are left out too.
 *
 * With `wanted` only these pages are looked at, and the event is about them. The
 * caller has called `collectWrites` for them since it began its work: where protection does not keep stores out, what was written since
 * then is found by the next call, so they are not protected once more.
 *
 * Preconditions: mmapLock is held.
 *
 * Returns the number of pages marked, or -EINVAL if this is no range of whole pages.
 */
export function shareForRead(mm: Mm, start: Addr, end: Addr, wanted: PageRuns | null = null): number {
  if (!isPageRange(start, end)) return -EINVAL
  assert(mm.mmapLock.isHeld, 'shareForRead: the mmapLock is not held')
  let marked = 0
  for (let at = firstPageIn(wanted, start, end); at < end; at = firstPageIn(wanted, at, end)) {
    const vma = mm.findVmaIntersection(at, end)
    if (vma === null) break
    const from = Math.max(at, vma.start)
    at = Math.min(end, vma.end)
    if ((vma.flags & VM_HUGETLB) === 0) marked += shareVma(vma, from, at, wanted)
  }
  return marked
}

function shareVma(vma: Vma, start: Addr, end: Addr, wanted: PageRuns | null): number {
  const { mm } = vma
  const { sys } = mm
  const forEachWanted = (visit: (from: Addr, to: Addr) => void): void =>
    wanted === null ? visit(start, end) : forEachRunIn(wanted, start, end, visit)
  forEachWanted((from, to) => splitHugePmds(vma, from, to))
  const range = new MmuNotifierRange(MMU_NOTIFY_PROTECTION_PAGE, vma, mm, start, end)
  range.runs = wanted
  mmuNotifierInvalidateRangeStart(range)
  if (wanted === null || sys.mmu.capabilities.letsStoresThrough !== true) {
    forEachWanted((from, to) => tlbProtect(mm, from, to))
  }
  let marked = 0
  const stale: Addr[] = []
  forEachWanted((from, to) => {
    forEachTable(mm, from, to, (words, entry, npages, page) => {
      marked += markEntries(sys, words, entry, npages, from + page * PAGE_SIZE, stale)
    })
  })
  clearRuns(vma, mm, runsOfPages(stale), () => {})
  mmuNotifierInvalidateRangeEnd(range)
  return marked
}

/** Marks what can be of some entries of a table, of pages from `addr` on, and lists which were written since they were marked before. */
function markEntries(
  sys: System,
  words: Uint32Array,
  first: number,
  npages: number,
  addr: Addr,
  stale: Addr[],
): number {
  let marked = 0
  const stop = (first + npages) | 0
  for (let entry = first | 0, n = 1; entry < stop; entry += n) {
    const pfn = words[2 * entry] | 0
    const flags = words[2 * entry + 1] | 0
    n = 1
    if ((flags & (PTE_PRESENT | PTE_SPECIAL | PTE_PROTNONE)) !== PTE_PRESENT) continue
    n = pteRun(words, entry, stop - entry)
    for (let from = 0, count = 0; from < n; from += Math.max(count, 1)) {
      count = nshareable(sys, pfn + from, n - from)
      if (count === 0) continue
      const end = from + count
      if ((flags & PTE_DIRTY) !== 0) markDirty(sys, pfn + from, count)
      if ((flags & WRITTEN) === WRITTEN) {
        for (let i = from; i < end; i++) stale.push(addr + (entry - first + i) * PAGE_SIZE)
      }
      setPteFlags(words, entry + from, count, (flags & ~(PTE_WRITE | PTE_DIRTY)) | PTE_DUPLICATED)
      marked += count
    }
  }
  return marked
}

/**
 * How many frames from `first` on, at most `max`, are of pages all writes to which go through their entries, or through ones that fork
 * made read-only: small ones in the same state, or one.
 */
function nshareable(sys: System, first: Pfn, max: number): number {
  const { pages } = sys
  if (pages.pagemap[first] !== 0 || !pages.isAnon(first) || pages.maybeDmaPinned(first)) return 0
  if (max === 1 || pages.isCompound(first)) return 1
  const n = alikeFrames(pages.flags, first, framesOfMemory(sys, first, max))
  return alikeFrames(pages.refcount, first, n)
}

/** Pages of which `nshareable` told are dirty. */
function markDirty({ pages }: System, first: Pfn, npages: number): void {
  if (npages === 1) pages.setDirty(first)
  else setFrames(pages.flags, pages.flags[first] | PG_DIRTY, first, npages)
}

/**
 * Finds the marked pages of `[start, end)` that were written although no fault said so, raises one CLEAR for them
 * and takes the marks away. The dirty flags of the frames are set before anybody is told, so that nobody's question hides a
 * write from somebody else. Every launch calls it first; it is the only place that re-arms write tracking.
 *
 * With `renewal` some of them stay marked, and the CLEAR about these goes to everybody else.
 *
 * Preconditions: mmapLock is held.
 *
 * Returns the number of marked pages that were written, or -EINVAL if this is no range of whole pages.
 */
export function collectWrites(mm: Mm, start: Addr, end: Addr, renewal: Renewal | null = null): number {
  if (!isPageRange(start, end)) return -EINVAL
  assert(mm.mmapLock.isHeld, 'collectWrites: the mmapLock is not held')
  const { mmu } = mm.sys
  if (mmu.capabilities.walksPageTable) return 0 // every write to a marked page is a fault
  const written = emptySet((end - start) / PAGE_SIZE)
  let count = 0
  // What was found while somebody asked for another reason.
  for (let addr = start; addr < end; addr = pmdAddrEnd(addr, end)) {
    const table = mm.pageTable.findPte(addr)
    if (table === null || !table.hasUntold) continue
    const page = (addr - start) / PAGE_SIZE
    const first = pteIndex(addr)
    const npages = (pmdAddrEnd(addr, end) - addr) / PAGE_SIZE
    for (let k = 0; k < npages; k++) count += noteWritten(mm.sys, table.words, first + k, written, page + k)
    if (npages === PTRS_PER_PTE) table.hasUntold = false
  }
  const dirty = tlbCollectDirty(mm, start, end)
  if (dirty !== null) {
    for (let page = nextDirty(dirty, 0); page >= 0 && page < written.length; page = nextDirty(dirty, page)) {
      const addr = start + page * PAGE_SIZE
      const table = mm.pageTable.findPte(addr)
      // Those that are written together mostly lie in one table.
      const stop = Math.min(written.length, page + (pmdAddrEnd(addr, end) - addr) / PAGE_SIZE)
      for (let i = pteIndex(addr); page < stop && dirty[page] === 1; i++, page++) {
        if (table !== null) count += noteWritten(mm.sys, table.words, i, written, page)
      }
    }
  }
  if (count > 0) endMarks(mm, runsOfSet(written, start), renewal)
  return count
}

/** Takes the marks of written pages away, but for those of which somebody makes his copies new. */
function endMarks(mm: Mm, written: PageRuns, renewal: Renewal | null): void {
  const renewed = renewal?.renew(written) ?? []
  clearMarks(mm, renewed.length === 0 ? written : runsWithout(written, renewed))
  clearRuns(null, mm, renewed, () => changeFlags(mm, renewed, ~PTE_DIRTY), renewal?.owner)
}

/** A set for so many pages, of one caller at a time: nobody is called while it is filled. */
function emptySet(npages: number): Uint8Array {
  if (npages > pageSet.length) pageSet = makeByteSet(2 * npages)
  return pageSet.subarray(0, npages).fill(0)
}

let pageSet = makeByteSet(PTRS_PER_PTE)

/** Takes note of a page that was written. Returns 1 if it is marked, and was not noted before, else 0. */
function noteWritten({ pages }: System, words: Uint32Array, i: number, written: Uint8Array, page: number): number {
  const flags = words[2 * i + 1]
  if ((flags & (PTE_PRESENT | PTE_DIRTY | PTE_SPECIAL)) !== (PTE_PRESENT | PTE_DIRTY)) return 0
  pages.setDirty(words[2 * i])
  if ((flags & PTE_DUPLICATED) === 0 || written[page] !== 0) return 0
  written[page] = 1
  return 1
}

/** Raises CLEAR for runs of pages, and takes their marks away. */
function clearMarks(mm: Mm, runs: PageRuns): void {
  clearRuns(null, mm, runs, () => changeFlags(mm, runs, ~PTE_DUPLICATED))
}

/** Keeps these bits of all entries of runs of pages. */
function changeFlags(mm: Mm, runs: PageRuns, kept: number): void {
  for (let i = 0; i < runs.length; i += 2) {
    forEachTable(mm, runs[i], runs[i + 1], (words, entry, npages) => {
      for (let w = 2 * entry + 1; w < 2 * (entry + npages); w += 2) words[w] &= kept
    })
  }
}

/** Raises one CLEAR for runs of pages, if there are any, and does `change` in it. */
function clearRuns(vma: Vma | null, mm: Mm, runs: PageRuns, change: () => void, renewedBy: unknown = null): void {
  if (runs.length === 0) return
  const range = new MmuNotifierRange(MMU_NOTIFY_CLEAR, vma, mm, runs[0], runs[runs.length - 1])
  if (runs.length > 2) range.runs = runs
  range.renewedBy = renewedBy
  mmuNotifierInvalidateRangeStart(range)
  change()
  mmuNotifierInvalidateRangeEnd(range)
}

/**
 * Takes the marks of `[start, end)` away, with one CLEAR for the marked pages, before somebody writes all of them: the write
 * faults that follow find no mark and raise no event of their own. The pages stay write-protected until then.
 *
 * Preconditions: mmapLock is held.
 *
 * Returns the number of marks taken, or -EINVAL if this is no range of whole pages.
 */
export function endDuplicates(mm: Mm, start: Addr, end: Addr): number {
  if (!isPageRange(start, end)) return -EINVAL
  assert(mm.mmapLock.isHeld, 'endDuplicates: the mmapLock is not held')
  const marked = emptySet((end - start) / PAGE_SIZE)
  const mark = PTE_PRESENT | PTE_DUPLICATED
  let count = 0
  forEachTable(mm, start, end, (words, entry, npages, page) => {
    const first = (2 * entry + 1) | 0
    const stop = (first + 2 * npages) | 0
    let seen = 0
    for (let w = first; w < stop; w += 2) seen |= words[w]
    if ((seen & mark) !== mark) return
    for (let w = first; w < stop; w += 2) {
      if ((words[w] & mark) !== mark) continue
      marked[page + ((w - first) >>> 1)] = 1
      count++
    }
  })
  if (count > 0) clearMarks(mm, runsOfSet(marked, start))
  return count
}

/** A marked entry becomes writable: `makeWritable` runs, and takes the mark away, while all mirrors drop their copies. */
export function dropDuplicate(vma: Vma, addr: Addr, makeWritable: () => void): void {
  const range = new MmuNotifierRange(MMU_NOTIFY_CLEAR, vma, vma.mm, addr, addr + PAGE_SIZE)
  mmuNotifierInvalidateRangeStart(range)
  makeWritable()
  mmuNotifierInvalidateRangeEnd(range)
}

function isPageRange(start: Addr, end: Addr): boolean {
  return start >= 0 && start < end && start % PAGE_SIZE === 0 && end % PAGE_SIZE === 0
}

/** A mark is for one page, so huge entries are split first. */
function splitHugePmds(vma: Vma, start: Addr, end: Addr): void {
  for (let addr = start; addr < end; addr = pmdAddrEnd(addr, end)) {
    const pmd = vma.mm.pageTable.findPmd(addr)
    const slot = pmdIndex(addr)
    if (pmd !== null && (pmd.hugeFlags(slot) & PTE_PRESENT) !== 0) splitHugePmd(vma, pmd, slot, addr)
  }
}

/**
 * Calls `visit` for each table under `[start, end)`, with the part of it that lies in there: its words, the index of the first entry, how
 * many, and the page from `start` on that the first one is of.
 */
function forEachTable(
  mm: Mm,
  start: Addr,
  end: Addr,
  visit: (words: Uint32Array, entry: number, npages: number, page: number) => void,
): void {
  for (let addr = start; addr < end; addr = pmdAddrEnd(addr, end)) {
    const table = mm.pageTable.findPte(addr)
    if (table === null) continue
    visit(table.words, pteIndex(addr), (pmdAddrEnd(addr, end) - addr) / PAGE_SIZE, (addr - start) / PAGE_SIZE)
  }
}
