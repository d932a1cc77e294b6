// A device asks for pages: the CPU page table gets them, the mirror table takes them over, the driver programs its device.
// Follows hmm_mirror_fault of the 2015 HMM patches (MR-80 to MR-85). The state of the CPU's entries is read by hmmRangeFault
// as a snapshot; what is missing goes through the CPU fault handler, whose answers the callers of 2015 get to see.
//
//   part of the range:  snapshot ──all there──> entries of the mirror table ──whole range──> update(event)
//                          ^  └──some missing──> handleMmFault for those ──┐        an event over the range meanwhile:
//                          └───────────────────────────────────────────────┘        go on from where it touched it
//
// It differs in that the range is worked off in parts, so that an event of our own making (a page copied on write) repeats one
// part and not everything, and that nothing sleeps: where the kernel waits the call returns -EBUSY with `sys.waitFor` set.

import { type Addr, PAGE_SIZE } from '../../base/addr.ts'
import { assert } from '../../base/assert.ts'
import { EACCES, EBUSY, EFAULT, EINVAL, ENODEV } from '../../base/errno.ts'
import { forEachRunIn, type PageRuns } from '../../base/page-runs.ts'
import { handleMmFault } from '../../mm/fault.ts'
import { mmuIntervalReadBegin, mmuIntervalReadRetry } from '../../mm/mmu-notifier.ts'
import {
  FAULT_FLAG_REMOTE,
  FAULT_FLAG_WRITE,
  VM_FAULT_ERROR,
  VM_FAULT_RETRY,
  vmFaultToErrno,
} from '../../mm/vm-fault.ts'
import { VM_HUGETLB, VM_IO, VM_MIXEDMAP, VM_PFNMAP, VM_WRITE } from '../../mm/vm-flags.ts'
import type { Vma } from '../../mm/vma.ts'
import { hmmRangeFault } from '../hmm.ts'
import { HMM_PFN_ERROR_HI, HMM_PFN_VALID_HI, HMM_PFN_WRITE_HI, hmmPfnWords } from '../hmm-pfn.ts'
import type { HmmRange61 } from '../hmm-range.ts'
import { HmmFault, type HmmMirror, hmmMirrorRef, hmmMirrorUnref } from './hmm-device.ts'
import {
  HMM_COPY_FROM_DEVICE,
  HMM_COPY_TO_DEVICE,
  HMM_DEVICE_WFAULT,
  type HmmEvent,
  hmmEtypeIsFault,
  hmmEventInit,
} from './hmm-event.ts'
import { hmmMirrorFill } from './hmm-mirror-fill.ts'
import { hmmMirrorCallUpdate } from './hmm-update.ts'

/** Pages that are read and entered at once: 16 MiB, eight last-level directories. */
const PART_PAGES = 4096

/** Rounds that may end without getting further. An honest fault handler and driver need two. */
const FRUITLESS_ROUNDS_MAX = 16

/** A part that faulted something and has to look again; no errno is positive. */
const AGAIN = 1

const REFUSED = VM_IO | VM_PFNMAP | VM_MIXEDMAP | VM_HUGETLB

/** Arrays for snapshots that no fault uses at the moment. */
const spareParts: BigUint64Array[] = []

/**
 * Serves a device fault. `event` is of type DEVICE_RFAULT or DEVICE_WFAULT; its range is rounded to pages and cut at the end
 * of the mapping that it starts in, so a caller goes on from `event.end`. With `wanted` only these pages are looked at.
 *
 * Returns 0 when the mirror table has every page, for write if asked, and the driver has programmed it, or
 * - -ENODEV the mirror has ended
 * - -EINVAL the range is empty or outside, or the type is not that of a fault
 * - -EFAULT no mapping at the start (`event.end` is then the start of the next one, if there is one), a mapping that devices
 *           cannot use, or a page that cannot be had
 * - -EACCES a write to a mapping without WRITE
 * - -ENOMEM out of memory for a page, a directory of the mirror table, or in the driver
 * - -EIO    from the driver
 * - -EBUSY  somebody else must finish first: wait for `sys.waitFor` if it is not null, and fault again
 *
 * After a failure the table may have pages that the device does not; that is harmless, they are taken away as usual.
 */
