// Buffers that the CPU can map, on the way from the device to system memory. A few are enough: while one is read, the GPU copies into
// the next. They are all made with the device, so that bringing pages back never needs memory that is not there.

import { PAGE_SIZE } from '../../base/addr.ts'
import { type GpuContext, GpuError } from './gpu-context.ts'
import { BUFFER_COPY_DST, BUFFER_MAP_READ } from './webgpu-flags.ts'

export class StagingRing {
  /** Pages in one buffer. */
  readonly npages: number
  private readonly buffers: readonly GPUBuffer[]
  private readonly idle: GPUBuffer[]
  private readonly waiting: { resolve: () => void; reject: (reason: Error) => void }[] = []
  private failure: Error | null = null

  /** `count` buffers of `npages` each. Rejects with a GpuError if there is no room. */
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
    return new StagingRing(buffers, npages)
  }

  private constructor(buffers: readonly GPUBuffer[], npages: number) {
    this.buffers = buffers
    this.npages = npages
    this.idle = [...buffers]
  }

  /** A buffer for the caller alone. Waits while all are in use; rejects when the device fails. */
  async take(): Promise<GPUBuffer> {
    for (;;) {
      if (this.failure !== null) throw this.failure
      const buffer = this.idle.pop()
      if (buffer !== undefined) return buffer
      await new Promise<void>((resolve, reject) => this.waiting.push({ resolve, reject }))
    }
  }

  /** The buffer is not mapped, and nothing that was submitted uses it. */
  giveBack(buffer: GPUBuffer): void {
    this.idle.push(buffer)
    this.waiting.shift()?.resolve()
  }

  /** Nobody of those who wait, and who will, gets a buffer. */
  fail(reason: Error): void {
    this.failure = reason
    for (const { reject } of this.waiting.splice(0)) reject(reason)
  }

  destroy(): void {
    for (const buffer of this.buffers) buffer.destroy()
  }
}
