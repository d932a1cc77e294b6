// Well-known kernels on arrays of about 100 pages, on devices that have four times, once, half and a quarter of that: every element is
// what JavaScript makes of it.

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { whyNoGpu } from '../../test/helpers/gpu.ts'
import { fill } from '../../test/helpers/kernel-cases/kernel-case.ts'
import { describeModes } from '../../test/helpers/mode-fixture.ts'
import {
  atomic,
  f32,
  type Heap,
  kernel,
  openHeap,
  type RunReceipt,
  read,
  readWrite,
  u32,
  uniform,
  write,
} from '../index.ts'

const missing = await whyNoGpu()

const PAGE = 4096
/** Elements of 4 bytes in a page. */
const WORDS = PAGE / 4
const MAIN = '@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u)'

const saxpy = kernel({
  name: 'saxpy',
  args: { x: read(f32), y: readWrite(f32), a: uniform(f32) },
  code: `${MAIN} { y[id.x] += a * x[id.x]; }`,
})
const zip = kernel({
  name: 'zip',
  args: { a: read(u32), b: read(u32), out: write(u32) },
  code: `${MAIN} { out[id.x] = 3u * a[id.x] + b[id.x] + id.x; }`,
})
const stencil = kernel({
  name: 'stencil',
  args: { x: read(u32), y: write(u32) },
  code: `${MAIN} { y[id.x + 1u] = x[id.x] + 2u * x[id.x + 1u] + x[id.x + 2u]; }`,
})
const matmul = kernel({
  name: 'matmul',
  args: { a: read(f32), b: read(f32), c: write(f32), k: uniform(u32), n: uniform(u32) },
  code: `@compute @workgroup_size(8, 8) fn main(@builtin(global_invocation_id) id: vec3u) {
    var sum = 0.0;
    for (var i = 0u; i < k; i++) { sum += a[id.y * k + i] * b[i * n + id.x]; }
    c[id.y * n + id.x] = sum;
  }`,
})
const REDUCE = `
  var<workgroup> part: array<u32, 64>;
  @compute @workgroup_size(64)
  fn main(@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_index) i: u32, @builtin(workgroup_id) group: vec3u) {
    part[i] = x[id.x];
    for (var step = 1u; step < 64u; step *= 2u) {
      workgroupBarrier();
      var below = 0u;
      if (i >= step) { below = part[i - step]; }
      workgroupBarrier();
      part[i] += below;
    }
    if (i == 63u) { sums[group.x] = part[i]; }`
const reduce = kernel({ name: 'reduce', args: { x: read(u32), sums: write(u32) }, code: `${REDUCE} }` })
/** The sums of the elements up to each, in blocks of 64. */
const scan = kernel({
  name: 'scan',
  args: { x: readWrite(u32), sums: write(u32) },
  code: `${REDUCE} x[id.x] = part[i]; }`,
})
const scanSums = kernel({
  name: 'scan sums',
  args: { sums: readWrite(u32), n: uniform(u32) },
  code: '@compute @workgroup_size(1) fn main() { for (var i = 1u; i < n; i++) { sums[i] += sums[i - 1u]; } }',
})
const addSums = kernel({
  name: 'add sums',
  args: { x: readWrite(u32), sums: read(u32) },
  code: `@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u, @builtin(workgroup_id) group: vec3u) {
    x[id.x + 64u] += sums[group.x];
  }`,
})
const histogram = kernel({
  name: 'histogram',
  args: { x: read(u32), bins: readWrite(atomic(u32)) },
  code: `${MAIN} { atomicAdd(&bins[x[id.x] % 100u], 1u); }`,
})
const gather = kernel({
  name: 'gather',
  args: { index: read(u32), table: read(f32), out: write(f32) },
  code: `${MAIN} { out[id.x] = table[index[id.x]]; }`,
})

type Algorithm = (heap: Heap) => Promise<RunReceipt>

