// Looks at the machine behind an explicit heap whose devices are GPUs.

import { assert } from '../../src/base/assert.ts'
import { deviceTranslations, validateDevice } from '../../src/devices/driver/index.ts'
import { WebGpuEngineDevice } from '../../src/heap/engine/webgpu-device.ts'
import { engineOf } from '../../src/heap/heap-engines.ts'
import type { Heap } from '../../src/index.ts'
import { validateSystem } from '../../src/mm/validate.ts'

export function gpuDeviceOf(heap: Heap, index = 0): WebGpuEngineDevice {
  const device = engineOf(heap).devices[index]
  assert(device instanceof WebGpuEngineDevice, () => `device ${index} is a GPU`)
  return device
}

/** Every invariant, with exact references, while nothing is in progress. */
export function checkGpuHeap(heap: Heap): void {
  const engine = engineOf(heap)
  const drivers = engine.devices.map((_, i) => gpuDeviceOf(heap, i).device)
  const held = [engine.heldReferences(), ...drivers.map((driver) => driver.heldReferences())]
  const translations = drivers.flatMap((driver) => [...deviceTranslations(driver)])
  const heldReferences = (pfn: number) => held.reduce((sum, each) => sum + each(pfn), 0)
  validateSystem(engine.sys, { level: 'full', translations, heldReferences })
  for (const driver of drivers) {
    validateDevice(driver, null)
    const { uncaptured } = driver.hardware.context
    assert(uncaptured.length === 0, () => `WebGPU has nothing to complain about: ${uncaptured.join('; ')}`)
  }
}
