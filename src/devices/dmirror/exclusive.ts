// Exclusive access of a dmirror device: the CPU's entries are taken away while the device works on the page in place.
// Follows dmirror_exclusive, dmirror_atomic_map and dmirror_check_atomic of lib/test_hmm.c, Linux 6.1 (spec TD-28, TD-29).

import { type Addr, addrToVpn, PAGE_SIZE, type Pfn } from '../../base/addr.ts'
import { EAGAIN, EBUSY, EINVAL, EPERM } from '../../base/errno.ts'
import { makeDeviceExclusiveRange } from '../../mm/exclusive.ts'
import { putPage, unlockPage } from '../../mm/page-alloc.ts'
import { DMIRROR_BATCH_PAGES, type Mirror } from './mirror.ts'
import { TAG_ATOMIC } from './mirror-table.ts'

/**
 * Makes the pages of `[start, end)` exclusive to the device and enters them in the mirror table. The owner of the events is
 * null, so the mirror's own callback sees them too.
 *
 * Returns 0, or with everything made exclusive so far left that way
 * - -EBUSY  some page could not be had: not anonymous, mapped elsewhere, locked, part of a huge page, not writable
 * - -EINVAL the address space is dead
 * - -EAGAIN wait for `sys.waitFor`, then call again
 */
export function makeExclusive(mirror: Mirror, start: Addr, end: Addr): number {
  const { mm } = mirror
  if (!mirror.getMm()) return -EINVAL
  let ret = 0
  if (mm.mmapLock.tryRead()) {
    for (let addr = start; addr < end && ret === 0; ) {
      const next = Math.min(end, addr + DMIRROR_BATCH_PAGES * PAGE_SIZE)
      ret = exclusiveBatch(mirror, addr, next)
      addr = next
    }
    mm.mmapLock.unlockRead()
  } else {
    mm.sys.waitFor = mm.mmapLock.released
    ret = -EAGAIN
  }
  mirror.putMm()
  return ret
}

/** -EPERM if a page of `[start, end)` is still exclusive to the device, else 0. */
export function checkExclusive(mirror: Mirror, start: Addr, end: Addr): number {
  mirror.lock.acquire()
  const found = mirror.table.hasTag(addrToVpn(start), addrToVpn(end) - 1, TAG_ATOMIC)
  mirror.lock.release()
  return found ? -EPERM : 0
}

function exclusiveBatch(mirror: Mirror, start: Addr, end: Addr): number {
  const { mm, device } = mirror
  const npages = (end - start) / PAGE_SIZE
  const pages: Pfn[] = []
  const npagesFound = makeDeviceExclusiveRange(mm, start, end, pages, null)
  if (npagesFound === -EAGAIN) return -EAGAIN
  const nentered = npagesFound === npages ? enterExclusive(mirror, addrToVpn(start), pages) : 0
  for (let i = 0; i < npagesFound; i++) {
    if (pages[i] < 0) continue
    unlockPage(device.sys, pages[i])
    putPage(device.sys, pages[i])
  }
  return nentered === npages ? 0 : -EBUSY
}

function enterExclusive(mirror: Mirror, vpn: number, pages: readonly Pfn[]): number {
  let nentered = 0
  mirror.lock.acquire()
  for (let i = 0; i < pages.length; i++) {
    if (pages[i] < 0) continue
    mirror.table.store(vpn + i, pages[i], TAG_ATOMIC)
    nentered++
  }
  mirror.lock.release()
  return nentered
}
