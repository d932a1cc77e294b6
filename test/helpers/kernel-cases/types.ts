// Every type that an argument can have.

import { read, readWrite, uniform, write } from '../../../src/kernel/argument.ts'
import * as types from '../../../src/kernel/data-type.ts'
import {
  array,
  atomic,
  type DataType,
  f32,
  i32,
  ptr64,
  strideOf,
  u8x4,
  u32,
  vec2f,
  vec3f,
  vec4f,
} from '../../../src/kernel/data-type.ts'
import { kernel } from '../../../src/kernel/kernel.ts'
import { struct } from '../../../src/kernel/struct-type.ts'
import { fill, type KernelCase, kernelCase } from './kernel-case.ts'

const MAIN = '@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u)'

/** Doubles each component of each element: what the CPU sees as neighbouring numbers, gaps of WGSL included. */
function doubling(name: string, type: DataType, double: string): KernelCase {
  const stride = strideOf(type)
  return kernelCase(`type ${name}`, {
    kernel: () =>
      kernel({
        name,
        args: { x: read(type), y: write(type) },
        code: `${MAIN} { y[id.x] = ${double}; }`,
      }),
    values: (alloc) => {
      const kind = type.wgsl.includes('u32') ? Uint32Array : type.wgsl.includes('i32') ? Int32Array : Float32Array
      const x = fill(alloc(kind, (100 * stride) / 4) as Float32Array)
      return { x, y: fill(alloc(kind, (100 * stride) / 4) as Float32Array, 1000, 7) }
    },
    count: 100,
    expected: ({ x, y }) => {
      const [from, to] = [x as Float32Array, y as Float32Array]
      // The gaps of columns and vectors of three keep what they had.
      const column = /3</.test(type.wgsl) || /x3</.test(type.wgsl) ? 4 : 0
      from.forEach((value, i) => {
        if (column === 0 || i % column !== 3) to[i] = 2 * value
      })
    },
  })
}

const VECTORS = [2, 3, 4].flatMap((n) => ['f', 'u', 'i'].map((letter) => `vec${n}${letter}`))
const MATRICES = [2, 3, 4].flatMap((columns) => [2, 3, 4].map((rows) => `mat${columns}x${rows}f`))
const BY_NAME = types as unknown as Readonly<Record<string, DataType>>

const Node = struct('Node', { key: u32, weight: f32, next: types.ptr })
const Particle = struct('Particle', { position: vec3f, mass: f32, velocity: vec3f, cells: array(u32, 3) })

