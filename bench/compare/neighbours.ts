// Distances of some vectors to all of many: each is read once, with some computing, and little comes back.

import { f32, type Heap, kernel, read, write } from '../../src/index.ts'
import type { PlainGpu } from '../webgpu/plain-gpu.ts'
import { bufferOf, bytesOf, plainKernel, TwoSets } from './hand-written.ts'
import { Random } from './random.ts'
import type { Solver, Workload } from './workload.ts'

const WORKGROUP = 64
const DIMENSIONS = 64
const QUERIES = 2

const MEASURE = {
  name: 'measure',
  args: { vectors: read(f32), queries: read(f32), distances: write(f32) },
  code: `
    @compute @workgroup_size(${WORKGROUP})
    fn main(@builtin(global_invocation_id) id: vec3u) {
      for (var q = 0u; q < ${QUERIES}u; q++) {
        var sum = 0.0;
        for (var d = 0u; d < ${DIMENSIONS}u; d++) {
          let apart = vectors[id.x * ${DIMENSIONS}u + d] - queries[q * ${DIMENSIONS}u + d];
          sum += apart * apart;
        }
        distances[id.x * ${QUERIES}u + q] = sqrt(sum);
      }
    }`,
}

const countOf = (nbytes: number) => Math.floor(nbytes / 4 / (DIMENSIONS + QUERIES) / WORKGROUP) * WORKGROUP

function fillVectors(vectors: Float32Array): void {
  const random = new Random(1)
  for (let i = 0; i < vectors.length; i++) vectors[i] = random.next() - 0.5
}

/** Queries of the next round. */
function makeQueries(): () => Float32Array<ArrayBuffer> {
  const random = new Random(2)
  return () => Float32Array.from({ length: QUERIES * DIMENSIONS }, () => random.next() - 0.5)
}

export const neighbours: Workload = {
  name: 'neighbours',
  summary: `Distances of ${QUERIES} vectors to all others, and the distances read`,
  tolerance: 1e-5,

  onHeap(nbytes, heap: Heap): Solver {
    const count = countOf(nbytes)
    const nextQueries = makeQueries()
    const vectors = heap.alloc(Float32Array, count * DIMENSIONS, { name: 'vectors' })
    const queries = heap.alloc(Float32Array, QUERIES * DIMENSIONS, { name: 'queries' })
    const distances = heap.alloc(Float32Array, count * QUERIES, { name: 'distances' })
    fillVectors(vectors)
    const launched = kernel(MEASURE)
    return {
      result: distances,
      async round() {
        await heap.sync(queries)
        queries.set(nextQueries())
        await heap.run(launched, { vectors, queries, distances }, count)
        await heap.sync(distances, 'read')
      },
    }
  },

  resident(nbytes, gpu: PlainGpu): Solver {
    const count = countOf(nbytes)
    const nextQueries = makeQueries()
    const vectors = new Float32Array(count * DIMENSIONS)
    const distances = new Float32Array(count * QUERIES)
    fillVectors(vectors)
    const [queries, out] = [gpu.buffer(4 * QUERIES * DIMENSIONS), gpu.buffer(distances.byteLength)]
    const launched = plainKernel(gpu, MEASURE, [bufferOf(gpu, vectors), queries, out])
    return { result: distances, round: repeated(gpu, nextQueries, queries, launch) }

    async function launch(): Promise<void> {
      gpu.submit(launched, count / WORKGROUP)
      await gpu.read(out, bytesOf(distances))
    }
  },

  byHand(nbytes, gpu: PlainGpu, memory): Solver {
    const count = countOf(nbytes)
    const nextQueries = makeQueries()
    const vectors = new Float32Array(count * DIMENSIONS)
    const distances = new Float32Array(count * QUERIES)
    fillVectors(vectors)
    const queries = gpu.buffer(4 * QUERIES * DIMENSIONS)
    const partCount = countOf(memory / 2)
    const sets = new TwoSets(gpu, (own) => {
      const [part, out] = [own.buffer(4 * partCount * DIMENSIONS), own.buffer(4 * partCount * QUERIES)]
      return { own, part, out, launched: plainKernel(own, MEASURE, [part, queries, out]) }
    })
    return { result: distances, round: repeated(gpu, nextQueries, queries, launch) }

    function launch(): Promise<void> {
      return sets.run(count, partCount, async ({ own, part, out, launched }, { from, to }) => {
        own.device.queue.writeBuffer(part, 0, vectors, from * DIMENSIONS, (to - from) * DIMENSIONS)
        own.submit(launched, (to - from) / WORKGROUP)
        await own.read(out, bytesOf(distances, from * QUERIES, to * QUERIES))
      })
    }
  },

  plain(nbytes): Solver {
    const count = countOf(nbytes)
    const nextQueries = makeQueries()
    const vectors = new Float32Array(count * DIMENSIONS)
    const distances = new Float32Array(count * QUERIES)
    fillVectors(vectors)
    return {
      result: distances,
      round() {
        const queries = nextQueries()
        for (let i = 0; i < count; i++) {
          for (let q = 0; q < QUERIES; q++) {
            let sum = 0
            for (let d = 0; d < DIMENSIONS; d++) {
              const apart = vectors[i * DIMENSIONS + d] - queries[q * DIMENSIONS + d]
              sum += apart * apart
            }
            distances[i * QUERIES + q] = Math.sqrt(sum)
          }
        }
      },
    }
  },
}

/** A round with new queries. */
function repeated(
  gpu: PlainGpu,
  nextQueries: () => Float32Array<ArrayBuffer>,
  queries: GPUBuffer,
  launch: () => Promise<void>,
): () => Promise<void> {
  return () => {
    gpu.device.queue.writeBuffer(queries, 0, nextQueries())
    return launch()
  }
}
