// The engine of an explicit heap: what it is made of, wherever it runs.

import type { Sink } from '../../trace/sink.ts'
import { addressPages } from '../arena.ts'
import type { DeviceSettings } from '../device-options.ts'
import { ArrayTable } from '../engine/array-table.ts'
import { deviceFrames } from '../engine/device.ts'
import { Engine } from '../engine/engine.ts'
import { ExplicitBackend } from '../engine/explicit-backend.ts'
import type { DeviceMaker } from '../engine/make-device.ts'

/** Plain data. */
export interface ExplicitEngineSettings {
  /** Bytes of the heap, and of its largest segment. */
  readonly size: number
  readonly segmentMax: number
  readonly devices: readonly DeviceSettings[]
  /** Find out when the CPU touches what a device has. */
  readonly check: boolean
  /** Steps behind events are recorded too. */
  readonly verbose: boolean
}

/** Rejects if a device cannot be had. */
export async function makeExplicitEngine(
  settings: ExplicitEngineSettings,
  sinks: readonly Sink[],
  makeDevice: DeviceMaker,
): Promise<Engine> {
  const { size, segmentMax, devices, check, verbose } = settings
  const arrays = new ArrayTable()
  const tagOf = check ? (pfn: number) => arrays.useTag(pfn) : undefined
  const engine = new Engine({
    backend: new ExplicitBackend(addressPages(size, segmentMax), tagOf),
    arrays,
    devicePages: deviceFrames(devices),
    verbose,
    sinks,
  })
  for (const device of devices) await engine.addDevice((site) => makeDevice(site, device))
  return engine
}
