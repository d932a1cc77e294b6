// Kernels whose accesses can be seen in the code, on about 100 pages: where they do not fit the device, slices do.

import { atomic, f32, kernel, read, readWrite, u32, uniform, write } from '../../src/index.ts'
import { fill, MAIN, PAGE_WORDS, type Workload } from './workload.ts'

/** Pages of all arrays of a workload, about. */
export const DECLARED_PAGES = 100

const saxpy = kernel({
  name: 'saxpy',
  args: { x: read(f32), y: readWrite(f32), a: uniform(f32) },
  code: `${MAIN} { y[id.x] += a * x[id.x]; }`,
})
const map = kernel({
  name: 'map',
  args: { x: readWrite(u32) },
  code: `${MAIN} { x[id.x] = (x[id.x] ^ id.x) * 2654435761u; }`,
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

const direct = (name: string, run: Workload['run']): Workload => ({ name, minimum: 8, mode: 'direct', run })

export const DECLARED: readonly Workload[] = [
  direct('saxpy', async (site) => {
    const n = 50 * PAGE_WORDS - 3
    const [x, y] = [fill(site.floats(n), 1000), fill(site.floats(n), 100, 5)]
    const expected = y.map((value, i) => value + 3 * x[i])
    await site.launch(saxpy, { x, y, a: 3 }, n)
    await site.same('y', y, expected)
  }),

  direct('map', async (site) => {
    const n = 99 * PAGE_WORDS + 7
    const x = fill(site.words(n), 1000)
    const expected = x.map((value, i) => Math.imul(value ^ i, 2654435761))
    await site.launch(map, { x }, n)
    await site.same('x', x, expected)
  }),

  direct('zip', async (site) => {
    const n = 33 * PAGE_WORDS + 1
    const [a, b] = [fill(site.words(n), 1000), fill(site.words(n), 100, 5)]
    const out = site.words(n)
    const expected = a.map((value, i) => 3 * value + b[i] + i)
    await site.launch(zip, { a, b, out }, n)
    await site.same('out', out, expected)
  }),

  direct('stencil', async (site) => {
    const n = 50 * PAGE_WORDS
    const [x, y] = [fill(site.words(n), 1000), fill(site.words(n), 1000)]
    const expected = y.map((value, i) => (i === 0 || i === n - 1 ? value : x[i - 1] + 2 * x[i] + x[i + 1]))
    await site.launch(stencil, { x, y }, n - 2)
    await site.same('y', y, expected)
  }),

  direct('matrix multiply', async (site) => {
    const [m, k, n] = [700, 128, 8]
    const [a, b] = [fill(site.floats(m * k), 10), fill(site.floats(k * n), 10, 5)]
    const c = site.floats(m * n)
    const expected = new Float32Array(m * n)
    for (let at = 0; at < m * n; at++) {
      for (let i = 0; i < k; i++) expected[at] += a[Math.floor(at / n) * k + i] * b[i * n + (at % n)]
    }
    await site.launch(matmul, { a, b, c, k, n }, [n, m])
    await site.same('c', c, expected)
  }),

  direct('workgroup reduction', async (site) => {
    const groups = 1440
    const x = fill(site.words(groups * 64), 1000)
    const sums = site.words(groups)
    const sumOf = (group: number) => x.subarray(64 * group, 64 * group + 64).reduce((sum, value) => sum + value, 0)
    const expected = sums.map((_, group) => sumOf(group))
    await site.launch(reduce, { x, sums }, { workgroups: groups })
    await site.same('sums', sums, expected)
  }),

  direct('prefix sum', async (site) => {
    const groups = 1500
    const x = fill(site.words(groups * 64), 1000)
    const sums = site.words(groups)
    let sum = 0
    const expected = x.map((value) => {
      sum += value
      return sum
    })
    await site.batch((batch) => {
      batch.run(scan, { x, sums }, { workgroups: groups })
      batch.run(scanSums, { sums, n: groups }, 1)
      batch.run(addSums, { x, sums }, { workgroups: groups - 1 })
    })
    await site.same('x', x, expected)
  }),

  direct('histogram', async (site) => {
    const n = 98 * PAGE_WORDS
    const [x, bins] = [fill(site.words(n), 1000), site.words(100)]
    const expected = bins.slice()
    for (const value of x) expected[value % 100]++
    await site.launch(histogram, { x, bins }, n)
    await site.same('bins', bins, expected)
  }),

  direct('gather', async (site) => {
    const n = 45 * PAGE_WORDS
    const [index, table] = [fill(site.words(n), 5000), fill(site.floats(5000), 1000)]
    const out = site.floats(n)
    const expected = out.map((_, i) => table[index[i]])
    await site.launch(gather, { index, table, out }, n)
    await site.same('out', out, expected)
  }),
]
