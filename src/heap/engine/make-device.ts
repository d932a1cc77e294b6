// Devices of every kind, from settings.

import type { CopierMaker } from '../../devices/memory/index.ts'
import type { AdapterFinder } from '../../devices/webgpu/own-adapter.ts'
import type { DeviceSettings } from '../device-options.ts'
import type { EngineDevice } from './device.ts'
import type { DeviceSite } from './engine.ts'

/** Makes a device, or rejects if it cannot be had. */
export type DeviceMaker = (site: DeviceSite, settings: DeviceSettings) => Promise<EngineDevice>

/** Rejects if the device cannot be had here. `findAdapter` is what the runtime has, `copier` what copies beside this thread. */
export async function makeDevice(
  site: DeviceSite,
  settings: DeviceSettings,
  findAdapter: AdapterFinder,
  copier?: CopierMaker,
): Promise<EngineDevice> {
  // Drivers and the compiler of kernels are more than half of an engine: a heap without devices opens without them.
  if (settings.kind === 'memory') {
    const { MemoryEngineDevice } = await import('./memory-device.ts')
    return new MemoryEngineDevice(site, settings, copier)
  }
  const { WebGpuEngineDevice } = await import('./webgpu-device.ts')
  return await WebGpuEngineDevice.create(site, settings, findAdapter)
}
