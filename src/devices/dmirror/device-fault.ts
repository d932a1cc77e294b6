// How a dmirror device learns what is behind an address: it faults pages into its table, or looks without touching.
// Follows dmirror_fault, dmirror_range_fault and dmirror_snapshot of lib/test_hmm.c, Linux 6.1 (spec TD-11, TD-25, TD-26).
//
// One difference: when a fault meets a private page of this very device, the page that holds its data is entered, as
// migration to the device does. The kernel's driver enters the device page, whose bytes nobody can read, and crashes on
// the next access.

import { type Addr, addrToVpn, PAGE_SIZE, type Pfn, PMD_ORDER, PUD_ORDER } from '../../base/addr.ts'
import { EAGAIN, EBUSY, EFAULT, EINVAL } from '../../base/errno.ts'
import { hmmRangeFault } from '../../hmm/hmm.ts'
import {
  HMM_PFN_REQ_FAULT,
  HMM_PFN_REQ_WRITE,
  type HmmPfn,
  hmmPfnAt,
  hmmPfnIsError,
  hmmPfnToMapOrder,
  hmmPfnToPfn,
  hmmPfnValid,
  hmmPfnWritable,
} from '../../hmm/hmm-pfn.ts'
import { HMM_RANGE_DEFAULT_TIMEOUT, type HmmRange61 } from '../../hmm/hmm-range.ts'
import { isDeviceCoherentPage, isDevicePrivatePage } from '../../mm/memremap.ts'
import {
  type MmuIntervalNotifier,
  mmuIntervalNotifierInsert,
  mmuIntervalNotifierRemove,
  mmuIntervalReadBegin,
  mmuIntervalReadRetry,
  mmuIntervalSetSeq,
} from '../../mm/mmu-notifier.ts'
import {
  HMM_DMIRROR_PROT_DEV_COHERENT_LOCAL,
  HMM_DMIRROR_PROT_DEV_COHERENT_REMOTE,
  HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL,
  HMM_DMIRROR_PROT_DEV_PRIVATE_REMOTE,
  HMM_DMIRROR_PROT_ERROR,
  HMM_DMIRROR_PROT_NONE,
  HMM_DMIRROR_PROT_PMD,
  HMM_DMIRROR_PROT_PUD,
  HMM_DMIRROR_PROT_READ,
  HMM_DMIRROR_PROT_WRITE,
  HMM_DMIRROR_PROT_ZERO,
} from '../../uapi/dmirror.ts'
import { DMIRROR_BATCH_PAGES, type Mirror } from './mirror.ts'
import { TAG_READ, TAG_WRITE } from './mirror-table.ts'

/** Rounds that one batch may begin again. Each page costs a few at most, so more means that something is wrong. */
const ROUNDS_MAX = 16 * DMIRROR_BATCH_PAGES

/**
 * Faults the pages of `[start, end)` in and enters them in the mirror table.
 *
 * Returns 0, or with the batches before the failing one entered
 * - -EFAULT the address space is dead, a page cannot be reached, or it is not writable although `write` asks for it
 * - -EPERM  a mapping is read-only
 * - -EBUSY  invalidated again and again until the deadline
 * - -EAGAIN wait for `sys.waitFor`, then call again
 */
export function deviceFault(mirror: Mirror, start: Addr, end: Addr, write: boolean): number {
  const { notifier } = mirror
  if (notifier === null || !mirror.getMm()) return -EFAULT
  const range = makeRange(mirror, notifier)
  range.defaultFlags = write ? HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE : HMM_PFN_REQ_FAULT
  let ret = 0
  for (let addr = start; addr < end && ret === 0; addr = range.end) {
    range.start = addr
    range.end = Math.min(end, addr + DMIRROR_BATCH_PAGES * PAGE_SIZE)
    ret = lockedRangeFault(mirror, range)
    if (ret !== 0) break
    ret = enterPages(mirror, range, write)
    mirror.lock.release()
  }
  mirror.putMm()
  return ret
}

/** Writes one HMM_DMIRROR_PROT byte for each page of `[start, end)`. Returns 0, -EINVAL for a dead address space, or as `deviceFault`. */
export function deviceSnapshot(mirror: Mirror, start: Addr, end: Addr, perms: Uint8Array): number {
  if (!mirror.getMm()) return -EINVAL
  let ret = 0
  for (let addr = start; addr < end && ret === 0; ) {
    const next = Math.min(end, addr + DMIRROR_BATCH_PAGES * PAGE_SIZE)
    ret = snapshotBatch(mirror, addr, next, perms, (addr - start) / PAGE_SIZE)
    addr = next
  }
  mirror.putMm()
  return ret
}

