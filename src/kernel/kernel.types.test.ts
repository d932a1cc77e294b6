// What the compiler says about kernels. The lines marked with an error are what it has to refuse.

import { describe, expectTypeOf, it } from 'vitest'
import {
  type ArgumentValues,
  array,
  atomic,
  f16,
  f32,
  type Heap,
  i32,
  indirect,
  kernel,
  mat4x4f,
  ptr,
  ptr64,
  type RunReceipt,
  read,
  readWrite,
  struct,
  u8x4,
  u32,
  uniform,
  vec2f,
  vec3u,
  write,
} from '../index.ts'

declare const heap: Heap
/** Never called: the compiler alone looks at it. */
type Unrun = () => unknown

const wide = () => kernel({ pointers: 64, args: { nodes: read(Wide), at: uniform(ptr64) }, code: '' })
const Wide = struct('Wide', { key: u32, next: ptr64 })
const Node = struct('Node', { key: u32, at: vec2f, next: ptr, table: array(f32, 3) })
/** Not made: it has no code. */
const one = () =>
  kernel({
    args: {
      x: read(f32),
      y: readWrite(f32, { slice: 'linear' }),
      n: write(u32),
      bins: readWrite(atomic(i32)),
      v: read(vec3u),
      m: read(mat4x4f),
      h: read(f16),
      bytes: read(u8x4),
      nodes: readWrite(Node),
      a: uniform(f32),
      p: uniform(vec2f),
      node: uniform(struct({ at: vec2f, key: u32 })),
      t: uniform(mat4x4f),
    },
    code: '',
  })
type Args = ReturnType<typeof one>['args']
type Values = ArgumentValues<Args>

const saxpy = kernel({
  args: { x: read(f32), y: readWrite(f32), a: uniform(f32) },
  code: '@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) { y[id.x] += a * x[id.x]; }',
})