export const TYPE_CASES: readonly KernelCase[] = [
  ...['f32', 'u32', 'i32'].map((name) => doubling(name, BY_NAME[name], 'x[id.x] + x[id.x]')),
  ...VECTORS.map((name) => doubling(name, BY_NAME[name], 'x[id.x] + x[id.x]')),
  ...MATRICES.map((name) => doubling(name, BY_NAME[name], 'x[id.x] + x[id.x]')),

  kernelCase('type atomic<u32>: a histogram', {
    kernel: () =>
      kernel({
        name: 'histogram',
        args: { values: read(u32), bins: readWrite(atomic(u32)) },
        code: `${MAIN} { atomicAdd(&bins[values[id.x] % 16u], 1u); }`,
      }),
    values: (alloc) => ({ values: fill(alloc(Uint32Array, 5001)), bins: fill(alloc(Uint32Array, 16)) }),
    count: 5001,
    expected: ({ values, bins }) => {
      for (const value of values) bins[value % 16]++
    },
  }),

  kernelCase('type atomic<i32>: the least and the greatest', {
    kernel: () =>
      kernel({
        name: 'extremes',
        args: { values: read(i32), found: readWrite(atomic(i32)) },
        code: `${MAIN} {
          atomicMin(&found[0], values[id.x]);
          atomicMax(&found[1], values[id.x]);
        }`,
      }),
    values: (alloc) => {
      const values = fill(alloc(Int32Array, 777))
      values.forEach((value, i) => {
        values[i] = value - 500
      })
      return { values, found: alloc(Int32Array, 2) }
    },
    count: 777,
    expected: ({ values, found }) => {
      found[0] = Math.min(0, ...values)
      found[1] = Math.max(0, ...values)
    },
  }),

  kernelCase('type packed bytes', {
    kernel: () =>
      kernel({
        name: 'invert',
        args: { pixels: readWrite(u8x4) },
        code: `${MAIN} { pixels[id.x] = pack4xU8(vec4u(255u) - unpack4xU8(pixels[id.x])); }`,
      }),
    // The last word has only two bytes of the array.
    values: (alloc) => ({ pixels: fill(alloc(Uint8Array, 402), 256) }),
    count: 101,
    expected: ({ pixels }) => {
      pixels.forEach((value, i) => {
        pixels[i] = 255 - value
      })
    },
  }),

  kernelCase('type packed bytes as numbers from 0 to 1', {
    kernel: () =>
      kernel({
        name: 'brightness',
        args: { pixels: read(types.unorm8x4), sums: write(f32) },
        code: `${MAIN} { sums[id.x] = round(dot(unpack4x8unorm(pixels[id.x]), vec4f(255.0))); }`,
      }),
    values: (alloc) => ({ pixels: fill(alloc(Uint8ClampedArray, 400), 256), sums: alloc(Float32Array, 100) }),
    count: 100,
    expected: ({ pixels, sums }) => {
      sums.fill(0)
      pixels.forEach((value, i) => {
        sums[i >> 2] += value
      })
    },
  }),

  kernelCase('type packed signed bytes', {
    kernel: () =>
      kernel({
        name: 'signs',
        args: { x: read(types.i8x4), y: write(i32) },
        code: `${MAIN} { let v = unpack4xI8(x[id.x]); y[id.x] = v.x + v.y + v.z + v.w; }`,
      }),
    values: (alloc) => ({ x: fill(alloc(Int8Array, 256), 256), y: alloc(Int32Array, 64) }),
    count: 64,
    expected: ({ x, y }) => {
      y.fill(0)
      x.forEach((value, i) => {
        y[i >> 2] += value
      })
    },
  }),

  kernelCase('type packed 16-bit numbers', {
    kernel: () =>
      kernel({
        name: 'halves',
        args: { x: read(types.u16x2), y: write(u32) },
        code: `${MAIN} { y[id.x] = (x[id.x] & 0xffffu) + (x[id.x] >> 16u); }`,
      }),
    values: (alloc) => ({ x: fill(alloc(Uint16Array, 200), 65536), y: alloc(Uint32Array, 100) }),
    count: 100,
    expected: ({ x, y }) => {
      y.forEach((_, i) => {
        y[i] = x[2 * i] + x[2 * i + 1]
      })
    },
  }),

  kernelCase('type packed floats of 16 bits', {
    kernel: () =>
      kernel({
        name: 'widen',
        args: { x: read(types.f16x2), y: write(vec2f) },
        code: `${MAIN} { y[id.x] = unpack2x16float(x[id.x]); }`,
      }),
    values: (alloc) => {
      const x = alloc(Uint16Array, 128)
      x.forEach((_, i) => {
        types.f16.store(new DataView(x.buffer), x.byteOffset + 2 * i, i / 8 - 4, 'x')
      })
      return { x, y: alloc(Float32Array, 128) }
    },
    count: 64,
    expected: ({ x, y }) => {
      x.forEach((_, i) => {
        y[i] = types.f16.load(new DataView(x.buffer), x.byteOffset + 2 * i)
      })
    },
  }),

  kernelCase('type struct, elements 12 bytes apart', {
    kernel: () =>
      kernel({
        name: 'nodes',
        args: { nodes: readWrite(Node) },
        code: `${MAIN} {
          let node = nodes[id.x];
          nodes[id.x].key += node.next;
          nodes[id.x].weight = f32(node.key);
        }`,
      }),
    values: (alloc) => ({ nodes: fill(alloc(Uint32Array, 3 * 333)) }),
    count: 333,
    expected: ({ nodes }) => {
      for (let i = 0; i < 333; i++) {
        const node = Node.at(nodes as Uint32Array, i)
        node.weight = node.key
        node.key += node.next
      }
    },
  }),

  kernelCase('type struct with vectors and an array', {
    kernel: () =>
      kernel({
        name: 'particles',
        args: { particles: readWrite(Particle), dt: uniform(f32) },
        code: `
          fn moved(p: Particle) -> vec3f { return p.position + dt * p.velocity; }
          ${MAIN} {
            particles[id.x].position = moved(particles[id.x]);
            particles[id.x].cells[2] = particles[id.x].cells[0] + 1;
          }`,
      }),
    values: (alloc) => {
      const particles = alloc(Uint8Array, 48 * 50)
      for (let i = 0; i < 50; i++) {
        Particle.set(particles, i, { position: [i, 2 * i, 3], mass: 1, velocity: [4, i, 6], cells: [i, 1, 0] })
      }
      return { particles, dt: 2 }
    },
    count: 50,
    expected: ({ particles }) => {
      for (let i = 0; i < 50; i++) {
        Particle.set(particles, i, { position: [i + 8, 4 * i, 15], cells: [i, 1, i + 1] })
      }
    },
  }),

  kernelCase('type struct that the code declares too, and one without a name', {
    kernel: () =>
      kernel({
        name: 'pairs',
        args: { pairs: read(struct({ a: u32, b: u32 })), nodes: write(Node) },
        code: `
          struct Node { key: u32, weight: f32, next: u32 }
          fn sum(pair: Pairs) -> u32 { return pair.a + pair.b; }
          ${MAIN} { nodes[id.x] = Node(sum(pairs[id.x]), 1.5, id.x); }`,
      }),
    values: (alloc) => ({ pairs: fill(alloc(Uint32Array, 128)), nodes: alloc(Uint32Array, 192) }),
    count: 64,
    expected: ({ pairs, nodes }) => {
      const words = pairs as Uint32Array
      for (let i = 0; i < 64; i++) Node.set(nodes, i, { key: words[2 * i] + words[2 * i + 1], weight: 1.5, next: i })
    },
  }),

  kernelCase('type ptr64', {
    kernel: () =>
      kernel({
        name: 'pointers',
        args: { pointers: readWrite(ptr64), step: uniform(ptr64) },
        code: `${MAIN} {
          let low = pointers[id.x].x + step.x;
          pointers[id.x] = vec2u(low, pointers[id.x].y + step.y + select(0u, 1u, low < step.x));
        }`,
      }),
    values: (alloc) => ({ pointers: fill(alloc(Uint32Array, 200), 2 ** 20), step: 2 ** 33 + 2 ** 32 - 5 }),
    count: 100,
    expected: ({ pointers }) => {
      const view = new DataView(pointers.buffer, pointers.byteOffset, pointers.byteLength)
      for (let i = 0; i < 100; i++) ptr64.store(view, 8 * i, ptr64.load(view, 8 * i) + 2 ** 33 + 2 ** 32 - 5, 'p')
    },
  }),

  kernelCase('uniforms of every kind', {
    kernel: () =>
      kernel({
        name: 'uniforms',
        args: {
          y: write(f32),
          a: uniform(f32),
          n: uniform(u32),
          d: uniform(i32),
          v: uniform(vec3f),
          m: uniform(types.mat3x3f),
          s: uniform(struct('Settings', { gain: f32, offset: vec2f, table: array(vec4f, 2) })),
        },
        code: `${MAIN} {
          let t = m * v;
          y[id.x] = a * f32(id.x) + f32(n) - f32(d) + t.x + t.y + t.z + s.gain * s.offset.y + s.table[1].z;
        }`,
      }),
    values: (alloc) => ({
      y: alloc(Float32Array, 70),
      a: 2,
      n: 3_000_000,
      d: -5,
      v: new Float32Array([1, 2, 3]),
      m: [1, 0, 0, 0, 2, 0, 1, 1, 3],
      s: { gain: 4, offset: [9, 10], table: [[1, 2, 3, 4], new Float32Array([5, 6, 7, 8])] } as const,
    }),
    count: 70,
    // m * v with columns (1 0 0), (0 2 0), (1 1 3) is (4 7 9).
    expected: ({ y }) => {
      y.forEach((_, i) => {
        y[i] = 2 * i + 3_000_000 + 5 + 20 + 40 + 7
      })
    },
  }),
]
