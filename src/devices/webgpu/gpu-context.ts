// One GPUDevice and its queue. The queue works in order: what is submitted or written later happens later. So a frame can be
// given to a new owner as soon as the old one's translations are gone; no dispatch that still runs can see what comes after.
// A lost device does not throw by itself (`submit` does nothing, a fence resolves), so whoever awaited asks `lostBecause`.

import { isNode } from '../../base/runtime.ts'
import { copySharedViews } from './shared-views.ts'

/** The device refused what it was given. What it was to do did not happen. */
export class GpuError extends Error {
  override readonly name = 'GpuError'
}

export class GpuContext {
  readonly device: GPUDevice
  /** Why the device is lost, null while it works. */
  lostBecause: string | null = null
  /** Bytes given to `writeBuffer` that were not submitted yet, as far as is known: whatever is submitted takes them along. */
  unsubmitted = 0
  /** Errors that no scope caught, oldest first: mistakes of this driver. */
  readonly uncaptured: string[] = []
  private readonly onUncaptured = (event: GPUUncapturedErrorEvent): void => {
    this.uncaptured.push(event.error.message)
  }

  /** `onLost` is called once, with a phrase. */
  constructor(device: GPUDevice, onLost: (reason: string) => void) {
    this.device = device
    if (isNode()) copySharedViews(device.queue)
    void device.lost.then((info) => {
      this.lostBecause ??= info.message || info.reason || 'no reason given'
      onLost(this.lostBecause)
    })
    device.addEventListener('uncapturederror', this.onUncaptured)
  }

  /** Stops listening. The device is the caller's. */
  close(): void {
    this.device.removeEventListener('uncapturederror', this.onUncaptured)
  }

  /** Records commands and submits them. */
  submit(record: (encoder: GPUCommandEncoder) => void): void {
    const encoder = this.device.createCommandEncoder()
    record(encoder)
    this.device.queue.submit([encoder.finish()])
    this.unsubmitted = 0
  }

  /** Submits what was written. */
  flush(): void {
    this.device.queue.submit([])
    this.unsubmitted = 0
  }

  /** Makes buffers. If the device has no room for one of them all are gone again, and the answer says why; null if all are there. */
  async tryAllocate(make: () => readonly GPUBuffer[]): Promise<string | null> {
    const { device } = this
    device.pushErrorScope('validation')
    device.pushErrorScope('out-of-memory')
    let buffers: readonly GPUBuffer[] = []
    let refused: string | null = null
    try {
      buffers = make()
    } catch (error) {
      // A buffer that is mapped from the beginning is refused at once.
      refused = error instanceof Error ? error.message : String(error)
    }
    const errors = await Promise.all([device.popErrorScope(), device.popErrorScope()])
    const failure = refused ?? errors.find((found) => found !== null)?.message ?? this.lostBecause
    if (failure !== null) for (const buffer of buffers) buffer.destroy()
    return failure
  }
}

/** Features that kernels may use, where the adapter has them. */
const FEATURES: readonly GPUFeatureName[] = ['shader-f16', 'subgroups']

/** A device of the adapter with all that kernels can use of it: its limits for buffers and workgroups, and features of WGSL. */
export async function requestGpuDevice(adapter: GPUAdapter): Promise<GPUDevice> {
  const { limits } = adapter
  return await adapter.requestDevice({
    label: 'hetmem',
    requiredFeatures: FEATURES.filter((feature) => adapter.features.has(feature)),
    requiredLimits: {
      maxBufferSize: limits.maxBufferSize,
      maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
      maxStorageBuffersPerShaderStage: limits.maxStorageBuffersPerShaderStage,
      maxUniformBuffersPerShaderStage: limits.maxUniformBuffersPerShaderStage,
      maxComputeWorkgroupStorageSize: limits.maxComputeWorkgroupStorageSize,
      maxComputeInvocationsPerWorkgroup: limits.maxComputeInvocationsPerWorkgroup,
      maxComputeWorkgroupSizeX: limits.maxComputeWorkgroupSizeX,
      maxComputeWorkgroupSizeY: limits.maxComputeWorkgroupSizeY,
      maxComputeWorkgroupSizeZ: limits.maxComputeWorkgroupSizeZ,
    },
  })
}
