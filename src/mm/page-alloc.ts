// Taking and giving back frames, and their reference counts and locks. The frames themselves belong to the MMU backend;
// this file keeps `Pages` true to what is handed out. Follows mm/page_alloc.c, mm/swap.c and include/linux/mm.h of Linux 6.1.

import { type Addr, addrToVpn, type Pfn } from '../base/addr.ts'
import { WaitQueue } from '../base/wait-queue.ts'
import { freeHugetlbPage } from './hugetlb-pool.ts'
import { freeZoneDevicePages } from './memremap.ts'
import type { Mm } from './mm.ts'
import {
  badFrame,
  Compound,
  PG_ALLOCATED,
  PG_HEAD,
  PG_HUGETLB,
  PG_LOCKED,
  PG_LRU,
  PG_SWAP_IO,
  PG_SWAPCACHE,
  PG_TAIL,
} from './page.ts'
import type { System } from './system.ts'
import { VM_FAULT_OOM, VM_FAULT_RETRY } from './vm-fault.ts'

/** Pages that one attempt at reclaim looks at (`SWAP_CLUSTER_MAX`). */
const RECLAIM_BATCH = 32
/** The same where writes take their time: whoever waits for one gets many for the same wait. */
const RECLAIM_BATCH_SLOW = 512 // pages, 2 MiB

/**
 * A frame for the page at `addr` of `mm`: one reference, contents undefined. Reclaims if memory is short.
 *
 * Returns -1 if there is none but those in reserve for eviction, or none yet: `sys.waitFor` says whom to wait for then, and is
 * null otherwise.
 */
export function allocPage(mm: Mm, addr: Addr): Pfn {
  return allocFrame(mm.sys, mm.space, addr, false)
}

/** A frame for a page that comes back from a device: may use the reserve, so that eviction always gets through. */
export function allocEvictionPage(mm: Mm, addr: Addr): Pfn {
  return allocFrame(mm.sys, mm.space, addr, true)
}

/** The same with all bytes zero. */
export function allocZeroedPage(mm: Mm, addr: Addr): Pfn {
  const pfn = allocFrame(mm.sys, mm.space, addr, false)
  if (pfn >= 0) mm.sys.mmu.clearFrame(pfn)
  return pfn
}

/** A frame that belongs to no address space: page cache, drivers. With `fromReserve` also one kept for eviction. */
export function allocKernelPage(sys: System, fromReserve = false): Pfn {
  return allocFrame(sys, -1, 0, fromReserve)
}

function allocFrame(sys: System, space: number, addr: Addr, fromReserve: boolean): Pfn {
  sys.waitFor = null
  const floor = fromReserve ? 0 : sys.reservePages
  if (sys.nfree <= floor && !makeRoom(sys, floor)) return -1
  const pfn = sys.mmu.allocFrame(space, addr, 0)
  if (pfn >= 0) {
    sys.pages.refcount[pfn] = 1
    sys.pages.flags[pfn] = PG_ALLOCATED
    if (sys.nfree < sys.lowPages) sys.onLow()
  } else if (space >= 0 && !sys.mmu.capabilities.anyFrame && sys.swap !== null) {
    // What was at this address before may still be on its way to or from swap.
    const home = addrToVpn(addr)
    if ((sys.pages.flags[home] & PG_SWAP_IO) !== 0) waitForPage(sys, home)
  }
  return pfn
}

/** Reclaims until a frame may be taken. False if there is none: `sys.waitFor` is set if writing to swap will free some. */
function makeRoom(sys: System, floor: number): boolean {
  const { swap } = sys
  const isLimit = sys.memoryPages < sys.mmu.nframes
  if (!isLimit || swap?.isFailing !== true) {
    const isSlow = swap?.device.isSynchronous === false
    if (swap === null || swap.ninFlight < RECLAIM_BATCH) sys.reclaim(isSlow ? RECLAIM_BATCH_SLOW : RECLAIM_BATCH)
    if (sys.nfree > floor) return true
    if (swap !== null && swap.ninFlight > 0) {
      sys.waitFor = swap.progress
      return false
    }
  }
  // Where there is a limit, but more memory: nothing can be written out now, and a touch never fails for room.
  if (isLimit) sys.pagesOverLimit++
  return isLimit
}

