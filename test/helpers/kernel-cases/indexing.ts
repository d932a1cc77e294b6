// How the code uses its arguments: parts of arrays, arguments that overlap, lengths, pointers, shadows, stray indices.

import { read, readWrite, uniform, write } from '../../../src/kernel/argument.ts'
import { f32, i32, u32, vec2f, vec3u } from '../../../src/kernel/data-type.ts'
import { kernel } from '../../../src/kernel/kernel.ts'
import { struct } from '../../../src/kernel/struct-type.ts'
import { fill, type KernelCase, kernelCase } from './kernel-case.ts'

const MAIN = '@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u)'

const saxpy = () =>
  kernel({
    name: 'saxpy',
    args: { x: read(f32), y: readWrite(f32), a: uniform(f32) },
    code: `${MAIN} { y[id.x] += a * x[id.x]; }`,
  })

function saxpyOn({ x, y }: { readonly x: Float32Array; readonly y: Float32Array }, n: number): void {
  for (let i = 0; i < n; i++) y[i] += 2 * x[i]
}

/** Writes the lengths that the code sees. */
const lengths = () =>
  kernel({
    name: 'lengths',
    args: { x: read(f32), v: read(vec2f), n: write(u32) },
    code: `${MAIN} { n[0] = arrayLength(&x); n[1] = arrayLength(&(v)); n[2] = arrayLength(&n); n[3] = u32(x[0] + v[0].x); }`,
  })

const Pair = struct('Pair', { a: u32, b: u32, c: u32 })

