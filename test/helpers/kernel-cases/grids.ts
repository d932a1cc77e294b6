// Counts in one, two and three dimensions, workgroups, ids, entry points, overrides, barriers.

import { read, readWrite, uniform, write } from '../../../src/kernel/argument.ts'
import { atomic, f32, u32, vec4u } from '../../../src/kernel/data-type.ts'
import { kernel } from '../../../src/kernel/kernel.ts'
import { fill, type KernelCase, kernelCase } from './kernel-case.ts'

/** Every invocation adds one to its element: those that are too many, or too few, show. */
function counting(size: readonly number[], count: readonly number[]): KernelCase {
  const [width, height = 1, depth = 1] = count
  return kernelCase(`grid ${count.join(' x ')} in workgroups of ${size.join(' x ')}`, {
    kernel: () =>
      kernel({
        name: 'counting',
        args: { seen: readWrite(u32), width: uniform(u32), height: uniform(u32) },
        code: `@compute @workgroup_size(${size.join(', ')})
          fn main(@builtin(global_invocation_id) id: vec3u) { seen[(id.z * height + id.y) * width + id.x] += 1u; }`,
      }),
    values: (alloc) => ({ seen: alloc(Uint32Array, width * height * depth + 64), width, height }),
    count: count as [number, number, number],
    expected: ({ seen }) => {
      seen.fill(1, 0, width * height * depth)
    },
  })
}

/** Every id that an invocation can have, in workgroups. */
const ids = kernelCase('grid ids of workgroups', {
  kernel: () =>
    kernel({
      name: 'ids',
      args: { seen: write(vec4u), width: uniform(u32) },
      code: `
        struct Where { @builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u }
        @compute @workgroup_size(4, 2, 3)
        fn main(at: Where, @builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u,
                @builtin(local_invocation_index) index: u32) {
          let i = (id.z * groups.y * 2u + id.y) * width + id.x;
          let group = (at.group.z * groups.y + at.group.y) * groups.x + at.group.x;
          seen[i] = vec4u(group, index, at.local.x + 10u * at.local.y + 100u * at.local.z, groups.x * 100u + groups.y * 10u + groups.z);
        }`,
    }),
  values: (alloc) => ({ seen: alloc(Uint32Array, 4 * 12 * 4 * 6), width: 12 }),
  count: { workgroups: [3, 2, 2] },
  expected: ({ seen }) => {
    for (let z = 0; z < 6; z++) {
      for (let y = 0; y < 4; y++) {
        for (let x = 0; x < 12; x++) {
          const group = (Math.floor(z / 3) * 2 + Math.floor(y / 2)) * 3 + Math.floor(x / 4)
          const index = ((z % 3) * 2 + (y % 2)) * 4 + (x % 4)
          const local = (x % 4) + 10 * (y % 2) + 100 * (z % 3)
          seen.set([group, index, local, 322], 4 * ((z * 4 + y) * 12 + x))
        }
      }
    }
  },
})

const REDUCE = `
  override SIZE: u32 = 64u;
  var<workgroup> part: array<f32, SIZE>;
  @compute @workgroup_size(SIZE)
  fn main(@builtin(local_invocation_index) i: u32, @builtin(workgroup_id) group: vec3u) {
    part[i] = x[group.x * SIZE + i];
    for (var half = SIZE / 2u; half > 0u; half /= 2u) {
      workgroupBarrier();
      if (i < half) { part[i] += part[i + half]; }
    }
    if (i == 0u) { sums[group.x] = part[0]; }
  }`

function reduction(name: string, constants: Record<string, number>, size: number): KernelCase {
  return kernelCase(name, {
    kernel: () => kernel({ name: 'reduce', args: { x: read(f32), sums: write(f32) }, code: REDUCE, constants }),
    values: (alloc) => ({ x: fill(alloc(Float32Array, 20 * size)), sums: alloc(Float32Array, 20) }),
    count: { workgroups: 20 },
    expected: ({ x, sums }) => {
      for (let group = 0; group < 20; group++) {
        sums[group] = x.subarray(group * size, (group + 1) * size).reduce((sum, value) => sum + value, 0)
      }
    },
  })
}

