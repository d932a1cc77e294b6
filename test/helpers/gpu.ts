// A GPU for tests, where the machine has one or can have one in software. A test without one is skipped and says which
// capability is missing.

import { afterAll, beforeAll, beforeEach, expect } from 'vitest'
import { AssertionError } from '../../src/base/assert.ts'
import { CAPABILITY_ADAPTER, findAdapter } from '../../src/devices/webgpu/adapter.ts'
import { requestGpuDevice } from '../../src/devices/webgpu/gpu-context.ts'
import { compileOnce } from './compile-once.ts'

/** The reason to skip, null where there is an adapter. */
export async function whyNoGpu(): Promise<string | null> {
  const found = await findAdapter()
  return found.adapter === null ? `${found.capability}: ${found.reason.replaceAll('\n', '; ')}` : null
}

/** Where the packages of this repository bring an adapter along, its absence is a failure and no reason to skip. */
export function mustHaveGpu(): boolean {
  return process.platform === 'linux' && process.arch === 'x64'
}

/** A new device. */
export async function openGpu(): Promise<GPUDevice> {
  const found = await findAdapter()
  if (found.adapter === null) throw new AssertionError(`${CAPABILITY_ADAPTER}: ${found.reason}`)
  return await requestGpuDevice(found.adapter)
}

/** The device of a suite, there while its tests run. */
export interface SuiteGpu {
  readonly device: GPUDevice
}

/**
 * A device for all tests of a suite: opened before the first, destroyed after the last. Where there is no adapter, each of them is
 * skipped with the reason. What WebGPU complains about and nobody catches is a failure.
 *
 * @example
 * describe('pipelines', () => {
 *   const gpu = suiteGpu()
 *   it('are made', () => expect(makePipeline(gpu.device)).toBeDefined())
 * })
 */
export function suiteGpu(): SuiteGpu {
  let reason: string | null = null
  let device: GPUDevice | null = null
  const uncaptured: string[] = []
  beforeAll(async () => {
    reason = await whyNoGpu()
    if (reason !== null) return
    device = compileOnce(await openGpu())
    device.addEventListener('uncapturederror', (event) => {
      event.preventDefault()
      uncaptured.push(event.error.message)
    })
  })
  beforeEach((test) => {
    if (reason !== null) test.skip(reason)
  })
  afterAll(() => {
    device?.destroy()
    expect(uncaptured).toEqual([])
  })
  return {
    get device() {
      if (device === null) throw new AssertionError('a suite uses its device before its tests run')
      return device
    },
  }
}

/** Destroys a device right after it was handed work for the n-th time from now on: in the middle of a launch, however fast that is. */
export function destroyAtSubmit(gpu: GPUDevice, n: number): void {
  const { queue } = gpu
  const submit = queue.submit.bind(queue)
  let count = 0
  queue.submit = (buffers) => {
    submit(buffers)
    count++
    if (count === n) gpu.destroy()
  }
}
