// Explicit heaps whose devices are GPUs, and a look at the machine behind them.

import { afterEach, beforeAll, beforeEach } from 'vitest'
import { assert } from '../../src/base/assert.ts'
import type { Size } from '../../src/base/size.ts'
import { deviceTranslations, validateDevice } from '../../src/devices/driver/index.ts'
import { WebGpuEngineDevice } from '../../src/heap/engine/webgpu-device.ts'
import { engineOf } from '../../src/heap/heap-engines.ts'
import { type DeviceOption, type Heap, openHeap } from '../../src/index.ts'
import { validateSystem } from '../../src/mm/validate.ts'
import { whyNoGpu } from './gpu.ts'

/**
 * Heaps for the tests of a suite, which are closed after each. Where there is no adapter, each test is skipped with the reason.
 *
 * @example
 * const openGpuHeap = suiteGpuHeaps('16 MiB')
 * it('runs', async () => {
 *   const heap = await openGpuHeap({ memory: '64 KiB', adapter: 'software' })
 * })
 */
export function suiteGpuHeaps(size: Size): (device: DeviceOption | readonly DeviceOption[]) => Promise<Heap> {
  const heaps: Heap[] = []
  let reason: string | null = null
  beforeAll(async () => {
    reason = await whyNoGpu()
  })
  beforeEach((test) => {
    if (reason !== null) test.skip(reason)
  })
  afterEach(async () => {
    for (const heap of heaps.splice(0)) await heap.close()
  })
  return async (device) => {
    const heap = await openHeap({ mode: 'explicit', size, device, onNotice: () => {} })
    heaps.push(heap)
    return heap
  }
}

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
