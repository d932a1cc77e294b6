// The pages of a launch that says only while it runs which ones it needs: a kernel that goes through a page table. Its ranges are
// claimed as a whole, as those of every launch; pages come when they are missed, with others around them as far as there is free memory
// (density-tree.ts), stay while there is room (kept-pages.ts), and are kept (captured) all the time that they are in the table of the device.
//
//   missed ─> is it on the device? ──yes──────────────────────────────────> captured
//                  └─no─> others are given up ─> duplicates, all at once ───────┘
//                                             └> pages that are written, run by run
//
// Pages that are missed again after they were given up are refaults: the device is too small for what is done at once.

import { type Addr, addrToVpn, PAGE_SIZE, pageAlignDown, vpnToAddr } from '../../base/addr.ts'
import { formatAddr } from '../../base/assert.ts'
import { MmError } from '../../base/errno.ts'
import type { DemandCounters } from '../../hmm/policy.ts'
import type { Access } from '../../trace/events.ts'
import type { AddrRange } from '../claims.ts'
import { aheadOf, bringAhead, type PageRun, runsOf } from './ahead.ts'
import { partsAround } from './density-tree.ts'
import type { VpnRun } from './device-space.ts'
import { CAPTURED, CAPTURED_FOR_WRITING, FRAME_DUPLICATE } from './frame-pool.ts'
import { KeptPages } from './kept-pages.ts'
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
  readonly access: Access
  nfaults: number
  nrefaults: number
}

export class DemandPages {
  private readonly op: Operation
  private readonly toDevice: ToDevice
  private readonly name: string
  /** Pages that come along. */
  private readonly ahead: Operation
  private readonly ranges: readonly DemandRange[]
  /** Those that have room beside others: together at most half of the device. */
  private readonly small: readonly DemandRange[]
  private readonly kept: KeptPages

  /** `name` is that of the kernel, `read` and `write` are all that it may use. */
  constructor(op: Operation, toDevice: ToDevice, name: string, ranges: Record<Access, readonly AddrRange[]>) {
    this.op = op
    this.toDevice = toDevice
    this.name = name
    this.ahead = aheadOf(op, true)
    this.kept = new KeptPages(this.capacity)
    const demandRange = ({ start, end }: AddrRange, access: Access): DemandRange => {
      const vpn = addrToVpn(pageAlignDown(start))
      return { vpn, npages: addrToVpn(end - 1) + 1 - vpn, access, nfaults: 0, nrefaults: 0 }
    }
    // A page of two ranges is there for writing.
    this.ranges = [
      ...ranges.write.map((range) => demandRange(range, 'write')),
      ...ranges.read.map((range) => demandRange(range, 'read')),
    ]
    let room = this.capacity / 2
    this.small = this.ranges
      .toSorted((a, b) => a.npages - b.npages)
      .filter(({ npages }) => {
        room -= npages
        return room >= 0
      })
  }

  /** Pages that can be kept at once. */
  get capacity(): number {
    return this.op.parts.pool.npages
  }

  /** Pages of all ranges. */
  get npages(): number {
    return this.ranges.reduce((sum, { npages }) => sum + npages, 0)
  }

  /** Frames of the pages that are there. */
  get frames(): ReadonlyMap<number, number> {
    return this.kept.frames
  }

  /** Whether a page is there and may be written. */
  isWritable(vpn: number): boolean {
    return this.kept.isWritable(vpn)
  }

  /** Pages that have come, gone or become writable since this was asked last. */
  takeChanged(): number[] {
    const changed = [...this.kept.changed]
    this.kept.changed.clear()
    return changed
  }

  /** Keeps what is on the device already. To be called before anything is brought. */
  keepResident(): void {
    const { op, kept } = this
    for (const { vpn, npages, access } of this.ranges) {
      op.space.forEachUsable(vpnToAddr(vpn), vpnToAddr(vpn + npages), access, (page, frame) => {
        if (kept.frames.has(page)) return
        this.keep(page, frame, access === 'write')
        op.nresident++
      })
    }
  }

  /**
   * Brings pages to the device. Returns those that are not there any more.
   *
   * Rejects with an MmError ENOMEM if the pinned pages do not fit, and as ToDevice.bringIn.
   */
  async bring({ read, write, pinned }: PageDemand): Promise<number[]> {
    const missed = [...read, ...write]
    const isThrashing = this.countRefaults(missed)
    const gone: number[] = []
    const toWrite = [...write].filter((vpn) => !this.isWritable(vpn))
    // What was there for reading comes anew: its duplicate ends.
    this.letGo(toWrite.filter((vpn) => this.frames.has(vpn)))
    for (;;) {
      const wanted = [...read].filter((vpn) => !this.frames.has(vpn))
      const written = toWrite.filter((vpn) => !this.frames.has(vpn))
      this.giveUp(this.frames.size + wanted.length + written.length - this.capacity, pinned, gone)
      try {
        await this.fetch(wanted, false)
        await this.fetch(written, true)
        break
      } catch (error) {
        // Frames of others, or of pages that left while they were kept, may be in the way.
        const isFull = error instanceof MmError && error.code === 'ENOMEM'
        if (!isFull || !this.giveUp(Math.ceil(this.frames.size / 4), pinned, gone)) throw error
      }
    }
    await this.bringAround(missed, isThrashing)
    await this.op.parts.hardware.uploaded()
    this.op.check()
    return gone.filter((vpn) => !this.frames.has(vpn))
  }

