// y += 2x: as little computing per byte as there is, so what is compared is how bytes travel.

import { f32, type Heap, kernel, read, readWrite } from '../../src/index.ts'
import type { PlainGpu } from '../webgpu/plain-gpu.ts'
import { bufferOf, bytesOf, plainKernel, TwoSets } from './hand-written.ts'
import type { Solver, Workload } from './workload.ts'

const WORKGROUP = 64

const SAXPY = {
  name: 'saxpy',
  args: { x: read(f32), y: readWrite(f32) },
  code: `
    @compute @workgroup_size(${WORKGROUP})
    fn main(@builtin(global_invocation_id) id: vec3u) { y[id.x] += 2.0 * x[id.x]; }`,
}

const lengthOf = (nbytes: number) => nbytes / 8
const makeX = (length: number) => Float32Array.from({ length }, (_, i) => i % 1000)

export const saxpy: Workload = {
  name: 'saxpy',
  summary: 'y += 2x, and all of y read',
  tolerance: 0,

  onHeap(nbytes, heap: Heap): Solver {
    const length = lengthOf(nbytes)
    const launched = kernel(SAXPY)
    const x = heap.alloc(Float32Array, length, { name: 'x' })
    const y = heap.alloc(Float32Array, length, { name: 'y' })
    x.set(makeX(length))
    return {
      result: y,
      async round() {
        await heap.run(launched, { x, y }, length)
        await heap.sync(y, 'read')
      },
    }
  },

  resident(nbytes, gpu: PlainGpu): Solver {
    const length = lengthOf(nbytes)
    const result = new Float32Array(length)
    const y = bufferOf(gpu, result)
    const launched = plainKernel(gpu, SAXPY, [bufferOf(gpu, makeX(length)), y])
    return {
      result,
      async round() {
        gpu.submit(launched, length / WORKGROUP)
        await gpu.read(y, bytesOf(result))
      },
    }
  },

  byHand(nbytes, gpu: PlainGpu, memory): Solver {
    const length = lengthOf(nbytes)
    const x = makeX(length)
    const y = new Float32Array(length)
    const { queue } = gpu.device
    const partLength = memory / 4 / 4
    const sets = new TwoSets(gpu, (own) => {
      const buffers = [own.buffer(4 * partLength), own.buffer(4 * partLength)]
      return { own, buffers, launched: plainKernel(own, SAXPY, buffers) }
    })
    return {
      result: y,
      round: () =>
        sets.run(length, partLength, async ({ own, buffers, launched }, { from, to }) => {
          queue.writeBuffer(buffers[0], 0, x, from, to - from)
          queue.writeBuffer(buffers[1], 0, y, from, to - from)
          own.submit(launched, (to - from) / WORKGROUP)
          await own.read(buffers[1], bytesOf(y, from, to))
        }),
    }
  },

  plain(nbytes): Solver {
    const length = lengthOf(nbytes)
    const x = makeX(length)
    const y = new Float32Array(length)
    return {
      result: y,
      round() {
        for (let i = 0; i < length; i++) y[i] += 2 * x[i]
      },
    }
  },
}
