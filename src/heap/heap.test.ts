// The heap's arrays, in every mode.

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { describeModes, ModeFixture, requires } from '../../test/helpers/mode-fixture.ts'
import { SEGMENT_MAX } from '../mmu/userfaultfd/segment.ts'
import { ARRAY_TYPES, type ArrayType, type HeapArray, type HeapView, makeArray } from './array-types.ts'
import type { Heap } from './heap.ts'
import type { HeapError } from './heap-error.ts'
import { openHeap } from './on-node.ts'

function codeOf(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    return (error as HeapError).code
  }
  return 'none'
}

async function rejection(promise: Promise<unknown>): Promise<string> {
  return await promise.then(
    () => 'none',
    (error: HeapError) => error.code,
  )
}

/** The memory between two arrays. */
function gap(left: HeapArray, right: HeapArray): number {
  return right.byteOffset - (left.byteOffset + left.byteLength)
}

await describeModes((mode) => {
  let heap: Heap
  let fixture: ModeFixture

  beforeEach(async () => {
    fixture = await ModeFixture.open(mode, { device: [] })
    heap = fixture.heap
  })

  afterEach(async () => {
    await heap.close()
  })

  describe('alloc()', () => {
    it.each(ARRAY_TYPES.map((type) => [type.name, type] as const))('returns a genuine %s of zeroes', (_name, type) => {
      const array = heap.alloc(type as ArrayType, 1025)
      expect(Object.getPrototypeOf(array)).toBe(type.prototype)
      expect([array.length, array.byteLength]).toEqual([1025, 1025 * type.BYTES_PER_ELEMENT])
      expect((array as Uint8Array).every((value) => Number(value) === 0)).toBe(true)
      if (array instanceof BigInt64Array || array instanceof BigUint64Array) array.fill(7n)
      else (array as Uint8Array).fill(7)
      expect(Number(array[1024])).toBe(7)
    })

    it('keeps arrays apart by a page that belongs to nobody', () => {
      const [a, b, c] = [heap.alloc(Uint8Array, 1), heap.alloc(Uint8Array, 4096), heap.alloc(Uint8Array, 4097)]
      expect([a, b, c].every(({ byteOffset }) => byteOffset % 4096 === 0)).toBe(true)
      expect([gap(a, b), gap(b, c)]).toEqual([4095 + 4096, 4096])
    })

    it('takes arrays without elements', async () => {
      const empty = heap.alloc(Float64Array, 0)
      expect([empty.length, heap.ptr(empty) > 0]).toEqual([0, true])
      expect((await heap.sync(empty)).pages).toBe(0)
      heap.free(empty)
    })

    it('lies in shared memory', () => {
      expect(heap.alloc(Int8Array, 1).buffer).toBeInstanceOf(SharedArrayBuffer)
    })

    it('lies in ordinary memory if that is wanted', async (test) => {
      requires(test, mode, 'ordinary memory')
      const ordinary = await openHeap({ mode: 'explicit', shared: false })
      expect(ordinary.alloc(Int8Array, 1).buffer).toBeInstanceOf(ArrayBuffer)
      await ordinary.close()
    })

    it('aligns', () => {
      const array = heap.alloc(Uint8Array, 1, { align: '64 KiB' })
      expect((4 * heap.ptr(array)) % 65536).toBe(0)
    })

    it('names arrays by type and number unless told otherwise', () => {
      heap.alloc(Float32Array, 1)
      heap.alloc(Int8Array, 3, { name: 'x' })
      heap.alloc(Uint16Array, 1)
      expect(heap.arrays).toEqual([
        { name: 'Float32Array #1', type: 'Float32Array', bytes: 4 },
        { name: 'x', type: 'Int8Array', bytes: 3 },
        { name: 'Uint16Array #3', type: 'Uint16Array', bytes: 2 },
      ])
    })

    it.each([
      [[Array, 1], TypeError, 'type is Array, wanted a typed array such as Float32Array'],
      [['Float32Array', 1], TypeError, 'type is "Float32Array"'],
      [[DataView, 1], TypeError, 'type is DataView'],
      [[Int8Array], TypeError, 'length is undefined, wanted a whole number of elements'],
      [[Int8Array, 1.5], TypeError, 'length is 1.5'],
      [[Int8Array, Number.NaN], TypeError, 'length is NaN'],
      [[Int8Array, '10'], TypeError, 'length is "10"'],
      [[Int8Array, [1, 2]], TypeError, 'length is a list'],
      [[Int8Array, -1], RangeError, 'length is -1, wanted 0 to'],
      [[Int8Array, Number.POSITIVE_INFINITY], RangeError, 'length is Infinity'],
      [[Int8Array, 1, { name: 1 }], TypeError, 'name is 1, wanted a text'],
      [[Int8Array, 1, { readOnly: 1 }], TypeError, 'readOnly is 1, wanted true or false'],
      [[Int8Array, 1, { align: 3 }], RangeError, 'align is 3, wanted a power of two up to 4 GiB'],
      [[Int8Array, 1, { align: '1 MB' }], TypeError, 'align is "1 MB"'],
      [[Int8Array, 1, { aling: 4 }], TypeError, 'options.aling is no option, wanted name, align, readOnly'],
    ])('refuses %s', (args, type, message) => {
      const alloc = heap.alloc.bind(heap) as (...args: unknown[]) => unknown
      expect(() => alloc(...args)).toThrow(type)
      expect(() => alloc(...args)).toThrow(message)
      expect(codeOf(() => alloc(...args))).toBe(type === TypeError ? 'WRONG_TYPE' : 'BAD_VALUE')
      expect(heap.arrays).toEqual([])
    })

    it('says by name what there was no room for, and goes on', async () => {
      expect(() => heap.alloc(Float64Array, 2 ** 20, { name: 'big' })).toThrow(
        /^OUT_OF_SPACE: Float64Array "big" of 1048576 elements: no segment has room for .* 4 MiB .*; free arrays,/,
      )
      const half = heap.alloc(Uint8Array, 2 ** 21)
      expect(codeOf(() => heap.alloc(Uint8Array, 2 ** 21))).toBe('OUT_OF_SPACE')
      heap.free(half)
      await fixture.settled()
      expect(heap.alloc(Uint8Array, 2 ** 22 - 4096).length).toBe(2 ** 22 - 4096)
    })

    it('a small heap is small', async (test) => {
      requires(test, mode, 'any segments')
      const small = await openHeap({ mode: mode.name })
      small.alloc(Uint8Array, 1)
      expect((await small.stats()).reserved).toBe(16 * 2 ** 20)
      await small.close()
    })

    it('a large array is possible', async () => {
      const large = await openHeap({ mode: mode.name })
      // Nothing touches it, so it costs nothing.
      const length = mode.name === 'explicit' ? 2 ** 30 : SEGMENT_MAX / 4
      const array = large.alloc(Float32Array, length, { name: 'all that a segment has' })
      array[length - 1] = 1
      expect(array.byteLength).toBe(4 * length)
      const limit = mode.name === 'explicit' ? '4 GiB' : '4094 MiB'
      expect(() => large.alloc(Float32Array, length + 1)).toThrow(
        `an array lies in one segment, and those have up to ${limit}`,
      )
      expect(large.ptr(array.subarray(length - 1)) - large.ptr(array)).toBe(length - 1)
      await large.close()
    })
  })

  describe('free()', () => {
    it('lets the memory be used again, and it is zero again', async () => {
      const x = heap.alloc(Float32Array, 3000).fill(1)
      const keep = heap.alloc(Float32Array, 10).fill(2)
      heap.free(x)
      await fixture.settled()
      const y = heap.alloc(Float64Array, 1500)
      expect([y.byteOffset, y.buffer === x.buffer]).toEqual([x.byteOffset, true])
      expect(y.every((value) => value === 0)).toBe(true)
      expect(keep.every((value) => value === 2)).toBe(true)
    })

    it('takes any view of the whole array', () => {
      const x = heap.alloc(Float32Array, 4)
      heap.free(new Uint8Array(x.buffer, x.byteOffset, x.byteLength))
      expect(heap.arrays).toEqual([])
    })

    it('says what is wrong by name', async () => {
      const x = heap.alloc(Float32Array, 4, { name: 'x' })
      expect(() => heap.free(x.subarray(1))).toThrow(
        'view of 12 bytes, wanted the whole of Float32Array "x" of 4 elements',
      )
      expect(() => heap.free(new Float32Array(4))).toThrow('FOREIGN_VIEW: Float32Array of 16 bytes is not of this heap')
      expect(() => heap.free(new Uint8Array(x.buffer))).toThrow('lies in no one array of this heap')
      expect(() => heap.free(1 as unknown as HeapView)).toThrow('view is 1, wanted a typed array of the heap')
      heap.free(x)
      expect(() => heap.free(x)).toThrow('DOUBLE_FREE: Float32Array "x" of 4 elements was freed already')
      await fixture.settled()
      // Another array lies there now.
      const y = heap.alloc(Float32Array, 4, { name: 'y' })
      expect(codeOf(() => heap.free(x))).toBe('DOUBLE_FREE')
      heap.free(y)
    })

    it('a freed array is refused everywhere, and reading it never crashes', async () => {
      const x = heap.alloc(Float32Array, 2000, { name: 'x' }).fill(1)
      const part = x.subarray(1000)
      const pointer = heap.ptr(x)
      heap.free(x)
      expect(x.reduce((sum, value) => sum + value, 0)).toEqual(expect.any(Number))
      expect(codeOf(() => heap.ptr(part))).toBe('USE_AFTER_FREE')
      expect(codeOf(() => heap.view(Float32Array, pointer, 1))).toBe('USE_AFTER_FREE')
      for (const call of [heap.sync(x), heap.discard(part), heap.where(x), heap.pin(x), heap.prefetch(x)]) {
        expect(await rejection(call)).toBe('USE_AFTER_FREE')
      }
      await expect(heap.sync(x)).rejects.toThrow('Float32Array "x" of 2000 elements is used after it was freed')
    })

    it('an empty view has its name, also behind the last page', async () => {
      const x = heap.alloc(Float32Array, 1024, { name: 'x' })
      for (const view of [x.subarray(1024), x.subarray(5, 5)]) {
        expect(`${await heap.where(view)}`).toBe('"x": no pages')
        expect(`${await heap.sync(view)}`).toBe('sync: 0 pages to the CPU')
      }
    })

    it('many arrays of all sizes come and go', async () => {
      const live: { array: Uint32Array; seed: number }[] = []
      let seed = 1
      for (let i = 0; i < 2000; i++) {
        seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
        if (live.length > 20 || (seed >>> 8) % 3 === 0) {
          const [gone] = live.splice((seed >>> 12) % Math.max(1, live.length), 1)
          if (gone === undefined) continue
          expect(gone.array.every((value) => value === gone.seed)).toBe(true)
          heap.free(gone.array)
          if (i % 4 === 0) await fixture.settled()
        } else {
          const array = heap.alloc(Uint32Array, 1 + ((seed >>> 10) % 9000))
          expect(array.every((value) => value === 0)).toBe(true)
          live.push({ array: array.fill(seed), seed })
        }
      }
      await fixture.check()
      for (const { array } of live) heap.free(array)
      await fixture.check()
      expect(await fixture.extension('countMappings')).toBe(0)
    })
  })

  describe('ptr() and view()', () => {
    it('are each other’s inverse', () => {
      const x = heap.alloc(Float32Array, 5000)
      const pointer = heap.ptr(x.subarray(1234))
      expect(pointer).toBe(heap.ptr(x) + 1234)
      const same = heap.view(Float32Array, pointer, 10)
      x[1240] = 5
      expect([same[6], same.buffer === x.buffer, same.byteOffset]).toEqual([5, true, x.byteOffset + 4 * 1234])
      expect(heap.view(Uint8Array, heap.ptr(x), 20_000).length).toBe(20_000)
      expect(heap.ptr(new DataView(x.buffer, x.byteOffset + 8, 1))).toBe(heap.ptr(x) + 2)
    })

    it('words of 4 bytes: an unaligned view has no pointer', () => {
      const x = heap.alloc(Uint8Array, 10, { name: 'x' })
      expect(heap.ptr(x.subarray(4))).toBe(heap.ptr(x) + 1)
      expect(() => heap.ptr(x.subarray(5))).toThrow(RangeError)
      expect(() => heap.ptr(x.subarray(5))).toThrow('view at byte 5 of "x", wanted a multiple of 4 for a pointer')
    })

    it('no array is at 0, and what points to no array is refused', () => {
      const x = heap.alloc(Float32Array, 1, { name: 'x' })
      const pointer = heap.ptr(x)
      expect(pointer).toBeGreaterThan(0)
      const view = (pointer: unknown, length: unknown = 1, type: unknown = Float32Array) =>
        codeOf(() => heap.view(type as ArrayType, pointer as number, length as number))
      expect([view(0), view(1), view(pointer - 1), view(2 ** 32 - 1)]).toEqual(Array(4).fill('BAD_POINTER'))
      expect(() => heap.view(Float32Array, pointer, 2)).toThrow(
        /^BAD_POINTER: 8 bytes from 0x[0-9a-f]+, but Float32Array "x" of 1 element ends after 4$/,
      )
      expect([view(pointer, 1, Float64Array), view(pointer + 1, 1)]).toEqual(['BAD_POINTER', 'BAD_POINTER'])
      expect([view(2 ** 32), view(-1), view(1.5), view(pointer, -1)]).toEqual(Array(4).fill('BAD_VALUE'))
      expect([view('1'), view(pointer, '1'), view(pointer, 1, Array)]).toEqual(Array(3).fill('WRONG_TYPE'))
    })

    it('a view is aligned to its elements', () => {
      const x = heap.alloc(Float32Array, 8)
      expect(() => heap.view(Float64Array, heap.ptr(x) + 1, 1)).toThrow(
        'wanted a multiple of 8 bytes for a Float64Array',
      )
      expect(heap.view(Float64Array, heap.ptr(x) + 2, 3).length).toBe(3)
    })
  })

  describe('scope()', () => {
    const names = () => heap.arrays.map(({ name }) => name)
    const named = (name: string) => heap.alloc(Int8Array, 1, { name })

    it('frees what was allocated inside', () => {
      const result = heap.scope((scope) => {
        named('a')
        scope.alloc(Int8Array, 1, { name: 'b' })
        return 7
      })
      expect([result, names()]).toEqual([7, []])
    })

    it.each<[string, (array: Int8Array) => unknown]>([
      ['an array', (array) => array],
      ['a part of one', (array) => array.subarray(0, 0)],
      ['the same memory as another type', (array) => new Uint8Array(array.buffer, array.byteOffset, 1)],
      ['a list', (array) => [1, [array]]],
      ['an object', (array) => ({ deep: { er: array } })],
      ['a map and a set', (array) => new Map([[1, new Set([array])]])],
      ['an object of a class', (array) => Object.assign(new (class Matrix {})(), { array })],
      ['a circle', (array) => Object.assign([array] as unknown[], { self: [] as unknown[] })],
    ])('keeps what is returned: %s', (_what, wrap) => {
      heap.scope(() => {
        named('gone')
        return wrap(named('kept'))
      })
      expect(names()).toEqual(['kept'])
    })

    it('leaves what is returned to the scope around it', () => {
      heap.scope(() => {
        const inner = heap.scope(() => {
          named('inner, gone')
          return named('inner, returned')
        })
        expect(names()).toEqual(['inner, returned'])
        return [named('outer, returned'), inner.length]
      })
      expect(names()).toEqual(['outer, returned'])
    })

    it('frees when the function throws', () => {
      const wrong = new Error('wrong')
      expect(() =>
        heap.scope(() => {
          named('a')
          throw wrong
        }),
      ).toThrow(wrong)
      expect(names()).toEqual([])
    })

    it('waits for an asynchronous function', async () => {
      const ending = heap.scope(async (scope) => {
        named('before')
        await null
        scope.alloc(Int8Array, 1, { name: 'after' })
        const kept = scope.alloc(Int8Array, 1, { name: 'kept' })
        await null
        return { kept }
      })
      named('other')
      await null
      expect(names().sort()).toEqual(['after', 'before', 'kept', 'other'])
      const { kept } = await ending
      expect([names().sort(), kept.length]).toEqual([['kept', 'other'], 1])
    })

    it('frees when an asynchronous function rejects', async () => {
      const ending = heap.scope(async () => {
        named('a')
        await null
        throw new Error('wrong')
      })
      await expect(ending).rejects.toThrow('wrong')
      expect(names()).toEqual([])
    })

    it('does not mind arrays that were freed inside, or a heap that was closed', async () => {
      heap.scope(() => heap.free(named('a')))
      await heap.scope(async () => {
        named('b')
        await heap.close()
      })
      expect(codeOf(() => heap.scope(() => 1))).toBe('CLOSED')
    })

    it('refuses what is no function', () => {
      expect(codeOf(() => heap.scope(1 as unknown as () => void))).toBe('WRONG_TYPE')
    })
  })

  describe('close()', () => {
    it('says by name what was not freed', async () => {
      heap.alloc(Float32Array, 1024, { name: 'x' })
      heap.free(heap.alloc(Float32Array, 1))
      heap.alloc(Int8Array, 1, { name: 'y' })
      const receipt = await heap.close()
      expect(receipt.unfreed.map(({ name }) => name)).toEqual(['x', 'y'])
      expect(`${receipt}`).toBe('close: 2 arrays were not freed: "x" (4 KiB), "y" (1 B)')
      expect(await heap.close()).toBe(receipt)
    })

    it('warns of what was not freed, or rejects, if that is wanted', async () => {
      const onNotice = vi.fn()
      const warning = await openHeap({ mode: mode.name, unfreed: 'warn', onNotice })
      warning.alloc(Int8Array, 1, { name: 'x' })
      await warning.close()
      expect(onNotice).toHaveBeenCalledExactlyOnceWith('hetmem: 1 array was not freed: "x" (1 B)')
      const strict = await openHeap({ mode: mode.name, unfreed: 'error' })
      for (let i = 0; i < 10; i++) strict.alloc(Int8Array, 1)
      await expect(strict.close()).rejects.toThrow(
        /^UNFREED: 10 arrays were not freed: .*"Int8Array #8" \(1 B\), and 2 more$/,
      )
    })

    it('after it everything is refused, and arrays can be read', async () => {
      const x = heap.alloc(Float32Array, 10).fill(3)
      await heap.close()
      expect(x.length).toBe(10)
      expect([x[0], x[9]]).toEqual([expect.any(Number), expect.any(Number)])
      for (const call of [() => heap.alloc(Int8Array, 1), () => heap.free(x), () => heap.ptr(x)]) {
        expect(codeOf(call)).toBe('CLOSED')
      }
      for (const call of [heap.sync(x), heap.stats(), heap.where(x), heap.advise(x, 'cold')]) {
        expect(await rejection(call)).toBe('CLOSED')
      }
    })

    it('happens at the end of `await using`', async () => {
      const other = await openHeap({ mode: mode.name })
      await other[Symbol.asyncDispose]()
      expect(codeOf(() => other.alloc(Int8Array, 1))).toBe('CLOSED')
    })
  })
})

it('makeArray() makes views of every type', () => {
  const buffer = new ArrayBuffer(64)
  for (const type of ARRAY_TYPES) expect(makeArray(type as ArrayType, buffer, 8, 2).byteOffset).toBe(8)
})
