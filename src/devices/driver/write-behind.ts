// Pages that a slice has written leave at once where the launch is much larger than the device: they would have to soon, and their
// copies are in the queue of the hardware before the next slice then, not behind it.
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

/** A launch of less than so many times the device leaves behind what the next one may find. */
const LAUNCH_SIZE_MIN = 2

const BLOCK_BYTES = vpnToAddr(512)

export class WriteBehind {
  private readonly op: Operation
  private readonly toSystem: ToSystem
  private readonly slices: readonly LaunchSlice[]
  private readonly isWanted: boolean
  private readonly leaving: Promise<void>[] = []

  /** `slices` are those of a launch, in order. */
  constructor(op: Operation, toSystem: ToSystem, slices: readonly LaunchSlice[]) {
    this.op = op
    this.toSystem = toSystem
    this.slices = slices
    const ranges = slices.flatMap(({ read = [], write = [] }) => [...read, ...write])
    this.isWanted = slices.length > 2 && countPages(ranges) >= LAUNCH_SIZE_MIN * op.parts.pool.npages
  }

  /** Slice `index`, which has been submitted, holds its pages no longer. What the next one uses stays. */
  begin(index: number): void {
    if (!this.isWanted) return
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
