// Buffers that the CPU can map, on the way from the device to system memory. A few are enough: while one is read, the GPU copies into
// the next. They are all made with the device, so that bringing pages back never needs memory that is not there.
//
//   read(list) ──cut──> piece ──copy──> staging ──mapped──> read by the CPU ──> next piece goes in ... all pieces read: resolved
//
// A thread that reads 256 MiB goes through this some hundred times and has nothing to spare, so a piece costs one promise, and what has
// been read makes room for the next one before anybody else gets a turn.

import { PAGE_SIZE } from '../../base/addr.ts'
import { type GpuContext, GpuError } from './gpu-context.ts'
import { settled } from './waits.ts'
import { BUFFER_COPY_DST, BUFFER_MAP_READ, MAP_READ } from './webgpu-flags.ts'

/** Part of a buffer that is used while all others are idle: the CPU waits for that piece, and has nothing to read meanwhile. */
const FIRST_PIECE = 4

/** What is to be read: pages 0 to `npages` - 1, and how. */
export interface Reading {
  readonly npages: number
  /** Records the copies of pages `[from, to)` to the beginning of a buffer. */
  record(encoder: GPUCommandEncoder, staging: GPUBuffer, from: number, to: number): void
  /** Takes the contents of pages `[from, to)`, which are gone when this returns. */
  take(bytes: Uint8Array<ArrayBuffer>, from: number, to: number): void
}

/** A reading that has not ended. */
interface OpenReading {
  readonly what: Reading
  readonly resolve: () => void
  readonly reject: (reason: unknown) => void
  /** Pages that have not begun yet begin here. */
  next: number
  /** Pieces that are on their way. */
  nopen: number
  /** Why it ends before all is read. */
  failure: unknown
}

export class StagingRing {
  /** Called with a phrase when a buffer cannot be read. */
  onFailed: (reason: string) => void = () => {}
  /** Pages in one buffer. */
  private readonly npages: number
  private readonly context: GpuContext
  private readonly buffers: readonly GPUBuffer[]
  private readonly idle: GPUBuffer[]
  /** Readings of which pages have not begun yet, in the order in which they were asked for. */
  private readonly waiting: OpenReading[] = []
  private failure: Error | null = null

  /** `count` buffers of `npages` each, a multiple of four. Rejects with a GpuError if there is no room. */
  static async create(context: GpuContext, npages: number, count: number): Promise<StagingRing> {
    const size = npages * PAGE_SIZE
    const buffers: GPUBuffer[] = []
    const failure = await context.tryAllocate(() => {
      for (let i = 0; i < count; i++) {
        buffers.push(
          context.device.createBuffer({ label: 'hetmem staging', size, usage: BUFFER_MAP_READ | BUFFER_COPY_DST }),
        )
      }
      return buffers
    })
    if (failure !== null) throw new GpuError(`no room for ${count} staging buffers of ${size} bytes: ${failure}`)
    return new StagingRing(context, buffers, npages)
  }

  private constructor(context: GpuContext, buffers: readonly GPUBuffer[], npages: number) {
    this.context = context
    this.buffers = buffers
    this.npages = npages
    this.idle = [...buffers]
  }

  /** Resolves when all pages were taken. Rejects when the device fails, and nothing is taken after that. */
  read(what: Reading): Promise<void> {
    if (this.failure !== null) return Promise.reject(this.failure)
    return new Promise((resolve, reject) => {
      this.waiting.push({ what, resolve, reject, next: 0, nopen: 0, failure: null })
      this.beginPieces()
    })
  }

  /** Nobody of those who wait, and who will, gets anything to read. */
  fail(reason: Error): void {
    this.failure = reason
    for (const reading of [...this.waiting]) this.failReading(reading, reason)
  }

  destroy(): void {
    for (const buffer of this.buffers) buffer.destroy()
  }

  /** Uses the buffers that are idle. */
  private beginPieces(): void {
    while (this.idle.length > 0 && this.waiting.length > 0) {
      this.beginPiece(this.waiting[0], this.idle.pop() as GPUBuffer)
    }
  }

  private beginPiece(reading: OpenReading, staging: GPUBuffer): void {
    const { what, next: from } = reading
    const isFirst = this.idle.length === this.buffers.length - 1
    const to = Math.min(what.npages, from + (isFirst ? this.npages / FIRST_PIECE : this.npages))
    reading.next = to
    reading.nopen++
    if (to === what.npages) this.waiting.shift()
    this.context.submit((encoder) => what.record(encoder, staging, from, to))
    settled(this.context.device.queue, staging.mapAsync(MAP_READ, 0, (to - from) * PAGE_SIZE)).then(
      () => this.endPiece(reading, staging, from, to),
      (error: unknown) => {
        this.onFailed(`reading back failed: ${error instanceof Error ? error.message : error}`)
        this.leavePiece(reading, this.failure ?? error)
      },
    )
  }

  private endPiece(reading: OpenReading, staging: GPUBuffer, from: number, to: number): void {
    let failure: unknown = this.failure
    try {
      if (failure === null)
        reading.what.take(new Uint8Array(staging.getMappedRange(0, (to - from) * PAGE_SIZE)), from, to)
    } catch (error) {
      failure = error
    }
    staging.unmap()
    this.idle.push(staging)
    this.beginPieces()
    this.leavePiece(reading, failure)
  }

  /** A piece is not on its way any more. */
  private leavePiece(reading: OpenReading, failure: unknown): void {
    reading.nopen--
    reading.failure ??= failure
    if (reading.failure !== null) this.failReading(reading, reading.failure)
    else if (reading.nopen === 0 && reading.next === reading.what.npages) this.settle(reading)
  }

  /** What has not begun does not begin, and what is on its way is waited for: the caller decides when nobody takes anything any more. */
  private failReading(reading: OpenReading, failure: unknown): void {
    reading.failure ??= failure
    const at = this.waiting.indexOf(reading)
    if (at >= 0) this.waiting.splice(at, 1)
    if (reading.nopen === 0) this.settle(reading)
  }

  private settle({ failure, resolve, reject }: OpenReading): void {
    if (failure === null) resolve()
    else reject(failure)
  }
}
