// Exclusive access of a device to pages that stay in system memory (`make_device_exclusive_range`, mm/rmap.c of Linux 6.1;
// spec 4.10): every mapping becomes a device-exclusive entry, and the next touch by the CPU takes the page back.

import { type Addr, isPageAligned, PAGE_SIZE, type Pfn } from '../base/addr.ts'
import { assert } from '../base/assert.ts'
import { EINVAL } from '../base/errno.ts'
import { FOLL_SPLIT_PMD, FOLL_WRITE, getUserPagesRemote } from './gup.ts'
import type { Mm } from './mm.ts'
import { MMU_NOTIFY_EXCLUSIVE, MmuNotifierRange } from './mmu-notifier.ts'
import { PG_TAIL } from './page.ts'
import { putPage, unlockPage } from './page-alloc.ts'
import { pageMakeDeviceExclusive } from './rmap-walk.ts'

/**
 * Takes the pages of `[start, end)` from the CPU. Afterwards `out[i]` is the frame of page i, locked and with a reference, or -1 if it
 * could not be made exclusive. The driver programs its device, then unlocks and puts each page.
 *
 * Preconditions: mmapLock is held for reading.
 *
 * Returns how many pages could be faulted in, maybe less than asked for, or a negative errno if not even the first (EX-2):
 * - -EINVAL no range of whole pages
 * - -EFAULT no mapping there, or one that cannot be written
 * - -EAGAIN must wait for `sys.waitFor`
 */
export function makeDeviceExclusiveRange(mm: Mm, start: Addr, end: Addr, out: Pfn[], owner: unknown): number {
  const { sys } = mm
  if (!Number.isSafeInteger(start) || !Number.isSafeInteger(end) || start < 0 || start > end) return -EINVAL
  if (!isPageAligned(start) || !isPageAligned(end)) return -EINVAL
  assert(mm.mmapLock.isHeld, 'makeDeviceExclusiveRange: the mmapLock is not held')
  const wanted = (end - start) / PAGE_SIZE
  const found: Pfn[] = []
  const npages = getUserPagesRemote(mm, start, wanted, FOLL_WRITE | FOLL_SPLIT_PMD, found)
  if (npages < 0) return npages
  for (let i = 0; i < npages; i++) {
    const pfn = found[i]
    const addr = start + i * PAGE_SIZE
    if ((sys.pages.flags[pfn] & PG_TAIL) !== 0 || !sys.pages.trylock(pfn)) {
      putPage(sys, pfn)
      out.push(-1)
      continue
    }
    const exclusive = pageMakeDeviceExclusive(
      sys,
      pfn,
      mm,
      addr,
      (vma, from, to) => new MmuNotifierRange(MMU_NOTIFY_EXCLUSIVE, vma, vma.mm, from, to, owner),
    )
    if (!exclusive) {
      unlockPage(sys, pfn)
      putPage(sys, pfn)
    }
    out.push(exclusive ? pfn : -1)
  }
  return npages
}