export function hmmMirrorFault(mirror: HmmMirror, event: HmmEvent, wanted: PageRuns | null = null): number {
  if (!mirror.registered) return -ENODEV
  const { hmm } = mirror
  const { mm } = hmm
  if (!hmmEtypeIsFault(event.etype)) return -EINVAL
  const err = hmmEventInit(event, hmm.vmEnd, event.start, event.end, event.etype)
  if (err !== 0) return err
  if (!mm.mmapLock.tryRead()) {
    mm.sys.waitFor = mm.mmapLock.released
    return -EBUSY
  }
  const vma = mm.findVma(event.start)
  const refused = faultIsRefused(event, vma)
  const result = refused !== 0 ? refused : runFault(new HmmFault(mirror, event), vma, wanted)
  mm.mmapLock.unlockRead()
  return result
}

/**
 * Enters pages that the driver has copied itself: `etype` is COPY_TO_DEVICE after a migration to the device's memory,
 * COPY_FROM_DEVICE after one back. The mirror table takes over whatever the CPU page table says about `[start, end)` now, and
 * the driver programs it in update(). Nothing is faulted in.
 *
 * Returns 0, or -ENODEV, -EINVAL, -ENOMEM, -EIO, -EBUSY as `hmmMirrorFault`.
 */
export function hmmMirrorRangeCopied(mirror: HmmMirror, event: HmmEvent): number {
  if (!mirror.registered) return -ENODEV
  const { hmm } = mirror
  const { mm } = hmm
  if (event.etype !== HMM_COPY_TO_DEVICE && event.etype !== HMM_COPY_FROM_DEVICE) return -EINVAL
  const err = hmmEventInit(event, hmm.vmEnd, event.start, event.end, event.etype)
  if (err !== 0) return err
  // Ends an operation that has begun: the migration may still hold the lock, and writers may wait for it.
  if (!mm.mmapLock.tryRead(true)) {
    mm.sys.waitFor = mm.mmapLock.released
    return -EBUSY
  }
  const result = runFault(new HmmFault(mirror, event), null, null)
  mm.mmapLock.unlockRead()
  return result
}

/** MR-81. Cuts the event at the end of its mapping. */
function faultIsRefused(event: HmmEvent, vma: Vma | null): number {
  if (vma === null) return -EFAULT
  if (vma.start > event.start) {
    event.end = vma.start
    return -EFAULT
  }
  event.end = Math.min(event.end, vma.end)
  if ((vma.flags & REFUSED) !== 0) return -EFAULT
  if (event.etype === HMM_DEVICE_WFAULT && (vma.flags & VM_WRITE) === 0) return -EACCES
  return 0
}

/** The fault is listed until the driver has programmed it, so that events over its range reach it. */
function runFault(fault: HmmFault, vma: Vma | null, wanted: PageRuns | null): number {
  const { mirror, event } = fault
  const { faults } = mirror.hmm
  const part = spareParts.pop() ?? new BigUint64Array(PART_PAGES)
  hmmMirrorRef(mirror)
  faults.push(fault)
  try {
    return fillAndUpdate(fault, new PartReader(mirror, vma, event, part, wanted))
  } finally {
    faults.splice(faults.indexOf(fault), 1)
    event.backoff = false
    hmmMirrorUnref(mirror)
    if (spareParts.length < 2) spareParts.push(part)
  }
}

function fillAndUpdate(fault: HmmFault, reader: PartReader): number {
  const { mirror, event } = fault
  const { sys } = mirror.hmm.mm
  let at = event.start
  let furthest = at
  let fruitless = 0
  for (;;) {
    const isComplete = at === event.end
    const partEnd = reader.partEnd(at, event.end)
    const result = isComplete ? hmmMirrorCallUpdate(mirror, event) : reader.fillPart(at, partEnd)
    if (result < 0) return result
    if (!mirror.registered) return -ENODEV
    if (isComplete && !event.backoff) return 0
    if (result === 0) at = partEnd
    if (event.backoff) {
      event.backoff = false
      at = Math.min(at, fault.restart)
      fault.restart = event.end
    }
    if (at > furthest) {
      furthest = at
      fruitless = 0
    } else if (++fruitless > FRUITLESS_ROUNDS_MAX) {
      sys.waitFor = null
      return -EBUSY
    }
  }
}

