// Copies between system memory and the pool, page by page as the page tables say and run by run as the device likes it.
// An upload is over when the bytes have left system memory, a download when they have arrived there; what the device still
// has to do then comes before everything that is submitted later.

import { PAGE_SIZE, type Pfn } from '../../base/addr.ts'
import type { Mmu } from '../../mmu/mmu.ts'
import { type GpuContext, GpuError } from './gpu-context.ts'
import { type StagingOptions, StagingRing } from './staging.ts'
import { BUFFER_COPY_DST, BUFFER_COPY_SRC, MAP_READ } from './webgpu-flags.ts'

/** Up to here `writeBuffer` costs less than a mapped buffer (measured: 16 KiB). */
const WRITE_BUFFER_PAGES_MAX = 4

/** 1 MiB, three times: one is filled, one is copied from, one waits. */
const DEFAULT_STAGING: StagingOptions = { npages: 256, count: 3 }

/** Pages to copy: entry i is between system frame `pfns[i]` and frame `frames[i]` of the pool. */
export class CopyList {
  readonly pfns: Pfn[] = []
  readonly frames: number[] = []

  add(pfn: Pfn, frame: number): void {
    this.pfns.push(pfn)
    this.frames.push(frame)
  }

  get length(): number {
    return this.frames.length
  }
}

export class Transfers {
  private readonly context: GpuContext
  private readonly mmu: Mmu
  private readonly pool: GPUBuffer
  private readonly uploads: StagingRing
  private readonly downloads: StagingRing
  /** For moves inside the pool: a buffer cannot be copied to itself. Made on first use. */
  private scratch: GPUBuffer | null = null
  private readonly scratchPages: number

  constructor(context: GpuContext, mmu: Mmu, pool: GPUBuffer, staging: StagingOptions = DEFAULT_STAGING) {
    this.context = context
    this.mmu = mmu
    this.pool = pool
    this.uploads = new StagingRing(context, 'upload', staging)
    this.downloads = new StagingRing(context, 'download', staging)
    this.scratchPages = staging.npages
  }

  /** System memory to the pool. Rejects with a GpuError if the device is lost. */
  async upload(list: CopyList): Promise<void> {
    if (list.length === 0) return
    this.context.checkAlive()
    if (list.length <= WRITE_BUFFER_PAGES_MAX && this.writePages(list)) return
    for (let from = 0; from < list.length; ) {
      const to = Math.min(list.length, from + this.uploads.npages)
      const staging = await this.takeFrom(this.uploads)
      const bytes = new Uint8Array(staging.getMappedRange())
      for (let i = from; i < to; i++) bytes.set(this.mmu.bytes(list.pfns[i]), (i - from) * PAGE_SIZE)
      staging.unmap()
      this.context.submit((encoder) => {
        forEachRun(list.frames, from, to, (first, npages, at) => {
          const nbytes = npages * PAGE_SIZE
          encoder.copyBufferToBuffer(staging, (at - from) * PAGE_SIZE, this.pool, first * PAGE_SIZE, nbytes)
        })
      })
      this.uploads.giveBack(staging)
      from = to
    }
  }

  /** The pool to system memory. Rejects with a GpuError if the device is lost; then some pages may have arrived. */
  async download(list: CopyList): Promise<void> {
    const parts: Promise<void>[] = []
    for (let from = 0; from < list.length; from += this.downloads.npages) {
      parts.push(this.downloadPart(list, from, Math.min(list.length, from + this.downloads.npages)))
    }
    // All of them, also after a failure: the caller decides about the pages when nobody writes to them any more.
    const failure = (await Promise.allSettled(parts)).find((part) => part.status === 'rejected')
    if (failure !== undefined) throw failure.reason
  }

  /** Makes pages of the pool zero. */
  clear(frames: readonly number[]): void {
    if (frames.length === 0) return
    this.context.submit((encoder) => {
      forEachRun(frames, 0, frames.length, (first, npages) => {
        encoder.clearBuffer(this.pool, first * PAGE_SIZE, npages * PAGE_SIZE)
      })
    })
  }

  /** Copies page `from[i]` of the pool to page `to[i]`; no page is both. */
  move(from: readonly number[], to: readonly number[]): void {
    if (from.length === 0) return
    this.scratch ??= this.context.device.createBuffer({
      label: 'hetmem scratch',
      size: this.scratchPages * PAGE_SIZE,
      usage: BUFFER_COPY_SRC | BUFFER_COPY_DST,
    })
    const { scratch, pool } = this
    this.context.submit((encoder) => {
      for (let start = 0; start < from.length; start += this.scratchPages) {
        const end = Math.min(from.length, start + this.scratchPages)
        forEachRun(from, start, end, (first, npages, at) => {
          const nbytes = npages * PAGE_SIZE
          encoder.copyBufferToBuffer(pool, first * PAGE_SIZE, scratch, (at - start) * PAGE_SIZE, nbytes)
        })
        forEachRun(to, start, end, (first, npages, at) => {
          const nbytes = npages * PAGE_SIZE
          encoder.copyBufferToBuffer(scratch, (at - start) * PAGE_SIZE, pool, first * PAGE_SIZE, nbytes)
        })
      }
    })
  }

  destroy(): void {
    this.uploads.destroy()
    this.downloads.destroy()
    this.scratch?.destroy()
  }

  /** The short way for a few pages. False where it is not open: Dawn in Node dies of a view on shared memory. */
  private writePages(list: CopyList): boolean {
    const pages = list.pfns.map((pfn) => this.mmu.bytes(pfn))
    if (pages.some((bytes) => !isOrdinary(bytes))) return false
    const { queue } = this.context.device
    pages.forEach((bytes, i) => {
      queue.writeBuffer(this.pool, list.frames[i] * PAGE_SIZE, bytes as Uint8Array<ArrayBuffer>)
    })
    return true
  }

  private async downloadPart(list: CopyList, from: number, to: number): Promise<void> {
    const staging = await this.takeFrom(this.downloads)
    const nbytes = (to - from) * PAGE_SIZE
    this.context.submit((encoder) => {
      forEachRun(list.frames, from, to, (first, npages, at) => {
        encoder.copyBufferToBuffer(this.pool, first * PAGE_SIZE, staging, (at - from) * PAGE_SIZE, npages * PAGE_SIZE)
      })
    })
    try {
      await staging.mapAsync(MAP_READ, 0, nbytes)
    } catch (error) {
      throw new GpuError(`reading back from the device failed: ${error instanceof Error ? error.message : error}`)
    }
    const bytes = new Uint8Array(staging.getMappedRange(0, nbytes))
    for (let i = from; i < to; i++) {
      const at = (i - from) * PAGE_SIZE
      this.mmu.bytes(list.pfns[i]).set(bytes.subarray(at, at + PAGE_SIZE))
    }
    staging.unmap()
    this.downloads.giveBack(staging)
  }

  private async takeFrom(ring: StagingRing): Promise<GPUBuffer> {
    const staging = await ring.take()
    this.context.checkAlive()
    return staging
  }
}

/** Visits runs of neighbouring frames in `[from, to)` of a list: first frame, length, and index of the first. */
function forEachRun(
  frames: readonly number[],
  from: number,
  to: number,
  visit: (first: number, npages: number, at: number) => void,
): void {
  for (let at = from; at < to; ) {
    let end = at + 1
    while (end < to && frames[end] === frames[end - 1] + 1) end++
    visit(frames[at], end - at, at)
    at = end
  }
}

function isOrdinary(bytes: Uint8Array): boolean {
  return bytes.buffer instanceof ArrayBuffer
}
