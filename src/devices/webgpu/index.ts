// The WebGPU device: start with webgpu-device.ts, or with README.md.

export {
  ADAPTER_SOURCES,
  type AdapterOptions,
  type AdapterSource,
  CAPABILITY_ADAPTER,
  type FoundAdapter,
  findAdapter,
  type MissingAdapter,
} from './adapter.ts'
export { GpuError, requestGpuDevice } from './gpu-context.ts'
export type { GpuBinding, GpuLaunch, GpuPiece } from './gpu-launch.ts'
export { KernelDispatcher } from './kernel-dispatch.ts'
export { type KernelOptions, type KernelReceipt, type KernelSite, runKernels } from './kernel-launch.ts'
export { KernelPipelines } from './kernel-pipelines.ts'
export { WebGpuDevice, type WebGpuDeviceHandle, type WebGpuDeviceOptions } from './webgpu-device.ts'
export { type BufferRange, withBuffer } from './with-buffer.ts'