export const INDEXING_CASES: readonly KernelCase[] = [
  ...(
    [
      [0, 1000],
      [1, 999],
      [63, 500],
      [64, 500],
      [65, 1],
      [1023, 1025],
    ] as const
  ).map(([from, n]) =>
    kernelCase(`a part of an array: ${n} from ${from}`, {
      kernel: saxpy,
      values: (alloc) => ({
        x: fill(alloc(Float32Array, 3000)).subarray(from, from + n),
        y: fill(alloc(Float32Array, 4000), 100, 3).subarray(2 * from, 2 * from + n),
        a: 2,
      }),
      count: n,
      expected: (values) => saxpyOn(values, n),
    }),
  ),

  kernelCase('a part of an array of structs', {
    kernel: () =>
      kernel({
        name: 'parts',
        args: { pairs: readWrite(Pair) },
        code: `${MAIN} { pairs[id.x].b = pairs[id.x].a + 1; }`,
      }),
    values: (alloc) => ({ pairs: fill(alloc(Uint32Array, 3 * 500)).subarray(3 * 107, 3 * 401) }),
    count: 294,
    expected: ({ pairs }) => {
      for (let i = 0; i < 294; i++) Pair.set(pairs, i, { b: Pair.get(pairs, i).a + 1 })
    },
  }),

  kernelCase('two parts of one array', {
    kernel: saxpy,
    values: (alloc) => {
      const both = fill(alloc(Float32Array, 300))
      return { x: both.subarray(0, 131), y: both.subarray(131, 262), a: 2 }
    },
    count: 131,
    expected: (values) => saxpyOn(values, 131),
  }),

  kernelCase('an array that is two arguments', {
    kernel: saxpy,
    values: (alloc) => {
      const x = fill(alloc(Float32Array, 200))
      return { x, y: x, a: 2 }
    },
    count: 200,
    expected: (values) => saxpyOn(values, 200),
  }),

  kernelCase('arguments that overlap', {
    kernel: () =>
      kernel({
        name: 'overlap',
        args: { even: read(u32), all: readWrite(u32), n: write(u32) },
        code: `${MAIN} { all[2u * id.x + 101u] = even[2u * id.x] + all[2u * id.x + 100u]; n[id.x] = arrayLength(&even) + arrayLength(&all); }`,
      }),
    values: (alloc) => {
      const all = fill(alloc(Uint32Array, 300))
      return { even: all.subarray(100, 200), all, n: alloc(Uint32Array, 50) }
    },
    count: 50,
    expected: ({ even, all, n }) => {
      for (let i = 0; i < 50; i++) {
        all[2 * i + 101] = even[2 * i] + all[2 * i + 100]
        n[i] = 400
      }
    },
  }),

  kernelCase('lengths of whole arrays', {
    kernel: lengths,
    values: (alloc) => ({
      x: fill(alloc(Float32Array, 77)),
      v: fill(alloc(Float32Array, 90)),
      n: alloc(Uint32Array, 5),
    }),
    count: 1,
    expected: ({ x, v, n }) => n.set([77, 45, 5, x[0] + v[0]]),
  }),

  kernelCase('lengths of parts of arrays', {
    kernel: lengths,
    values: (alloc) => ({
      x: fill(alloc(Float32Array, 77)).subarray(5, 50),
      v: fill(alloc(Float32Array, 90)).subarray(2, 10),
      n: alloc(Uint32Array, 50).subarray(40, 44),
    }),
    count: 1,
    expected: ({ x, v, n }) => n.set([45, 4, 4, x[0] + v[0]]),
  }),

  kernelCase('gather', {
    kernel: () =>
      kernel({
        name: 'gather',
        args: { index: read(u32), table: read(f32), out: write(f32) },
        code: `${MAIN} { out[id.x] = table[index[id.x]]; }`,
      }),
    values: (alloc) => ({
      index: fill(alloc(Uint32Array, 2000), 500),
      table: fill(alloc(Float32Array, 510)).subarray(3, 503),
      out: alloc(Float32Array, 2000),
    }),
    count: 2000,
    expected: ({ index, table, out }) => {
      index.forEach((at, i) => {
        out[i] = table[at]
      })
    },
  }),

  kernelCase('indices that are i32, and constants', {
    kernel: () =>
      kernel({
        name: 'signed',
        args: { x: read(i32), y: write(i32) },
        code: `const SHIFT = 2; ${MAIN} { let i = i32(id.x); y[i] = x[i + SHIFT - 1] - x[0]; }`,
      }),
    values: (alloc) => ({
      x: fill(alloc(Int32Array, 200)).subarray(7, 107),
      y: alloc(Int32Array, 200).subarray(1, 100),
    }),
    count: 99,
    expected: ({ x, y }) => {
      y.forEach((_, i) => {
        y[i] = x[i + 1] - x[0]
      })
    },
  }),

  kernelCase('names that hide arguments', {
    kernel: () =>
      kernel({
        name: 'shadows',
        args: { x: read(f32), y: write(f32) },
        code: `
          fn twice(x: array<f32, 2>) -> f32 { return x[0] + x[1]; }
          ${MAIN} {
            let first = x[id.x];
            {
              var x = array<f32, 2>(first, 1.0);
              x[1] += 1.0;
              y[id.x] = twice(x) + x[1];
            }
          }`,
      }),
    values: (alloc) => ({ x: fill(alloc(Float32Array, 90)).subarray(20), y: alloc(Float32Array, 70) }),
    count: 70,
    expected: ({ x, y }) => {
      y.forEach((_, i) => {
        y[i] = x[i] + 4
      })
    },
  }),

  kernelCase('pointers to elements', {
    kernel: () =>
      kernel({
        name: 'pointers',
        args: { x: read(vec3u), y: readWrite(u32) },
        code: `
          fn bump(p: ptr<storage, u32, read_write>, by: u32) { *p += by; }
          fn sum(v: ptr<storage, vec3u>) -> u32 { return (*v).x + (*v).y + v.z; }
          ${MAIN} {
            let mine = &x[id.x];
            bump(&y[id.x], sum(mine));
            let p = &(y[id.x]);
            *p = *p + 1u;
          }`,
      }),
    values: (alloc) => ({
      x: fill(alloc(Uint32Array, 4 * 100)).subarray(4, 4 * 90),
      y: fill(alloc(Uint32Array, 100)).subarray(11),
    }),
    count: 89,
    expected: ({ x, y }) => {
      y.forEach((_, i) => {
        y[i] += x[4 * i] + x[4 * i + 1] + x[4 * i + 2] + 1
      })
    },
  }),

  kernelCase('a whole array by pointer', {
    kernel: () =>
      kernel({
        name: 'whole',
        args: { x: read(f32), y: write(f32) },
        code: `
          fn sum(all: ptr<storage, array<f32>, read>) -> f32 {
            var s = 0.0;
            for (var i = 0u; i < arrayLength(all); i++) { s += all[i]; }
            return s;
          }
          ${MAIN} { y[id.x] = sum(&x) + f32(id.x); }`,
      }),
    values: (alloc) => ({ x: fill(alloc(Float32Array, 33)), y: alloc(Float32Array, 65) }),
    count: 65,
    expected: ({ x, y }) => {
      const sum = x.reduce((total, value) => total + value, 0)
      y.forEach((_, i) => {
        y[i] = sum + i
      })
    },
  }),

  kernelCase('stores beyond a part of an array stay inside of it', {
    kernel: () =>
      kernel({
        name: 'stray',
        args: { x: readWrite(u32), far: uniform(u32) },
        // Where such a store goes is not said; so all of them store what is there already.
        code: `${MAIN} { x[id.x + far] = 7u; x[0u - far - id.x] = 7u; }`,
      }),
    values: (alloc) => {
      const all = fill(alloc(Uint32Array, 400))
      all.fill(7, 100, 200)
      return { x: all.subarray(100, 200), far: 150 }
    },
    count: 100,
    expected: () => {},
  }),

  kernelCase('compound assignment, steps, nested indices, comments', {
    kernel: () =>
      kernel({
        name: 'nested',
        args: { next: read(u32), y: readWrite(u32) },
        code: `
          /* y[0] = /* nested */ 5; */
          ${MAIN} {
            y[ /* here */ next[next[id.x]] ]++; // y[1] = 3u;
            y[id.x + 100u] <<= 1u;
            y[id.x + 100u] |= y[(id.x) + 200u] & 1u;
            y[id.x+200u]--;
          }`,
      }),
    values: (alloc) => {
      const next = alloc(Uint32Array, 150).subarray(25, 125)
      // A permutation, so that no two invocations add to the same element.
      next.forEach((_, i) => {
        next[i] = (i * 37 + 11) % 100
      })
      return { next, y: fill(alloc(Uint32Array, 400)).subarray(50, 350) }
    },
    count: 100,
    expected: ({ next, y }) => {
      for (let i = 0; i < 100; i++) {
        y[next[next[i]]]++
        y[i + 100] = (y[i + 100] << 1) | (y[i + 200] & 1)
        y[i + 200]--
      }
    },
  }),
]
