// Mirrors of address spaces: begin and end, and the events that reach them from the mm. Follows hmm_mirror_register,
// hmm_mirror_unregister, hmm_mirror_range_discard and hmm_mirror_range_dirty of the 2015 HMM patches (MR-4, MR-5, MR-15,
// MR-64). Device faults are in hmm-mirror-fault.ts, the driver's contract in hmm-device.ts.

import { type Addr, isPageAligned, PAGE_SIZE } from '../../base/addr.ts'
import { assert } from '../../base/assert.ts'
import { EINVAL, ENODEV } from '../../base/errno.ts'
import type { Mm } from '../../mm/mm.ts'
import {
  MMU_NOTIFY_RELEASE,
  type MmuIntervalNotifierOps,
  type MmuNotifierRange,
  mmuIntervalNotifierInsert,
  mmuIntervalNotifierRemove,
  mmuIntervalSetSeq,
} from '../../mm/mmu-notifier.ts'
import { hmmPfnWords } from '../hmm-pfn.ts'
import { Hmm, type HmmDevice, HmmMirror } from './hmm-device.ts'
import { HMM_ISDIRTY, HMM_MUNMAP, HMM_NONE, HmmEvent, hmmEventInit } from './hmm-event.ts'
import { hmmMirrorFill } from './hmm-mirror-fill.ts'
import { hmmDeviceFilters, hmmEtypeOf } from './hmm-notify.ts'
import { HmmPt } from './hmm-pt.ts'
import { hmmPtSetBits } from './hmm-pt-range.ts'
import { HMM_PTE_DIRTY, HMM_PTE_WRITE } from './hmm-pte.ts'
import { hmmMirrorKill, hmmMirrorUpdatePt, hmmUpdate } from './hmm-update.ts'

/** What an HmmMirror is made with. */
export interface HmmMirrorOptions {
  /** Directories that the mirror table may have: 4 KiB for each 2 MiB in use, few above. Default: no limit. */
  readonly directoriesMax?: number
}

/** The kernel keeps this in `mm->hmm`. */
const hmms = new WeakMap<Mm, Hmm>()

/** What the mirrors of an address space share, or null if it has none. */
export function hmmOf(mm: Mm): Hmm | null {
  return hmms.get(mm) ?? null
}

/**
 * Begins to mirror `mm` on `device`.
 *
 * Returns the mirror, with one reference that ends with `hmmMirrorUnregister` or when the mirror is killed, or
 * - -ENODEV the device is not registered
 * - -EINVAL this device mirrors this address space already, or the address space is dead
 */
export function hmmMirrorRegister(device: HmmDevice, mm: Mm, options: HmmMirrorOptions = {}): HmmMirror | number {
  if (!device.registered) return -ENODEV
  const hmm = hmms.get(mm) ?? new Hmm(mm)
  if (hmm.mirrors.some((mirror) => mirror.device === device)) return -EINVAL
  if (hmm.notifier === null) {
    const notifier = mmuIntervalNotifierInsert(mm, 0, hmm.vmEnd, notifierOps(hmm))
    if (typeof notifier === 'number') return notifier
    hmm.notifier = notifier
    hmms.set(mm, hmm)
  }
  const mirror = new HmmMirror(device, hmm, new HmmPt(hmm.vmEnd - 1, options))
  hmm.mirrors.push(mirror)
  device.mirrors.add(mirror)
  return mirror
}

/**
 * Ends a mirror: its driver gets an update with MUNMAP over everything, then release(). May be called more than once, and on
 * a mirror that was killed; not from release().
 */
export function hmmMirrorUnregister(mirror: HmmMirror): void {
  hmmMirrorKill(mirror)
  dropHmmIfUnused(mirror.hmm)
}

/**
 * Takes `[start, end)` out of the mirror table without a call to the driver, which has already stopped using the range: what
 * a driver does that moves pages itself (MN-52). Dirty bits reach the pages, so the driver sets those it owes right before, and
 * calls this before it copies the pages.
 *
 * Returns 0, -ENODEV for a mirror that has ended, or -EINVAL for a range that is empty or outside.
 */
export function hmmMirrorRangeDiscard(mirror: HmmMirror, start: Addr, end: Addr): number {
  if (!mirror.registered) return -ENODEV
  const event = new HmmEvent()
  const err = hmmEventInit(event, mirror.hmm.vmEnd, start, end, HMM_MUNMAP)
  if (err !== 0) return err
  hmmMirrorUpdatePt(mirror, event)
  return 0
}

