// What happens to a range of the address space, as a driver of the mirror layer is told. Follows struct hmm_event of the
// 2015 HMM patches with the types of their third version (MR-10 to MR-13). It differs in that `end` is rounded up to a page
// (MR-70), and that an event remembers the notifier event it came from.

import { type Addr, PAGE_SIZE, pageAlignDown, pageAlignUp } from '../../base/addr.ts'
import { EINVAL } from '../../base/errno.ts'
import { forEachRunIn, type PageRuns } from '../../base/page-runs.ts'
import { HMM_PTE_WRITE } from './hmm-pte.ts'

/** No event; never delivered. */
export const HMM_NONE = 0
/** The address space is being copied: parent and child share the pages until one of them writes. */
export const HMM_FORK = 1
/** Somebody asks which pages were written. */
export const HMM_ISDIRTY = 2
/** The pages go elsewhere or change their contents; the range stays and will be used again soon. */
export const HMM_MIGRATE = 3
/** The range is gone. */
export const HMM_MUNMAP = 4
/** The device asked to read; the mirror table has the pages now. */
export const HMM_DEVICE_RFAULT = 5
/** The device asked to write; the mirror table has the pages now. */
export const HMM_DEVICE_WFAULT = 6
/** Write permission ends. */
export const HMM_WRITE_PROTECT = 7
/** Pages have come back from device memory. */
export const HMM_COPY_FROM_DEVICE = 8
/** Pages have gone to device memory. */
export const HMM_COPY_TO_DEVICE = 9

/** Names by number. */
export const HMM_ETYPES = [
  'NONE',
  'FORK',
  'ISDIRTY',
  'MIGRATE',
  'MUNMAP',
  'DEVICE_RFAULT',
  'DEVICE_WFAULT',
  'WRITE_PROTECT',
  'COPY_FROM_DEVICE',
  'COPY_TO_DEVICE',
] as const

/** A change of a range that mirrors are told of. */
export class HmmEvent {
  /** Page aligned once `hmmEventInit` has accepted it. */
  start: Addr
  /** Exclusive, page aligned. */
  end: Addr
  /** HMM_* above. */
  etype: number
  /** Low word of `pteMask`. The high word repeats its sign: it is all ones or zero. */
  maskLow = 0
  /** Faults only: an event over the range came meanwhile, so what the fault has read is not to be used (MR-84). */
  backoff = false
  /** MMU_NOTIFY_* that it was made from, -1 for events that the mirror layer or a device began. */
  notify = -1
  /** The runs of pages that it is about (MmuNotifierRange.runs); null if it is about all. */
  runs: PageRuns | null = null

  constructor(start: Addr = 0, end: Addr = 0, etype: number = HMM_NONE) {
    this.start = start
    this.end = end
    this.etype = etype
  }

  /** High word of `pteMask`. */
  get maskHigh(): number {
    return this.maskLow >> 31
  }

  /** Visits the runs of pages that the event is about. */
  forEachRun(visit: (start: Addr, end: Addr) => void): void {
    const { start, end, runs } = this
    if (runs === null) visit(start, end)
    else forEachRunIn(runs, start, end, visit)
  }

  /** What remains of each valid entry of the range after the driver's update: `new = old & pteMask` (MR-14). */
  get pteMask(): bigint {
    return BigInt.asUintN(64, BigInt(this.maskLow))
  }
}

/**
 * Makes `event` one of `etype` over the pages that `[start, end)` touches: the start is rounded down to a page, the end is
 * cut at `vmEnd` and then rounded up.
 *
 * Returns 0, or -EINVAL for an empty or negative range, one that starts at or above `vmEnd`, or a type that is never
 * delivered; the event is then unchanged.
 */
export function hmmEventInit(event: HmmEvent, vmEnd: Addr, start: Addr, end: Addr, etype: number): number {
  if (!(start >= 0) || !(start < Math.min(end, vmEnd))) return -EINVAL
  if (!Number.isInteger(etype) || etype <= HMM_NONE || etype > HMM_COPY_TO_DEVICE) return -EINVAL
  event.start = pageAlignDown(start)
  event.end = pageAlignUp(Math.min(end, vmEnd))
  event.etype = etype
  event.maskLow = hmmEtypeMask(etype)
  event.backoff = false
  return 0
}

/** Low word of the mask that a type puts on entries (MR-13); the type says more than the mask, not the reverse (MR-29). */
export function hmmEtypeMask(etype: number): number {
  switch (etype) {
    case HMM_FORK:
    case HMM_WRITE_PROTECT:
      return ~HMM_PTE_WRITE
    case HMM_MIGRATE:
    case HMM_MUNMAP:
      return 0
    default:
      return ~0
  }
}

/** The device asked for pages. */
export function hmmEtypeIsFault(etype: number): boolean {
  return etype === HMM_DEVICE_RFAULT || etype === HMM_DEVICE_WFAULT
}

/** `WRITE_PROTECT 0x1000-0x3000`, or `MIGRATE 0x1000-0x5000 (3 pages)` with holes. */
export function formatHmmEvent(event: HmmEvent): string {
  const what = `${HMM_ETYPES[event.etype]} 0x${event.start.toString(16)}-0x${event.end.toString(16)}`
  if (event.runs === null) return what
  let npages = 0
  event.forEachRun((start, end) => {
    npages += (end - start) / PAGE_SIZE
  })
  return `${what} (${npages} pages)`
}
