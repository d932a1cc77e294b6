// Keeps some memory free, so that a touch finds a frame and need not wait for the disk (kswapd of Linux). Begins when fewer
// frames are left than the low watermark and stops when there are as many as the high one, those counted that are being written.
//
//   0 ── reserve ── low ── high ────────── limit          frames that are left
//      for eviction  begin   stop
//
// It works in steps of 2 MiB between which faults are served, and never has more writes under way than the disk needs to be busy.

import { PAGE_SIZE } from '../../base/addr.ts'
import { MIB } from '../../base/size.ts'
import type { System } from '../../mm/system.ts'

const STEP = 512 // pages, 2 MiB
const IN_FLIGHT_MAX = 4 * STEP
/** Pages that are written, and milliseconds in between, to see whether a disk works again. */
const PROBE = 16
const PROBE_MS = 500
/** Steps in a row that free nothing and write nothing: everything is in use. The next touch that finds memory low begins again. */
const FRUITLESS_MAX = 16

export interface Watermarks {
  /** Pages. */
  readonly low: number
  readonly high: number
}

/** Watermarks for a limit of so many pages, of which `reserve` are for eviction. */
export function watermarksOf(limit: number, reserve: number): Watermarks {
  const step = Math.min(Math.max(Math.floor(limit / 32), MIB / PAGE_SIZE), (16 * MIB) / PAGE_SIZE)
  return { low: reserve + step, high: reserve + 2 * step }
}

export class Reclaimer {
  readonly #sys: System
  readonly #high: number
  #isScheduled = false
  #nfruitless = 0

  constructor(sys: System, high: number) {
    this.#sys = sys
    this.#high = high
  }

  /** Memory is low. Nothing is done before whoever says so is ready. */
  wake(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    setImmediate(() => this.#step())
  }

  #step(): void {
    this.#isScheduled = false
    const { swap } = this.#sys
    const ninFlight = swap === null ? 0 : swap.ninFlight
    if (this.#sys.nfree + ninFlight >= this.#high) {
      this.#nfruitless = 0
      return
    }
    if (swap !== null && ninFlight >= IN_FLIGHT_MAX) {
      swap.progress.add(() => this.wake())
      return
    }
    if (swap?.isFailing === true) {
      this.#probe()
      return
    }
    const nfree = this.#sys.nfree
    this.#sys.reclaim(STEP)
    const didSomething = this.#sys.nfree > nfree || (swap !== null && swap.ninFlight > ninFlight)
    this.#nfruitless = didSomething ? 0 : this.#nfruitless + 1
    if (this.#nfruitless < FRUITLESS_MAX) this.wake()
    else this.#nfruitless = 0
  }

  /** The disk does not take what is written to it. It is asked again now and then. */
  #probe(): void {
    this.#isScheduled = true
    setTimeout(() => {
      this.#isScheduled = false
      this.#sys.reclaim(PROBE)
      this.#sys.swap?.progress.add(() => this.wake())
    }, PROBE_MS)
  }
}