  /** Settles like a round of the kernel, which counts as its progress. */
  async finish(round: Promise<void>): Promise<void> {
    await this.op.parts.watch.wait(this.name, round)
  }

  /** Frames were written. */
  markWritten(frames: Iterable<number>): void {
    for (const frame of frames) this.op.parts.pool.dirty[frame] = 1
  }

  /** Frames were used: their pages go last. */
  markUsed(frames: Iterable<number>): void {
    for (const frame of frames) this.kept.use(frame)
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
    this.letGo([...this.frames.keys()])
    this.ahead.release()
    this.op.release()
  }

  /** Pages stay where they are, and need not any more. */
  private letGo(vpns: readonly number[]): void {
    const { pool } = this.op.parts
    for (const vpn of vpns) pool.release([this.kept.take(vpn), 1])
    if (vpns.length > 0) pool.released.wake()
  }

  /** Gives pages up that are not pinned, and adds them to `gone`. False if there is none. */
  private giveUp(count: number, pinned: ReadonlySet<number>, gone: number[]): boolean {
    const { pool } = this.op.parts
    const leaving = this.kept.first(count, pinned).sort((a, b) => a - b)
    // Duplicates cost nothing to drop. What was written is copied back when its frame is wanted.
    const duplicates = leaving.filter((vpn) => pool.state[this.frames.get(vpn) ?? 0] === FRAME_DUPLICATE)
    this.letGo(leaving)
    this.op.space.dropDuplicatesOf(duplicates)
    for (const vpn of leaving) {
      this.kept.giveUp(vpn)
      gone.push(vpn)
    }
    return leaving.length > 0
  }

  /** Brings pages that are not kept. */
  private async fetch(vpns: readonly number[], isWrite: boolean): Promise<void> {
    const { op, toDevice } = this
    const ascending = vpns.toSorted((a, b) => a - b)
    const absent = this.capture(ascending, isWrite)
    op.nresident += vpns.length - absent.length
    if (absent.length === 0) return
    if (!isWrite && (await toDevice.duplicate(op, absent, (part) => this.capture(part, false)))) return
    for (const run of runsOf(new Map(absent.map((vpn) => [vpn, isWrite])))) {
      const use = this.use(op, run)
      try {
        await toDevice.bringIn(op, use)
      } finally {
        this.adopt(op, use)
      }
    }
  }

  /** Keeps those of some pages, in ascending order, that are on the device. Returns the others. */
  private capture(vpns: readonly number[], isWrite: boolean): number[] {
    if (vpns.length === 0) return []
    this.op.space.forEachOf(vpns, isWrite ? 'write' : 'read', (k, frame) => this.keep(vpns[k], frame, isWrite))
    return vpns.filter((vpn) => !this.frames.has(vpn))
  }

  private keep(vpn: number, frame: number, isWrite: boolean): void {
    const bits = isWrite ? CAPTURED | CAPTURED_FOR_WRITING : CAPTURED
    this.op.parts.pool.capture(frame, 1, bits, [])
    this.kept.add(vpn, frame, isWrite, this.isSmall(vpn))
  }

  private isSmall(vpn: number): boolean {
    return this.small.some((range) => isIn(range, vpn))
  }

  /** Keeps what an operation has captured. */
  private adopt(op: Operation, { start, frames, access }: RangeUse): void {
    frames.forEach((frame, i) => {
      const vpn = addrToVpn(start) + i
      if (frame >= 0 && !this.frames.has(vpn)) this.kept.add(vpn, frame, access === 'write', this.isSmall(vpn))
    })
    op.handOver()
  }

  /** Counts what was missed. Returns whether too much of it had been there before. */
  private countRefaults(missed: readonly number[]): boolean {
    const now = { nfaults: 0, nrefaults: 0 }
    for (const vpn of missed) {
      // A page that is there is missed for writing alone.
      if (this.frames.has(vpn)) continue
      const isRefault = this.kept.wasGivenUp(vpn)
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
    let room = Math.min(pool.nfree, this.capacity - this.frames.size)
    if (room <= 0) return
    const ascending = missed.toSorted((a, b) => a - b)
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
      if (!this.frames.has(vpn)) absent.set(vpn, isWrite)
    }
    for (const run of runsOf(absent)) {
      // With the page before it, it comes to the frames behind that one if they are free.
      const hasNeighbour = this.frames.has(run.vpn - 1) && this.isWritable(run.vpn - 1) === isWrite
      const use = this.use(this.ahead, hasNeighbour ? { ...run, vpn: run.vpn - 1, npages: run.npages + 1 } : run)
      try {
        await bringAhead(this.toDevice, this.ahead, use)
      } finally {
        this.adopt(this.ahead, use)
      }
    }
    return absent.size
  }

  private use(op: Operation, { vpn, npages, isWrite }: PageRun): RangeUse {
    const start: Addr = vpnToAddr(vpn)
    return op.use({ start, end: start + npages * PAGE_SIZE }, isWrite ? 'write' : 'read')
  }
}

function isIn({ vpn, npages }: VpnRun, page: number): boolean {
  return page >= vpn && page < vpn + npages
}
