// Which frames of a pool or pages of a segment are free, as runs of neighbours. Allocation is first fit: a range that is to be
// bound to a kernel directly has to lie in one piece, and what is taken from the front leaves the largest piece at the back.
// Where memory consists of banks no run reaches from one into the next.

import { assert } from '../base/assert.ts'

export class FreeRuns {
  /** Frames that are free. */
  nfree: number
  /** First frame of each free run, ascending. Neighbouring runs are one run. */
  private readonly starts: number[] = []
  /** Frames of each run. */
  private readonly lengths: number[] = []
  private readonly bank: number
  /** The run that frames were given back to last, if it is still that run, and the end of its bank: they mostly come in order. */
  private recent = 0
  private recentLimit = -1

  /** Frames 0 to `nframes` - 1, all free, in banks of `bank` frames. */
  constructor(nframes: number, bank: number = Number.POSITIVE_INFINITY) {
    this.nfree = nframes
    this.bank = bank
    for (let first = 0; first < nframes; first += bank) {
      this.starts.push(first)
      this.lengths.push(Math.min(bank, nframes - first))
    }
  }

  /** Frames of the longest run. */
  get longest(): number {
    return this.lengths.reduce((most, length) => Math.max(most, length), 0)
  }

  /**
   * Takes `npages` neighbouring frames. The first one is `phase` above a multiple of `align`. Returns it, or -1 if no run is as
   * long.
   */
  alloc(npages: number, align = 1, phase = 0): number {
    assert(Number.isSafeInteger(npages) && npages > 0, () => `a run of ${npages} frames, wanted at least one`)
    const { starts, lengths } = this
    this.recentLimit = -1
    for (let at = 0; at < starts.length; at++) {
      const before = alignGap(starts[at], align, phase)
      const after = lengths[at] - before - npages
      if (after < 0) continue
      const first = starts[at] + before
      if (before > 0) {
        lengths[at] = before
        if (after > 0) {
          starts.splice(at + 1, 0, first + npages)
          lengths.splice(at + 1, 0, after)
        }
      } else if (after > 0) {
        starts[at] = first + npages
        lengths[at] = after
      } else {
        starts.splice(at, 1)
        lengths.splice(at, 1)
      }
      this.nfree -= npages
      return first
    }
    return -1
  }

  /** Takes the first neighbouring frames that are free, `npages` at most; there are some. Returns the first one, and how many. */
  allocSome(npages: number): [first: number, npages: number] {
    const { starts, lengths } = this
    assert(starts.length > 0, 'some frames are free')
    this.recentLimit = -1
    const first = starts[0]
    const taken = Math.min(npages, lengths[0])
    if (taken === lengths[0]) {
      starts.shift()
      lengths.shift()
    } else {
      starts[0] += taken
      lengths[0] -= taken
    }
    this.nfree -= taken
    return [first, taken]
  }

  /** Takes certain neighbouring frames of one bank. Returns false, with nothing taken, if they are not all free. */
  take(first: number, npages: number): boolean {
    const { starts, lengths } = this
    this.recentLimit = -1
    const at = this.firstAfter(first) - 1
    if (at < 0 || starts[at] + lengths[at] < first + npages) return false
    const before = first - starts[at]
    const after = lengths[at] - before - npages
    this.nfree -= npages
    if (before === 0 && after === 0) {
      starts.splice(at, 1)
      lengths.splice(at, 1)
      return true
    }
    const left: [start: number, length: number][] = []
    if (before > 0) left.push([starts[at], before])
    if (after > 0) left.push([first + npages, after])
    starts.splice(at, 1, ...left.map(([start]) => start))
    lengths.splice(at, 1, ...left.map(([, length]) => length))
    return true
  }

  /** Gives frames back, all of them taken. */
  free(first: number, npages: number): void {
    const { starts, lengths, recent } = this
    if (first + npages <= this.recentLimit && starts[recent] + lengths[recent] === first) {
      lengths[recent] += npages
      this.nfree += npages
      return
    }
    this.freeElsewhere(first, npages)
  }

  private freeElsewhere(first: number, npages: number): void {
    const { starts, lengths } = this
    const at = this.firstAfter(first)
    const endsBefore = at > 0 && starts[at - 1] + lengths[at - 1] <= first
    const beginsAfter = at < starts.length && starts[at] >= first + npages
    assert((at === 0 || endsBefore) && (at === starts.length || beginsAfter), () => `frame ${first} is freed twice`)
    const end = first + npages
    const joinsPrevious = at > 0 && starts[at - 1] + lengths[at - 1] === first && first % this.bank !== 0
    const joinsNext = at < starts.length && starts[at] === end && end % this.bank !== 0
    if (joinsPrevious && joinsNext) {
      lengths[at - 1] += npages + lengths[at]
      starts.splice(at, 1)
      lengths.splice(at, 1)
    } else if (joinsPrevious) lengths[at - 1] += npages
    else if (joinsNext) {
      starts[at] = first
      lengths[at] += npages
    } else {
      starts.splice(at, 0, first)
      lengths.splice(at, 0, npages)
    }
    this.nfree += npages
    this.recent = joinsPrevious ? at - 1 : at
    // Up to where it can grow and touch nothing.
    const next = this.recent + 1 < starts.length ? starts[this.recent + 1] - 1 : Number.POSITIVE_INFINITY
    this.recentLimit = Math.min(next, (Math.floor(first / this.bank) + 1) * this.bank)
  }

  /** Index of the first run that begins after `frame`. */
  private firstAfter(frame: number): number {
    let low = 0
    let high = this.starts.length
    while (low < high) {
      const mid = (low + high) >>> 1
      if (this.starts[mid] <= frame) low = mid + 1
      else high = mid
    }
    return low
  }
}

/** From `start` to the next number that is `phase` above a multiple of `align`. */
function alignGap(start: number, align: number, phase: number): number {
  const over = (start - phase) % align
  return over <= 0 ? -over : align - over
}
