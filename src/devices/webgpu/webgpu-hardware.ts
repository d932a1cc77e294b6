// The hardware of a WebGPU device: banks of frames, staging buffers on the way to them and back, and one queue. What is copied goes
// in as few commands as the pages lie in runs.
//
//   upload     system pages ──writeBuffer, or memcpy into a mapped buffer + copy──> frames
//   download   frames ──copy──> mapped buffer ──memcpy──> system pages
//
// Views on shared memory never reach `writeBuffer`: Dawn in Node dies of them.

import { PAGE_SIZE } from '../../base/addr.ts'
import { assert } from '../../base/assert.ts'
import type { Mmu } from '../../mmu/mmu.ts'
import {
  type CopyList,
  type DeviceHardware,
  forEachFrameRun,
  forEachPiece,
  type LaunchRanges,
  UPLOAD_PAGES_MAX,
} from '../driver/index.ts'
import { GpuBanks } from './gpu-banks.ts'
import { GpuContext, GpuError } from './gpu-context.ts'
import { GpuLaunch } from './gpu-launch.ts'
import { StagingRing } from './staging.ts'
import { BUFFER_COPY_DST, BUFFER_COPY_SRC, MAP_READ } from './webgpu-flags.ts'

/** Buffers of 2 MiB for each direction: one is filled, one is copied from, one waits. */
const STAGING_COUNT = 3

/** Pages per run from which `writeBuffer` costs less than a mapped buffer; the same up to so many pages in all. */
const WRITE_BUFFER_RUN_PAGES = 64
const WRITE_BUFFER_PAGES_MAX = 4

/** Bytes that `writeBuffer` may hold on to before somebody waits for the queue. */
const WRITE_BUFFER_BYTES_MAX = 64 * 1024 ** 2

export interface WebGpuHardwareOptions {
  /** Bytes wanted, whole pages. */
  readonly nbytes: number
  /** Bytes of a bank, at most. Default: what the device allows. */
  readonly bankBytesMax: number | undefined
  /** Whether the GPUDevice goes with the hardware. */
  readonly ownsDevice: boolean
}

export class WebGpuHardware implements DeviceHardware<GpuLaunch> {
  readonly context: GpuContext
  readonly banks: GpuBanks
  readonly npages: number
  readonly bankPages: number
  readonly pieceBytesMax: number
  onLost: (reason: string) => void = () => {}
  private readonly mmu: Mmu
  private readonly uploads: StagingRing
  private readonly downloads: StagingRing
  private readonly ownsDevice: boolean
  /** For moves: a buffer cannot be copied to itself. Made on first use. */
  private scratch: GPUBuffer | null = null
  /** Bytes given to `writeBuffer` since the queue was last waited for. */
  private written = 0
  private failure: Error | null = null
  private isDestroyed = false

  /** Rejects with a GpuError if the device has no memory. */
  static async create(mmu: Mmu, device: GPUDevice, options: WebGpuHardwareOptions): Promise<WebGpuHardware> {
    let hardware: WebGpuHardware | null = null
    const context = new GpuContext(device, (reason) => hardware?.lost(reason))
    const staging = { npages: UPLOAD_PAGES_MAX, count: STAGING_COUNT }
    const uploads = await StagingRing.create(context, 'upload', staging)
    const downloads = await StagingRing.create(context, 'download', staging)
    const banks = await GpuBanks.create(context, options.nbytes, options.bankBytesMax)
    hardware = new WebGpuHardware(mmu, context, banks, uploads, downloads, options.ownsDevice)
    if (context.lostBecause !== null) throw new GpuError(`the device is lost: ${context.lostBecause}`)
    return hardware
  }

  private constructor(
    mmu: Mmu,
    context: GpuContext,
    banks: GpuBanks,
    uploads: StagingRing,
    downloads: StagingRing,
    ownsDevice: boolean,
  ) {
    this.mmu = mmu
    this.context = context
    this.banks = banks
    this.npages = banks.npages
    this.bankPages = banks.bankPages
    this.pieceBytesMax = context.device.limits.maxStorageBufferBindingSize
    this.uploads = uploads
    this.downloads = downloads
    this.ownsDevice = ownsDevice
  }

