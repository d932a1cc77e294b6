// A GPU for tests, where the machine has one or can have one in software. A test without one is skipped and says which
// capability is missing.

import { AssertionError } from '../../src/base/assert.ts'
import { CAPABILITY_ADAPTER, findAdapter } from '../../src/devices/webgpu/adapter.ts'
import { requestGpuDevice } from '../../src/devices/webgpu/gpu-context.ts'

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
