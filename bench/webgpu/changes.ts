// Data that the device has, and of which the program changes a hundredth between two launches. A live heap sees which pages were
// written; by hand everything goes over again.

import { openHeap } from '../../src/index.ts'
import type { Contest } from '../harness.ts'
import { PLAIN_SAMPLE, sample, WORKGROUP_SIZE } from './kernels.ts'
import { PlainGpu } from './plain-gpu.ts'
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
  const gpu = await PlainGpu.open()
  const buffer = gpu.buffer(4 * LENGTH)
  const plain = gpu.kernel(PLAIN_SAMPLE, [buffer, gpu.buffer(4 * NPAGES)])
  const all = new Float32Array(LENGTH).fill(1)
  const upload = await gpu.fastestUpload(buffer, new Uint8Array(all.buffer))
  let round = 0
  return {
    candidate: async () => {
      change(x, runPages, ++round)
      return 1000 / (await milliseconds(() => heap.run(sample, { x, y }, NPAGES)))
    },
    baseline: async () => {
      change(all, runPages, ++round)
      const ms = await milliseconds(async () => {
        upload()
        gpu.submit(plain, NPAGES / WORKGROUP_SIZE)
        await gpu.done()
      })
      return 1000 / ms
    },
  }
}

function change(array: Float32Array, runPages: number, value: number): void {
  const nruns = Math.max(1, Math.round(NCHANGED / runPages))
  const stride = Math.floor(NPAGES / nruns)
  for (let run = 0; run < nruns; run++) {
    const first = run * stride + (value % Math.max(1, stride - runPages))
    for (let page = first; page < first + runPages; page++) array[page * PAGE_WORDS] = value
  }
}