describe('types of kernels', () => {
  it('each argument takes what its type says', () => {
    expectTypeOf<Values['x']>().toEqualTypeOf<Float32Array>()
    expectTypeOf<Values['n']>().toEqualTypeOf<Uint32Array>()
    expectTypeOf<Values['bins']>().toEqualTypeOf<Int32Array>()
    expectTypeOf<Values['v']>().toEqualTypeOf<Uint32Array>()
    expectTypeOf<Values['m']>().toEqualTypeOf<Float32Array>()
    expectTypeOf<Values['h']>().toEqualTypeOf<Uint16Array>()
    expectTypeOf<Values['bytes']>().toEqualTypeOf<Uint8Array | Uint8ClampedArray>()
    expectTypeOf<Values['nodes']>().toEqualTypeOf<ArrayBufferView>()
    expectTypeOf<Values['a']>().toEqualTypeOf<number>()
    expectTypeOf<readonly [number, number]>().toExtend<Values['p']>()
    expectTypeOf<Float32Array>().toExtend<Values['p']>()
    expectTypeOf<{ at: [number, number]; key: number }>().toExtend<Values['node']>()
    expectTypeOf<ArgumentValues<ReturnType<typeof wide>['args']>['at']>().toEqualTypeOf<number>()
    expectTypeOf<ReturnType<typeof Wide.get>>().toEqualTypeOf<{ key: number; next: number }>()
    expectTypeOf<number[]>().toExtend<Values['t']>()
  })

  it('run() takes what fits', () => {
    const x = new Float32Array(4)
    const calls: Unrun[] = [
      () => heap.run(saxpy, { x, y: x, a: 2 }, 4),
      () => heap.run(saxpy, { x: heap.alloc(Float32Array, 4), y: x.subarray(1), a: 2 }, [4, 1, 1], { durable: true }),
      () => heap.run(saxpy, { x, y: x, a: 2 }, { workgroups: [1, 2] }, { signal: AbortSignal.timeout(5) }),
      () => heap.run(saxpy, { x, y: x, a: 2 }, indirect(heap.alloc(Uint32Array, 1))),
      () => heap.run(saxpy.entry('main'), { x, y: x, a: 2 }, { workgroups: indirect(heap.alloc(Uint32Array, 3)) }),
      () => heap.batch((b) => b.run(saxpy, { x, y: x, a: 2 }, 4), { strict: true }),
    ]
    expectTypeOf(calls).toBeArray()
    expectTypeOf<Heap['run']>().returns.resolves.toEqualTypeOf<RunReceipt>()
    expectTypeOf<Heap['batch']>().returns.resolves.toEqualTypeOf<RunReceipt>()
  })

  it('run() refuses what does not', () => {
    const x = new Float32Array(4)
    const refused: Unrun[] = [
      // @ts-expect-error an argument is missing
      () => heap.run(saxpy, { x, y: x }, 4),
      // @ts-expect-error no such argument
      () => heap.run(saxpy, { x, y: x, a: 2, b: 3 }, 4),
      // @ts-expect-error another kind of array
      () => heap.run(saxpy, { x: new Int32Array(4), y: x, a: 2 }, 4),
      // @ts-expect-error a number, not an array
      () => heap.run(saxpy, { x, y: x, a: x }, 4),
      // @ts-expect-error an array, not a list
      () => heap.run(saxpy, { x: [1, 2], y: x, a: 2 }, 4),
      // @ts-expect-error no count
      () => heap.run(saxpy, { x, y: x, a: 2 }),
      // @ts-expect-error a count has three dimensions at most
      () => heap.run(saxpy, { x, y: x, a: 2 }, [1, 2, 3, 4]),
      // @ts-expect-error a view of words
      () => heap.run(saxpy, { x, y: x, a: 2 }, indirect(x)),
      // @ts-expect-error no option
      () => heap.run(saxpy, { x, y: x, a: 2 }, 4, { durabel: true }),
      // @ts-expect-error no kernel
      () => heap.run('saxpy', { x, y: x, a: 2 }, 4),
      // @ts-expect-error a batch has the same types
      () => heap.batch((b) => b.run(saxpy, { x, y: x, a: '2' }, 4)),
    ]
    expectTypeOf(refused).toBeArray()
  })

  it('kernel() and its types refuse what makes no sense', () => {
    const refused: Unrun[] = [
      // @ts-expect-error pointers have 32 bits or 64
      () => kernel({ pointers: 48, args: {}, code: '' }),
      // @ts-expect-error a type, not a typed array
      () => read(Float32Array),
      // @ts-expect-error a type says how it is used
      () => kernel({ args: { x: f32 }, code: '' }),
      // @ts-expect-error only whole numbers are atomic
      () => atomic(vec2f),
      // @ts-expect-error only whole numbers are atomic
      () => atomic(f32),
      // @ts-expect-error no such slicing
      () => read(f32, { slice: 'rows' }),
      // @ts-expect-error no such dimension
      () => read(f32, { slice: { along: 'w' } }),
      // @ts-expect-error no option
      () => kernel({ args: {}, code: '', workgroupSize: 64 }),
      // @ts-expect-error constants are numbers
      () => saxpy.with({ SIZE: '64' }),
      // @ts-expect-error a field is a type
      () => struct({ key: 'u32' }),
      // @ts-expect-error a vector of two
      () => Node.set(new Uint32Array(8), 0, { at: [1, 2, 3] }),
      // @ts-expect-error no field
      () => Node.set(new Uint32Array(8), 0, { left: 1 }),
    ]
    expectTypeOf(refused).toBeArray()
  })

  it('structs know their fields', () => {
    const node = () => Node.at(new Uint32Array(8), 0)
    type Fields = ReturnType<typeof node>
    expectTypeOf<Fields['key']>().toEqualTypeOf<number>()
    expectTypeOf<Fields['at']>().toEqualTypeOf<[number, number]>()
    expectTypeOf<Fields['table']>().toEqualTypeOf<number[]>()
    expectTypeOf<keyof (typeof Node)['offsets']>().toEqualTypeOf<'key' | 'at' | 'next' | 'table'>()
  })
})