/** Two entry points in one module, which share a function and not all arguments. */
const TWO = {
  name: 'two',
  args: { x: readWrite(f32), y: readWrite(f32), a: uniform(f32) },
  code: `
    fn scaled(v: f32) -> f32 { return a * v; }
    @compute @workgroup_size(32) fn forward(@builtin(global_invocation_id) id: vec3u) { y[id.x] = scaled(x[id.x]); }
    @compute @workgroup_size(128) fn backward(@builtin(global_invocation_id) id: vec3u) { x[id.x] = -scaled(x[id.x]); }`,
} as const

export const GRID_CASES: readonly KernelCase[] = [
  counting([64], [1]),
  counting([64], [63]),
  counting([64], [64]),
  counting([64], [65]),
  counting([256], [100_001]),
  counting([1], [70_000]), // more workgroups than one dispatch has
  counting([8, 8], [37, 29]),
  counting([16, 4], [16, 4]),
  counting([1, 64], [3, 1]),
  counting([4, 4, 4], [9, 7, 5]),
  counting([1, 1, 64], [2, 3, 65]),
  counting([2, 1, 1], [5, 1, 6]),
  ids,
  reduction('overrides as the code has them', {}, 64),
  reduction('overrides with other values', { SIZE: 16 }, 16),

  kernelCase('no invocations at all', {
    kernel: () => kernel({ name: 'none', args: { x: readWrite(f32) }, code: ONE_MORE }),
    values: (alloc) => ({ x: fill(alloc(Float32Array, 10)) }),
    count: [5, 0, 3],
    expected: () => {},
    slices: 0,
  }),

  kernelCase('the first of two entry points', {
    kernel: () => kernel({ ...TWO, entry: 'forward' }),
    values: (alloc) => ({ x: fill(alloc(Float32Array, 99)), y: fill(alloc(Float32Array, 99)), a: 3 }),
    count: 98,
    expected: ({ x, y }) => {
      for (let i = 0; i < 98; i++) y[i] = 3 * x[i]
    },
  }),

  kernelCase('the second of two entry points', {
    kernel: () => kernel(TWO).entry('backward'),
    values: (alloc) => ({ x: fill(alloc(Float32Array, 99)), y: fill(alloc(Float32Array, 99)), a: 3 }),
    count: 98,
    expected: ({ x }) => {
      for (let i = 0; i < 98; i++) x[i] *= -3
    },
  }),

  kernelCase('barriers: a prefix sum', {
    kernel: () =>
      kernel({
        name: 'scan',
        args: { x: read(u32), sums: write(u32) },
        code: `
          var<workgroup> part: array<u32, 64>;
          @compute @workgroup_size(64)
          fn main(@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_index) i: u32) {
            part[i] = x[id.x];
            for (var step = 1u; step < 64u; step *= 2u) {
              workgroupBarrier();
              var below = 0u;
              if (i >= step) { below = part[i - step]; }
              workgroupBarrier();
              part[i] += below;
            }
            sums[id.x] = part[i];
          }`,
      }),
    values: (alloc) => ({ x: fill(alloc(Uint32Array, 64 * 9)), sums: alloc(Uint32Array, 64 * 9) }),
    count: { workgroups: [9] },
    expected: ({ x, sums }) => {
      x.forEach((value, i) => {
        sums[i] = value + (i % 64 === 0 ? 0 : sums[i - 1])
      })
    },
  }),

  kernelCase('barriers: uniform loads, and atomics of a workgroup', {
    kernel: () =>
      kernel({
        name: 'tally',
        args: { x: read(u32), odd: write(u32), total: readWrite(atomic(u32)) },
        code: `
          var<workgroup> count: atomic<u32>;
          @compute @workgroup_size(32)
          fn main(@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_index) i: u32, @builtin(workgroup_id) w: vec3u) {
            if ((x[id.x] & 1u) == 1u) { atomicAdd(&count, 1u); }
            workgroupBarrier();
            if (i == 0u) { odd[w.x] = atomicLoad(&count); atomicAdd(&total[0], atomicLoad(&count)); }
          }`,
      }),
    values: (alloc) => ({
      x: fill(alloc(Uint32Array, 320)),
      odd: alloc(Uint32Array, 10),
      total: fill(alloc(Uint32Array, 1)),
    }),
    count: { workgroups: 10 },
    expected: ({ x, odd, total }) => {
      odd.fill(0)
      x.forEach((value, i) => {
        odd[i >> 5] += value & 1
        total[0] += value & 1
      })
    },
  }),
]

const ONE_MORE = `@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) { x[id.x] += 1.0; }`
