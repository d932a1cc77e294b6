// Buffers that the CPU can map, between system memory and the pool. A few are enough: while the GPU copies out of one, the
// next is filled. Whoever finds all of them in use waits, so transfers of any size take a bounded amount of memory.

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
  private readonly context: GpuContext
  private readonly direction: 'upload' | 'download'
  private readonly count: number
  /** Buffers made so far. */
  private readonly buffers: GPUBuffer[] = []
  /** Those that can be used at once: for upload they are mapped. */
  private readonly idle: GPUBuffer[] = []
  private readonly waiting: ((result: GPUBuffer | GpuError) => void)[] = []

  constructor(context: GpuContext, direction: 'upload' | 'download', options: StagingOptions) {
    this.context = context
    this.direction = direction
    this.npages = options.npages
    this.count = options.count
    void context.device.lost.then((info) => this.fail(`the device is lost: ${info.message || info.reason}`))
  }

  /**
   * A buffer for the caller alone; for upload it is mapped. Waits while all are in use. Rejects with a GpuError if
   * the device is lost.
   */
  async take(): Promise<GPUBuffer> {
    this.context.checkAlive()
    const idle = this.idle.pop()
    if (idle !== undefined) return idle
    if (this.buffers.length < this.count) return this.make()
    return await new Promise((resolve, reject) => {
      this.waiting.push((result) => (result instanceof GpuError ? reject(result) : resolve(result)))
    })
  }

  /** The buffer is not mapped, and the commands that use it are submitted: it can be used again when they are done. */
  giveBack(buffer: GPUBuffer): void {
    if (this.direction === 'download') {
      this.pass(buffer)
      return
    }
    buffer.mapAsync(MAP_WRITE).then(
      () => this.pass(buffer),
      (error: unknown) => this.fail(`mapping failed: ${error instanceof Error ? error.message : error}`),
    )
  }

  destroy(): void {
    for (const buffer of this.buffers) buffer.destroy()
    this.fail('the device is closed')
  }

  private make(): GPUBuffer {
    const isUpload = this.direction === 'upload'
    const buffer = this.context.device.createBuffer({
      label: `hetmem ${this.direction}`,
      size: this.npages * PAGE_SIZE,
      usage: isUpload ? BUFFER_MAP_WRITE | BUFFER_COPY_SRC : BUFFER_MAP_READ | BUFFER_COPY_DST,
      mappedAtCreation: isUpload,
    })
    this.buffers.push(buffer)
    return buffer
  }

  private pass(buffer: GPUBuffer): void {
    const next = this.waiting.shift()
    if (next === undefined) this.idle.push(buffer)
    else next(buffer)
  }

  /** Nobody of those who wait gets a buffer. */
  private fail(reason: string): void {
    for (const waiting of this.waiting.splice(0)) waiting(new GpuError(`no staging buffer: ${reason}`))
  }
}
