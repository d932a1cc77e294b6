// Launches whose data is on the device already: what the heap adds to them.

import { openHeap } from '../../src/index.ts'
import type { Contest } from '../harness.ts'
import { PLAIN_SAXPY, saxpy, WORKGROUP_SIZE } from './kernels.ts'
import { PlainGpu } from './plain-gpu.ts'

/** One large launch after the other, each waited for. In milliseconds per launch. */
export async function prepareResidentLaunch(): Promise<Contest> {
  const length = 4_000_000
  const heap = await openHeap({ mode: 'explicit', check: false, device: { memory: '64 MiB' } })
  const x = heap.alloc(Float32Array, length).fill(1)
  const y = heap.alloc(Float32Array, length)
  const gpu = await PlainGpu.open()
  const plain = gpu.kernel(PLAIN_SAXPY, [gpu.buffer(4 * length), gpu.buffer(4 * length)])
  return {
    candidate: () => milliseconds(() => heap.run(saxpy, { x, y }, length)),
    baseline: () =>
      milliseconds(async () => {
        gpu.submit(plain, length / WORKGROUP_SIZE)
        await gpu.done()
      }),
  }
}

/** Many small launches, waited for as a whole. In milliseconds for all. */
export async function prepareBatch(launches: number): Promise<Contest> {
  const length = 16_384
  const heap = await openHeap({ mode: 'explicit', check: false, device: { memory: '16 MiB' } })
  const x = heap.alloc(Float32Array, length).fill(1)
  const y = heap.alloc(Float32Array, length)
  const gpu = await PlainGpu.open()
  const plain = gpu.kernel(PLAIN_SAXPY, [gpu.buffer(4 * length), gpu.buffer(4 * length)])
  return {
    candidate: () =>
      milliseconds(() =>
        heap.batch((batch) => {
          for (let i = 0; i < launches; i++) batch.run(saxpy, { x, y }, length)
        }),
      ),
    baseline: () =>
      milliseconds(async () => {
        gpu.submit(plain, length / WORKGROUP_SIZE, launches)
        await gpu.done()
      }),
  }
}

export async function milliseconds(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now()
  await work()
  return performance.now() - start
}
