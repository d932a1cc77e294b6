// The pages of a launch that says only while it runs which ones it needs: a kernel that goes through a page table. Its ranges are
// claimed as a whole, as those of every launch; pages come when they are missed, stay while there is room, and are kept (captured) all
// the time that they are in the table of the device.
//
// Each call of `bring` captures anew: what is still there is captured again before anything else happens, so nothing of it can leave.

import { type Addr, addrToVpn, PAGE_SIZE, pageAlignDown, vpnToAddr } from '../../base/addr.ts'
import { MmError } from '../../base/errno.ts'
import type { Operation } from './operation.ts'
import type { ToDevice } from './to-device.ts'

/** Pages by number (`addr / 4096`). */
export interface PageDemand {
  readonly read: Iterable<number>
  readonly write: Iterable<number>
  /** Must not be given up for others: those that are missed now, and whatever else is needed together with them. */
  readonly pinned: ReadonlySet<number>
}

export class DemandPages {
  /** Frames of the pages that are there. */
  readonly frames = new Map<number, number>()
  private readonly op: Operation
  private readonly toDevice: ToDevice
  private readonly name: string
  // Pages that are kept, oldest first, and whether they may be written.
  private readonly kept = new Map<number, boolean>()

  /** `name` is that of the kernel. */
  constructor(op: Operation, toDevice: ToDevice, name: string) {
    this.op = op
    this.toDevice = toDevice
    this.name = name
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
    await this.op.parts.hardware.uploaded()
    this.op.check()
    return before.filter((vpn) => !this.frames.has(vpn))
  }

  /** Settles like a round of the kernel, which counts as its progress. */
  async finish(round: Promise<void>): Promise<void> {
    await this.op.parts.watch.wait(this.name, round)
  }

  /** Frames were written. */
  markWritten(frames: Iterable<number>): void {
    for (const frame of frames) this.op.parts.pool.dirty[frame] = 1
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
    op.release()
    this.frames.clear()
    const uses = this.runs().map(({ first, count, isWrite }) => {
      const start: Addr = vpnToAddr(first)
      return op.use({ start, end: start + count * PAGE_SIZE }, isWrite ? 'write' : 'read')
    })
    for (const use of uses) op.look(use)
    for (const use of uses) await this.toDevice.bringIn(op, use)
    for (const { start, frames } of uses) {
      const first = addrToVpn(pageAlignDown(start))
      frames.forEach((frame, i) => {
        this.frames.set(first + i, frame)
      })
    }
  }

  /** Neighbouring pages with the same access. */
  private runs(): { first: number; count: number; isWrite: boolean }[] {
    const runs: { first: number; count: number; isWrite: boolean }[] = []
    for (const vpn of [...this.kept.keys()].sort((a, b) => a - b)) {
      const isWrite = this.isWritable(vpn)
      const last = runs.at(-1)
      if (last !== undefined && last.first + last.count === vpn && last.isWrite === isWrite) last.count++
      else runs.push({ first: vpn, count: 1, isWrite })
    }
    return runs
  }
}
