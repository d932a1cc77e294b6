// Getting hold of the pages behind addresses, for drivers and for DMA (mm/gup.c of Linux 6.1). A write request equals a
// write fault per page; a pin for reading makes shared anonymous pages exclusive first, so that it stays on the right page.

import { type Addr, PAGE_SIZE, type Pfn, pmdIndex, pteIndex } from '../base/addr.ts'
import { EAGAIN, EFAULT, EINVAL } from '../base/errno.ts'
import { handleMmFault } from './fault.ts'
import { splitHugePmd } from './huge-pmd.ts'
import { isDeviceCoherentPage } from './memremap.ts'
import { migrateDeviceCoherentPage } from './migrate-device.ts'
import type { Mm } from './mm.ts'
import { badFrame, GUP_PIN_COUNTING_BIAS, PG_HEAD } from './page.ts'
import { getPage, putPage } from './page-alloc.ts'
import { PTE_DIRTY, PTE_HUGE, PTE_PRESENT, PTE_PROTNONE, PTE_SPECIAL, PTE_WRITE } from './pte.ts'
import type { System } from './system.ts'
import {
  FAULT_FLAG_REMOTE,
  FAULT_FLAG_UNSHARE,
  FAULT_FLAG_WRITE,
  VM_FAULT_ERROR,
  VM_FAULT_RETRY,
  vmFaultToErrno,
} from './vm-fault.ts'
import { VM_ACCESS_FLAGS, VM_HUGETLB, VM_IO, VM_MAYREAD, VM_PFNMAP, VM_READ, VM_SHARED, VM_WRITE } from './vm-flags.ts'
import type { Vma } from './vma.ts'

/** Wants to write. */
export const FOLL_WRITE = 1 << 0
/** Takes a reference on each page. */
export const FOLL_GET = 1 << 2
/** Reports a poisoned page as -EHWPOISON, not -EFAULT. */
export const FOLL_HWPOISON = 1 << 8
/** The address space is not that of the caller. */
export const FOLL_REMOTE = 1 << 13
/** The pin may last: pages move out of device memory first. */
export const FOLL_LONGTERM = 1 << 16
/** Ignores what the mapping allows, as far as it may ever allow it. */
export const FOLL_FORCE = 1 << 4
/** Splits huge entries on the way. */
export const FOLL_SPLIT_PMD = 1 << 17
/** Pins each page for DMA. */
export const FOLL_PIN = 1 << 18

/** The page needs to become exclusive before it is pinned for reading. */
const MUST_UNSHARE = -2
/** A present entry without a page. */
const NO_STRUCT_PAGE = -3
const NO_PAGE = -1

/** 0 if the mapping allows the request, else -EFAULT. */
export function checkVmaFlags(vma: Vma, gupFlags: number): number {
  if ((vma.flags & (VM_IO | VM_PFNMAP)) !== 0) return -EFAULT
  if ((gupFlags & FOLL_WRITE) !== 0) return (vma.flags & VM_WRITE) === 0 ? -EFAULT : 0
  if ((vma.flags & VM_READ) !== 0) return 0
  return (gupFlags & FOLL_FORCE) !== 0 && (vma.flags & VM_MAYREAD) !== 0 ? 0 : -EFAULT
}

/**
 * Makes `npages` pages from `start` on present for the request, and collects them in `out` if that is not null (with a
 * reference or a pin each, as FOLL_GET or FOLL_PIN asks).
 *
 * Returns the number of pages, which may be less than asked for; a negative errno if the first page already failed, -EAGAIN
 * with `sys.waitFor` set, or -EINVAL if `npages` is no number of pages.
 */
export function getUserPages(mm: Mm, start: Addr, npages: number, gupFlags: number, out: Pfn[] | null): number {
  if (!Number.isSafeInteger(npages) || npages < 0) return -EINVAL
  let vma: Vma | null = null
  for (let i = 0; i < npages; i++) {
    const addr = start + i * PAGE_SIZE
    if (vma === null || addr >= vma.end) {
      vma = mm.vmaLookup(addr)
      const err = vma === null ? -EFAULT : checkVmaFlags(vma, gupFlags)
      if (vma === null || err !== 0) return i > 0 ? i : err
    }
    const page = getOnePage(vma, addr, gupFlags, out !== null)
    if (page < 0 && page !== NO_STRUCT_PAGE) return i > 0 ? i : page + GUP_ERRNO_OFFSET
    if (out !== null) out.push(page)
  }
  return npages
}

