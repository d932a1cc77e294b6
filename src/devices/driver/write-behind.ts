// Pages that a slice has written leave at once where the rest of the launch needs their room anyway: their copies are in the queue of
// the hardware before the next slice then, not behind it. What fits on the device at the end stays.
//
//   queue    slice 0 │ copies of 0 │ slice 1 │ copies of 1 │ ...        with eviction alone: slice 0 │ slice 1 │ copies of 0 │ ...
//
// Nothing depends on it: what does not leave now is evicted when the room is needed.

import { type Addr, pageAlignDown, pageAlignUp, vpnToAddr } from '../../base/addr.ts'
import { type AddrRange, rangesOverlap } from '../claims.ts'
import { allSettled, mmapReadLock } from '../edge.ts'
import { countPages } from './launch-checks.ts'
import type { LaunchSlice } from './launch-request.ts'
import type { Operation } from './operation.ts'
import type { ToSystem } from './to-system.ts'

const BLOCK_BYTES = vpnToAddr(512)

export class WriteBehind {
  private readonly op: Operation
  private readonly toSystem: ToSystem
  private readonly slices: readonly LaunchSlice[]
  /** Slices before this one leave. */
  private readonly firstKept: number
  private readonly leaving: Promise<void>[] = []

  /** `slices` are those of a launch, in order. */
  constructor(op: Operation, toSystem: ToSystem, slices: readonly LaunchSlice[]) {
    this.op = op
    this.toSystem = toSystem
    this.slices = slices
    let nleft = op.parts.pool.npages
    let firstKept = slices.length
    while (firstKept > 0) {
      const { read = [], write = [] } = slices[firstKept - 1]
      nleft -= countPages([...read, ...write])
      if (nleft < 0) break
      firstKept--
    }
    this.firstKept = firstKept
  }

  /** Slice `index`, which has been submitted, holds its pages no longer. What the next one uses stays. */
  begin(index: number): void {
    if (index >= this.firstKept) return
    const { read = [], write = [] } = this.slices[index + 1]
    const kept = [...read, ...write].map(wholePages)
    for (const range of (this.slices[index].write ?? []).map(wholePages)) {
      for (let start = range.start; start < range.end; ) {
        const end = Math.min(range.end, start - (start % BLOCK_BYTES) + BLOCK_BYTES)
        if (!kept.some((other) => rangesOverlap(other, { start, end }))) this.bringBackLater(start, end)
        start = end
      }
    }
  }

  /** Waits until everything that has begun has ended. */
  async end(): Promise<void> {
    await allSettled(this.leaving)
  }

  private bringBackLater(start: Addr, end: Addr): void {
    const leaving = this.bringBack(start, end)
    // Nobody waits for it if the device is lost.
    leaving.catch(() => {})
    this.leaving.push(leaving)
  }

  private async bringBack(start: Addr, end: Addr): Promise<void> {
    const { space, purpose } = this.op
    const { mm } = space
    await mmapReadLock(mm)
    try {
      const vma = mm.vmaLookup(start)
      if (vma === null || vma.end < end) return
      await this.toSystem.bringBack(vma, start, end, -1, { ...purpose, cause: 'eviction' }).done
    } finally {
      mm.mmapLock.unlockRead()
    }
  }
}

function wholePages({ start, end }: AddrRange): AddrRange {
  return { start: pageAlignDown(start), end: pageAlignUp(end) }
}
