// The pages of a launch that says only while it runs which ones it needs: a kernel that goes through a page table. Its ranges are
// claimed as a whole, as those of every launch; pages come when they are missed, with others around them as far as there is free memory
// (density-tree.ts), stay while there is room, and are kept (captured) all the time that they are in the table of the device.
//
// Each call of `bring` captures anew: what is still there is captured again before anything else happens, so nothing of it can leave.
// Pages that are missed again after they were given up are refaults: the device is too small for what is done at once.

import { type Addr, addrToVpn, PAGE_SIZE, pageAlignDown, vpnToAddr } from '../../base/addr.ts'
import { formatAddr } from '../../base/assert.ts'
import { MmError } from '../../base/errno.ts'
import type { DemandCounters } from '../../hmm/policy.ts'
import type { AddrRange } from '../claims.ts'
import { aheadOf, bringAhead, type PageRun, runsOf } from './ahead.ts'
import { partsAround } from './density-tree.ts'
import type { VpnRun } from './device-space.ts'
import type { Operation } from './operation.ts'
import type { RangeUse } from './range-use.ts'
import type { ThrashedArray } from './receipt.ts'
import type { ToDevice } from './to-device.ts'

/** Pages by number (`addr / 4096`). */
export interface PageDemand {
  readonly read: Iterable<number>
  readonly write: Iterable<number>
  /** Must not be given up for others: those that are missed now, and whatever else is needed together with them. */
  readonly pinned: ReadonlySet<number>
}

/** One of the launch's ranges, and how its pages were missed. */
interface DemandRange extends VpnRun, DemandCounters {
  nfaults: number
  nrefaults: number
}

export class DemandPages {
  /** Frames of the pages that are there. */
  readonly frames = new Map<number, number>()
  private readonly op: Operation
  private readonly toDevice: ToDevice
  private readonly name: string
  /** Pages that come along. */
  private readonly ahead: Operation
  private readonly ranges: readonly DemandRange[]
  // Pages that are kept, oldest first, and whether they may be written.
  private readonly kept = new Map<number, boolean>()
  private readonly givenUp = new Set<number>()

  /** `name` is that of the kernel, `ranges` are all that it may use. */
  constructor(op: Operation, toDevice: ToDevice, name: string, ranges: readonly AddrRange[]) {
    this.op = op
    this.toDevice = toDevice
    this.name = name
    this.ahead = aheadOf(op, true)
    this.ranges = ranges.map(({ start, end }) => {
      const vpn = addrToVpn(pageAlignDown(start))
      return { vpn, npages: addrToVpn(end - 1) + 1 - vpn, nfaults: 0, nrefaults: 0 }
    })
  }

  /** Pages that can be kept at once. */
  get capacity(): number {
    return this.op.parts.pool.npages
  }

  /** Whether a page is there and may be written. */
  isWritable(vpn: number): boolean {
    return this.kept.get(vpn) === true
  }

  /**
   * Brings pages to the device. Returns those that are not there any more.
   *
   * Rejects with an MmError ENOMEM if the pinned pages do not fit, and as ToDevice.bringIn.
   */
  async bring({ read, write, pinned }: PageDemand): Promise<number[]> {
    const before = [...this.frames.keys()]
    const missed = [...read, ...write]
    const isThrashing = this.countRefaults(missed)
    for (const vpn of read) this.keep(vpn, this.isWritable(vpn))
    for (const vpn of write) this.keep(vpn, true)
    this.giveUp(this.kept.size - this.capacity, pinned)
    for (;;) {
      try {
        await this.capture()
        break
      } catch (error) {
        // Frames of others, or of pages that left while they were kept, may be in the way.
        const isFull = error instanceof MmError && error.code === 'ENOMEM'
        if (!isFull || !this.giveUp(Math.ceil(this.kept.size / 4), pinned)) throw error
      }
    }
    await this.bringAround(missed, isThrashing)
    await this.op.parts.hardware.uploaded()
    this.op.check()
    const gone = before.filter((vpn) => !this.frames.has(vpn))
    for (const vpn of gone) this.givenUp.add(vpn)
    return gone
  }

  /** Settles like a round of the kernel, which counts as its progress. */
  async finish(round: Promise<void>): Promise<void> {
    await this.op.parts.watch.wait(this.name, round)
  }

  /** Frames were written. */
  markWritten(frames: Iterable<number>): void {
    for (const frame of frames) this.op.parts.pool.dirty[frame] = 1
  }

  /** Keeps what there is of some ranges, those pages among them that were given up. */
  hold(ranges: readonly AddrRange[]): void {
    this.release()
    for (const range of ranges) this.op.look(this.op.use(range, 'write'))
  }