// Errors of getOnePage are shifted so that they do not collide with its own negative answers.
const GUP_ERRNO_OFFSET = 1000

function getOnePage(vma: Vma, addr: Addr, gupFlags: number, collect: boolean): number {
  let unshare = false
  for (;;) {
    const page = followPage(vma, addr, gupFlags, collect)
    if (page >= 0) return page
    if (page === NO_STRUCT_PAGE) return collect ? -EFAULT - GUP_ERRNO_OFFSET : page
    unshare = page === MUST_UNSHARE
    let faultFlags = 0
    if ((gupFlags & FOLL_WRITE) !== 0) faultFlags |= FAULT_FLAG_WRITE
    if ((gupFlags & FOLL_REMOTE) !== 0) faultFlags |= FAULT_FLAG_REMOTE
    if (unshare) faultFlags |= FAULT_FLAG_UNSHARE
    const fault = handleMmFault(vma, addr, faultFlags)
    if ((fault & VM_FAULT_ERROR) !== 0) {
      return vmFaultToErrno(fault, (gupFlags & FOLL_HWPOISON) !== 0) - GUP_ERRNO_OFFSET
    }
    if ((fault & VM_FAULT_RETRY) !== 0) return -EAGAIN - GUP_ERRNO_OFFSET
  }
}

/** The page behind the entry as it is now, grabbed as asked; NO_PAGE, MUST_UNSHARE or NO_STRUCT_PAGE. */
function followPage(vma: Vma, addr: Addr, gupFlags: number, collect: boolean): number {
  const { mm } = vma
  const { sys, pageTable } = mm
  let flags: number
  let pfn: Pfn
  const pmd = pageTable.findPmd(addr)
  if (pmd === null) return NO_PAGE
  const slot = pmdIndex(addr)
  let huge = pmd.hugeFlags(slot)
  const mayTakeApart = (gupFlags & FOLL_SPLIT_PMD) !== 0 && (vma.flags & VM_HUGETLB) === 0
  if (mayTakeApart && (huge & PTE_PRESENT) !== 0) {
    splitHugePmd(vma, pmd, slot, addr)
    huge = pmd.hugeFlags(slot)
  }
  if (huge !== 0) {
    if ((huge & (PTE_PRESENT | PTE_HUGE)) !== (PTE_PRESENT | PTE_HUGE)) return NO_PAGE
    flags = huge
    pfn = pmd.hugePfn(slot) + pteIndex(addr)
  } else {
    const table = pmd.tables[slot]
    if (table === null) return NO_PAGE
    const i = pteIndex(addr)
    flags = table.words[2 * i + 1]
    pfn = table.words[2 * i]
    if ((flags & PTE_PRESENT) === 0) return NO_PAGE
  }
  if ((flags & PTE_PROTNONE) !== 0 && (gupFlags & FOLL_FORCE) === 0) return NO_PAGE
  if ((gupFlags & FOLL_WRITE) !== 0 && (flags & PTE_WRITE) === 0) return NO_PAGE
  // Huge entries without a page of their own are those of the huge zero page.
  const isZero = (flags & PTE_SPECIAL) !== 0 && (huge !== 0 || pfn === sys.zeroPfn)
  if ((flags & PTE_SPECIAL) !== 0 && !isZero) return NO_STRUCT_PAGE
  const pinForRead = (gupFlags & (FOLL_WRITE | FOLL_PIN)) === FOLL_PIN
  if (pinForRead && (flags & PTE_WRITE) === 0 && !isZero && sys.pages.isAnon(pfn)) {
    const exclusive = sys.pages.isAnonExclusive(huge !== 0 ? sys.pages.head(pfn) : pfn)
    if (!exclusive) return MUST_UNSHARE
  }
  if ((gupFlags & FOLL_WRITE) !== 0 && (flags & PTE_DIRTY) === 0 && !isZero) sys.pages.setDirty(pfn)
  if (collect) grabPage(mm, pfn, gupFlags)
  return pfn
}