/** What a fault returns that got no frame: VM_FAULT_RETRY if it has only to wait, otherwise VM_FAULT_OOM. */
export function faultWithoutPage(sys: System): number {
  return sys.waitFor === null ? VM_FAULT_OOM : VM_FAULT_RETRY
}

/** A compound page of 2^order frames, contents undefined; -1 if there is none outside the reserve for eviction. */
export function allocCompoundPage(sys: System, space: number, addr: Addr, order: number): Pfn {
  if (sys.nfree - (1 << order) < sys.reservePages) return -1
  const head = sys.mmu.allocFrame(space, addr, order)
  if (head < 0) return -1
  const { pages } = sys
  pages.refcount[head] = 1
  pages.flags[head] = PG_ALLOCATED | PG_HEAD
  pages.flags.fill(PG_ALLOCATED | PG_TAIL, head + 1, head + (1 << order))
  pages.compound.set(head, new Compound(order))
  return head
}

/** Takes a reference on a page that somebody holds. */
export function getPage(sys: System, pfn: Pfn): void {
  const { pages } = sys
  const head = pages.head(pfn)
  if (!(pages.refcount[head] > 0)) badFrame(head, 'is free when a reference is taken')
  pages.refcount[head]++
}

/** Takes `n` references off the page and frees it when none is left. */
export function putPage(sys: System, pfn: Pfn, n = 1): void {
  const { pages } = sys
  const head = pages.head(pfn)
  const left = pages.refcount[head] - n
  if (!(left >= 0)) badFrame(head, 'has fewer references than are put')
  pages.refcount[head] = left
  if (left === 0) freePage(sys, head)
}

function freePage(sys: System, head: Pfn): void {
  const { pages } = sys
  if (pages.pagemap[head] !== 0) {
    freeZoneDevicePages(sys, head, 1)
    return
  }
  const flags = pages.flags[head]
  if ((flags & PG_SWAPCACHE) !== 0) badFrame(head, 'is in the swap cache when it is freed')
  if ((flags & PG_LOCKED) !== 0) badFrame(head, 'is locked when it is freed')
  if ((flags & PG_LRU) !== 0) sys.lru.remove(head)
  if ((flags & PG_HUGETLB) !== 0) {
    freeHugetlbPage(sys, head)
    return
  }
  let order = 0
  if ((flags & PG_HEAD) !== 0) {
    order = pages.getCompound(head).order
    pages.compound.delete(head)
    for (let i = 1; i < 1 << order; i++) clearPage(sys, head + i)
  }
  clearPage(sys, head)
  sys.mmu.freeFrame(head, order)
}

function clearPage(sys: System, pfn: Pfn): void {
  const { pages } = sys
  if (pages.mapcount[pfn] !== 0) badFrame(pfn, 'is mapped when it is freed')
  pages.flags[pfn] = 0
  pages.mapping[pfn] = 0
}

/** Unlocks the page and wakes who waits for it. */
export function unlockPage(sys: System, pfn: Pfn): void {
  const { pages } = sys
  const head = pages.head(pfn)
  if ((pages.flags[head] & PG_LOCKED) === 0) badFrame(head, 'is not locked when it is unlocked')
  pages.flags[head] &= ~PG_LOCKED
  wakePage(sys, head)
}

/** Wakes who waits for the page: its lock is free, or what was under way for it has ended. */
export function wakePage(sys: System, head: Pfn): void {
  if (sys.pageWaits.size === 0) return
  const queue = sys.pageWaits.get(head)
  if (queue !== undefined) {
    sys.pageWaits.delete(head)
    queue.wake()
  }
}

/** Says whom the caller has to wait for: the holder of this page's lock, or the device that reads or writes it. */
export function waitForPage(sys: System, pfn: Pfn): void {
  const head = sys.pages.head(pfn)
  let queue = sys.pageWaits.get(head)
  if (queue === undefined) {
    queue = new WaitQueue()
    sys.pageWaits.set(head, queue)
  }
  sys.waitFor = queue
}
