// Data that the device has, and of which the program changes a hundredth between two launches. A live heap sees which pages were
// written; by hand everything goes over again.

import { openHeap } from '../../src/index.ts'
import type { Contest, Measure } from '../harness.ts'
import { PLAIN_SAMPLE, sample, WORKGROUP_SIZE } from './kernels.ts'
import { PlainGpu, type PlainKernel } from './plain-gpu.ts'
import { milliseconds } from './resident.ts'

const PAGE_WORDS = 1024
const NPAGES = 16_384 // 64 MiB
const LENGTH = NPAGES * PAGE_WORDS
const NCHANGED = Math.round(NPAGES / 100)

/** Pages change in runs of `runPages`, spread over the array. In launches per second. */
export async function prepareChanges(runPages: number): Promise<Contest> {
  const heap = await openHeap({ mode: 'live', device: { memory: '80 MiB' } })
  const x = heap.alloc(Float32Array, LENGTH).fill(1)
  const y = heap.alloc(Float32Array, NPAGES)
  let round = 0
  return {
    candidate: async () => {
      change(x, runPages, ++round)
      return await perSecond(() => heap.run(sample, { x, y }, NPAGES))
    },
    baseline: await prepareFullUpload(runPages),
  }
}

/**
 * What no heap can beat in that: plain WebGPU that is told which pages were changed, and sends these. A buffer that no command has written
 * (`isFresh`) takes them directly where device and CPU share memory. All arrays of a heap lie in one buffer, which kernels write.
 */
export async function prepareChangesAtBest(runPages: number, isFresh: boolean): Promise<Contest> {
  const { gpu, all, buffer, plain } = await openPlain()
  if (!isFresh) gpu.clear(buffer, 4)
  let round = 0
  return {
    candidate: async () => {
      const runs = change(all, runPages, ++round)
      return await perSecond(async () => {
        for (const first of runs) {
          const from = first * PAGE_WORDS
          gpu.device.queue.writeBuffer(buffer, 4 * from, all, from, runPages * PAGE_WORDS)
        }
        // The device copies while the launch is recorded.
        if (!isFresh) gpu.device.queue.submit([])
        gpu.submit(plain, NPAGES / WORKGROUP_SIZE)
        await gpu.done()
      })
    },
    baseline: await prepareFullUpload(runPages),
  }
}

async function prepareFullUpload(runPages: number): Promise<Measure> {
  const { gpu, all, buffer, plain } = await openPlain()
  const upload = await gpu.fastestUpload(buffer, new Uint8Array(all.buffer))
  let round = 0
  return async () => {
    change(all, runPages, ++round)
    return await perSecond(async () => {
      upload()
      gpu.submit(plain, NPAGES / WORKGROUP_SIZE)
      await gpu.done()
    })
  }
}

async function openPlain(): Promise<Plain> {
  const gpu = await PlainGpu.open()
  const buffer = gpu.buffer(4 * LENGTH)
  const all = new Float32Array(LENGTH).fill(1)
  gpu.device.queue.writeBuffer(buffer, 0, all)
  return { gpu, all, buffer, plain: gpu.kernel(PLAIN_SAMPLE, [buffer, gpu.buffer(4 * NPAGES)]) }
}

interface Plain {
  readonly gpu: PlainGpu
  readonly all: Float32Array<ArrayBuffer>
  readonly buffer: GPUBuffer
  readonly plain: PlainKernel
}

async function perSecond(work: () => Promise<unknown>): Promise<number> {
  return 1000 / (await milliseconds(work))
}

/** Changes a word in each page of the runs. Returns the first page of each. */
function change(array: Float32Array, runPages: number, value: number): number[] {
  const nruns = Math.max(1, Math.round(NCHANGED / runPages))
  const stride = Math.floor(NPAGES / nruns)
  return Array.from({ length: nruns }, (_, run) => {
    const first = run * stride + (value % Math.max(1, stride - runPages))
    for (let page = first; page < first + runPages; page++) array[page * PAGE_WORDS] = value
    return first
  })
}
