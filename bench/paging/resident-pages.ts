// All pages of a heap on the device, in an order of their own: what a paged kernel costs when nothing is missing.

import type { PageAnswer, PageProvider } from '../../src/kernel/paged/page-provider.ts'
import { tableEntry } from '../../src/kernel/paged/paged-program.ts'

const USAGE = { copySrc: 4, copyDst: 8, storage: 128 } as const

export class ResidentPages implements PageProvider {
  readonly pageBits = 10
  readonly isWarm = true
  readonly frameCount: number
  readonly capacity: number
  readonly pageCount: number
  readonly pool: GPUBuffer
  readonly table: GPUBuffer
  private readonly frames: readonly number[]

  /** Of words that begin with these contents. */
  constructor(device: GPUDevice, contents: Uint32Array) {
    const pageWords = 2 ** this.pageBits
    this.pageCount = Math.ceil(contents.length / pageWords)
    this.frameCount = this.pageCount + 1
    this.capacity = this.pageCount
    const usage = USAGE.storage | USAGE.copySrc | USAGE.copyDst
    this.pool = device.createBuffer({ size: 4 * this.frameCount * pageWords, usage })
    this.table = device.createBuffer({ size: 4 * this.pageCount, usage })
    const entries = new Uint32Array(this.pageCount)
    // A step that is a large prime visits every frame.
    this.frames = Array.from(entries, (_, page) => 1 + ((page * 7919) % this.pageCount))
    const pool = new Uint32Array(this.frameCount * pageWords)
    for (const [page, frame] of this.frames.entries()) {
      entries[page] = tableEntry(frame, this.pageBits, true)
      pool.set(contents.subarray(page * pageWords, (page + 1) * pageWords), frame * pageWords)
    }
    device.queue.writeBuffer(this.pool, 0, pool)
    device.queue.writeBuffer(this.table, 0, entries)
  }

  async service(): Promise<PageAnswer> {
    return { evicted: [] }
  }

  frameOf(page: number): number {
    return this.frames[page]
  }

  noteDirty(): void {}
}
