// Kernels that are functions, on a GPU: the declared ranges are read back, the function works on them, and what it may have written
// goes to the device again. So tests of the driver are the same for every hardware, and all of the device's memory is real.

import { PAGE_SIZE } from '../../src/base/addr.ts'
import type { LaunchSlice, Program } from '../../src/devices/driver/index.ts'
import { LaunchMemory } from '../../src/devices/memory/launch-memory.ts'
import type { Kernel } from '../../src/devices/memory/memory-device.ts'
import type { GpuLaunch } from '../../src/devices/webgpu/gpu-launch.ts'
import { withPauses } from '../../src/devices/webgpu/pauses.ts'
import type { WebGpuDevice } from '../../src/devices/webgpu/webgpu-device.ts'
import { BUFFER_COPY_DST, BUFFER_MAP_READ, MAP_READ } from '../../src/devices/webgpu/webgpu-flags.ts'

/** The program that runs a function. `npages` is the device's memory. */
export function onGpu(kernel: Kernel, npages: number): Program<GpuLaunch> {
  return async (memory, slice, index) => {
    const { read = [], write = [] } = slice
    const image = new Uint8Array(npages * PAGE_SIZE)
    const pieces = [...read, ...write].flatMap((range) => placesOf(memory, range))
    for (const { buffer, offset, size, at } of pieces)
      image.set(await readBuffer(memory.device, buffer, offset, size), at)
    try {
      await kernel(new LaunchMemory(memory.ranges, image), slice, index)
    } finally {
      for (const range of write) {
        for (const { buffer, offset, size, at } of placesOf(memory, range)) {
          memory.device.queue.writeBuffer(buffer, offset, image.subarray(at, at + size))
        }
      }
    }
  }
}

/** All frames of a device, one behind the other. */
export async function readDevice({ hardware }: WebGpuDevice): Promise<Uint8Array> {
  const { banks, context } = hardware
  const parts: Uint8Array[] = []
  for (const buffer of banks.buffers) parts.push(await readBuffer(context.device, buffer, 0, buffer.size))
  const bytes = new Uint8Array(banks.npages * PAGE_SIZE)
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}

/** Where a range lies, in buffers and in device memory. */
function placesOf(memory: GpuLaunch, range: NonNullable<LaunchSlice['read']>[number]) {
  const offsets = [...memory.ranges.pieces(range, 'read')].map(({ offset }) => offset)
  return [...memory.pieces(range)].map((piece, i) => ({ ...piece, at: offsets[i] }))
}

async function readBuffer(device: GPUDevice, buffer: GPUBuffer, offset: number, size: number): Promise<Uint8Array> {
  const staging = device.createBuffer({ size, usage: BUFFER_MAP_READ | BUFFER_COPY_DST })
  const encoder = device.createCommandEncoder()
  encoder.copyBufferToBuffer(buffer, offset, staging, 0, size)
  device.queue.submit([encoder.finish()])
  await withPauses(staging.mapAsync(MAP_READ))
  const bytes = new Uint8Array(staging.getMappedRange()).slice()
  staging.destroy()
  return bytes
}
