// Data on its way to the device and back.

import { type Heap, openHeap } from '../../src/index.ts'
import { HeapSide } from '../compare/contests.ts'
import { saxpy } from '../compare/saxpy.ts'
import type { Contest } from '../harness.ts'
import { PLAIN_SAXPY, saxpy as saxpyKernel } from './kernels.ts'
import { PlainGpu } from './plain-gpu.ts'
import { milliseconds } from './resident.ts'

const MIB = 2 ** 20
const TRANSFER = 256 * MIB

/** Ordinary memory, as the plain way has: what is shared needs one more copy in Node. */
function openTransferHeap(): Promise<Heap> {
  return openHeap({ mode: 'explicit', shared: false, check: false, device: { memory: TRANSFER + 16 * MIB } })
}

/**
 * 256 MiB to the device. In milliseconds. What no kernel has written yet (`isFresh`) a device that shares memory with the CPU lets Dawn
 * write directly; everything else goes through memory in between.
 */
export async function prepareUpload(isFresh: boolean): Promise<Contest> {
  const heap = await openTransferHeap()
  const x = heap.alloc(Float32Array, TRANSFER / 4).fill(1)
  const y = heap.alloc(Float32Array, 1)
  // All arrays lie in one buffer, so this one counts for all.
  if (!isFresh) await heap.run(saxpyKernel, { x: x.subarray(0, 1), y }, 1)
  const { gpu, buffer } = await openPlainTarget(isFresh)
  const upload = await gpu.fastestUpload(buffer, new Uint8Array(TRANSFER).fill(1))
  return {
    candidate: async () => {
      // For writing: what the device has is old then.
      await heap.sync(x)
      return milliseconds(() => heap.prefetch(x))
    },
    baseline: () =>
      milliseconds(async () => {
        upload()
        await gpu.done()
      }),
  }
}

async function openPlainTarget(isFresh: boolean): Promise<{ gpu: PlainGpu; buffer: GPUBuffer }> {
  const gpu = await PlainGpu.open()
  const buffer = gpu.buffer(TRANSFER)
  if (!isFresh) {
    gpu.submit(gpu.kernel(PLAIN_SAXPY, [gpu.buffer(4), buffer]), 1)
    await gpu.done()
  }
  return { gpu, buffer }
}

/** 256 MiB back, all of it written by the device. In milliseconds. */
export async function prepareReadback(): Promise<Contest> {
  const heap = await openTransferHeap()
  const y = heap.alloc(Float32Array, TRANSFER / 4)
  const x = heap.alloc(Float32Array, 1)
  const gpu = await PlainGpu.open()
  const buffer = gpu.buffer(TRANSFER)
  const read = await gpu.fastestRead(buffer, new Uint8Array(TRANSFER).fill(1))
  return {
    candidate: async () => {
      await heap.run(saxpyKernel, { x, y }, 1)
      return milliseconds(() => heap.sync(y))
    },
    baseline: () => milliseconds(read),
  }
}

/** Arrays of four times the device memory, through the device and back. In milliseconds. */
export function prepareStream(): Promise<Contest> {
  return new HeapSide(saxpy, 4, 32 * MIB).against('hand')
}