  ready(): Promise<void> | null {
    if (this.failure !== null) return Promise.reject(this.failure)
    if (this.written < WRITE_BUFFER_BYTES_MAX) return this.uploads.ready()
    this.written = 0
    return this.fence().then(() => this.uploads.ready() ?? undefined)
  }

  upload(list: CopyList): Promise<void> | null {
    if (this.failure !== null) return rejected(this.failure)
    if (list.length === 0) return null
    if (!this.writeRuns(list)) this.stage(list)
    return null
  }

  /** The queue works in order, so what was uploaded is there for whatever comes later. */
  uploaded(): Promise<void> | null {
    return this.failure === null ? null : Promise.reject(this.failure)
  }

  download(list: CopyList): Promise<void> | null {
    if (this.failure !== null) return Promise.reject(this.failure)
    if (list.length === 0) return null
    return this.downloadAll(list)
  }

  clear(frames: readonly number[]): void {
    if (frames.length === 0) return
    this.context.submit((encoder) => {
      this.forEachRun(frames, 0, frames.length, (buffer, offset, nbytes) => encoder.clearBuffer(buffer, offset, nbytes))
    })
  }

  move(from: readonly number[], to: readonly number[]): void {
    if (from.length === 0) return
    this.scratch ??= this.makeScratch()
    const { scratch } = this
    this.context.submit((encoder) => {
      for (let start = 0; start < from.length; start += UPLOAD_PAGES_MAX) {
        const end = Math.min(from.length, start + UPLOAD_PAGES_MAX)
        this.forEachRun(from, start, end, (buffer, offset, nbytes, at) => {
          encoder.copyBufferToBuffer(buffer, offset, scratch, at * PAGE_SIZE, nbytes)
        })
        this.forEachRun(to, start, end, (buffer, offset, nbytes, at) => {
          encoder.copyBufferToBuffer(scratch, at * PAGE_SIZE, buffer, offset, nbytes)
        })
      }
    })
  }

  async fence(): Promise<void> {
    if (this.failure !== null) throw this.failure
    await this.context.device.queue.onSubmittedWorkDone()
    // A device that is lost resolves this too.
    if (this.failure !== null) throw this.failure
  }

  memoryOf(ranges: LaunchRanges): GpuLaunch {
    return new GpuLaunch(this.context, this.banks, ranges)
  }

  fail(reason: Error): void {
    this.failure = reason
    this.uploads.fail(reason)
    this.downloads.fail(reason)
  }

  destroy(): void {
    this.isDestroyed = true
    this.context.close()
    this.uploads.destroy()
    this.downloads.destroy()
    this.scratch?.destroy()
    this.banks.destroy()
    // One that hangs would not return from this before its work is done.
    if (this.ownsDevice && this.failure === null) this.context.device.destroy()
  }

  private lost(reason: string): void {
    if (!this.isDestroyed) this.onLost(reason)
  }

  /**
   * Gives the pages to `writeBuffer`, run by run. Returns false where that is not the best way, or none: the pages lie scattered, or
   * in shared memory.
   */
  private writeRuns({ pfns, frames }: CopyList): boolean {
    const runs: { bytes: Uint8Array<ArrayBuffer>; buffer: GPUBuffer; offset: number }[] = []
    let isOrdinary = true
    forEachPiece(this.mmu, pfns, 0, pfns.length, (piece, first) => {
      if (!isOrdinaryMemory(piece)) isOrdinary = false
      else {
        this.forEachRun(frames, first, first + piece.length / PAGE_SIZE, (buffer, offset, nbytes, at) => {
          runs.push({ bytes: piece.subarray(at * PAGE_SIZE, at * PAGE_SIZE + nbytes), buffer, offset })
        })
      }
    })
    const isWorthIt = frames.length <= WRITE_BUFFER_PAGES_MAX || frames.length >= runs.length * WRITE_BUFFER_RUN_PAGES
    if (!isOrdinary || !isWorthIt) return false
    const { queue } = this.context.device
    for (const { bytes, buffer, offset } of runs) queue.writeBuffer(buffer, offset, bytes)
    this.written += frames.length * PAGE_SIZE
    return true
  }

