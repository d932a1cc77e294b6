// The hardware of a WebGPU device: banks of frames, and one queue. What is copied goes in as few commands as the frames lie in runs.
//
//   upload     system pages ──(memcpy into one piece)──> writeBuffer ──> frames
//   download   frames ──copy──> mapped buffer ──memcpy──> system pages
//
// `writeBuffer` has read its source when it returns, and on all adapters measured it is as fast as buffers that are mapped. What it
// holds on to is submitted a block at a time: the device copies one while the next one is read, and memory in between is used again
// and again. Views on shared memory never reach it: Dawn in Node dies of them.

import { PAGE_SIZE, type Pfn } from '../../base/addr.ts'
import { isNode } from '../../base/runtime.ts'
import type { Mmu } from '../../mmu/mmu.ts'
import {
  type CopyList,
  type DeviceHardware,
  fillFrames,
  fillRun,
  forEachPiece,
  forEachRun,
  type LaunchRanges,
  runLength,
  UPLOAD_PAGES_MAX,
} from '../driver/index.ts'
import { GpuBanks } from './gpu-banks.ts'
import { GpuContext, GpuError } from './gpu-context.ts'
import { GpuLaunch } from './gpu-launch.ts'
import { LaunchBuffers } from './launch-buffers.ts'
import { StagingRing } from './staging.ts'
import { settled } from './waits.ts'
import { BUFFER_COPY_DST, BUFFER_COPY_SRC } from './webgpu-flags.ts'

/** Pages that are copied at a time: the device copies 2 MiB while the next ones are read. */
const PIECE_PAGES = 512

/**
 * Buffers on the way back: one is read while the GPU copies into the other. Each piece costs a submission and a round of the event loop, and what
 * is larger than this has left the caches when it is read.
 */
const STAGING_COUNT = 2
const STAGING_PAGES = 1024

/** More bytes than these do not wait in `writeBuffer` for who submits next: the device copies while the rest of a launch is prepared. */
const SUBMIT_BYTES = 256 * 1024

/**
 * The same for memory that no command has written yet. Where device and CPU share memory Dawn lets `writeBuffer` write it directly, so there
 * is nothing to copy meanwhile; elsewhere so much memory in between does no harm.
 */
const SUBMIT_FRESH_BYTES = 16 * 1024 ** 2

/** Bytes that `writeBuffer` may hold on to before somebody waits for the queue. */
const WRITE_BUFFER_BYTES_MAX = 64 * 1024 ** 2

/**
 * Pages that are uploaded at a time where `writeBuffer` is a plain copy to memory that this thread writes itself: 256 MiB. One call copies them
 * past the caches, which takes three quarters of the time of many. Nobody else gets a turn meanwhile, some 30 ms.
 */
