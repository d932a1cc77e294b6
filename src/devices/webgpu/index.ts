// The WebGPU driver: start with webgpu-driver.ts, or with README.md.

export {
  ADAPTER_SOURCES,
  type AdapterOptions,
  type AdapterSource,
  CAPABILITY_ADAPTER,
  type FoundAdapter,
  findAdapter,
  type MissingAdapter,
} from './adapter.ts'
export {
  ARGUMENT_ACCESS,
  type ArgumentAccess,
  type ArgumentRange,
  type DirectArgument,
  type DirectCall,
  type DirectKernel,
} from './direct-kernel.ts'
export { ARGUMENTS_MAX, sliceWgsl } from './direct-slice.wgsl.ts'
export { GpuError, requestGpuDevice } from './gpu-context.ts'
export type { MoveCounts } from './migration.ts'
export { type LaunchReceipt, WebGpuDevice, type WebGpuDeviceOptions, WebGpuHandle } from './webgpu-driver.ts'
