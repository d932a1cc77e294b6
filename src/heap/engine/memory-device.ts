// A memory device as the engine sees it.

import { type CopierMaker, type LaunchMemory, MemoryDevice } from '../../devices/memory/index.ts'
import type { MemoryDeviceSettings } from '../device-options.ts'
import { DriverEngineDevice } from './driver-device.ts'
import type { DeviceSite } from './engine.ts'

export class MemoryEngineDevice extends DriverEngineDevice<LaunchMemory> {
  readonly hardware = 'RAM'
  readonly note = null
  readonly device: MemoryDevice

  constructor(site: DeviceSite, settings: MemoryDeviceSettings, copier?: CopierMaker) {
    const { sys, mm, policy, tracer, nameAt, onFilled } = site
    const { name, memory, latency, bandwidth, onLost, deadline } = settings
    const device = new MemoryDevice(sys, {
      name,
      memory,
      latency,
      copier,
      onLost,
      deadline,
      tracer,
      policy,
      nameAt: (_, addr) => nameAt(addr),
      onFilled: (_, addr) => onFilled(addr, name),
      ...(bandwidth !== undefined && { bandwidth }),
    })
    super(device, mm)
    this.device = device
  }
}