const ALGORITHMS: Readonly<Record<string, Algorithm>> = {
  async saxpy(heap) {
    const n = 50 * WORDS - 3
    const [x, y] = [fill(heap.alloc(Float32Array, n)), fill(heap.alloc(Float32Array, n), 100, 5)]
    const expected = y.map((value, i) => value + 3 * x[i])
    const receipt = await heap.run(saxpy, { x, y, a: 3 }, n)
    return await same(heap, receipt, y, expected)
  },

  async zip(heap) {
    const n = 33 * WORDS + 1
    const [a, b] = [fill(heap.alloc(Uint32Array, n)), fill(heap.alloc(Uint32Array, n), 100, 5)]
    const out = heap.alloc(Uint32Array, n)
    const expected = a.map((value, i) => 3 * value + b[i] + i)
    return await same(heap, await heap.run(zip, { a, b, out }, n), out, expected)
  },

  async stencil(heap) {
    const n = 50 * WORDS
    const [x, y] = [fill(heap.alloc(Uint32Array, n)), fill(heap.alloc(Uint32Array, n))]
    const expected = y.map((value, i) => (i === 0 || i === n - 1 ? value : x[i - 1] + 2 * x[i] + x[i + 1]))
    return await same(heap, await heap.run(stencil, { x, y }, n - 2), y, expected)
  },

  async 'matrix multiply'(heap) {
    const [m, k, n] = [700, 128, 8]
    const [a, b] = [fill(heap.alloc(Float32Array, m * k), 10), fill(heap.alloc(Float32Array, k * n), 10, 5)]
    const c = heap.alloc(Float32Array, m * n)
    const expected = new Float32Array(m * n)
    for (let at = 0; at < m * n; at++) {
      for (let i = 0; i < k; i++) expected[at] += a[Math.floor(at / n) * k + i] * b[i * n + (at % n)]
    }
    return await same(heap, await heap.run(matmul, { a, b, c, k, n }, [n, m]), c, expected)
  },

  async 'workgroup reduction'(heap) {
    const groups = 1440
    const x = fill(heap.alloc(Uint32Array, groups * 64))
    const sums = heap.alloc(Uint32Array, groups)
    const expected = sums.map((_, group) =>
      x.subarray(64 * group, 64 * group + 64).reduce((sum, value) => sum + value, 0),
    )
    return await same(heap, await heap.run(reduce, { x, sums }, { workgroups: groups }), sums, expected)
  },

  async 'prefix sum'(heap) {
    const groups = 1500
    const x = fill(heap.alloc(Uint32Array, groups * 64))
    const sums = heap.alloc(Uint32Array, groups)
    let sum = 0
    const expected = x.map((value) => (sum += value))
    const receipt = await heap.batch((batch) => {
      batch.run(scan, { x, sums }, { workgroups: groups })
      batch.run(scanSums, { sums, n: groups }, 1)
      batch.run(addSums, { x, sums }, { workgroups: groups - 1 })
    })
    return await same(heap, receipt, x, expected)
  },

  async histogram(heap) {
    const n = 98 * WORDS
    const [x, bins] = [fill(heap.alloc(Uint32Array, n)), heap.alloc(Uint32Array, 100)]
    const expected = bins.slice()
    for (const value of x) expected[value % 100]++
    return await same(heap, await heap.run(histogram, { x, bins }, n), bins, expected)
  },

  async gather(heap) {
    const n = 45 * WORDS
    const [index, table] = [fill(heap.alloc(Uint32Array, n), 5000), fill(heap.alloc(Float32Array, 5000))]
    const out = heap.alloc(Float32Array, n)
    const expected = out.map((_, i) => table[index[i]])
    return await same(heap, await heap.run(gather, { index, table, out }, n), out, expected)
  },
}

async function same(
  heap: Heap,
  receipt: RunReceipt,
  found: Float32Array | Uint32Array,
  expected: Float32Array | Uint32Array,
): Promise<RunReceipt> {
  await heap.sync(found)
  const at = found.findIndex((value, i) => value !== expected[i])
  if (at >= 0) expect.fail(`element ${at} is ${found[at]}, wanted ${expected[at]}`)
  return receipt
}

await describeModes((mode) => {
  for (const percent of [400, 100, 50, 25]) {
    describe(`device memory of ${percent} %`, () => {
      let heap: Heap
      beforeEach(async (test) => {
        if (missing !== null) test.skip(missing)
        const device = { memory: percent * PAGE }
        heap = await openHeap({ mode: mode.name, size: '16 MiB', device, onNotice: () => {} })
      })
      afterEach(async () => {
        await heap.close()
      })

      it('runs everything right', async () => {
        for (const [name, run] of Object.entries(ALGORITHMS)) {
          const { slices } = await run(heap)
          // Two slices are on the device at a time.
          if (percent === 25) expect(slices, name).toBeGreaterThan(4)
          if (percent === 400) expect(slices, name).toBe(1)
        }
      })
    })
  }
})

describe.skipIf(missing !== null)('lengths', () => {
  it.each([1, 63, 65, 4_194_241, 50_000_001])('%d', { timeout: 180_000 }, async (n) => {
    const memory = Math.max(8, Math.ceil((8 * n) / 4 / PAGE)) * PAGE
    const heap = await openHeap({ mode: 'explicit', check: false, device: { memory }, onNotice: () => {} })
    const [x, y] = [heap.alloc(Float32Array, n), heap.alloc(Float32Array, n)]
    for (let i = 0; i < n; i++) x[i] = i & 0xffff
    y.fill(1)
    await heap.run(saxpy, { x, y, a: 2 }, n)
    await heap.sync(y)
    let wrong = -1
    for (let i = 0; i < n && wrong < 0; i++) if (y[i] !== 1 + 2 * (i & 0xffff)) wrong = i
    expect(wrong).toBe(-1)
    expect(y[n - 1]).toBe(1 + 2 * ((n - 1) & 0xffff))
    await heap.close()
  })
})
