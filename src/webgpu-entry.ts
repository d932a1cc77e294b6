// The entry point `hetmem/webgpu`: GPUs as devices of a simulated machine, for people who write drivers or kernels by hand, and the
// adapters that this machine has. Heaps bring their devices along.
//
//   import { findAdapter, requestGpuDevice, WebGpuDevice } from 'hetmem/webgpu'

export {
  ADAPTER_SOURCES,
  type AdapterOptions,
  type AdapterSource,
  type BufferRange,
  CAPABILITY_ADAPTER,
  type FoundAdapter,
  findAdapter,
  type GpuBinding,
  GpuError,
  type GpuLaunch,
  type GpuPiece,
  type MissingAdapter,
  requestGpuDevice,
  WebGpuDevice,
  type WebGpuDeviceHandle,
  type WebGpuDeviceOptions,
  withBuffer,
} from './devices/webgpu/index.ts'
