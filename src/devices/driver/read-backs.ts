// What launches have written and the program then asked for. Who reads the results of each launch waits twice, for the launch and for the
// copy that follows. Where that is the habit, the copy is asked for together with the launch: pages that were pinned in place are
// copied to their frames in system memory, and are clean when the program asks.
//
//   launch ─> written ── asked for? ──> the policy decides about the next launch on the same pages
//                     └─ written again, and nobody has asked: it was in vain, the habit is over

import type { Addr } from '../../base/addr.ts'
import type { ReadBackCounters } from '../../hmm/policy.ts'

/** Ranges that are remembered. The one that was written the longest time ago is forgotten first. */
const RANGES_MAX = 64

/** Pages that a launch has written. */
interface Written {
  readonly end: Addr
  /** Launches in a row after which they were asked for. */
  nasked: number
  /** Nobody has asked since the last one. */
  isUnasked: boolean
}

export class ReadBacks {
  /** By first page. */
  private readonly ranges = new Map<Addr, Written>()

  /** A launch has written `[start, end)`. Returns what the policy wants to know. */
  written(start: Addr, end: Addr, npages: number): ReadBackCounters {
    const known = this.ranges.get(start)
    this.ranges.delete(start)
    const range = known?.end === end ? known : { end, nasked: 0, isUnasked: false }
    if (range.isUnasked) range.nasked = 0
    range.isUnasked = true
    this.ranges.set(start, range)
    for (const oldest of this.ranges.keys()) {
      if (this.ranges.size <= RANGES_MAX) break
      this.ranges.delete(oldest)
    }
    return { npages, nasked: range.nasked }
  }

  /** The program wants some of `[start, end)`. */
  asked(start: Addr, end: Addr): void {
    for (const [first, range] of this.ranges) {
      if (!range.isUnasked || first >= end || range.end <= start) continue
      range.isUnasked = false
      range.nasked++
    }
  }
}