  private stage({ pfns, frames }: CopyList): void {
    const staging = this.uploads.take()
    assert(
      staging !== undefined && frames.length <= UPLOAD_PAGES_MAX,
      'an upload comes after `ready`, and is no block more',
    )
    const bytes = new Uint8Array(staging.getMappedRange())
    forEachPiece(this.mmu, pfns, 0, pfns.length, (piece, first) => bytes.set(piece, first * PAGE_SIZE))
    staging.unmap()
    this.context.submit((encoder) => {
      this.forEachRun(frames, 0, frames.length, (buffer, offset, nbytes, at) => {
        encoder.copyBufferToBuffer(staging, at * PAGE_SIZE, buffer, offset, nbytes)
      })
    })
    this.uploads.giveBack(staging)
  }

  private async downloadAll(list: CopyList): Promise<void> {
    const parts: Promise<void>[] = []
    for (let from = 0; from < list.length; from += this.downloads.npages) {
      parts.push(this.downloadPart(list, from, Math.min(list.length, from + this.downloads.npages)))
    }
    // All of them, also after a failure: the caller decides about the pages when nobody writes to them any more.
    const failed = (await Promise.allSettled(parts)).find((part) => part.status === 'rejected')
    if (failed !== undefined) throw failed.reason
  }

  private async downloadPart({ pfns, frames }: CopyList, from: number, to: number): Promise<void> {
    const staging = await this.downloads.taken()
    const nbytes = (to - from) * PAGE_SIZE
    this.context.submit((encoder) => {
      this.forEachRun(frames, from, to, (buffer, offset, size, at) => {
        encoder.copyBufferToBuffer(buffer, offset, staging, at * PAGE_SIZE, size)
      })
    })
    try {
      await staging.mapAsync(MAP_READ, 0, nbytes)
    } catch (error) {
      this.lost(`reading back failed: ${error instanceof Error ? error.message : error}`)
      throw this.failure ?? error
    }
    if (this.failure !== null) throw this.failure
    const bytes = new Uint8Array(staging.getMappedRange(0, nbytes))
    forEachPiece(this.mmu, pfns, from, to, (piece, first) => {
      const at = (first - from) * PAGE_SIZE
      piece.set(bytes.subarray(at, at + piece.length))
    })
    staging.unmap()
    this.downloads.giveBack(staging)
  }

  private makeScratch(): GPUBuffer {
    return this.context.device.createBuffer({
      label: 'hetmem scratch',
      size: UPLOAD_PAGES_MAX * PAGE_SIZE,
      usage: BUFFER_COPY_SRC | BUFFER_COPY_DST,
    })
  }

  /** Visits the runs of frames `[from, to)` of a list: where each lies, its bytes, and index of its first page from `from` on. */
  private forEachRun(
    frames: readonly number[],
    from: number,
    to: number,
    visit: (buffer: GPUBuffer, offset: number, nbytes: number, at: number) => void,
  ): void {
    forEachFrameRun(frames, from, to, (first, npages, at) => {
      for (let done = 0; done < npages; ) {
        const inBank = this.bankPages - ((first + done) % this.bankPages)
        const n = Math.min(npages - done, inBank)
        const { buffer, offset } = this.banks.place((first + done) * PAGE_SIZE)
        visit(buffer, offset, n * PAGE_SIZE, at - from + done)
        done += n
      }
    })
  }
}

function isOrdinaryMemory(bytes: Uint8Array): bytes is Uint8Array<ArrayBuffer> {
  return bytes.buffer instanceof ArrayBuffer
}

/** Whoever needs an upload waits for it; one that nobody waits for may fail in silence. */
function rejected(reason: Error): Promise<void> {
  const promise = Promise.reject(reason)
  promise.catch(() => {})
  return promise
}