/** One batch has a subscription of its own, which looks at every event: the mirror's passes over own migrations. */
function snapshotBatch(mirror: Mirror, start: Addr, end: Addr, perms: Uint8Array, at: number): number {
  const sub = mmuIntervalNotifierInsert(mirror.mm, start, end - start, {
    invalidate(self, _range, curSeq) {
      mirror.lock.acquire()
      mmuIntervalSetSeq(self, curSeq)
      mirror.lock.release()
      return true
    },
  })
  if (typeof sub === 'number') return sub
  const range = makeRange(mirror, sub)
  range.start = start
  range.end = end
  const ret = lockedRangeFault(mirror, range)
  if (ret === 0) {
    const npages = (end - start) / PAGE_SIZE
    for (let i = 0; i < npages; i++) perms[at + i] = snapshotByte(mirror, hmmPfnAt(range.hmmPfns, i))
    mirror.lock.release()
  }
  mmuIntervalNotifierRemove(sub)
  return ret
}

function makeRange(mirror: Mirror, notifier: MmuIntervalNotifier): HmmRange61 {
  return {
    notifier,
    notifierSeq: 0,
    start: 0,
    end: 0,
    hmmPfns: new BigUint64Array(DMIRROR_BATCH_PAGES),
    defaultFlags: 0n,
    pfnFlagsMask: 0n,
    devPrivateOwner: mirror.device.owner,
  }
}

/** The loop of every HMM driver (MN-45). After 0 the lock of the mirror is held and what the range says is true. */
function lockedRangeFault(mirror: Mirror, range: HmmRange61): number {
  const { mm, device } = mirror
  const deadline = device.now() + HMM_RANGE_DEFAULT_TIMEOUT
  for (let round = 0; round < ROUNDS_MAX && device.now() <= deadline; round++) {
    const seq = mmuIntervalReadBegin(range.notifier)
    // An invalidation is running, so this call is made from inside of it, and waiting here cannot end it.
    if (seq === -EAGAIN) return -EBUSY
    range.notifierSeq = seq
    if (!mm.mmapLock.tryRead()) {
      device.sys.waitFor = mm.mmapLock.released
      return -EAGAIN
    }
    const ret = hmmRangeFault(range)
    mm.mmapLock.unlockRead()
    if (ret === -EBUSY) continue
    if (ret !== 0) return ret
    mirror.lock.acquire()
    if (!mmuIntervalReadRetry(range.notifier, seq)) return 0
    mirror.lock.release()
  }
  return -EBUSY
}

/** Programs the device from a range that was faulted in. */
function enterPages(mirror: Mirror, range: HmmRange61, write: boolean): number {
  const npages = (range.end - range.start) / PAGE_SIZE
  const vpn = addrToVpn(range.start)
  for (let i = 0; i < npages; i++) {
    const entry = hmmPfnAt(range.hmmPfns, i)
    const isWritable = hmmPfnWritable(entry)
    // A private page of this device that fork or mprotect made read-only: nobody faults it for a write (RF-64).
    if (write && !isWritable) return -EFAULT
    mirror.table.store(vpn + i, dataPageOf(mirror, hmmPfnToPfn(entry)), isWritable ? TAG_WRITE : TAG_READ)
  }
  return 0
}

/** The frame whose bytes the device works on. */
function dataPageOf(mirror: Mirror, pfn: Pfn): Pfn {
  const { sys, memory } = mirror.device
  return isDevicePrivatePage(sys, pfn) ? memory.dataPage(pfn) : pfn
}

function snapshotByte(mirror: Mirror, entry: HmmPfn): number {
  if (hmmPfnIsError(entry)) return HMM_DMIRROR_PROT_ERROR
  if (!hmmPfnValid(entry)) return HMM_DMIRROR_PROT_NONE
  const { sys, memory } = mirror.device
  const pfn = hmmPfnToPfn(entry)
  let perm = 0
  if (isDevicePrivatePage(sys, pfn)) {
    perm = memory.isOwnPage(pfn) ? HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL : HMM_DMIRROR_PROT_DEV_PRIVATE_REMOTE
  } else if (isDeviceCoherentPage(sys, pfn)) {
    perm = memory.isOwnPage(pfn) ? HMM_DMIRROR_PROT_DEV_COHERENT_LOCAL : HMM_DMIRROR_PROT_DEV_COHERENT_REMOTE
  } else if (pfn === sys.zeroPfn) {
    perm = HMM_DMIRROR_PROT_ZERO
  }
  perm |= hmmPfnWritable(entry) ? HMM_DMIRROR_PROT_WRITE : HMM_DMIRROR_PROT_READ
  const order = hmmPfnToMapOrder(entry)
  if (order === PMD_ORDER) perm |= HMM_DMIRROR_PROT_PMD
  else if (order === PUD_ORDER) perm |= HMM_DMIRROR_PROT_PUD
  return perm
}