  /** The ranges of which too much was missed again, told to the trace too. */
  thrashing(): ThrashedArray[] {
    const { parts, space, purpose } = this.op
    return this.ranges
      .filter((range) => parts.policy.thrashes(range))
      .map(({ vpn, npages, nfaults, nrefaults }) => {
        const start = vpnToAddr(vpn)
        parts.traffic.thrashed({ mm: space.mm, start, end: start + npages * PAGE_SIZE }, nrefaults, purpose)
        return { array: parts.nameAt(space.mm, start) ?? formatAddr(start), faults: nfaults, refaults: nrefaults }
      })
  }

  /** Lets everything go. */
  release(): void {
    this.ahead.release()
    this.op.release()
  }

  private keep(vpn: number, isWrite: boolean): void {
    this.kept.delete(vpn)
    this.kept.set(vpn, isWrite)
  }

  /** Gives the oldest pages up that are not pinned. False if there is none. */
  private giveUp(count: number, pinned: ReadonlySet<number>): boolean {
    let left = count
    for (const vpn of this.kept.keys()) {
      if (left <= 0) break
      if (pinned.has(vpn)) continue
      this.kept.delete(vpn)
      left--
    }
    return left < count
  }

  private async capture(): Promise<void> {
    const { op } = this
    this.release()
    this.frames.clear()
    const uses = runsOf(this.kept).map((run) => this.use(op, run))
    for (const use of uses) op.look(use)
    for (const use of uses) await this.toDevice.bringIn(op, use)
    for (const use of uses) this.enter(use)
  }

  /** Counts what was missed. Returns whether too much of it had been there before. */
  private countRefaults(missed: readonly number[]): boolean {
    const now = { nfaults: 0, nrefaults: 0 }
    for (const vpn of missed) {
      // A page that is there is missed for writing alone.
      if (this.frames.has(vpn)) continue
      const isRefault = this.givenUp.delete(vpn)
      for (const counters of [now, this.ranges.find((range) => isIn(range, vpn))]) {
        if (counters === undefined) continue
        counters.nfaults++
        if (isRefault) counters.nrefaults++
      }
    }
    return this.op.parts.policy.thrashes(now)
  }

  /** Brings what lies around missing pages into frames that are free: nobody has to go for what may never be used. */
  private async bringAround(missed: readonly number[], isThrashing: boolean): Promise<void> {
    const { pool, policy } = this.op.parts
    let room = Math.min(pool.nfree, this.capacity - this.kept.size)
    const ascending = [...missed].sort((a, b) => a - b)
    for (const within of this.ranges) {
      if (room <= 0) return
      const own = ascending.filter((vpn) => isIn(within, vpn))
      const isPresent = (vpn: number): boolean => this.frames.has(vpn)
      for (const part of partsAround(policy, { missed: own, nmissed: missed.length, within, isPresent, isThrashing })) {
        const isWrite = own.some((vpn) => isIn(part, vpn) && this.isWritable(vpn))
        room -= await this.bringPart(part, isWrite, room)
      }
    }
  }

  /** Brings as many of the pages of a part that are not there as there is room for. Returns how many. */
  private async bringPart(part: VpnRun, isWrite: boolean, room: number): Promise<number> {
    const absent = new Map<number, boolean>()
    for (let vpn = part.vpn; vpn < part.vpn + part.npages && absent.size < room; vpn++) {
      if (!this.kept.has(vpn)) absent.set(vpn, isWrite)
    }
    for (const run of runsOf(absent)) {
      // With the page before it, it comes to the frames behind that one if they are free.
      const hasNeighbour = this.kept.get(run.vpn - 1) === isWrite
      const use = this.use(this.ahead, hasNeighbour ? { ...run, vpn: run.vpn - 1, npages: run.npages + 1 } : run)
      await bringAhead(this.toDevice, this.ahead, use)
      this.enter(use)
      use.frames.forEach((frame, i) => {
        if (frame >= 0 && !this.kept.has(addrToVpn(use.start) + i)) this.keep(addrToVpn(use.start) + i, isWrite)
      })
    }
    return absent.size
  }

  private use(op: Operation, { vpn, npages, isWrite }: PageRun): RangeUse {
    const start: Addr = vpnToAddr(vpn)
    return op.use({ start, end: start + npages * PAGE_SIZE }, isWrite ? 'write' : 'read')
  }

  /** Notes where the pages of a use are. */
  private enter({ start, frames }: RangeUse): void {
    frames.forEach((frame, i) => {
      if (frame >= 0) this.frames.set(addrToVpn(start) + i, frame)
    })
  }
}

function isIn({ vpn, npages }: VpnRun, page: number): boolean {
  return page >= vpn && page < vpn + npages
}
