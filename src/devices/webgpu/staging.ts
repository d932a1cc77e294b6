// Buffers that the CPU can map, between system memory and the device. A few are enough: while the GPU copies out of one, the
// next is filled. They are all made with the device, so that moving pages never needs memory that is not there.

import { PAGE_SIZE } from '../../base/addr.ts'
import { type GpuContext, GpuError } from './gpu-context.ts'
import { BUFFER_COPY_DST, BUFFER_COPY_SRC, BUFFER_MAP_READ, BUFFER_MAP_WRITE, MAP_WRITE } from './webgpu-flags.ts'

export interface StagingOptions {
  /** Pages in one buffer. */
  readonly npages: number
  /** Buffers. */
  readonly count: number
}

export class StagingRing {
  /** Pages in one buffer. */
  readonly npages: number
  private readonly buffers: readonly GPUBuffer[]
  /** Those that can be used at once: for upload they are mapped. */
  private readonly idle: GPUBuffer[]
  private readonly waiting: { resolve: () => void; reject: (reason: Error) => void }[] = []
  private readonly remaps: boolean
  private failure: Error | null = null

  /** Rejects with a GpuError if there is no room. */
  static async create(
    context: GpuContext,
    direction: 'upload' | 'download',
    { npages, count }: StagingOptions,
  ): Promise<StagingRing> {
    const isUpload = direction === 'upload'
    const usage = isUpload ? BUFFER_MAP_WRITE | BUFFER_COPY_SRC : BUFFER_MAP_READ | BUFFER_COPY_DST
    const descriptor = { label: `hetmem ${direction}`, size: npages * PAGE_SIZE, usage, mappedAtCreation: isUpload }
    const buffers: GPUBuffer[] = []
    const failure = await context.tryAllocate(() => {
      for (let i = 0; i < count; i++) buffers.push(context.device.createBuffer(descriptor))
      return buffers
    })
    if (failure !== null)
      throw new GpuError(`no room for ${count} staging buffers of ${descriptor.size} bytes: ${failure}`)
    return new StagingRing(buffers, npages, isUpload)
  }

  private constructor(buffers: readonly GPUBuffer[], npages: number, remaps: boolean) {
    this.buffers = buffers
    this.npages = npages
    this.remaps = remaps
    this.idle = [...buffers]
  }

  /** Null if a buffer can be taken, or what to wait for until one can. Rejects when the device fails. */
  ready(): Promise<void> | null {
    if (this.failure !== null) return Promise.reject(this.failure)
    if (this.idle.length > 0) return null
    return new Promise((resolve, reject) => this.waiting.push({ resolve, reject }))
  }

  /** A buffer for the caller alone, undefined if all are in use. For upload it is mapped. */
  take(): GPUBuffer | undefined {
    return this.idle.pop()
  }

  /** The same, after waiting for one if need be. Rejects when the device fails. */
  async taken(): Promise<GPUBuffer> {
    for (;;) {
      await this.ready()
      const buffer = this.take()
      if (buffer !== undefined) return buffer
    }
  }

  /** The buffer is not mapped, and the commands that use it are submitted: it can be used again when they are done. */
  giveBack(buffer: GPUBuffer): void {
    if (!this.remaps) {
      this.pass(buffer)
      return
    }
    buffer.mapAsync(MAP_WRITE).then(
      () => this.pass(buffer),
      // Only a lost device refuses, and then nobody gets a buffer any more (`fail`).
      () => {},
    )
  }

  /** Nobody of those who wait, and who will, gets a buffer. */
  fail(reason: Error): void {
    this.failure = reason
    for (const { reject } of this.waiting.splice(0)) reject(reason)
  }

  destroy(): void {
    for (const buffer of this.buffers) buffer.destroy()
  }

  private pass(buffer: GPUBuffer): void {
    this.idle.push(buffer)
    this.waiting.shift()?.resolve()
  }
}
