// Rows of a table, summed up bag by bag: few rows are used most of the time, and nobody but the data knows which. By hand, where the
// table does not fit, the CPU looks at the data first: it brings each row that a batch uses once, and numbers them anew.

import { f32, type Heap, kernel, read, u32, write } from '../../src/index.ts'
import type { PlainGpu } from '../webgpu/plain-gpu.ts'
import { bufferOf, bytesOf, plainKernel } from './hand-written.ts'
import { Random } from './random.ts'
import type { Solver, Workload } from './workload.ts'

const WORKGROUP = 64
const WIDTH = 16
const BAGS = 1024
const PER_BAG = 8
const NLOOKUPS = BAGS * PER_BAG
const NBATCHES = 8
/** Zipf's law: the k-th most popular row is used 1 / k^EXPONENT as often as the first. */
const EXPONENT = 1.3

const POOL = {
  name: 'pool',
  args: { table: read(f32), rows: read(u32), pooled: write(f32) },
  code: `
    @compute @workgroup_size(${WORKGROUP})
    fn main(@builtin(global_invocation_id) id: vec3u) {
      let bag = id.x / ${WIDTH}u;
      var sum = 0.0;
      for (var k = 0u; k < ${PER_BAG}u; k++) {
        sum += table[rows[bag * ${PER_BAG}u + k] * ${WIDTH}u + id.x % ${WIDTH}u];
      }
      pooled[id.x] = sum;
    }`,
}

const nrowsOf = (nbytes: number) => Math.floor((nbytes - 4 * (NLOOKUPS + BAGS * WIDTH)) / 4 / WIDTH)

function fillTable(table: Float32Array): void {
  for (let i = 0; i < table.length; i++) table[i] = i % 1000
}

/** Batches of rows, one after the other and then again; popular rows are anywhere in the table. */
function makeBatches(nrows: number): () => Uint32Array<ArrayBuffer> {
  const random = new Random(7)
  const popular = () => Math.min(nrows, Math.floor((1 - random.next()) ** (-1 / (EXPONENT - 1)))) - 1
  const batches = Array.from({ length: NBATCHES }, () =>
    Uint32Array.from({ length: NLOOKUPS }, () => (Math.imul(popular(), 0x9e3779b1) >>> 0) % nrows),
  )
  let round = 0
  return () => batches[round++ % NBATCHES]
}

export const embedding: Workload = {
  name: 'embedding',
  summary: `${NLOOKUPS} rows of ${WIDTH} floats, summed by ${PER_BAG}, and the sums read`,
  tolerance: 0,

  onHeap(nbytes, heap: Heap): Solver {
    const nrows = nrowsOf(nbytes)
    const nextBatch = makeBatches(nrows)
    const table = heap.alloc(Float32Array, nrows * WIDTH, { name: 'table' })
    const rows = heap.alloc(Uint32Array, NLOOKUPS, { name: 'rows' })
    const pooled = heap.alloc(Float32Array, BAGS * WIDTH, { name: 'pooled' })
    fillTable(table)
    const launched = kernel(POOL)
    return {
      result: pooled,
      async round() {
        await heap.sync(rows)
        rows.set(nextBatch())
        await heap.run(launched, { table, rows, pooled }, pooled.length)
        await heap.sync(pooled, 'read')
      },
    }
  },

  resident(nbytes, gpu: PlainGpu): Solver {
    const nrows = nrowsOf(nbytes)
    const nextBatch = makeBatches(nrows)
    const table = new Float32Array(nrows * WIDTH)
    fillTable(table)
    const { result, pool } = pooling(gpu, bufferOf(gpu, table))
    return { result, round: () => pool(nextBatch()) }
  },

  byHand(nbytes, gpu: PlainGpu): Solver {
    const nrows = nrowsOf(nbytes)
    const nextBatch = makeBatches(nrows)
    const table = new Float32Array(nrows * WIDTH)
    fillTable(table)
    const used = new Float32Array(NLOOKUPS * WIDTH)
    const buffer = gpu.buffer(used.byteLength)
    const { result, pool } = pooling(gpu, buffer)
    /** Number of a row among those of the batch, which the second array names. */
    const numbers = new Uint32Array(nrows)
    const batches = new Uint32Array(nrows)
    const renumbered = new Uint32Array(NLOOKUPS)
    let batch = 0
    return {
      result,
      async round() {
        batch++
        let nused = 0
        nextBatch().forEach((row, i) => {
          if (batches[row] !== batch) {
            batches[row] = batch
            numbers[row] = nused
            for (let d = 0; d < WIDTH; d++) used[nused * WIDTH + d] = table[row * WIDTH + d]
            nused++
          }
          renumbered[i] = numbers[row]
        })
        gpu.device.queue.writeBuffer(buffer, 0, used, 0, nused * WIDTH)
        await pool(renumbered)
      },
    }
  },

  plain(nbytes): Solver {
    const nrows = nrowsOf(nbytes)
    const nextBatch = makeBatches(nrows)
    const table = new Float32Array(nrows * WIDTH)
    fillTable(table)
    const pooled = new Float32Array(BAGS * WIDTH)
    return {
      result: pooled,
      round() {
        const rows = nextBatch()
        pooled.fill(0)
        for (let i = 0; i < NLOOKUPS; i++) {
          const to = Math.floor(i / PER_BAG) * WIDTH
          const from = rows[i] * WIDTH
          for (let d = 0; d < WIDTH; d++) pooled[to + d] += table[from + d]
        }
      },
    }
  },
}

/** Sums up rows of a table on the device. */
function pooling(gpu: PlainGpu, table: GPUBuffer) {
  const result = new Float32Array(BAGS * WIDTH)
  const [rows, out] = [gpu.buffer(4 * NLOOKUPS), gpu.buffer(result.byteLength)]
  const launched = plainKernel(gpu, POOL, [table, rows, out])
  const pool = async (batch: Uint32Array<ArrayBuffer>): Promise<void> => {
    gpu.device.queue.writeBuffer(rows, 0, batch)
    gpu.submit(launched, result.length / WORKGROUP)
    await gpu.read(out, bytesOf(result))
  }
  return { result, pool }
}