/** Reads parts of a range from the CPU page table, faults in what is missing, and enters them in the mirror table. */
class PartReader {
  private readonly mirror: HmmMirror
  private readonly vma: Vma | null
  private readonly range: HmmRange61
  private readonly words: Uint32Array
  /** HMM_PFN_*_HI bits that every page must have. */
  private readonly needed: number
  /** Pages that are looked at; null for all. */
  private readonly wanted: PageRuns | null
  private readonly faultFlags: number

  constructor(mirror: HmmMirror, vma: Vma | null, event: HmmEvent, part: BigUint64Array, wanted: PageRuns | null) {
    const { notifier } = mirror.hmm
    assert(notifier !== null, 'a registered mirror has a notifier')
    this.mirror = mirror
    this.vma = vma
    this.range = {
      notifier,
      notifierSeq: 0,
      start: 0,
      end: 0,
      hmmPfns: part,
      defaultFlags: 0n,
      pfnFlagsMask: 0n,
      devPrivateOwner: mirror.device.owner,
    }
    this.words = hmmPfnWords(part)
    const write = event.etype === HMM_DEVICE_WFAULT
    this.needed = vma === null ? 0 : write ? HMM_PFN_VALID_HI | HMM_PFN_WRITE_HI : HMM_PFN_VALID_HI
    this.wanted = wanted
    this.faultFlags = write ? FAULT_FLAG_REMOTE | FAULT_FLAG_WRITE : FAULT_FLAG_REMOTE
  }

  /** Where the part ends that begins at `at`. Few pages are one part, however far apart they lie. */
  partEnd(at: Addr, end: Addr): Addr {
    return this.wanted === null ? Math.min(at + PART_PAGES * PAGE_SIZE, end) : end
  }

  /** Returns 0 when the part is entered, AGAIN when pages were faulted in, or a negative errno. */
  fillPart(start: Addr, end: Addr): number {
    const { wanted } = this
    if (wanted === null) return this.fillRun(start, end)
    let result = 0
    forEachRunIn(wanted, start, end, (from, to) => {
      for (let at = from; at < to && result >= 0; at += PART_PAGES * PAGE_SIZE) {
        const filled = this.fillRun(at, Math.min(to, at + PART_PAGES * PAGE_SIZE))
        if (filled !== 0) result = filled
      }
    })
    return result
  }

  /** The same for pages that are all wanted. */
  private fillRun(start: Addr, end: Addr): number {
    const { range } = this
    const { notifier } = range
    const { mm } = notifier
    const seq = mmuIntervalReadBegin(notifier)
    if (seq < 0) {
      mm.sys.waitFor = mm.subscriptions?.wait ?? null
      return -EBUSY
    }
    range.notifierSeq = seq
    range.start = start
    range.end = end
    const err = hmmRangeFault(range)
    if (err !== 0) return err
    const faulted = this.faultMissing(start, (end - start) / PAGE_SIZE)
    if (faulted !== 0) return faulted
    if (mmuIntervalReadRetry(notifier, seq)) return AGAIN
    return hmmMirrorFill(this.mirror, start, (end - start) / PAGE_SIZE, this.words, this.needed === 0)
  }

  /** Faults in each page that lacks what is wanted. Returns 0 if there was none, AGAIN, or a negative errno (MR-83). */
  private faultMissing(start: Addr, npages: number): number {
    const { words, needed, vma } = this
    if (vma === null) return 0
    let result = 0
    const end = npages | 0
    for (let i = 0; i < end; i++) {
      const high = words[2 * i + 1]
      if ((high & needed) === needed) continue
      if ((high & HMM_PFN_ERROR_HI) !== 0) return -EFAULT
      const fault = handleMmFault(vma, start + i * PAGE_SIZE, this.faultFlags)
      if ((fault & VM_FAULT_ERROR) !== 0) return vmFaultToErrno(fault, false)
      if ((fault & VM_FAULT_RETRY) !== 0) return -EBUSY
      result = AGAIN
    }
    return result
  }
}
