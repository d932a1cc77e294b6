// Pages for paged kernels, for tests: a heap in an ordinary array, some frames on the device, the page that came first goes first.
// Pages that were only read are mapped read-only, so that writing them is a fault of its own.

import { withPauses } from '../../src/devices/webgpu/pauses.ts'
import type { PageAnswer, PageProvider, PageRequest } from '../../src/kernel/paged/page-provider.ts'
import { tableEntry } from '../../src/kernel/paged/paged-program.ts'
import type { PoolBanks } from '../../src/kernel/paged/pool-banks.ts'

const USAGE = { mapRead: 1, copySrc: 4, copyDst: 8, storage: 128 } as const

export class PagedMemory implements PageProvider {
  readonly pageBits: number
  readonly frameCount: number
  readonly capacity: number
  readonly pageCount: number
  readonly pool: GPUBuffer
  readonly morePools: readonly GPUBuffer[]
  /** Frames of each buffer but the last. */
  readonly bankFrames: number
  readonly table: GPUBuffer
  /** The contents as of the last time that pages were away from the device. */
  readonly heap: Uint32Array<ArrayBuffer>
  /** Called for each page that is asked for; throwing ends the launch. */
  onPage: (page: number) => void = () => {}
  private readonly device: GPUDevice
  // Pages on the device in the order in which they came, with their frames.
  private readonly frames = new Map<number, number>()
  private readonly pages: (number | undefined)[] = []
  private readonly dirty = new Set<number>()
  private readonly writable = new Set<number>()

  /** `frames` are used of a pool that has at least `room` for as many. */
  constructor(
    device: GPUDevice,
    options: { words: number; frames: number; room?: number; pageBits?: number; banks?: number },
  ) {
    const { words, frames, room = 0, pageBits = 10, banks = 1 } = options
    this.device = device
    this.pageBits = pageBits
    this.frameCount = Math.max(frames, room) + 1
    this.capacity = frames
    this.pageCount = Math.ceil(words / 2 ** pageBits)
    this.heap = new Uint32Array(this.pageCount * 2 ** pageBits)
    const usage = USAGE.storage | USAGE.copySrc | USAGE.copyDst
    this.bankFrames = Math.ceil(this.frameCount / banks)
    const [pool, ...morePools] = Array.from({ length: Math.ceil(this.frameCount / this.bankFrames) }, (_, k) => {
      const count = Math.min(this.bankFrames, this.frameCount - k * this.bankFrames)
      return device.createBuffer({ size: 4 * count * 2 ** pageBits, usage })
    })
    this.pool = pool
    this.morePools = morePools
    this.table = device.createBuffer({ size: Math.max(16, 4 * this.pageCount), usage })
  }

  noteDirty(frames: readonly number[]): void {
    for (const frame of frames) {
      const page = this.pages[frame]
      if (page === undefined || !this.writable.has(page))
        throw new Error(`frame ${frame} was written, which is not writable`)
      this.dirty.add(page)
    }
  }

  get isWarm(): boolean {
    return this.frames.size > 0
  }

  async service({ read, write, pinned }: PageRequest): Promise<PageAnswer> {
    for (const page of [...read, ...write]) this.onPage(page)
    const wanted = [...read, ...write].filter((page) => !this.frames.has(page))
    const room = this.capacity - this.frames.size
    const evicted = [...this.frames.keys()]
      .filter((page) => !pinned.has(page))
      .slice(0, Math.max(0, wanted.length - room))
    await this.evict(evicted)
    const free = Array.from({ length: this.capacity }, (_, i) => i + 1).filter(
      (frame) => this.pages[frame] === undefined,
    )
    if (free.length < wanted.length) throw new Error(`${wanted.length} pages wanted, ${free.length} frames free`)
    const pageWords = 2 ** this.pageBits
    wanted.forEach((page, i) => {
      const frame = free[i]
      this.frames.set(page, frame)
      this.pages[frame] = page
      const contents = this.heap.slice(page * pageWords, (page + 1) * pageWords)
      const { buffer, offset } = this.placeOf(frame)
      this.device.queue.writeBuffer(buffer, offset, contents)
      this.setEntry(page)
    })
    for (const page of write) {
      this.writable.add(page)
      this.setEntry(page)
    }
    return { evicted }
  }

  frameOf(page: number): number {
    const frame = this.frames.get(page)
    if (frame === undefined) throw new Error(`page ${page} is not there`)
    return frame
  }

  async finish(round: Promise<void>): Promise<void> {
    await withPauses(round)
  }

  /** Brings everything back to `heap`. */
  async flush(): Promise<void> {
    await this.evict([...this.frames.keys()])
  }

  destroy(): void {
    for (const pool of [this.pool, ...this.morePools]) pool.destroy()
    this.table.destroy()
  }

  /** The buffers of the pool, as pipelines want to know them. */
  get banks(): PoolBanks {
    return { count: 1 + this.morePools.length, words: this.bankFrames * 2 ** this.pageBits }
  }

  private placeOf(frame: number): { buffer: GPUBuffer; offset: number } {
    const bank = Math.floor(frame / this.bankFrames)
    return {
      buffer: bank === 0 ? this.pool : this.morePools[bank - 1],
      offset: 4 * (frame - bank * this.bankFrames) * 2 ** this.pageBits,
    }
  }

  private setEntry(page: number): void {
    const frame = this.frames.get(page)
    const entry = frame === undefined ? 0 : tableEntry(frame, this.pageBits, this.writable.has(page))
    this.device.queue.writeBuffer(this.table, 4 * page, new Uint32Array([entry]))
  }

  private async evict(pages: readonly number[]): Promise<void> {
    const pageWords = 2 ** this.pageBits
    const dirty = pages.filter((page) => this.dirty.has(page))
    if (dirty.length > 0) {
      const staging = this.device.createBuffer({
        size: 4 * dirty.length * pageWords,
        usage: USAGE.mapRead | USAGE.copyDst,
      })
      const encoder = this.device.createCommandEncoder()
      dirty.forEach((page, i) => {
        const { buffer, offset } = this.placeOf(this.frames.get(page)!)
        encoder.copyBufferToBuffer(buffer, offset, staging, 4 * i * pageWords, 4 * pageWords)
      })
      this.device.queue.submit([encoder.finish()])
      await withPauses(staging.mapAsync(1))
      const words = new Uint32Array(staging.getMappedRange())
      dirty.forEach((page, i) => {
        this.heap.set(words.subarray(i * pageWords, (i + 1) * pageWords), page * pageWords)
      })
      staging.destroy()
    }
    for (const page of pages) {
      this.pages[this.frames.get(page)!] = undefined
      this.frames.delete(page)
      this.dirty.delete(page)
      this.writable.delete(page)
      this.setEntry(page)
    }
  }
}
