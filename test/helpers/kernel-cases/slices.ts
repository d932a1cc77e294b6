// Launches that are cut: what belongs to which slice is declared, or found in the code.

import { read, readWrite, uniform, write } from '../../../src/kernel/argument.ts'
import { f32, u32, vec4f } from '../../../src/kernel/data-type.ts'
import { kernel } from '../../../src/kernel/kernel.ts'
import { struct } from '../../../src/kernel/struct-type.ts'
import { fill, type KernelCase, kernelCase } from './kernel-case.ts'

const MAIN = '@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u)'

/** The sum of a row of one matrix times a column of the other. */
function multiply(
  a: Float32Array,
  b: Float32Array,
  c: Float32Array,
  [m, k, n]: readonly [number, number, number],
): void {
  for (let row = 0; row < m; row++) {
    for (let column = 0; column < n; column++) {
      let sum = 0
      for (let i = 0; i < k; i++) sum += a[row * k + i] * b[i * n + column]
      c[row * n + column] = sum
    }
  }
}

export const SLICE_CASES: readonly KernelCase[] = [
  kernelCase('slices found: element i of each', {
    kernel: () =>
      kernel({
        name: 'saxpy',
        args: { x: read(f32), y: readWrite(f32), a: uniform(f32) },
        code: `${MAIN} { let i = id.x; y[i] += a * x[i] + f32(id.x); }`,
      }),
    values: (alloc) => ({ x: fill(alloc(Float32Array, 50_001)), y: fill(alloc(Float32Array, 50_001), 100), a: 2 }),
    count: 50_001,
    limits: { npages: 24 },
    slices: 'several',
    expected: ({ x, y }) => {
      x.forEach((value, i) => {
        y[i] += 2 * value + i
      })
    },
  }),

  kernelCase('slices found: parts of arrays', {
    kernel: () =>
      kernel({
        name: 'map',
        args: { x: read(f32), y: write(f32) },
        code: `${MAIN} { y[id.x] = x[id.x] + f32(arrayLength(&x)); }`,
      }),
    values: (alloc) => ({
      x: fill(alloc(Float32Array, 20_000)).subarray(13, 19_013),
      y: alloc(Float32Array, 20_000).subarray(777, 19_777),
    }),
    count: 19_000,
    limits: { npages: 8 },
    slices: 'several',
    expected: ({ x, y }) => {
      x.forEach((value, i) => {
        y[i] = value + 19_000
      })
    },
  }),

  kernelCase('slices found: several elements for each, in a helper function', {
    kernel: () =>
      kernel({
        name: 'blocks',
        args: { x: read(f32), y: write(vec4f), n: uniform(u32) },
        code: `
          fn at(i: u32) -> f32 { return x[i]; }
          ${MAIN} {
            let base = id.x * 4u;
            var sum = 0.0;
            for (var k = 0u; k < n; k++) { sum += at(base + k); }
            y[id.x] = vec4f(at(base), at(4u * id.x + 3u), sum, x[base << 0u]);
          }`,
      }),
    values: (alloc) => ({ x: fill(alloc(Float32Array, 20_000)), y: alloc(Float32Array, 20_000), n: 4 }),
    count: 5000,
    limits: { npages: 10 },
    slices: 'several',
    expected: ({ x, y }) => {
      for (let i = 0; i < 5000; i++) {
        const [a, b, c, d] = x.subarray(4 * i, 4 * i + 4)
        y.set([a, d, a + b + c + d, a], 4 * i)
      }
    },
  }),

  kernelCase('slices found: neighbours', {
    kernel: () =>
      kernel({
        name: 'stencil',
        args: { x: read(f32), y: write(f32) },
        code: `${MAIN} { y[id.x + 1u] = x[id.x] + 2.0 * x[id.x + 1u] + x[id.x + 2u]; }`,
      }),
    values: (alloc) => ({ x: fill(alloc(Float32Array, 30_000)), y: fill(alloc(Float32Array, 30_000)) }),
    count: 29_998,
    limits: { npages: 10 },
    slices: 'several',
    expected: ({ x, y }) => {
      for (let i = 1; i < 29_999; i++) y[i] = x[i - 1] + 2 * x[i] + x[i + 1]
    },
  }),

  kernelCase('slices found: neighbours within bounds', {
    kernel: () =>
      kernel({
        name: 'bounded',
        args: { x: read(f32), y: write(f32), n: uniform(u32) },
        code: `${MAIN} {
          let i = id.x;
          y[i] = x[max(i, 1u) - 1u] + x[min(i + 1u, n - 1u)] + x[clamp(i, 2u, n - 3u)];
        }`,
      }),
    values: (alloc) => ({ x: fill(alloc(Float32Array, 20_000)), y: alloc(Float32Array, 20_000), n: 20_000 }),
    count: 20_000,
    limits: { npages: 10 },
    slices: 'several',
    expected: ({ x, y }) => {
      y.forEach((_, i) => {
        y[i] = x[Math.max(0, i - 1)] + x[Math.min(i + 1, 19_999)] + x[Math.min(Math.max(i, 2), 19_997)]
      })
    },
  }),

  kernelCase('slices found: rows of a rectangle', {
    kernel: () =>
      kernel({
        name: 'rows',
        args: { image: read(f32), out: write(f32), width: uniform(u32) },
        code: `@compute @workgroup_size(8, 8) fn main(@builtin(global_invocation_id) id: vec3u) {
          let i = id.y * width + id.x;
          out[i] = image[i] * 2.0 + f32(id.y) + 1000.0 * f32(id.x);
        }`,
      }),
    values: (alloc) => ({
      image: fill(alloc(Float32Array, 203 * 200)),
      out: alloc(Float32Array, 203 * 200),
      width: 203,
    }),
    count: [203, 200],
    limits: { npages: 40 },
    slices: 'several',
    expected: ({ image, out }) => {
      image.forEach((value, i) => {
        out[i] = value * 2 + Math.floor(i / 203) + 1000 * (i % 203)
      })
    },
  }),

  kernelCase('slices found: the rows of a product of matrices', {
    kernel: () =>
      kernel({
        name: 'matmul',
        args: { a: read(f32), b: read(f32), c: write(f32), k: uniform(u32), n: uniform(u32) },
        code: `@compute @workgroup_size(8, 8) fn main(@builtin(global_invocation_id) id: vec3u) {
          var sum = 0.0;
          for (var i = 0u; i < k; i += 1u) { sum += a[id.y * k + i] * b[i * n + id.x]; }
          c[id.y * n + id.x] = sum;
        }`,
      }),
    values: (alloc) => ({
      a: fill(alloc(Float32Array, 200 * 60), 10),
      b: fill(alloc(Float32Array, 60 * 50), 10),
      c: alloc(Float32Array, 200 * 50),
      k: 60,
      n: 50,
    }),
    count: [50, 200],
    limits: { npages: 12 },
    slices: 'several',
    expected: ({ a, b, c }) => multiply(a, b, c, [200, 60, 50]),
  }),

  kernelCase('slices found: workgroups with barriers', {
    kernel: () =>
      kernel({
        name: 'reduce',
        args: { x: read(f32), sums: write(f32) },
        code: `
          var<workgroup> part: array<f32, 64>;
          @compute @workgroup_size(64)
          fn main(@builtin(local_invocation_id) local: vec3u, @builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) n: vec3u) {
            let i = local.x;
            part[i] = x[group.x * 64u + local.x];
            workgroupBarrier();
            if (i == 0u) {
              var sum = 0.0;
              for (var k = 0u; k < 64u; k++) { sum += part[k]; }
              sums[group.x] = sum + f32(n.x);
            }
          }`,
      }),
    values: (alloc) => ({ x: fill(alloc(Float32Array, 64 * 300)), sums: alloc(Float32Array, 300) }),
    count: { workgroups: 300 },
    limits: { npages: 6 },
    slices: 'several',
    expected: ({ x, sums }) => {
      for (let group = 0; group < 300; group++) {
        sums[group] = x.subarray(64 * group, 64 * group + 64).reduce((sum, value) => sum + value, 300)
      }
    },
  }),

  kernelCase('slices found: structs of 12 bytes', {
    kernel: () =>
      kernel({
        name: 'triples',
        args: { t: readWrite(struct('T', { a: u32, b: u32, c: u32 })) },
        code: `${MAIN} { t[id.x].c = t[id.x].a + t[id.x].b + id.x; }`,
      }),
    values: (alloc) => ({ t: fill(alloc(Uint32Array, 3 * 5000)).subarray(3 * 7) }),
    count: 4993,
    limits: { npages: 4 },
    slices: 'several',
    expected: ({ t }) => {
      const words = t as Uint32Array
      for (let i = 0; i < 4993; i++) words[3 * i + 2] = words[3 * i] + words[3 * i + 1] + i
    },
  }),

  kernelCase('slices declared: linear, beside a table that all use', {
    kernel: () =>
      kernel({
        name: 'lookup',
        args: {
          index: read(u32, { slice: 'linear' }),
          table: read(f32, { slice: 'whole' }),
          out: write(f32, { slice: 'linear' }),
        },
        code: `${MAIN} { var i = id.x; out[i] = table[index[i]]; }`,
      }),
    values: (alloc) => ({
      index: fill(alloc(Uint32Array, 30_000), 1000),
      table: fill(alloc(Float32Array, 1000)),
      out: alloc(Float32Array, 30_000),
    }),
    count: 30_000,
    limits: { npages: 12 },
    slices: 'several',
    expected: ({ index, table, out }) => {
      index.forEach((at, i) => {
        out[i] = table[at]
      })
    },
  }),

  kernelCase('slices declared: rows with neighbours, as long as a uniform says', {
    kernel: () =>
      kernel({
        name: 'vertical',
        args: {
          x: read(f32, { slice: { along: 'y', stride: 'width', before: 1, after: 1 } }),
          y: write(f32, { slice: { along: 'y', stride: 'width' } }),
          width: uniform(u32),
          height: uniform(u32),
        },
        code: `@compute @workgroup_size(16, 4) fn main(@builtin(global_invocation_id) id: vec3u) {
          let up = select(id.y - 1u, 0u, id.y == 0u);
          let down = min(id.y + 1u, height - 1u);
          y[id.y * width + id.x] = x[up * width + id.x] + x[down * width + id.x];
        }`,
      }),
    values: (alloc) => ({
      x: fill(alloc(Float32Array, 100 * 300)),
      y: alloc(Float32Array, 100 * 300),
      width: 100,
      height: 300,
    }),
    count: [100, 300],
    limits: { npages: 20 },
    slices: 'several',
    expected: ({ x, y }) => {
      y.forEach((_, i) => {
        const row = Math.floor(i / 100)
        y[i] = x[Math.max(0, row - 1) * 100 + (i % 100)] + x[Math.min(299, row + 1) * 100 + (i % 100)]
      })
    },
  }),

  kernelCase('slices declared: by workgroup', {
    kernel: () =>
      kernel({
        name: 'tiles',
        args: { x: read(u32), most: write(u32, { slice: { per: 'workgroup' } }) },
        code: `
          var<workgroup> found: atomic<u32>;
          @compute @workgroup_size(64)
          fn main(@builtin(global_invocation_id) id: vec3u, @builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) i: u32) {
            atomicMax(&found, x[id.x]);
            workgroupBarrier();
            var g = group;
            if (i == 0u) { most[g.x] = atomicLoad(&found); }
          }`,
      }),
    values: (alloc) => ({ x: fill(alloc(Uint32Array, 64 * 200)), most: alloc(Uint32Array, 200) }),
    count: { workgroups: 200 },
    limits: { npages: 6 },
    slices: 'several',
    expected: ({ x, most }) => {
      for (let group = 0; group < 200; group++) most[group] = Math.max(...x.subarray(64 * group, 64 * group + 64))
    },
  }),

  kernelCase('slices of so many workgroups', {
    kernel: () => kernel({ name: 'iota', args: { x: write(u32) }, code: `${MAIN} { x[id.x] = id.x; }` }),
    values: (alloc) => ({ x: alloc(Uint32Array, 1000) }),
    count: 1000,
    limits: { sliceMax: 3 },
    slices: 6, // 16 workgroups
    expected: ({ x }) => {
      x.forEach((_, i) => {
        x[i] = i
      })
    },
  }),
]
