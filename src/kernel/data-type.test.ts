import { describe, expect, it } from 'vitest'
import * as types from './data-type.ts'
import {
  array,
  atomic,
  type DataType,
  f16,
  f32,
  i32,
  mat2x3f,
  ptr64,
  strideOf,
  u32,
  vec3f,
  vec3h,
} from './data-type.ts'

/** Size, alignment and stride in bytes, as the specification's table has them (section "Alignment and Size"). */
const LAYOUTS: readonly [keyof typeof types, string, number, number, number][] = [
  ['f32', 'f32', 4, 4, 4],
  ['u32', 'u32', 4, 4, 4],
  ['i32', 'i32', 4, 4, 4],
  ['f16', 'f16', 2, 2, 2],
  ['ptr', 'u32', 4, 4, 4],
  ['ptr64', 'vec2<u32>', 8, 8, 8],
  ['vec2f', 'vec2<f32>', 8, 8, 8],
  ['vec3f', 'vec3<f32>', 12, 16, 16],
  ['vec4u', 'vec4<u32>', 16, 16, 16],
  ['vec2h', 'vec2<f16>', 4, 4, 4],
  ['vec3h', 'vec3<f16>', 6, 8, 8],
  ['vec4h', 'vec4<f16>', 8, 8, 8],
  ['mat2x2f', 'mat2x2<f32>', 16, 8, 16],
  ['mat2x3f', 'mat2x3<f32>', 32, 16, 32],
  ['mat3x2f', 'mat3x2<f32>', 24, 8, 24],
  ['mat3x3f', 'mat3x3<f32>', 48, 16, 48],
  ['mat4x4f', 'mat4x4<f32>', 64, 16, 64],
  ['mat3x3h', 'mat3x3<f16>', 24, 8, 24],
  ['mat4x2h', 'mat4x2<f16>', 16, 4, 16],
  ['u8x4', 'u32', 4, 4, 4],
  ['snorm16x2', 'u32', 4, 4, 4],
]

describe('types', () => {
  it.each(LAYOUTS)('%s is %s of %d bytes, aligned to %d, %d apart', (name, wgsl, size, align, stride) => {
    const type = (types as unknown as Record<string, DataType>)[name]
    expect([type.wgsl, type.size, type.align, strideOf(type)]).toEqual([wgsl, size, align, stride])
  })

  it('store and load values where WGSL has them', () => {
    const view = new DataView(new ArrayBuffer(64))
    mat2x3f.store(view, 0, [1, 2, 3, 4, 5, 6], 'm')
    expect([...new Float32Array(view.buffer, 0, 8)]).toEqual([1, 2, 3, 0, 4, 5, 6, 0])
    expect(mat2x3f.load(view, 0)).toEqual([1, 2, 3, 4, 5, 6])
    vec3h.store(view, 8, new Float32Array([0.5, -1, 2]), 'v')
    expect(vec3h.load(view, 8)).toEqual([0.5, -1, 2])
    array(vec3f, 2).store(
      view,
      16,
      [
        [1, 2, 3],
        [4, 5, 6],
      ],
      'a',
    )
    expect([...new Float32Array(view.buffer, 32, 3)]).toEqual([4, 5, 6])
    expect(array(vec3f, 2).load(view, 16)).toEqual([
      [1, 2, 3],
      [4, 5, 6],
    ])
    ptr64.store(view, 0, 2 ** 40 + 7, 'p')
    expect([...new Uint32Array(view.buffer, 0, 2)]).toEqual([7, 256])
    expect(ptr64.load(view, 0)).toBe(2 ** 40 + 7)
  })

  it.each<[string, () => void, string]>([
    ['TypeError', () => store(f32, '1'), 'a is "1", wanted a number'],
    ['TypeError', () => store(f16, null), 'a is null, wanted a number'],
    ['TypeError', () => store(u32, 1n), 'a is 1n, wanted a number'],
    ['RangeError', () => store(u32, -1), 'a is -1, wanted a whole number from 0 to 4294967295'],
    ['RangeError', () => store(u32, 0.5), 'a is 0.5, wanted a whole number from 0 to 4294967295'],
    ['RangeError', () => store(i32, 2 ** 31), 'a is 2147483648, wanted a whole number from -2147483648 to 2147483647'],
    ['RangeError', () => store(ptr64, 2 ** 60), `a is ${2 ** 60}, wanted a whole number from 0 to ${2 ** 53 - 1}`],
    ['TypeError', () => store(vec3f, 5), 'a is 5, wanted a list of 3'],
    ['RangeError', () => store(vec3f, [1, 2]), 'a has 2 elements, wanted 3'],
    ['TypeError', () => store(vec3f, [1, 2, 'x']), 'a[2] is "x", wanted a number'],
    ['RangeError', () => store(mat2x3f, new Float32Array(8)), 'a has 8 elements, wanted 6'],
    [
      'RangeError',
      () => store(array(u32, 2), [1, 2 ** 32]),
      'a[1] is 4294967296, wanted a whole number from 0 to 4294967295',
    ],
    ['TypeError', () => atomic(f32 as never), 'atomic("f32"), wanted u32 or i32'],
    ['RangeError', () => array(f32, 0), 'array of 0 elements, wanted a whole number from 1'],
  ])('refuse what they are not: %s', (name, act, message) => {
    expect(act).toThrow(expect.objectContaining({ name, message }))
  })

  it('atomics have their own name in WGSL, and are no uniforms', () => {
    expect(atomic(u32).wgsl).toBe('atomic<u32>')
    expect(atomic(i32).whyNotUniform).toBe('it is atomic')
    expect(array(atomic(u32), 4).isAtomic).toBe(true)
  })
})

function store(type: DataType, value: unknown): void {
  type.store(new DataView(new ArrayBuffer(64)), 0, value, 'a')
}
