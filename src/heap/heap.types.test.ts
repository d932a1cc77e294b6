// What the compiler says about the heap. The lines marked with an error are what it has to refuse.

import { describe, expectTypeOf, it } from 'vitest'
import {
  type ArrayOf,
  type CloseReceipt,
  type Heap,
  type HeapError,
  type HeapErrorCode,
  type HeapOptions,
  type HeapRangeError,
  type HeapTypeError,
  type OwnershipError,
  openHeap,
  type PinReceipt,
  type Receipt,
  type Residency,
} from '../index.ts'

declare const heap: Heap
/** Never called: the compiler alone looks at it. */
type Unrun = () => unknown

describe('types', () => {
  it('alloc() returns what it was asked for, over memory that may be shared', () => {
    const calls = () => ({
      f32: heap.alloc(Float32Array, 4),
      u8c: heap.alloc(Uint8ClampedArray, 4, { name: 'x', align: '2 MiB', readOnly: true }),
      i64: heap.alloc(BigInt64Array, 4),
      viewed: heap.view(Uint16Array, 1, 4),
    })
    type Calls = ReturnType<typeof calls>
    expectTypeOf<Calls['f32']>().toEqualTypeOf<Float32Array<ArrayBufferLike>>()
    expectTypeOf<Calls['u8c']>().toEqualTypeOf<Uint8ClampedArray<ArrayBufferLike>>()
    expectTypeOf<Calls['i64'][0]>().toEqualTypeOf<bigint>()
    expectTypeOf<Calls['viewed']>().toEqualTypeOf<Uint16Array<ArrayBufferLike>>()
    expectTypeOf<ArrayOf<typeof Float64Array>>().toEqualTypeOf<Float64Array<ArrayBufferLike>>()
  })

  it('an interface that does not take shared memory does not take an array of the heap', () => {
    const ordinary = (_: Float32Array<ArrayBuffer>) => {}
    const any = (_: Float32Array) => {}
    const refused: Unrun[] = [
      // @ts-expect-error its buffer may be shared
      () => ordinary(heap.alloc(Float32Array, 4)),
      () => any(heap.alloc(Float32Array, 4)),
    ]
    expectTypeOf(refused).toBeArray()
  })

  it('arguments that make no sense are refused', () => {
    const refused: Unrun[] = [
      // @ts-expect-error no typed array
      () => heap.alloc(Array, 4),
      // @ts-expect-error no typed array
      () => heap.alloc(DataView, 4),
      // @ts-expect-error a length, not a text
      () => heap.alloc(Float32Array, '4'),
      // @ts-expect-error a length, not data
      () => heap.alloc(Float32Array, [1, 2, 3]),
      // @ts-expect-error no option
      () => heap.alloc(Float32Array, 4, { nmae: 'x' }),
      // @ts-expect-error no size: units are binary
      () => heap.alloc(Float32Array, 4, { align: '4 MB' }),
      // @ts-expect-error no view
      () => heap.free('x'),
      // @ts-expect-error no access
      () => heap.sync(heap.alloc(Int8Array, 1), 'write'),
      // @ts-expect-error the access comes last
      () => heap.sync('read', heap.alloc(Int8Array, 1)),
      // @ts-expect-error no advice
      () => heap.advise(heap.alloc(Int8Array, 1), 'hot'),
      // @ts-expect-error a heap is opened, not constructed from options
      () => new heap.constructor({ size: '1 GiB' }).alloc(),
    ]
    expectTypeOf(refused).toBeArray()
  })

  it('options are checked by name and value', () => {
    const options: HeapOptions[] = [
      {},
      { mode: 'explicit', size: '1.5 GiB', segments: 2 ** 20, check: false, unfreed: 'warn' },
      { device: { kind: 'memory', memory: '64 MiB', bandwidth: '10 GiB' } },
      { device: [{ kind: 'memory' }, { kind: 'memory', name: 'b' }] },
      // @ts-expect-error no mode of a heap
      { mode: 'simulated' },
      // @ts-expect-error no size
      { size: '4GB' },
      // @ts-expect-error no option
      { sizes: 4 },
      { device: { memory: '64 MiB', adapter: 'software' } },
      { device: [{} as GPUDevice, { gpuDevice: {} as GPUDevice }] },
      // @ts-expect-error no option of a GPU
      { device: { latency: 5 } },
      // @ts-expect-error no kind of device
      { device: { kind: 'disk' } },
    ]
    expectTypeOf(options).toBeArray()
    expectTypeOf(openHeap).returns.resolves.toEqualTypeOf<Heap>()
  })

  it('every operation says what it did', () => {
    expectTypeOf<Heap['sync']>().returns.resolves.toEqualTypeOf<Receipt>()
    expectTypeOf<Heap['discard']>().returns.resolves.toEqualTypeOf<Receipt>()
    expectTypeOf<Heap['pin']>().returns.resolves.toEqualTypeOf<PinReceipt>()
    expectTypeOf<Heap['where']>().returns.resolves.toEqualTypeOf<Residency>()
    expectTypeOf<Heap['close']>().returns.resolves.toEqualTypeOf<CloseReceipt>()
    expectTypeOf<Heap>().toExtend<AsyncDisposable>()
  })

  it('scope() and withResident() hand out what their function returns', () => {
    const calls = () => ({
      now: heap.scope((scope) => scope.alloc(Int32Array, 4)),
      later: heap.scope(async (scope) => scope.alloc(Int32Array, 4).length),
      resident: heap.withResident([heap.alloc(Int8Array, 1)], () => 'text', 'read'),
    })
    type Calls = ReturnType<typeof calls>
    expectTypeOf<Calls['now']>().toEqualTypeOf<Int32Array<ArrayBufferLike>>()
    expectTypeOf<Calls['later']>().toEqualTypeOf<Promise<number>>()
    expectTypeOf<Calls['resident']>().toEqualTypeOf<Promise<string>>()
  })

  it('withBuffer() gives a place for a view and places for a list; batch() takes no asynchronous body', () => {
    const x = new Float32Array(4)
    const calls = () => ({
      one: heap.withBuffer(x, 'read', ({ offset }) => offset),
      several: heap.withBuffer([x, x], 'readWrite', async ([a, b]) => [a.buffer, b.size] as const),
      batch: heap.batch(() => {}),
    })
    type Calls = ReturnType<typeof calls>
    expectTypeOf<Calls['one']>().toEqualTypeOf<Promise<number>>()
    expectTypeOf<Calls['several']>().toEqualTypeOf<Promise<readonly [GPUBuffer, number]>>()
    const refused = [
      // @ts-expect-error a list gives a list
      () => heap.withBuffer([x, x], 'read', ({ offset }) => offset),
      // @ts-expect-error nobody would wait for it
      () => heap.batch(async () => {}),
    ]
    expectTypeOf(refused).toBeArray()
  })

  it('errors have codes that the compiler knows', () => {
    const handle = (error: HeapError) => {
      // @ts-expect-error no such code
      if (error.code === 'USED_AFTER_FREE') return 0
      return error.code === 'USE_AFTER_FREE' ? 1 : 2
    }
    expectTypeOf(handle).returns.toBeNumber()
    expectTypeOf<HeapError['code']>().toEqualTypeOf<HeapErrorCode>()
    expectTypeOf<HeapRangeError>().toExtend<RangeError>()
    expectTypeOf<HeapTypeError>().toExtend<TypeError>()
    expectTypeOf<OwnershipError>().toExtend<HeapError>()
  })
})
