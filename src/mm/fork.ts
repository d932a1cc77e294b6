// fork: a copy of an address space that shares its private pages until one side writes (kernel/fork.c and
// `copy_page_range` in mm/memory.c of Linux 6.1; spec 7.5).

import { type Addr, PAGE_SIZE, pgdAddrEnd, pmdAddrEnd, pmdIndex, pteIndex, pudAddrEnd } from '../base/addr.ts'
import { assert } from '../base/assert.ts'
import { EAGAIN, EINVAL, ENOMEM, EOPNOTSUPP } from '../base/errno.ts'
import { anonVmaFork } from './anon-vma.ts'
import { restoreExclusiveEntry } from './fault.ts'
import { copyHugePmd } from './huge-pmd.ts'
import { copyHugetlbPageRange } from './hugetlb.ts'
import { MM_SWAPENTS, Mm } from './mm.ts'
import { mmput } from './mmap.ts'
import {
  MMU_NOTIFY_PROTECTION_PAGE,
  MmuNotifierRange,
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from './mmu-notifier.ts'
import { PG_UPTODATE } from './page.ts'
import { allocPage, getPage, waitForPage } from './page-alloc.ts'
import type { PteTable } from './pgtable.ts'
import {
  PTE_DIRTY,
  PTE_DUPLICATED,
  PTE_EXCLUSIVE,
  PTE_KIND_DEVICE_EXCLUSIVE,
  PTE_KIND_DEVICE_PRIVATE,
  PTE_KIND_MIGRATION,
  PTE_KIND_SWAP,
  PTE_MKDIRTY,
  PTE_PRESENT,
  PTE_SPECIAL,
  PTE_WRITE,
  PTE_YOUNG,
  pteKind,
} from './pte.ts'
import { pageAddFileRmap, pageAddNewAnonRmap, pageTryDupAnonRmap, rssKind } from './rmap.ts'
import { tlbUnmap } from './tlb.ts'
import {
  isCowMapping,
  VM_DONTCOPY,
  VM_HUGETLB,
  VM_LOCKED,
  VM_MIXEDMAP,
  VM_PFNMAP,
  VM_SHARED,
  VM_WRITE,
} from './vm-flags.ts'
import { type Vma, vmaDup, vmaLink, vmaProtection } from './vma.ts'

/**
 * Makes the child's address space.
 *
 * Returns it, or -EINVAL if the parent is dead, -EOPNOTSUPP where the backend cannot map a frame twice, -EAGAIN with `sys.waitFor` set while a device
 * holds the lock of an exclusive page, or -ENOMEM without a frame for the copy of a pinned page; the child is gone again then.
 */
export function forkMm(parent: Mm): Mm | number {
  const { sys } = parent
  if (parent.users <= 0) return -EINVAL
  if (!sys.mmu.capabilities.anyFrame) return -EOPNOTSUPP
  const child = new Mm(sys)
  child.hasPinned = parent.hasPinned
  for (const vma of [...parent.vmas]) {
    if ((vma.flags & VM_DONTCOPY) !== 0) continue
    const copy = vmaDup(vma, child)
    copy.anonVma = null
    anonVmaFork(copy, vma)
    copy.flags &= ~VM_LOCKED
    copy.ops?.open?.(copy)
    vmaLink(copy)
    const err = copyPageRange(copy, vma)
    if (err !== 0) {
      mmput(child)
      return err
    }
  }
  return child
}

/** Mappings that can be filled again by faults are not copied (MN-68). */
function needsCopy(vma: Vma): boolean {
  return (vma.flags & (VM_PFNMAP | VM_MIXEDMAP)) !== 0 || vma.anonVma !== null
}

function copyPageRange(dst: Vma, src: Vma): number {
  if (!needsCopy(src)) return 0
  if ((src.flags & VM_HUGETLB) !== 0) return copyHugetlbPageRange(dst, src)
  const { mm } = src
  const range = isCowMapping(src.flags)
    ? new MmuNotifierRange(MMU_NOTIFY_PROTECTION_PAGE, src, mm, src.start, src.end)
    : null
  if (range !== null) {
    mmuNotifierInvalidateRangeStart(range)
    tlbUnmap(mm, src.start, src.end)
  }
  let err = 0
  const { pageTable } = mm
  for (let addr = src.start; addr < src.end && err === 0; ) {
    if (pageTable.findPud(addr) === null) {
      addr = pgdAddrEnd(addr, src.end)
      continue
    }
    const pmd = pageTable.findPmd(addr)
    if (pmd === null) {
      addr = pudAddrEnd(addr, src.end)
      continue
    }
    dst.mm.pageTable.allocPmd(addr)
    const next = pmdAddrEnd(addr, src.end)
    const slot = pmdIndex(addr)
    if (pmd.hugeFlags(slot) === 0 || !copyHugePmd(dst, src, pmd, slot, addr)) {
      const table = pmd.tables[slot]
      if (table !== null) err = copyPteRange(dst, src, table, addr, next)
    }
    addr = next
  }
  if (range !== null) mmuNotifierInvalidateRangeEnd(range)
  return err
}

function copyPteRange(dst: Vma, src: Vma, from: PteTable, start: Addr, end: Addr): number {
  const to = dst.mm.pageTable.allocPte(start)
  const first = pteIndex(start)
  const npages = (end - start) / PAGE_SIZE
  for (let k = 0; k < npages; k++) {
    const i = first + k
    const flags = from.words[2 * i + 1]
    if (flags === 0) continue
    const addr = start + k * PAGE_SIZE
    if ((flags & PTE_PRESENT) !== 0) {
      if (!copyPresent(dst, src, from, to, i, addr)) return -ENOMEM
      continue
    }
    if (pteKind(flags) === PTE_KIND_DEVICE_EXCLUSIVE) {
      const { sys } = src.mm
      const pfn = from.words[2 * i]
      if (!sys.pages.trylock(pfn)) {
        waitForPage(sys, pfn)
        return -EAGAIN
      }
      restoreExclusiveEntry(src, addr)
      sys.pages.flags[sys.pages.head(pfn)] &= ~1 // PG_LOCKED; nobody can wait for it
      if (!copyPresent(dst, src, from, to, i, addr)) return -ENOMEM
      continue
    }
    copyNonPresent(dst, src, from, to, i)
  }
  return 0
}

/** False if there is no frame for the copy of a pinned page. */
function copyPresent(dst: Vma, src: Vma, from: PteTable, to: PteTable, i: number, addr: Addr): boolean {
  const { sys } = src.mm
  const { pages } = sys
  const pfn = from.words[2 * i]
  let flags = from.words[2 * i + 1]
  if ((flags & PTE_SPECIAL) === 0) {
    if (pages.isAnon(pfn)) {
      if (!pageTryDupAnonRmap(src, pfn)) return copyPinnedPage(dst, pfn, to, i, addr)
    } else {
      pageAddFileRmap(sys, pfn)
    }
    getPage(sys, pfn)
    dst.mm.rss[rssKind(sys, pfn)]++
  }
  if (isCowMapping(src.flags) && (flags & PTE_WRITE) !== 0) {
    flags &= ~PTE_WRITE
    from.words[2 * i + 1] = flags
  }
  if ((src.flags & VM_SHARED) !== 0) flags &= ~PTE_DIRTY
  to.words[2 * i] = pfn
  to.words[2 * i + 1] = flags & ~(PTE_YOUNG | PTE_DUPLICATED)
  return true
}

/** DMA may be going on in the parent's page: the child gets a copy at once (CP-51). False if there is no frame for it. */
function copyPinnedPage(dst: Vma, pfn: number, to: PteTable, i: number, addr: Addr): boolean {
  const { mm } = dst
  const { sys } = mm
  const copy = allocPage(mm, addr)
  if (copy < 0) return false
  sys.mmu.copyFrame(copy, pfn)
  sys.pages.flags[copy] |= PG_UPTODATE
  pageAddNewAnonRmap(dst, copy, addr)
  mm.rss[rssKind(sys, copy)]++
  to.words[2 * i] = copy
  to.words[2 * i + 1] = vmaProtection(dst) | PTE_MKDIRTY | ((dst.flags & VM_WRITE) !== 0 ? PTE_WRITE : 0)
  return true
}

function copyNonPresent(dst: Vma, src: Vma, from: PteTable, to: PteTable, i: number): void {
  const { sys } = src.mm
  const low = from.words[2 * i]
  let flags = from.words[2 * i + 1]
  const cow = isCowMapping(src.flags)
  switch (pteKind(flags)) {
    case PTE_KIND_SWAP:
      assert(sys.swap !== null, 'a swap entry implies a swap area')
      sys.swap.duplicate(low)
      flags &= ~PTE_EXCLUSIVE
      dst.mm.rss[MM_SWAPENTS]++
      break
    case PTE_KIND_MIGRATION:
      dst.mm.rss[rssKind(sys, low)]++
      if (cow) flags &= ~(PTE_WRITE | PTE_EXCLUSIVE)
      break
    case PTE_KIND_DEVICE_PRIVATE:
      getPage(sys, low)
      dst.mm.rss[rssKind(sys, low)]++
      pageTryDupAnonRmap(src, low)
      if (cow) flags &= ~PTE_WRITE
      break
  }
  from.words[2 * i + 1] = flags
  to.words[2 * i] = low
  to.words[2 * i + 1] = flags
}
