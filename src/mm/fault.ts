// Page faults: what happens when the CPU, a device or GUP needs a page that its entry does not give. Follows
// `handle_mm_fault` and its helpers in mm/memory.c of Linux 6.1 (spec section 7.1). It differs in that nothing sleeps: where
// the kernel waits for a page lock or a migration, the fault answers VM_FAULT_RETRY and `sys.waitFor` names what to wait for.

import { type Addr, PAGE_SIZE, type Pfn, pageAlignDown, pmdIndex, pteIndex } from '../base/addr.ts'
import { assert } from '../base/assert.ts'
import { EAGAIN, EIO } from '../base/errno.ts'
import { anonVmaPrepare } from './anon-vma.ts'
import { doHugePmdFault } from './huge-memory.ts'
import { hugetlbFault } from './hugetlb.ts'
import { pagemapOf } from './memremap.ts'
import { MM_ANONPAGES, MM_SWAPENTS } from './mm.ts'
import {
  MMU_NOTIFY_CLEAR,
  MMU_NOTIFY_EXCLUSIVE,
  MmuNotifierRange,
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from './mmu-notifier.ts'
import { PG_HWPOISON, PG_LOCKED, PG_SWAPCACHE, PG_UPTODATE } from './page.ts'
import {
  allocPage,
  allocZeroedPage,
  faultWithoutPage,
  getPage,
  putPage,
  unlockPage,
  waitForPage,
} from './page-alloc.ts'
import type { PteTable } from './pgtable.ts'
import {
  PTE_DIRTY,
  PTE_DUPLICATED,
  PTE_EXCLUSIVE,
  PTE_KIND_DEVICE_EXCLUSIVE,
  PTE_KIND_DEVICE_PRIVATE,
  PTE_KIND_HWPOISON,
  PTE_KIND_MIGRATION,
  PTE_KIND_SWAP,
  PTE_MKDIRTY,
  PTE_PRESENT,
  PTE_PROTNONE,
  PTE_SOFT_DIRTY,
  PTE_SPECIAL,
  PTE_WRITE,
  PTE_YOUNG,
  pteKind,
} from './pte.ts'
import {
  pageAddAnonRmap,
  pageAddFileRmap,
  pageAddNewAnonRmap,
  pageMoveAnonRmap,
  pageRemoveRmap,
  rssKind,
} from './rmap.ts'
import { dropDuplicate } from './share.ts'
import { freeSwapCache, freeSwapOfPage } from './swap.ts'
import { swapInPage } from './swap-in.ts'
import { tlbInstall, tlbUnmap } from './tlb.ts'
import { invalidateCachedPage, unmapMappingPage } from './truncate.ts'
import {
  FAULT_FLAG_UNSHARE,
  FAULT_FLAG_WRITE,
  VM_FAULT_DONE_COW,
  VM_FAULT_ERROR,
  VM_FAULT_FALLBACK,
  VM_FAULT_HWPOISON,
  VM_FAULT_LOCKED,
  VM_FAULT_NOPAGE,
  VM_FAULT_RETRY,
  VM_FAULT_SIGBUS,
  VM_FAULT_SIGSEGV,
  VmFault,
} from './vm-fault.ts'
import { VM_ACCESS_FLAGS, VM_HUGETLB, VM_LOCKED, VM_SHARED, VM_WRITE } from './vm-flags.ts'
import { linearPageIndex, type Vma, vmaProtection } from './vma.ts'

/**
 * Makes the page at `addr` usable for the access in `flags` (FAULT_FLAG_*). The caller has checked that the mapping allows
 * the access, and holds mmapLock for reading.
 *
 * Returns VM_FAULT_* bits: 0 when the access can be repeated, an error of VM_FAULT_ERROR, or VM_FAULT_RETRY with
 * `sys.waitFor` set.
 */
export function handleMmFault(vma: Vma, addr: Addr, flags: number): number {
  if (!(addr >= vma.start && addr < vma.end)) return VM_FAULT_SIGSEGV
  const page = pageAlignDown(addr)
  if ((vma.flags & VM_HUGETLB) !== 0) return hugetlbFault(vma, page, flags)
  const { pageTable, sys } = vma.mm
  if (sys.thp !== 'never' || pageTable.hasHuge) {
    const pmd = pageTable.allocPmd(page)
    const ret = doHugePmdFault(vma, page, flags, pmd, pmdIndex(page))
    if ((ret & VM_FAULT_FALLBACK) === 0) return ret
  }
  const table = pageTable.findPte(page)
  if (table === null) pageTable.allocPmd(page)
  const i = pteIndex(page)
  const entry = table === null ? 0 : table.words[2 * i + 1]
  if (table === null || entry === 0) {
    return vma.ops === null ? doAnonymousPage(vma, page, flags) : doFault(vma, page, flags)
  }
  const words = table.words
  if ((entry & PTE_PRESENT) !== 0) {
    if ((entry & PTE_PROTNONE) !== 0 && (vma.flags & VM_ACCESS_FLAGS) !== 0) return doNumaPage(vma, page, table, i)
    if ((flags & (FAULT_FLAG_WRITE | FAULT_FLAG_UNSHARE)) !== 0) {
      if ((entry & PTE_WRITE) === 0) return doWpPage(makeVmFault(vma, page, flags))
      if ((flags & FAULT_FLAG_WRITE) !== 0) words[2 * i + 1] |= PTE_MKDIRTY
    }
    words[2 * i + 1] |= PTE_YOUNG
    tlbInstall(vma.mm, page, table, i)
    return 0
  }
  return doSwapPage(makeVmFault(vma, page, flags))
}

/**
 * An entry without access in a mapping that can be accessed is a hint: somebody wants to know whether the page is used
 * (`do_numa_page`, CP-12). It becomes accessible again; a write may then fault once more.
 */
function doNumaPage(vma: Vma, addr: Addr, table: PteTable, i: number): number {
  const entry = table.words[2 * i + 1]
  table.words[2 * i + 1] = (entry & ~(PTE_PROTNONE | PTE_WRITE)) | vmaProtection(vma) | PTE_YOUNG
  tlbInstall(vma.mm, addr, table, i)
  return 0
}

/** The fault with the entry as it is now. */
function makeVmFault(vma: Vma, addr: Addr, flags: number): VmFault {
  const vmf = new VmFault(vma, addr, linearPageIndex(vma, addr), flags)
  const table = vma.mm.pageTable.findPte(addr)
  vmf.table = table
  vmf.index = pteIndex(addr)
  if (table !== null) {
    vmf.origPfn = table.words[2 * vmf.index]
    vmf.origFlags = table.words[2 * vmf.index + 1]
  }
  return vmf
}

function entryUnchanged(vmf: VmFault): boolean {
  const table = vmf.vma.mm.pageTable.findPte(vmf.address)
  if (table === null) return vmf.origFlags === 0
  vmf.table = table
  return table.words[2 * vmf.index + 1] === vmf.origFlags && table.words[2 * vmf.index] === vmf.origPfn
}

/** The page behind a present entry, -1 for none: zero page, raw frame number (`vm_normal_page`). */
export function vmNormalPage(flags: number, pfn: Pfn): Pfn {
  return (flags & PTE_SPECIAL) !== 0 ? -1 : pfn
}

// ---- empty entries ----

function doAnonymousPage(vma: Vma, addr: Addr, flags: number): number {
  const { mm } = vma
  if ((vma.flags & VM_SHARED) !== 0 || mm.isUnstable) return VM_FAULT_SIGBUS
  const { sys, pageTable } = mm
  const table = pageTable.allocPte(addr)
  const i = pteIndex(addr)
  if ((flags & FAULT_FLAG_WRITE) === 0 && sys.zeroPfn >= 0) {
    table.words[2 * i] = sys.zeroPfn
    table.words[2 * i + 1] = (vmaProtection(vma) & ~PTE_WRITE) | PTE_SPECIAL | PTE_YOUNG
    tlbInstall(mm, addr, table, i)
    return 0
  }
  anonVmaPrepare(vma)
  const pfn = allocZeroedPage(mm, addr)
  if (pfn < 0) return faultWithoutPage(sys)
  sys.pages.flags[pfn] |= PG_UPTODATE
  let entry = vmaProtection(vma) | PTE_YOUNG
  if ((vma.flags & VM_WRITE) !== 0) entry |= PTE_WRITE | PTE_MKDIRTY
  mm.rss[MM_ANONPAGES]++
  pageAddNewAnonRmap(vma, pfn, addr)
  table.words[2 * i] = pfn
  table.words[2 * i + 1] = entry
  tlbInstall(mm, addr, table, i)
  return 0
}

/** A fault on an empty entry of a mapping that is not anonymous. */
function doFault(vma: Vma, addr: Addr, flags: number): number {
  if (vma.ops?.fault === undefined) return VM_FAULT_SIGBUS
  const vmf = makeVmFault(vma, addr, flags)
  if ((flags & FAULT_FLAG_WRITE) === 0) return doReadFault(vmf)
  return (vma.flags & VM_SHARED) === 0 ? doCowFault(vmf) : doSharedFault(vmf)
}

function doReadFault(vmf: VmFault): number {
  const { vma } = vmf
  const { mm } = vma
  if (vma.ops?.mapPages !== undefined && mm.sys.faultAroundPages > 1 && !mm.isUnstable) {
    if ((doFaultAround(vmf) & VM_FAULT_NOPAGE) !== 0) return 0
  }
  return faultAndMap(vmf)
}

function doSharedFault(vmf: VmFault): number {
  const ret = faultAndMap(vmf)
  if (ret === 0) vmf.vma.mm.sys.pages.setDirty(vmf.page)
  return ret
}

/** Gets the page from the mapping's file and maps it. */
function faultAndMap(vmf: VmFault): number {
  const { sys } = vmf.vma.mm
  const ret = callFault(vmf)
  if ((ret & (VM_FAULT_ERROR | VM_FAULT_NOPAGE | VM_FAULT_RETRY)) !== 0) return ret
  const finished = finishFault(vmf, vmf.page)
  unlockPage(sys, vmf.page)
  if (finished !== 0) putPage(sys, vmf.page)
  return finished & ~VM_FAULT_NOPAGE
}

/** A write to a page of a private file mapping: copied at once into a new anonymous page. */
function doCowFault(vmf: VmFault): number {
  const { vma } = vmf
  const { mm } = vma
  const { sys } = mm
  anonVmaPrepare(vma)
  const copy = allocPage(mm, vmf.address)
  if (copy < 0) return faultWithoutPage(sys)
  const ret = callFault(vmf)
  if ((ret & (VM_FAULT_ERROR | VM_FAULT_NOPAGE | VM_FAULT_RETRY)) !== 0) {
    putPage(sys, copy)
    return ret
  }
  if ((ret & VM_FAULT_DONE_COW) !== 0) return ret
  sys.mmu.copyFrame(copy, vmf.page)
  sys.pages.flags[copy] |= PG_UPTODATE
  const finished = finishFault(vmf, copy)
  unlockPage(sys, vmf.page)
  putPage(sys, vmf.page)
  if (finished !== 0) putPage(sys, copy)
  return finished & ~VM_FAULT_NOPAGE
}

/** Asks the mapping's file for the page; a poisoned one is refused. */
function callFault(vmf: VmFault): number {
  const { vma } = vmf
  const { sys } = vma.mm
  assert(vma.ops?.fault !== undefined, 'the mapping has a fault handler')
  sys.waitFor = null
  const ret = vma.ops.fault(vmf)
  assert((ret & VM_FAULT_RETRY) === 0 || sys.waitFor !== null, 'the fault handler said whom to wait for')
  if ((ret & (VM_FAULT_ERROR | VM_FAULT_NOPAGE | VM_FAULT_RETRY | VM_FAULT_DONE_COW)) !== 0) return ret
  if ((sys.pages.flags[vmf.page] & PG_HWPOISON) === 0) return ret
  const { page } = vmf
  if (sys.pages.isMapped(page)) unmapMappingPage(sys, page)
  const gone = invalidateCachedPage(sys, page)
  if ((ret & VM_FAULT_LOCKED) !== 0) unlockPage(sys, page)
  putPage(sys, page)
  vmf.page = -1
  return gone ? VM_FAULT_NOPAGE : VM_FAULT_HWPOISON
}

function finishFault(vmf: VmFault, pfn: Pfn): number {
  const { mm, flags } = vmf.vma
  if (mm.isUnstable && (flags & VM_SHARED) === 0) return VM_FAULT_SIGBUS
  vmf.table = mm.pageTable.allocPte(vmf.address)
  if (!entryUnchanged(vmf)) return VM_FAULT_NOPAGE
  setFileEntry(vmf, pfn, vmf.address)
  return 0
}

/** Maps a page of a file (or the private copy of one, in a write fault) at `addr`; takes over a reference (`do_set_pte`). */
export function setFileEntry(vmf: VmFault, pfn: Pfn, addr: Addr): void {
  const { vma } = vmf
  const { mm } = vma
  const { sys } = mm
  const write = (vmf.flags & FAULT_FLAG_WRITE) !== 0
  let entry = vmaProtection(vma) | PTE_YOUNG
  if (write) {
    entry |= PTE_MKDIRTY
    if ((vma.flags & VM_WRITE) !== 0) entry |= PTE_WRITE
  }
  if (write && (vma.flags & VM_SHARED) === 0) {
    mm.rss[MM_ANONPAGES]++
    pageAddNewAnonRmap(vma, pfn, addr)
  } else {
    mm.rss[rssKind(sys, pfn)]++
    pageAddFileRmap(sys, pfn)
  }
  const table = mm.pageTable.allocPte(addr)
  const i = pteIndex(addr)
  table.words[2 * i] = pfn
  table.words[2 * i + 1] = entry
  tlbInstall(mm, addr, table, i)
}

/** Asks the mapping to map the cached pages around the fault: a window of 64 KiB, cut by mapping and table (CP-14). */
function doFaultAround(vmf: VmFault): number {
  const { vma } = vmf
  const npages = vma.mm.sys.faultAroundPages
  const window = npages * PAGE_SIZE
  const address = Math.max(vmf.address - (vmf.address % window), vma.start)
  const start = vmf.pgoff - (vmf.address - address) / PAGE_SIZE
  const tableEnd = start - pteIndex(address) + 511
  const end = Math.min(tableEnd, vma.lastPgoff, start + npages - 1)
  return vma.ops?.mapPages?.(vmf, start, end) ?? 0
}

// ---- present, read-only entries ----

function doWpPage(vmf: VmFault): number {
  const { vma, flags } = vmf
  const { sys } = vma.mm
  const { pages } = sys
  const unshare = (flags & FAULT_FLAG_UNSHARE) !== 0
  const page = vmNormalPage(vmf.origFlags, vmf.origPfn)
  vmf.page = page
  const sharedWritable = (vma.flags & (VM_WRITE | VM_SHARED)) === (VM_WRITE | VM_SHARED)
  if (page < 0) {
    if (unshare) return 0
    if (sharedWritable) {
      wpPageReuse(vmf)
      return 0
    }
    return wpPageCopy(vmf, false)
  }
  if (pages.isAnon(page)) {
    if (pages.isAnonExclusive(page) || canTakeOver(vma, page)) {
      if (!unshare) wpPageReuse(vmf)
      return 0
    }
    return wpPageCopy(vmf, unshare)
  }
  if (unshare) return 0
  if (sharedWritable) {
    pages.setDirty(page)
    wpPageReuse(vmf)
    return 0
  }
  return wpPageCopy(vmf, false)
}

/** The entry is the page's only user: the page becomes exclusive to the mapping (CP-5). */
function canTakeOver(vma: Vma, page: Pfn): boolean {
  const { sys } = vma.mm
  const { pages } = sys
  const head = pages.head(page)
  const cached = (pages.flags[head] & PG_SWAPCACHE) !== 0 ? 1 : 0
  if (pages.refcount[head] > 1 + cached) return false
  if (!pages.trylock(head)) return false
  if (cached === 1) freeSwapOfPage(sys, head)
  const alone = pages.refcount[head] === 1
  if (alone) pageMoveAnonRmap(vma, page)
  unlockPage(sys, head)
  return alone
}

function wpPageReuse(vmf: VmFault): void {
  const { vma } = vmf
  const table = vmf.table
  assert(table !== null, 'a present entry has a table')
  const i = vmf.index
  if ((vmf.origFlags & PTE_DUPLICATED) !== 0) {
    dropDuplicate(vma, vmf.address, () => makeWritable(vma, vmf.address, table, i))
  } else {
    makeWritable(vma, vmf.address, table, i)
  }
}

function makeWritable(vma: Vma, addr: Addr, table: PteTable, i: number): void {
  let entry = (table.words[2 * i + 1] & ~PTE_DUPLICATED) | PTE_YOUNG | PTE_MKDIRTY
  if ((vma.flags & VM_WRITE) !== 0) entry |= PTE_WRITE
  table.words[2 * i + 1] = entry
  tlbInstall(vma.mm, addr, table, i)
}

function wpPageCopy(vmf: VmFault, unshare: boolean): number {
  const { vma } = vmf
  const { mm } = vma
  const { sys } = mm
  const old = vmf.page
  anonVmaPrepare(vma)
  const isZero = old < 0 && vmf.origPfn === sys.zeroPfn
  // Making room for the copy must not take away what is to be copied.
  const isLocked = old >= 0 && sys.pages.trylock(old)
  const copy = isZero ? allocZeroedPage(mm, vmf.address) : allocPage(mm, vmf.address)
  if (isLocked) unlockPage(sys, old)
  if (copy < 0) return faultWithoutPage(sys)
  sys.pages.flags[copy] |= PG_UPTODATE
  if (old >= 0) getPage(sys, old)

  const range = new MmuNotifierRange(MMU_NOTIFY_CLEAR, vma, mm, vmf.address, vmf.address + PAGE_SIZE)
  mmuNotifierInvalidateRangeStart(range)
  let left = copy
  if (entryUnchanged(vmf)) {
    const table = vmf.table
    assert(table !== null, 'a present entry has a table')
    if (old < 0) mm.rss[MM_ANONPAGES]++
    else if (!sys.pages.isAnon(old)) {
      mm.rss[rssKind(sys, old)]--
      mm.rss[MM_ANONPAGES]++
    }
    let entry = vmaProtection(vma) | PTE_YOUNG
    if (unshare) {
      entry |= vmf.origFlags & PTE_SOFT_DIRTY
    } else {
      entry |= PTE_MKDIRTY
      if ((vma.flags & VM_WRITE) !== 0) entry |= PTE_WRITE
    }
    tlbUnmap(mm, vmf.address, vmf.address + PAGE_SIZE)
    if (!isZero) sys.mmu.copyFrame(copy, vmf.origPfn)
    const isWritten = (table.words[2 * vmf.index + 1] & ~vmf.origFlags & PTE_DIRTY) !== 0 // told by tlbUnmap
    if (isWritten && old >= 0) sys.pages.setDirty(old)
    pageAddNewAnonRmap(vma, copy, vmf.address)
    table.words[2 * vmf.index] = copy
    table.words[2 * vmf.index + 1] = entry
    if (old >= 0) pageRemoveRmap(sys, old)
    tlbInstall(mm, vmf.address, table, vmf.index)
    left = old
  }
  if (left >= 0) putPage(sys, left)
  mmuNotifierInvalidateRangeEnd(range)
  if (old >= 0) {
    if (left === old) freeSwapCache(sys, old)
    putPage(sys, old)
  }
  return 0
}

// ---- entries that are neither empty nor present ----

function doSwapPage(vmf: VmFault): number {
  const { vma } = vmf
  const { sys } = vma.mm
  switch (pteKind(vmf.origFlags)) {
    case PTE_KIND_SWAP:
      return doSwapIn(vmf)
    case PTE_KIND_MIGRATION:
      waitForPage(sys, vmf.origPfn)
      return VM_FAULT_RETRY
    case PTE_KIND_DEVICE_EXCLUSIVE:
      return removeDeviceExclusiveEntry(vmf)
    case PTE_KIND_DEVICE_PRIVATE: {
      vmf.page = vmf.origPfn
      const pagemap = pagemapOf(sys, vmf.page)
      assert(pagemap?.ops.migrateToRam !== undefined, 'private device memory has migrateToRam')
      if (sys.pages.isLocked(vmf.page)) {
        // Its driver has put it there and has not finished. Linux 6.1 asks the driver again and again meanwhile.
        waitForPage(sys, vmf.page)
        return VM_FAULT_RETRY
      }
      sys.waitFor = null
      getPage(sys, vmf.page)
      const ret = pagemap.ops.migrateToRam(vmf)
      putPage(sys, vmf.page)
      assert((ret & VM_FAULT_RETRY) === 0 || sys.waitFor !== null, 'migrateToRam said whom to wait for')
      return ret
    }
    case PTE_KIND_HWPOISON:
      return VM_FAULT_HWPOISON
    default:
      return VM_FAULT_SIGBUS
  }
}

function doSwapIn(vmf: VmFault): number {
  const { vma } = vmf
  const { mm } = vma
  const { sys } = mm
  const { pages, swap } = sys
  assert(swap !== null, 'a swap entry implies a swap area')
  const slot = vmf.origPfn
  const found = swapInPage(vma, vmf.address, slot)
  if (found === -EAGAIN) return VM_FAULT_RETRY
  if (found === -EIO) return VM_FAULT_SIGBUS
  if (found < 0) return faultWithoutPage(sys)
  const cached = (pages.flags[found] & PG_SWAPCACHE) !== 0
  if (cached && !pages.trylock(found)) {
    putPage(sys, found)
    waitForPage(sys, found)
    return VM_FAULT_RETRY
  }
  if (!cached) pages.flags[found] |= PG_LOCKED
  if ((pages.flags[found] & PG_HWPOISON) !== 0) {
    unlockPage(sys, found)
    putPage(sys, found)
    return VM_FAULT_HWPOISON
  }
  const table = vmf.table
  assert(table !== null, 'a swap entry has a table')
  const exclusive = !cached || (vmf.origFlags & PTE_EXCLUSIVE) !== 0
  const write = (vmf.flags & FAULT_FLAG_WRITE) !== 0
  swap.free(slot)
  if (cached && ((vma.flags & VM_LOCKED) !== 0 || (write && pages.refcount[found] === 2))) freeSwapOfPage(sys, found)
  mm.rss[MM_ANONPAGES]++
  mm.rss[MM_SWAPENTS]--

  let entry = vmaProtection(vma) | PTE_YOUNG | (vmf.origFlags & PTE_SOFT_DIRTY)
  let becomesExclusive = false
  let writeDone = false
  if (exclusive || pages.refcount[found] === 1) {
    if (write) {
      entry |= PTE_MKDIRTY
      if ((vma.flags & VM_WRITE) !== 0) entry |= PTE_WRITE
      writeDone = true
    }
    becomesExclusive = true
  }
  if (cached) {
    pageAddAnonRmap(vma, found, vmf.address, becomesExclusive)
  } else {
    pageAddNewAnonRmap(vma, found, vmf.address)
  }
  table.words[2 * vmf.index] = found
  table.words[2 * vmf.index + 1] = entry
  unlockPage(sys, found)
  tlbInstall(mm, vmf.address, table, vmf.index)
  return write && !writeDone ? doWpPage(makeVmFault(vma, vmf.address, vmf.flags)) : 0
}

/** The CPU touches a page that a device has to itself: the device is told and the entry restored (EX-8). */
function removeDeviceExclusiveEntry(vmf: VmFault): number {
  const { vma } = vmf
  const { mm } = vma
  const { sys } = mm
  const pfn = vmf.origPfn
  vmf.page = pfn
  if (sys.pages.refcount[sys.pages.head(pfn)] === 0) return 0
  getPage(sys, pfn)
  if (!sys.pages.trylock(pfn)) {
    waitForPage(sys, pfn)
    putPage(sys, pfn)
    return VM_FAULT_RETRY
  }
  const range = new MmuNotifierRange(MMU_NOTIFY_EXCLUSIVE, vma, mm, vmf.address, vmf.address + PAGE_SIZE, null)
  mmuNotifierInvalidateRangeStart(range)
  if (entryUnchanged(vmf)) restoreExclusiveEntry(vma, vmf.address)
  unlockPage(sys, pfn)
  putPage(sys, pfn)
  mmuNotifierInvalidateRangeEnd(range)
  return 0
}

/** Makes a device-exclusive entry present again (EX-9); fork uses it too. */
export function restoreExclusiveEntry(vma: Vma, addr: Addr): void {
  const { mm } = vma
  const table = mm.pageTable.findPte(addr)
  assert(table !== null, 'a device-exclusive entry has a table')
  const i = pteIndex(addr)
  const pfn = table.words[2 * i]
  const old = table.words[2 * i + 1]
  let entry = vmaProtection(vma) | (old & PTE_SOFT_DIRTY)
  if ((old & PTE_WRITE) !== 0) {
    entry |= PTE_MKDIRTY
    if ((vma.flags & VM_WRITE) !== 0) entry |= PTE_WRITE
  }
  // The entry kept its reference, so none is taken.
  pageAddAnonRmap(vma, pfn, addr, false)
  table.words[2 * i + 1] = entry
  tlbInstall(mm, addr, table, i)
}
