// Devices of every kind, from settings.

import type { CopierMaker } from '../../devices/memory/index.ts'
import type { AdapterFinder } from '../../devices/webgpu/own-adapter.ts'
import type { DeviceSettings } from '../device-options.ts'
import type { EngineDevice } from './device.ts'
import type { DeviceSite } from './engine.ts'
import { MemoryEngineDevice } from './memory-device.ts'
import { WebGpuEngineDevice } from './webgpu-device.ts'

/** Makes a device, or rejects if it cannot be had. */
export type DeviceMaker = (site: DeviceSite, settings: DeviceSettings) => Promise<EngineDevice>

/** Rejects if the device cannot be had here. `findAdapter` is what the runtime has, `copier` what copies beside this thread. */
export async function makeDevice(
  site: DeviceSite,
  settings: DeviceSettings,
  findAdapter: AdapterFinder,
  copier?: CopierMaker,
): Promise<EngineDevice> {
  return settings.kind === 'memory'
    ? new MemoryEngineDevice(site, settings, copier)
    : await WebGpuEngineDevice.create(site, settings, findAdapter)
}