function grabPage(mm: Mm, pfn: Pfn, gupFlags: number): void {
  const { sys } = mm
  const { pages } = sys
  if ((gupFlags & FOLL_PIN) !== 0) {
    mm.hasPinned = true
    const head = pages.head(pfn)
    if ((pages.flags[head] & PG_HEAD) !== 0) {
      pages.getCompound(head).pincount++
      pages.refcount[head]++
    } else {
      pages.refcount[head] += GUP_PIN_COUNTING_BIAS
    }
  } else if ((gupFlags & FOLL_GET) !== 0) {
    getPage(sys, pfn)
  }
}

/** References to pages of another address space (`get_user_pages_remote`). */
export function getUserPagesRemote(mm: Mm, start: Addr, npages: number, gupFlags: number, out: Pfn[]): number {
  return getUserPages(mm, start, npages, gupFlags | FOLL_GET | FOLL_REMOTE, out)
}

/** How pages are to be pinned. */
export interface PinOptions {
  /** The device writes. */
  readonly write: boolean
  /** The pin may last: coherent device pages move to system memory first (DM-13). Default false. */
  readonly longterm?: boolean
}

/**
 * Pins pages for DMA until `unpinUserPage`.
 *
 * Returns the number of pages pinned, which may be less than asked for; or with none pinned a negative errno of
 * `getUserPages`, or with `longterm`
 * - -EBUSY  a page cannot leave its device: somebody else holds it, or system memory is full
 * - -EAGAIN a page is being migrated: wait for `sys.waitFor`, then pin again
 */
export function pinUserPages(mm: Mm, start: Addr, npages: number, options: PinOptions, out: Pfn[]): number {
  if (!Number.isSafeInteger(npages) || npages <= 0 || start % PAGE_SIZE !== 0) return -EINVAL
  const gupFlags = FOLL_PIN | (options.write ? FOLL_WRITE : 0)
  for (;;) {
    const pinned: Pfn[] = []
    const ret = getUserPages(mm, start, npages, gupFlags, pinned)
    if (ret < 0) return ret
    if (options.longterm !== true || !pinned.some((pfn) => isDeviceCoherentPage(mm.sys, pfn))) {
      out.push(...pinned)
      return ret
    }
    const err = leaveDevices(mm.sys, pinned)
    if (err !== 0) return err
  }
}

/** Gives all pins back and moves the coherent device pages among them to system memory. Stops moving at the first failure. */
function leaveDevices(sys: System, pinned: readonly Pfn[]): number {
  let err = 0
  for (const pfn of pinned) {
    if (err === 0 && isDeviceCoherentPage(sys, pfn)) {
      getPage(sys, pfn) // for the migration, which takes it over
      unpinUserPage(sys, pfn)
      err = migrateDeviceCoherentPage(sys, pfn)
    } else {
      unpinUserPage(sys, pfn)
    }
  }
  return err
}

/** Ends one pin of `pinUserPages`. */
export function unpinUserPage(sys: System, pfn: Pfn): void {
  const { pages } = sys
  const head = pages.head(pfn)
  if ((pages.flags[head] & PG_HEAD) !== 0) {
    const compound = pages.getCompound(head)
    if (compound.pincount === 0) badFrame(head, 'is not pinned when it is unpinned')
    compound.pincount--
    putPage(sys, head)
  } else {
    putPage(sys, head, GUP_PIN_COUNTING_BIAS)
  }
}

/** Makes the range present as mlock and MAP_POPULATE do: private writable pages are written to (`populate_vma_page_range`). */
export function populateVmaPageRange(vma: Vma, start: Addr, end: Addr): number {
  let gupFlags = 0
  if ((vma.flags & (VM_WRITE | VM_SHARED)) === VM_WRITE) gupFlags |= FOLL_WRITE
  if ((vma.flags & VM_ACCESS_FLAGS) !== 0) gupFlags |= FOLL_FORCE
  return getUserPages(vma.mm, start, (end - start) / PAGE_SIZE, gupFlags, null)
}

/** The same over several mappings; stops at the first failure (`__mm_populate`). */
export function mmPopulate(mm: Mm, start: Addr, length: number): number {
  const end = start + length
  for (let at = start; at < end; ) {
    const vma = mm.findVmaIntersection(at, end)
    if (vma === null) break
    const from = Math.max(at, vma.start)
    const to = Math.min(end, vma.end)
    if ((vma.flags & (VM_IO | VM_PFNMAP)) !== 0) {
      at = to
      continue
    }
    const done = populateVmaPageRange(vma, from, to)
    if (done < 0) return done
    at = from + done * PAGE_SIZE
  }
  return 0
}
