// madvise (mm/madvise.c of Linux 6.1; spec 7.3).

import {
  type Addr,
  isPageAligned,
  PAGE_SIZE,
  PMD_SIZE,
  pageAlignUp,
  pmdAddrEnd,
  pmdIndex,
  pteIndex,
} from '../base/addr.ts'
import { EACCES, EINVAL, ENOMEM, EOPNOTSUPP } from '../base/errno.ts'
import {
  MADV_COLD,
  MADV_COLLAPSE,
  MADV_DODUMP,
  MADV_DOFORK,
  MADV_DONTDUMP,
  MADV_DONTFORK,
  MADV_DONTNEED,
  MADV_FREE,
  MADV_HUGEPAGE,
  MADV_HWPOISON,
  MADV_NOHUGEPAGE,
  MADV_NORMAL,
  MADV_PAGEOUT,
  MADV_POPULATE_READ,
  MADV_POPULATE_WRITE,
  MADV_RANDOM,
  MADV_REMOVE,
  MADV_SEQUENTIAL,
  MADV_WILLNEED,
} from '../uapi/mman.ts'
import { checkVmaFlags, FOLL_GET, FOLL_HWPOISON, FOLL_WRITE, getUserPages } from './gup.ts'
import { freeHugePmd, pageoutHugePmd, trySplitHugePage } from './huge-madvise.ts'
import { HugetlbFile } from './hugetlb-file.ts'
import { collapseRange } from './khugepaged.ts'
import { memoryFailure } from './memory-failure.ts'
import { MM_SWAPENTS, type Mm } from './mm.ts'
import {
  MMU_NOTIFY_CLEAR,
  MmuNotifierRange,
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from './mmu-notifier.ts'
import { PG_DIRTY, PG_HEAD, PG_LRU, PG_REFERENCED, PG_SWAPBACKED, PG_SWAPCACHE, PG_UNEVICTABLE } from './page.ts'
import { unlockPage } from './page-alloc.ts'
import type { PteTable } from './pgtable.ts'
import {
  PTE_DIRTY,
  PTE_KIND_HWPOISON,
  PTE_KIND_SWAP,
  PTE_KIND_SWAPIN_ERROR,
  PTE_PRESENT,
  PTE_SPECIAL,
  PTE_YOUNG,
  pteKind,
} from './pte.ts'
import { reclaimPages } from './reclaim.ts'
import { ShmemFile } from './shmem.ts'
import { freeSwapAndCache, freeSwapOfPage } from './swap.ts'
import { tlbUnmap } from './tlb.ts'
import {
  VM_DONTCOPY,
  VM_DONTDUMP,
  VM_HUGEPAGE,
  VM_HUGETLB,
  VM_LOCKED,
  VM_NOHUGEPAGE,
  VM_PFNMAP,
  VM_RAND_READ,
  VM_SEQ_READ,
  VM_SHARED,
  VM_SPECIAL,
  VM_WRITE,
} from './vm-flags.ts'
import { linearPageIndex, type Vma } from './vma.ts'
import { changeVmaFlags } from './vma-adjust.ts'
import { zapPageRangeSingle } from './zap.ts'

/** What is done to pages and not to mappings. */
const NEEDS_READ = [
  MADV_COLD,
  MADV_DONTNEED,
  MADV_FREE,
  MADV_HWPOISON,
  MADV_PAGEOUT,
  MADV_POPULATE_READ,
  MADV_POPULATE_WRITE,
  MADV_REMOVE,
  MADV_WILLNEED,
]

/** How `mmMadvise` wants mmapLock: for writing if true, for reading otherwise (`madvise_need_mmap_write`). */
export function madviseNeedsWrite(advice: number): boolean {
  return !NEEDS_READ.includes(advice)
}

/**
 * Advice about `[start, start + length)`. Mappings are handled in order; a hole is passed by and reported in the end.
 *
 * Returns 0, -EINVAL (unaligned, unknown advice, advice that the mapping does not take), -ENOMEM (a part is not mapped),
 * -EFAULT or -EHWPOISON (populate met a page that cannot be touched), -EBUSY (poison of a page in use), -EAGAIN (collapse of
 * pages in use).
 */
export function mmMadvise(mm: Mm, start: Addr, length: number, advice: number): number {
  if (!isValidAdvice(advice)) return -EINVAL
  if (!Number.isSafeInteger(start) || !Number.isSafeInteger(length)) return -EINVAL
  if (!isPageAligned(start) || start < 0 || length < 0) return -EINVAL
  const end = start + pageAlignUp(length)
  if (end === start) return 0
  if (advice === MADV_HWPOISON) return injectError(mm, start, start + length)

  let vma = mm.findVma(start)
  let prev: Vma | null = vma !== null && start > vma.start ? vma : vma === null ? null : mm.prevVma(vma)
  let unmapped = 0
  for (let at = start; ; ) {
    if (vma === null) return -ENOMEM
    if (at < vma.start) {
      unmapped = -ENOMEM
      at = vma.start
      if (at >= end) return unmapped
    }
    const to = Math.min(vma.end, end)
    const result: Vma | number = adviseVma(vma, prev, at, to, advice)
    if (typeof result === 'number') return result
    prev = result
    at = Math.max(to, prev.end > to && prev.start <= to ? prev.end : to)
    if (at >= end) return unmapped
    vma = mm.findVma(at)
  }
}

const ADVICE = [
  MADV_NORMAL,
  MADV_RANDOM,
  MADV_SEQUENTIAL,
  MADV_WILLNEED,
  MADV_DONTNEED,
  MADV_FREE,
  MADV_REMOVE,
  MADV_DONTFORK,
  MADV_DOFORK,
  MADV_HUGEPAGE,
  MADV_NOHUGEPAGE,
  MADV_DONTDUMP,
  MADV_DODUMP,
  MADV_COLD,
  MADV_PAGEOUT,
  MADV_POPULATE_READ,
  MADV_POPULATE_WRITE,
  MADV_COLLAPSE,
  MADV_HWPOISON,
]

function isValidAdvice(advice: number): boolean {
  return ADVICE.includes(advice)
}

/** Applies the advice to a part of one mapping. Returns the mapping that covers the part now, or a negative errno. */
function adviseVma(vma: Vma, prev: Vma | null, start: Addr, end: Addr, advice: number): Vma | number {
  switch (advice) {
    case MADV_DONTNEED:
    case MADV_FREE:
      return adviseDiscard(vma, start, end, advice) || vma
    case MADV_PAGEOUT:
    case MADV_COLD:
      if ((vma.flags & (VM_LOCKED | VM_PFNMAP | VM_HUGETLB)) !== 0) return -EINVAL
      ageRange(vma, start, end, advice === MADV_PAGEOUT)
      return vma
    case MADV_POPULATE_READ:
    case MADV_POPULATE_WRITE:
      return populate(vma, start, end, advice === MADV_POPULATE_WRITE) || vma
    case MADV_COLLAPSE:
      return collapseRange(vma, start, end) || vma
    case MADV_REMOVE:
      return removeRange(vma, start, end) || vma
    case MADV_WILLNEED:
      return vma
    default:
      return adviseFlags(vma, prev, start, end, advice)
  }
}

// ---- discarding ----

function adviseDiscard(vma: Vma, start: Addr, end: Addr, advice: number): number {
  let to = end
  if ((vma.flags & VM_HUGETLB) !== 0) {
    if (advice !== MADV_DONTNEED || start % PMD_SIZE !== 0) return -EINVAL
    to = end - (end % PMD_SIZE)
    if (to === start) return 0
  } else if ((vma.flags & (VM_PFNMAP | VM_LOCKED)) !== 0) {
    return -EINVAL
  }
  if (advice === MADV_DONTNEED) {
    zapPageRangeSingle(vma, start, to)
    return 0
  }
  if (!vma.isAnonymous) return -EINVAL
  const range = new MmuNotifierRange(MMU_NOTIFY_CLEAR, vma, vma.mm, start, to)
  mmuNotifierInvalidateRangeStart(range)
  tlbUnmap(vma.mm, start, to)
  for (let addr = start; addr < to; ) {
    const next = pmdAddrEnd(addr, to)
    const pmd = vma.mm.pageTable.findPmd(addr)
    if (pmd !== null) {
      const slot = pmdIndex(addr)
      if (pmd.hugeFlags(slot) === 0 || !freeHugePmd(vma, pmd, slot, addr, next)) {
        const table = pmd.tables[slot]
        if (table !== null) freePteRange(vma, table, addr, next)
      }
    }
    addr = next
  }
  mmuNotifierInvalidateRangeEnd(range)
  return 0
}

/** Present pages become clean and may be dropped by reclaim; swapped and poisoned ones are dropped now (CP-31). */
function freePteRange(vma: Vma, table: PteTable, start: Addr, end: Addr): void {
  const { mm } = vma
  const { sys } = mm
  const { pages } = sys
  const { words } = table
  const first = pteIndex(start)
  const npages = (end - start) / PAGE_SIZE
  for (let i = first; i < first + npages; i++) {
    const flags = words[2 * i + 1]
    if (flags === 0) continue
    const pfn = words[2 * i]
    if ((flags & PTE_PRESENT) === 0) {
      const kind = pteKind(flags)
      if (kind === PTE_KIND_SWAP) {
        mm.rss[MM_SWAPENTS]--
        freeSwapAndCache(sys, pfn)
      } else if (kind !== PTE_KIND_HWPOISON && kind !== PTE_KIND_SWAPIN_ERROR) {
        continue
      }
      words[2 * i] = 0
      words[2 * i + 1] = 0
      continue
    }
    if ((flags & PTE_SPECIAL) !== 0 || pages.pagemap[pfn] !== 0) continue
    if (pages.isCompound(pfn)) {
      if (pages.totalMapcount(pfn) !== 1 || !trySplitHugePage(sys, pfn)) return
      i--
      continue
    }
    if ((pages.flags[pfn] & (PG_SWAPCACHE | PG_DIRTY)) !== 0) {
      if (!pages.trylock(pfn)) continue
      const only = pages.mapcount[pfn] === 1
      const inSwap = only && (pages.flags[pfn] & PG_SWAPCACHE) !== 0 && !freeSwapOfPage(sys, pfn)
      if (only && !inSwap) pages.flags[pfn] &= ~PG_DIRTY
      unlockPage(sys, pfn)
      if (!only || inSwap) continue
    }
    words[2 * i + 1] = flags & ~(PTE_YOUNG | PTE_DIRTY)
    // Others have not given it up. The kernel overlooks them where the page is clean.
    if (pages.mapcount[pfn] !== 1) continue
    const lazy = PG_LRU | PG_SWAPBACKED
    if ((pages.flags[pfn] & (lazy | PG_SWAPCACHE | PG_UNEVICTABLE)) === lazy && pages.isAnon(pfn)) {
      pages.flags[pfn] &= ~(PG_SWAPBACKED | PG_REFERENCED)
    }
  }
}

/** MADV_REMOVE: the pages go from the file too. */
function removeRange(vma: Vma, start: Addr, end: Addr): number {
  if ((vma.flags & VM_LOCKED) !== 0) return -EINVAL
  if (!(vma.file instanceof ShmemFile || vma.file instanceof HugetlbFile)) return -EINVAL
  if ((vma.flags & (VM_SHARED | VM_WRITE)) !== (VM_SHARED | VM_WRITE)) return -EACCES
  return vma.file.punchHole(linearPageIndex(vma, start), (end - start) / PAGE_SIZE)
}

// ---- ageing ----

/** Clears the young bits, and with `pageout` reclaims the pages that only this mapping uses (CP-32). */
function ageRange(vma: Vma, start: Addr, end: Addr, pageout: boolean): void {
  const { mm } = vma
  const { sys } = mm
  const isolated: number[] = []
  for (let addr = start; addr < end; ) {
    const next = pmdAddrEnd(addr, end)
    const pmd = mm.pageTable.findPmd(addr)
    if (pmd !== null) {
      const slot = pmdIndex(addr)
      if (pmd.hugeFlags(slot) === 0 || !pageoutHugePmd(vma, pmd, slot, addr, next, pageout, isolated)) {
        const table = pmd.tables[slot]
        if (table !== null) agePteRange(vma, table, addr, next, pageout, isolated)
      }
      if (isolated.length > 0) reclaimPages(sys, isolated.splice(0))
    }
    addr = next
  }
}

function agePteRange(vma: Vma, table: PteTable, start: Addr, end: Addr, pageout: boolean, isolated: number[]): void {
  const { sys } = vma.mm
  const { pages } = sys
  const { words } = table
  const first = pteIndex(start)
  const npages = (end - start) / PAGE_SIZE
  for (let i = first; i < first + npages; i++) {
    const flags = words[2 * i + 1]
    if ((flags & PTE_PRESENT) === 0 || (flags & PTE_SPECIAL) !== 0) continue
    const pfn = words[2 * i]
    if (pages.pagemap[pfn] !== 0) continue
    if (pages.isCompound(pfn)) {
      if (pages.totalMapcount(pfn) !== 1 || !trySplitHugePage(sys, pfn)) return
      i--
      continue
    }
    if ((pages.flags[pfn] & PG_LRU) === 0 || pages.mapcount[pfn] !== 1) continue
    words[2 * i + 1] = flags & ~PTE_YOUNG
    pages.flags[pfn] &= ~PG_REFERENCED
    if (pageout && sys.lru.isolate(pfn)) isolated.push(pfn)
  }
}

// ---- populating ----

function populate(vma: Vma, start: Addr, end: Addr, write: boolean): number {
  const gupFlags = FOLL_HWPOISON | (write ? FOLL_WRITE : 0)
  if (checkVmaFlags(vma, gupFlags) !== 0) return -EINVAL
  for (let at = start; at < end; ) {
    const done = getUserPages(vma.mm, at, (end - at) / PAGE_SIZE, gupFlags, null)
    if (done < 0) return done
    at += done * PAGE_SIZE
  }
  return 0
}

// ---- flags ----

function adviseFlags(vma: Vma, prev: Vma | null, start: Addr, end: Addr, advice: number): Vma | number {
  let flags = vma.flags
  switch (advice) {
    case MADV_NORMAL:
      flags &= ~(VM_RAND_READ | VM_SEQ_READ)
      break
    case MADV_RANDOM:
      flags = (flags & ~VM_SEQ_READ) | VM_RAND_READ
      break
    case MADV_SEQUENTIAL:
      flags = (flags & ~VM_RAND_READ) | VM_SEQ_READ
      break
    case MADV_DONTFORK:
      flags |= VM_DONTCOPY
      break
    case MADV_DOFORK:
      flags &= ~VM_DONTCOPY
      break
    case MADV_DONTDUMP:
      flags |= VM_DONTDUMP
      break
    case MADV_DODUMP:
      flags &= ~VM_DONTDUMP
      break
    case MADV_HUGEPAGE:
    case MADV_NOHUGEPAGE: {
      if ((vma.flags & (VM_SPECIAL | VM_HUGETLB)) !== 0) return -EINVAL
      const [on, off] = advice === MADV_HUGEPAGE ? [VM_HUGEPAGE, VM_NOHUGEPAGE] : [VM_NOHUGEPAGE, VM_HUGEPAGE]
      flags = (flags & ~off) | on
      break
    }
  }
  if (flags === vma.flags) return vma
  return changeVmaFlags(vma, prev, start, end, flags, linearPageIndex(vma, start))
}

// ---- poison ----

/** Each page is touched for reading and then declared broken. */
function injectError(mm: Mm, start: Addr, end: Addr): number {
  const { sys } = mm
  for (let at = start; at < end; ) {
    const found: number[] = []
    const ret = getUserPages(mm, at, 1, FOLL_GET, found)
    if (ret !== 1) return ret
    const head = sys.pages.head(found[0])
    const isCompound = (sys.pages.flags[head] & PG_HEAD) !== 0
    const nbytes = isCompound ? PAGE_SIZE << sys.pages.getCompound(head).order : PAGE_SIZE
    const err = memoryFailure(sys, found[0])
    if (err !== 0 && err !== -EOPNOTSUPP) return err
    at += nbytes
  }
  return 0
}