/**
 * Sets DIRTY on all writable entries of `[start, end)`, for a device that cannot tell which pages it wrote (MR-75). The pages
 * learn of it at the next update.
 *
 * Returns the number of entries, -ENODEV for a mirror that has ended, or -EINVAL for a range that is empty or outside.
 */
export function hmmMirrorRangeDirty(mirror: HmmMirror, start: Addr, end: Addr): number {
  if (!mirror.registered) return -ENODEV
  const event = new HmmEvent()
  const err = hmmEventInit(event, mirror.hmm.vmEnd, start, end, HMM_ISDIRTY)
  if (err !== 0) return err
  return hmmPtSetBits(mirror.pt, event.start, event.end, HMM_PTE_DIRTY, HMM_PTE_WRITE)
}

/**
 * Enters pages that the CPU page table does not show, one per entry of `hmmPfns` (hmm-pfn.ts) from `start` on: what a driver
 * does that got exclusive access to them. Its device is not called. An event takes them away like all others.
 *
 * Returns 0, -ENODEV for a mirror that has ended, -EINVAL for a range that is empty, not page aligned or outside, or -ENOMEM.
 */
export function hmmMirrorRangeEnter(mirror: HmmMirror, start: Addr, hmmPfns: BigUint64Array): number {
  if (!mirror.registered) return -ENODEV
  const end = start + hmmPfns.length * PAGE_SIZE
  if (!(start >= 0 && isPageAligned(start) && start < end && end <= mirror.hmm.vmEnd)) return -EINVAL
  return hmmMirrorFill(mirror, start, hmmPfns.length, hmmPfnWords(hmmPfns), false)
}

/**
 * Asks all mirrors of an address space which pages of `[start, end)` their devices wrote, and marks those pages dirty;
 * permissions stay. Today's notifiers have no such event, so the mm cannot ask by itself.
 *
 * Returns 0, or -EINVAL for a range that is empty or outside.
 */
export function hmmCollectDirty(mm: Mm, start: Addr, end: Addr): number {
  const event = new HmmEvent()
  const err = hmmEventInit(event, mm.taskSize, start, end, HMM_ISDIRTY)
  if (err !== 0) return err
  const hmm = hmmOf(mm)
  if (hmm !== null) {
    hmmUpdate(hmm, event, null)
    dropHmmIfUnused(hmm)
  }
  return 0
}

function notifierOps(hmm: Hmm): MmuIntervalNotifierOps {
  return {
    invalidate(sub, range, curSeq) {
      if (range.start >= hmm.vmEnd || hmm.mirrors.length === 0) return true
      if (range.event === MMU_NOTIFY_RELEASE) {
        mmuIntervalSetSeq(sub, curSeq)
        for (const mirror of hmm.mirrors.slice()) hmmMirrorKill(mirror)
      } else {
        const event = eventOf(hmm, range)
        // What every mirror filters out, or what takes nothing away, does not make anybody begin again (MN-37).
        if (event === null || hmm.mirrors.every((mirror) => hmmDeviceFilters(mirror.device, range))) return true
        mmuIntervalSetSeq(sub, curSeq)
        hmmUpdate(hmm, event, range)
      }
      dropHmmIfUnused(hmm)
      return true
    },
  }
}

function eventOf(hmm: Hmm, range: MmuNotifierRange): HmmEvent | null {
  const etype = hmmEtypeOf(range)
  if (etype === HMM_NONE) return null
  const event = new HmmEvent()
  if (hmmEventInit(event, hmm.vmEnd, range.start, range.end, etype) !== 0) return null
  event.notify = range.event
  event.runs = range.runs
  return event
}

/**
 * The last mirror is gone. In a callback the notifier only queues itself for removal, which the kernel forbids there because
 * its removal sleeps; until then it finds no mirrors.
 */
function dropHmmIfUnused(hmm: Hmm): void {
  if (hmm.mirrors.length > 0 || hmms.get(hmm.mm) !== hmm) return
  const { notifier } = hmm
  assert(notifier !== null, 'an address space in the map has a notifier')
  hmms.delete(hmm.mm)
  mmuIntervalNotifierRemove(notifier)
}
