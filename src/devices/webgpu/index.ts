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
export {
  ARGUMENT_ACCESS,
  type ArgumentAccess,
  type ArgumentRange,
  type DirectArgument,
  type DirectCall,
  type DirectKernel,
} from './direct-kernel.ts'
export { runDirect } from './direct-program.ts'
export { ARGUMENTS_MAX, sliceWgsl } from './direct-slice.wgsl.ts'
export { GpuError, requestGpuDevice } from './gpu-context.ts'
export type { GpuBinding, GpuLaunch, GpuPiece } from './gpu-launch.ts'
export { WebGpuDevice, type WebGpuDeviceHandle, type WebGpuDeviceOptions } from './webgpu-device.ts'
export { type BufferRange, withBuffer } from './with-buffer.ts'
