// The hardware of a memory device: RAM, and a link whose copies take the time that their size demands.
//
//   upload     |= to device ===|        |==|              one link per direction; copies queue up behind each other,
//   download       |= to system ========|                 and each arrives `latency` after its last byte was sent
//              └──────────────────────────> time
//
// An upload reads system memory when it is asked for, as a copy through a staging buffer does, and what the device is asked to
// do afterwards finds the bytes there. A download writes system memory at the moment it is over, so source and destination
// have to stay what they are until then. Where copies take no time there is nothing to wait for, and the answer is null.

import { PAGE_SIZE } from '../../base/addr.ts'
import type { Mmu } from '../../mmu/mmu.ts'
import {
  type CopyList,
  type DeviceClock,
  type DeviceHardware,
  fillFrames,
  forEachPiece,
  forEachRun,
  type LaunchRanges,
  UPLOAD_PAGES_MAX,
} from '../driver/index.ts'
import { LaunchMemory } from './launch-memory.ts'

export interface LinkOptions {
  /** Microseconds from the last byte sent to the moment it can be used. */
  readonly latency: number
  /** Bytes per second, in each direction; Infinity for no time at all. */
  readonly bandwidth: number
}

/** Copies beside this thread, as a DMA engine does. */
export interface Copier {
  /**
   * Copies frames of the device to system memory. Resolves when that is done; nothing else writes either side until then. Null if
   * it cannot be had at the moment.
   */
  copyOut(list: CopyList): Promise<void> | null
  /** Nothing is under way, and nothing will be. */
  close(): void
}

/** Makes one for a device with this memory, which other threads can reach. */
export type CopierMaker = (memory: Uint8Array<SharedArrayBuffer>) => Copier

const US_PER_SECOND = 1e6

export class MemoryHardware implements DeviceHardware<LaunchMemory> {
  readonly npages: number
  readonly bankPages: number
  readonly pieceBytesMax = Number.POSITIVE_INFINITY
  readonly uploadPages = UPLOAD_PAGES_MAX
  /** RAM does not find out that it is gone; the driver is told. */
  onLost = (): void => {}
  /** All frames, one behind the other. */
  readonly bytes: Uint8Array
  private readonly mmu: Mmu
  private readonly clock: DeviceClock
  private readonly latency: number
  private readonly usPerByte: number
  /** Until when each direction of the link is busy. */
  private uploadsUntil = 0
  private downloadsUntil = 0
  /** All uploads so far have arrived when this resolves; null if they have. */
  private arriving: Promise<void> | null = null
  /** Ends of the copies in flight, for the case that they never arrive. */
  private readonly failing = new Set<(reason: Error) => void>()
  private failure: Error | null = null
  private readonly copier: Copier | null = null

  constructor(mmu: Mmu, npages: number, clock: DeviceClock, link: LinkOptions, makeCopier?: CopierMaker) {
    this.npages = npages
    this.bankPages = npages
    if (makeCopier === undefined) this.bytes = new Uint8Array(npages * PAGE_SIZE)
    else {
      const memory = new Uint8Array(new SharedArrayBuffer(npages * PAGE_SIZE))
      this.bytes = memory
      this.copier = makeCopier(memory)
    }
    this.mmu = mmu
    this.clock = clock
    this.latency = link.latency
    this.usPerByte = US_PER_SECOND / link.bandwidth
  }

  /** One frame. */
  page(frame: number): Uint8Array {
    return this.bytes.subarray(frame * PAGE_SIZE, (frame + 1) * PAGE_SIZE)
  }

  ready(): null {
    return null
  }

  upload(list: CopyList): Promise<void> | null {
    if (this.failure !== null) return handled(Promise.reject(this.failure))
    if (list.length === 0) return null
    forEachRun(list.frames, 0, list.length, (first, npages, from) => {
      forEachPiece(this.mmu, list.pfns, from, from + npages, (pages, at) => {
        this.bytes.set(pages, (first + at - from) * PAGE_SIZE)
      })
    })
    this.uploadsUntil = this.book(this.uploadsUntil, list.length)
    const arrival = this.arriveAt(this.uploadsUntil + this.latency)
    if (arrival === null) return null
    const arriving = arrival.finally(() => {
      if (this.arriving === arriving) this.arriving = null
    })
    this.arriving = arriving
    return handled(arriving)
  }

  uploaded(): Promise<void> | null {
    return this.failure === null ? this.arriving : Promise.reject(this.failure)
  }

  download(list: CopyList, ahead = false): Promise<void> | null {
    if (this.failure !== null) return Promise.reject(this.failure)
    if (list.length === 0) return null
    const copy = (): void => this.copyOut(list)
    this.downloadsUntil = this.book(this.downloadsUntil, list.length)
    const arrival = this.arriveAt(this.downloadsUntil + this.latency, copy)
    if (arrival !== null) return arrival
    const copying = ahead && this.copier !== null ? this.copier.copyOut(list) : null
    // If the device fails meanwhile, these have left it before.
    if (copying !== null) return copying
    copy()
    return null
  }

  /** Takes no time, as it does not use the link. */
  clear(frames: readonly number[]): void {
    for (const frame of frames) this.page(frame).fill(0)
  }

  /** Takes no time, as it does not use the link. */
  move(from: readonly number[], to: readonly number[]): void {
    for (let i = 0; i < from.length; i++) this.page(to[i]).set(this.page(from[i]))
  }

  /** Kernels are waited for by themselves. */
  fence(): Promise<void> | null {
    return this.failure === null ? null : Promise.reject(this.failure)
  }

  memoryOf(ranges: LaunchRanges): LaunchMemory {
    return new LaunchMemory(ranges, this.bytes)
  }

  fail(reason: Error): void {
    this.failure = reason
    for (const end of [...this.failing]) end(reason)
    this.failing.clear()
  }

  destroy(): void {
    this.copier?.close()
  }

  private copyOut({ pfns, frames }: CopyList): void {
    forEachRun(frames, 0, frames.length, (first, npages, from) => {
      const contents = this.bytes.subarray(first * PAGE_SIZE, (first + npages) * PAGE_SIZE)
      fillFrames(this.mmu, pfns, from, from + npages, contents)
    })
  }

  /** When the link will be free again if `npages` are sent over it as soon as it is. */
  private book(busyUntil: number, npages: number): number {
    return Math.max(this.clock.now(), busyUntil) + npages * PAGE_SIZE * this.usPerByte
  }

  private arriveAt(time: number, copy: () => void = () => {}): Promise<void> | null {
    if (time <= this.clock.now()) return null
    return new Promise((resolve, reject) => {
      this.failing.add(reject)
      this.clock.callAt(time, () => {
        if (!this.failing.delete(reject)) return
        copy()
        resolve()
      })
    })
  }
}

/** Whoever needs an upload waits for it; one that nobody waits for may fail in silence. */
function handled(promise: Promise<void>): Promise<void> {
  promise.catch(() => {})
  return promise
}