const DIRECT_PAGES = 65536

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
  private readonly staging: StagingRing
  /** Where pages are put together that lie scattered, or in shared memory. */
  private readonly bounce = new Uint8Array(PIECE_PAGES * PAGE_SIZE)
  private readonly ownsDevice: boolean
  /** For moves: a buffer cannot be copied to itself. Made on first use. */
  private scratch: GPUBuffer | null = null
  /** Bytes given to `writeBuffer` since the queue was last waited for. */
  private written = 0
  /** No command has written any of it: nothing but uploads so far. */
  private isFresh = true
  /** Fresh memory is the CPU's too, in this process, and no thread waits for this one because of what is copied. */
  private readonly isHostMemory: boolean
  private failure: Error | null = null
  private isDestroyed = false

  /** Rejects with a GpuError if the device has no memory. */
  static async create(mmu: Mmu, device: GPUDevice, options: WebGpuHardwareOptions): Promise<WebGpuHardware> {
    let hardware: WebGpuHardware | null = null
    const context = new GpuContext(device, (reason) => hardware?.lost(reason))
    const staging = await StagingRing.create(context, STAGING_PAGES, STAGING_COUNT)
    const banks = await GpuBanks.create(context, options.nbytes, options.bankBytesMax)
    hardware = new WebGpuHardware(mmu, context, banks, staging, options.ownsDevice)
    if (context.lostBecause !== null) throw new GpuError(`the device is lost: ${context.lostBecause}`)
    return hardware
  }

  private constructor(mmu: Mmu, context: GpuContext, banks: GpuBanks, staging: StagingRing, ownsDevice: boolean) {
    this.mmu = mmu
    this.context = context
    this.banks = banks
    this.npages = banks.npages
    this.bankPages = banks.bankPages
    this.pieceBytesMax = context.device.limits.maxStorageBufferBindingSize
    this.staging = staging
    staging.onFailed = (reason) => this.lost(reason)
    this.ownsDevice = ownsDevice
    this.isHostMemory = isNode() && context.device.adapterInfo?.isFallbackAdapter === true && !mmu.capabilities.traps
  }

  /** `writeBuffer` is nothing but a copy. */
  private get isDirect(): boolean {
    return this.isFresh && this.isHostMemory
  }

  /**
   * What is written directly, the CPU copies: the more at a time, the better. Else the device copies 2 MiB while the next are looked up, and
   * memory in between is soon used again; with 8 MiB at a time an upload takes a fifth longer.
   */
  get uploadPages(): number {
    if (this.isDirect) return DIRECT_PAGES
    return this.isFresh ? UPLOAD_PAGES_MAX : PIECE_PAGES
  }

  ready(): Promise<void> | null {
    if (this.failure !== null) return Promise.reject(this.failure)
    if (this.written < WRITE_BUFFER_BYTES_MAX) return null
    this.written = 0
    return this.fence()
  }

  upload(list: CopyList): Promise<void> | null {
    if (this.failure !== null) return rejected(this.failure)
    const { run, length } = list
    for (let from = run === null ? 0 : this.uploadRun(run.pfn, run.frame, length); from < length; from += PIECE_PAGES) {
      const to = Math.min(length, from + PIECE_PAGES)
      this.uploadPart(list, from, to)
      this.noteWritten(to - from)
    }
    return null
  }

  /** The queue works in order, so what was uploaded is there for whatever comes later. */
  uploaded(): Promise<void> | null {
    return this.failure === null ? null : Promise.reject(this.failure)
  }

  download(list: CopyList): Promise<void> | null {
    if (this.failure !== null) return Promise.reject(this.failure)
    if (list.length === 0) return null
    const { run, length } = list
    return this.staging.read({
      npages: length,
      record: (encoder, staging, from, to) => {
        const copy = (buffer: GPUBuffer, offset: number, nbytes: number, at: number): void =>
          encoder.copyBufferToBuffer(buffer, offset, staging, at * PAGE_SIZE, nbytes)
        if (run === null) this.forEachRun(list.frames, from, to, copy)
        else this.forEachBank(run.frame + from, to - from, copy)
      },
      take: (bytes, from, to) => {
        if (run === null) fillFrames(this.mmu, list.pfns, from, to, bytes)
        else fillRun(this.mmu, run.pfn + from, bytes)
      },
    })
  }

  clear(frames: readonly number[]): void {
    if (frames.length === 0) return
    this.isFresh = false
    this.context.submit((encoder) => {
      this.forEachRun(frames, 0, frames.length, (buffer, offset, nbytes) => encoder.clearBuffer(buffer, offset, nbytes))
    })
  }

  move(from: readonly number[], to: readonly number[]): void {
    if (from.length === 0) return
    this.scratch ??= this.makeScratch()
    const { scratch } = this
    this.isFresh = false
    this.context.submit((encoder) => {
      for (let start = 0; start < from.length; start += PIECE_PAGES) {
        const end = Math.min(from.length, start + PIECE_PAGES)
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
    const { queue } = this.context.device
    await settled(queue, queue.onSubmittedWorkDone())
    // A device that is lost resolves this too.
    if (this.failure !== null) throw this.failure
  }

  memoryOf(ranges: LaunchRanges): GpuLaunch {
    this.isFresh = false
    return new GpuLaunch(this.context, this.banks, ranges)
  }

  fail(reason: Error): void {
    this.failure = reason
    this.staging.fail(reason)
  }

  destroy(): void {
    this.isDestroyed = true
    this.context.close()
    this.staging.destroy()
    this.scratch?.destroy()
    LaunchBuffers.drop(this.banks)
    this.banks.destroy()
    // One that hangs would not return from this before its work is done.
    if (this.ownsDevice && this.failure === null) this.context.device.destroy()
  }

  /** Ends the GPUDevice as it is. Blocks until its work is done, and resolves when nobody waits for it any more. */
  async abandon(): Promise<void> {
    this.isDestroyed = true
    const { device } = this.context
    device.destroy()
    await device.lost
    await device.queue.onSubmittedWorkDone()
  }

  private lost(reason: string): void {
    if (!this.isDestroyed) this.onLost(reason)
  }

  /** Writes neighbours on both sides to the device, as far as they lie in one piece of ordinary memory. Returns how many pages. */
  private uploadRun(pfn: Pfn, frame: number, npages: number): number {
    const { queue } = this.context.device
    const most = this.isFresh ? DIRECT_PAGES : PIECE_PAGES
    let done = 0
    while (done < npages) {
      const n = Math.min(npages - done, most, this.bankPages - ((frame + done) % this.bankPages))
      const bytes = this.mmu.bytesOfRun(pfn + done, n)
      if (bytes.length < n * PAGE_SIZE || !isOrdinaryMemory(bytes)) break
      const { buffer, offset } = this.banks.place((frame + done) * PAGE_SIZE)
      queue.writeBuffer(buffer, offset, bytes)
      this.noteWritten(n)
      done += n
    }
    return done
  }

  /** Submits what was written before too much of it waits. */
  private noteWritten(npages: number): void {
    const nbytes = npages * PAGE_SIZE
    if (!this.isDirect) this.written += nbytes
    this.context.unsubmitted += nbytes
    if (this.context.unsubmitted >= (this.isFresh ? SUBMIT_FRESH_BYTES : SUBMIT_BYTES)) this.context.flush()
  }

  /** Writes pages `[from, to)` of a list to the device, at most PIECE_PAGES. */
  private uploadPart({ pfns, frames }: CopyList, from: number, to: number): void {
    const { bounce } = this
    const { queue } = this.context.device
    if (isOrdinaryMemory(this.mmu.bytesOfRun(pfns[from], 1))) {
      this.forEachRun(frames, from, to, (buffer, offset, nbytes, at) => {
        queue.writeBuffer(buffer, offset, this.inOnePiece(pfns, from + at, from + at + nbytes / PAGE_SIZE))
      })
    } else {
      // Put together once, whatever runs the frames lie in.
      forEachPiece(this.mmu, pfns, from, to, (piece, at) => bounce.set(piece, (at - from) * PAGE_SIZE))
      this.forEachRun(frames, from, to, (buffer, offset, nbytes, at) => {
        queue.writeBuffer(buffer, offset, bounce, at * PAGE_SIZE, nbytes)
      })
    }
  }

  /** System pages `[from, to)` of a list in one piece of ordinary memory: as they are or put together. */
  private inOnePiece(pfns: ArrayLike<Pfn>, from: number, to: number): Uint8Array<ArrayBuffer> {
    const npages = runLength(pfns, from, to)
    const whole = this.mmu.bytesOfRun(pfns[from], npages)
    if (whole.length === (to - from) * PAGE_SIZE && isOrdinaryMemory(whole)) return whole
    forEachPiece(this.mmu, pfns, from, to, (piece, at) => this.bounce.set(piece, (at - from) * PAGE_SIZE))
    return this.bounce.subarray(0, (to - from) * PAGE_SIZE)
  }

  private makeScratch(): GPUBuffer {
    return this.context.device.createBuffer({
      label: 'hetmem scratch',
      size: PIECE_PAGES * PAGE_SIZE,
      usage: BUFFER_COPY_SRC | BUFFER_COPY_DST,
    })
  }

  /** Visits the runs of frames `[from, to)` of a list: where each lies, its bytes, and index of its first page from `from` on. */
  private forEachRun(
    frames: ArrayLike<number>,
    from: number,
    to: number,
    visit: (buffer: GPUBuffer, offset: number, nbytes: number, at: number) => void,
  ): void {
    forEachRun(frames, from, to, (first, npages, at) => {
      this.forEachBank(first, npages, (buffer, offset, nbytes, done) => visit(buffer, offset, nbytes, at - from + done))
    })
  }

  /** The same for neighbouring frames, which may lie in several banks. */
  private forEachBank(
    first: number,
    npages: number,
    visit: (buffer: GPUBuffer, offset: number, nbytes: number, at: number) => void,
  ): void {
    for (let done = 0; done < npages; ) {
      const inBank = this.bankPages - ((first + done) % this.bankPages)
      const n = Math.min(npages - done, inBank)
      const { buffer, offset } = this.banks.place((first + done) * PAGE_SIZE)
      visit(buffer, offset, n * PAGE_SIZE, done)
      done += n
    }
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
