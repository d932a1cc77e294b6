// y[i] = x[at[i]] with indices that are spread over all of x. By hand, where x does not fit, the indices are sorted into buckets, one for
// each part of x that fits; then each part goes to the device once, and the loads that lie in it are done.

import { f32, type Heap, kernel, read, u32, uniform, vec2u, write } from '../../src/index.ts'
import type { PlainGpu } from '../webgpu/plain-gpu.ts'
import { bufferOf, bytesOf, plainKernel, uniformBuffer } from './hand-written.ts'
import { Random } from './random.ts'
import type { Solver, Workload } from './workload.ts'

const WORKGROUP = 64
const COUNT = 4096
const NBATCHES = 4

const GATHER = {
  name: 'gather',
  args: { x: read(f32), at: read(u32), y: write(f32) },
  code: `
    @compute @workgroup_size(${WORKGROUP})
    fn main(@builtin(global_invocation_id) id: vec3u) { y[id.x] = x[at[id.x]]; }`,
}

/** Loads of one bucket: those from bucket.x up to and without bucket.y. */
const GATHER_BUCKET = {
  name: 'gather bucket',
  args: { part: read(f32), at: read(u32), places: read(u32), y: write(f32), bucket: uniform(vec2u) },
  code: `
    @compute @workgroup_size(${WORKGROUP})
    fn main(@builtin(global_invocation_id) id: vec3u) {
      let i = bucket.x + id.x;
      if (i < bucket.y) { y[places[i]] = part[at[i]]; }
    }`,
}

const lengthOf = (nbytes: number) => nbytes / 4 - 2 * COUNT

function fill(x: Float32Array): void {
  for (let i = 0; i < x.length; i++) x[i] = i
}

/** Indices, other ones in the next round. */
function makeBatches(length: number): () => Uint32Array<ArrayBuffer> {
  const random = new Random(3)
  const batches = Array.from({ length: NBATCHES }, () =>
    Uint32Array.from({ length: COUNT }, () => random.below(length)),
  )
  let round = 0
  return () => batches[round++ % NBATCHES]
}

export const gather: Workload = {
  name: 'gather',
  summary: `${COUNT} random loads, and what was loaded read`,
  tolerance: 0,

  onHeap(nbytes, heap: Heap): Solver {
    const length = lengthOf(nbytes)
    const nextBatch = makeBatches(length)
    const x = heap.alloc(Float32Array, length, { name: 'x' })
    const at = heap.alloc(Uint32Array, COUNT, { name: 'at' })
    const y = heap.alloc(Float32Array, COUNT, { name: 'y' })
    fill(x)
    const launched = kernel(GATHER)
    return {
      result: y,
      async round() {
        await heap.sync(at)
        at.set(nextBatch())
        await heap.run(launched, { x, at, y }, COUNT)
        await heap.sync(y, 'read')
      },
    }
  },

  resident(nbytes, gpu: PlainGpu): Solver {
    const length = lengthOf(nbytes)
    const nextBatch = makeBatches(length)
    const x = new Float32Array(length)
    const y = new Float32Array(COUNT)
    fill(x)
    const [at, out] = [gpu.buffer(4 * COUNT), gpu.buffer(4 * COUNT)]
    const launched = plainKernel(gpu, GATHER, [bufferOf(gpu, x), at, out])
    return {
      result: y,
      async round() {
        gpu.device.queue.writeBuffer(at, 0, nextBatch())
        gpu.submit(launched, COUNT / WORKGROUP)
        await gpu.read(out, bytesOf(y))
      },
    }
  },

  byHand(nbytes, gpu: PlainGpu, memory): Solver {
    const length = lengthOf(nbytes)
    const nextBatch = makeBatches(length)
    const x = new Float32Array(length)
    const y = new Float32Array(COUNT)
    fill(x)
    const { queue } = gpu.device
    const [at, places, out] = [0, 1, 2].map(() => gpu.buffer(4 * COUNT))
    const partLength = Math.floor((memory - 3 * 4 * COUNT) / 2 / 4)
    // The queue works in order, so a set is filled again without waiting.
    const sets = [0, 1].map(() => {
      const [part, bucket] = [gpu.buffer(4 * partLength), uniformBuffer(gpu)]
      return { part, bucket, launched: plainKernel(gpu, GATHER_BUCKET, [part, at, places, out, bucket]) }
    })
    const buckets = new Buckets(Math.ceil(length / partLength), partLength)
    return {
      result: y,
      async round() {
        buckets.sort(nextBatch())
        queue.writeBuffer(at, 0, buckets.at)
        queue.writeBuffer(places, 0, buckets.places)
        for (let i = 0; i < buckets.count; i++) {
          const [first, end] = buckets.range(i)
          if (first === end) continue
          const { part, bucket, launched } = sets[i % 2]
          const from = i * partLength
          queue.writeBuffer(part, 0, x, from, Math.min(partLength, length - from))
          queue.writeBuffer(bucket, 0, Uint32Array.of(first, end))
          gpu.submit(launched, Math.ceil((end - first) / WORKGROUP))
        }
        await gpu.read(out, bytesOf(y))
      },
    }
  },

  plain(nbytes): Solver {
    const length = lengthOf(nbytes)
    const nextBatch = makeBatches(length)
    const x = new Float32Array(length)
    const y = new Float32Array(COUNT)
    fill(x)
    return {
      result: y,
      round() {
        const at = nextBatch()
        for (let i = 0; i < COUNT; i++) y[i] = x[at[i]]
      },
    }
  },
}

/** Indices by the part of x that they lie in: a counting sort. */
class Buckets {
  readonly count: number
  /** In its part, bucket by bucket. */
  readonly at = new Uint32Array(COUNT)
  /** Which of the loads it is. */
  readonly places = new Uint32Array(COUNT)
  readonly #partLength: number
  readonly #ends: Uint32Array

  constructor(count: number, partLength: number) {
    this.count = count
    this.#partLength = partLength
    this.#ends = new Uint32Array(count + 1)
  }

  sort(at: Uint32Array): void {
    const [ends, partLength] = [this.#ends, this.#partLength]
    ends.fill(0)
    for (let i = 0; i < at.length; i++) ends[Math.floor(at[i] / partLength) + 1]++
    for (let i = 1; i < ends.length; i++) ends[i] += ends[i - 1]
    // From the beginnings of the buckets to their ends.
    for (let i = 0; i < at.length; i++) {
      const bucket = Math.floor(at[i] / partLength)
      const place = ends[bucket]++
      this.at[place] = at[i] - bucket * partLength
      this.places[place] = i
    }
  }

  /** Where a bucket begins and ends in the arrays above. */
  range(bucket: number): [number, number] {
    return [bucket === 0 ? 0 : this.#ends[bucket - 1], this.#ends[bucket]]
  }
}
