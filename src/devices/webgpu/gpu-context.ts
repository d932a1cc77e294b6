// One GPUDevice and its queue. The queue works in order: what is submitted or written later happens later. So a frame can be
// given to a new owner as soon as the old one's translations are gone; no dispatch that still runs can see what comes after.
// A lost device does not throw by itself (`submit` does nothing, a fence resolves), so whoever awaited asks `isLost`.

import { BUFFER_COPY_DST, BUFFER_COPY_SRC, BUFFER_STORAGE } from './webgpu-flags.ts'

/** The device is gone, or refused what it was given. What it was to do did not happen. */
export class GpuError extends Error {
  override readonly name = 'GpuError'
}

export class GpuContext {
  readonly device: GPUDevice
  /** Why the device is lost, null while it works. */
  lostBecause: string | null = null
  /** Errors that no scope caught, oldest first: mistakes of this driver. */
  readonly uncaptured: string[] = []
  private readonly onUncaptured = (event: GPUUncapturedErrorEvent): void => {
    this.uncaptured.push(event.error.message)
  }

  constructor(device: GPUDevice) {
    this.device = device
    void device.lost.then((info) => {
      this.lostBecause = info.message || info.reason || 'no reason given'
    })
    device.addEventListener('uncapturederror', this.onUncaptured)
  }

  /** Stops listening. The device is the caller's. */
  close(): void {
    this.device.removeEventListener('uncapturederror', this.onUncaptured)
  }

  get isLost(): boolean {
    return this.lostBecause !== null
  }

  /** Throws a GpuError if the device is lost. */
  checkAlive(): void {
    if (this.lostBecause !== null) throw new GpuError(`the device is lost: ${this.lostBecause}`)
  }

  /** Records commands and submits them. */
  submit(record: (encoder: GPUCommandEncoder) => void): void {
    const encoder = this.device.createCommandEncoder()
    record(encoder)
    this.device.queue.submit([encoder.finish()])
  }

  /** Resolves when everything submitted so far is done. Rejects with a GpuError if the device was lost meanwhile. */
  async fence(): Promise<void> {
    await this.device.queue.onSubmittedWorkDone()
    this.checkAlive()
  }

  /** A buffer for device memory. Rejects with a GpuError if the device has no room for it. */
  async createPool(nbytes: number): Promise<GPUBuffer> {
    const { device } = this
    device.pushErrorScope('validation')
    device.pushErrorScope('out-of-memory')
    const usage = BUFFER_STORAGE | BUFFER_COPY_SRC | BUFFER_COPY_DST
    const pool = device.createBuffer({ label: 'hetmem pool', size: nbytes, usage })
    const errors = await Promise.all([device.popErrorScope(), device.popErrorScope()])
    const error = errors.find((found) => found !== null)
    if (error === undefined || error === null) return pool
    pool.destroy()
    throw new GpuError(`a pool of ${nbytes} bytes: ${error.message}`)
  }
}

/** A device of the adapter with all its limits for storage buffers. */
export async function requestGpuDevice(adapter: GPUAdapter): Promise<GPUDevice> {
  const { maxBufferSize, maxStorageBufferBindingSize, maxStorageBuffersPerShaderStage } = adapter.limits
  return await adapter.requestDevice({
    label: 'hetmem',
    requiredLimits: { maxBufferSize, maxStorageBufferBindingSize, maxStorageBuffersPerShaderStage },
  })
}
