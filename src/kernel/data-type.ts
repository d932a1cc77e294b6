// What an element of an argument is, to WGSL and to the CPU: `f32`, `vec3f`, `mat4x4f`, `atomic(u32)`, packed words, pointers and
// fixed arrays. Structs are in struct-type.ts. Sizes follow the layout rules of WGSL, so an element of `array<vec3f>` takes 16 bytes.

import { describe } from '../base/describe.ts'
import { float16ToNumber, numberToFloat16 } from './float16.ts'

/** Kinds of typed arrays that can be an argument, by name. */
export interface ViewKinds {
  Int8Array: Int8Array
  Uint8Array: Uint8Array
  Uint8ClampedArray: Uint8ClampedArray
  Int16Array: Int16Array
  Uint16Array: Uint16Array
  Int32Array: Int32Array
  Uint32Array: Uint32Array
  Float32Array: Float32Array
}
export type ViewKind = keyof ViewKinds

/** Only the compiler sees it: which views a type takes. */
declare const VIEW: unique symbol

/**
 * A type whose values a device and the CPU can exchange.
 *
 * `Out` is what the CPU reads, `In` what it may write, `View` which typed array it is an element of.
 */
export interface DataType<Out = unknown, In = Out, View extends ArrayBufferView = ArrayBufferView> {
  /** As WGSL writes it. */
  readonly wgsl: string
  /** WGSL declarations of the structs in it, by name, each after those that it uses. */
  readonly structs: ReadonlyMap<string, string>
  /** Bytes. */
  readonly size: number
  /** Bytes; addresses of values are multiples of it. */
  readonly align: number
  /** Names of the typed arrays that it is an element of; null: any view of as many bytes as whole elements have. */
  readonly views: readonly ViewKind[] | null
  /** Uses numbers of 16 bits, which not every device has. */
  readonly needsF16: boolean
  /** Why it cannot be a uniform, as a phrase; null if it can. */
  readonly whyNotUniform: string | null
  /** Is used by atomic operations only. */
  readonly isAtomic: boolean
  /** The value at a byte of a view. */
  load(view: DataView, offset: number): Out
  /** Writes a value. Throws a TypeError or RangeError that calls it `what`; nothing may rely on the bytes then. */
  store(view: DataView, offset: number, value: In, what: string): void
  readonly [VIEW]?: View
}

export type OutOf<T extends DataType> = ReturnType<T['load']>
export type InOf<T extends DataType> = Parameters<T['store']>[2]
export type ViewOf<T extends DataType> = NonNullable<T[typeof VIEW]>

/** Bytes from one element of an array to the next. */
export function strideOf({ size, align }: DataType): number {
  return roundUp(size, align)
}

/** The first multiple that is not below a value. */
export function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple
}

// ---- scalars ----

const NO_STRUCTS: ReadonlyMap<string, string> = new Map()

type ScalarType<Name extends string, View extends ArrayBufferView> = DataType<number, number, View> & {
  readonly wgsl: Name
}

export const f32: ScalarType<'f32', Float32Array> = scalar('f32', 4, ['Float32Array'], {
  load: (view, offset) => view.getFloat32(offset, true),
  store: (view, offset, value) => view.setFloat32(offset, value, true),
})

export const u32: ScalarType<'u32', Uint32Array> = scalar('u32', 4, ['Uint32Array'], {
  load: (view, offset) => view.getUint32(offset, true),
  store: (view, offset, value) => view.setUint32(offset, value, true),
  bounds: [0, 2 ** 32 - 1],
})

export const i32: ScalarType<'i32', Int32Array> = scalar('i32', 4, ['Int32Array'], {
  load: (view, offset) => view.getInt32(offset, true),
  store: (view, offset, value) => view.setInt32(offset, value, true),
  bounds: [-(2 ** 31), 2 ** 31 - 1],
})

/** 16 bits; the CPU sees their bits in a Uint16Array. Needs a device with `shader-f16`. */
export const f16: ScalarType<'f16', Uint16Array> = scalar('f16', 2, ['Uint16Array'], {
  load: (view, offset) => float16ToNumber(view.getUint16(offset, true)),
  store: (view, offset, value) => view.setUint16(offset, numberToFloat16(value), true),
})

/** A pointer to the memory of the heap, in words of 4 bytes, as `heap.ptr` makes it. A `u32` in WGSL. */
export const ptr: DataType<number, number, Uint32Array> = u32

/** A pointer of 64 bits in words of 4 bytes, low half first. A `vec2<u32>` in WGSL. */
export const ptr64: DataType<number, number, Uint32Array> = {
  ...layout('vec2<u32>', 8, 8, ['Uint32Array']),
  load: (view, offset) => view.getUint32(offset, true) + view.getUint32(offset + 4, true) * 2 ** 32,
  store: (view, offset, value, what) => {
    checkWhole(value, 0, Number.MAX_SAFE_INTEGER, what)
    view.setUint32(offset, value % 2 ** 32, true)
    view.setUint32(offset + 4, Math.floor(value / 2 ** 32), true)
  },
}

interface ScalarAccess {
  readonly load: (view: DataView, offset: number) => number
  readonly store: (view: DataView, offset: number, value: number) => void
  /** The least and the greatest whole number; left out for numbers with a fraction. */
  readonly bounds?: readonly [number, number]
}

function scalar<Name extends string, Kind extends ViewKind>(
  wgsl: Name,
  size: number,
  views: readonly Kind[],
  { load, store, bounds }: ScalarAccess,
): ScalarType<Name, ViewKinds[Kind]> {
  return {
    ...layout(wgsl, size, size, views),
    wgsl,
    needsF16: wgsl === 'f16',
    load,
    store: (view, offset, value, what) => {
      if (bounds !== undefined) checkWhole(value, bounds[0], bounds[1], what)
      else if (typeof value !== 'number') throw new TypeError(`${what} is ${describe(value)}, wanted a number`)
      store(view, offset, value)
    },
  }
}

function checkWhole(value: number, min: number, max: number, what: string): void {
  if (typeof value !== 'number') throw new TypeError(`${what} is ${describe(value)}, wanted a number`)
  if (Number.isInteger(value) && value >= min && value <= max) return
  throw new RangeError(`${what} is ${value}, wanted a whole number from ${min} to ${max}`)
}

function layout<Kind extends ViewKind>(wgsl: string, size: number, align: number, views: readonly Kind[]) {
  return { wgsl, structs: NO_STRUCTS, size, align, views, needsF16: false, whyNotUniform: null, isAtomic: false }
}

// ---- vectors and matrices ----

/** Typed arrays that a vector or matrix can be read from. */
export type NumberArray = Float32Array | Float64Array | Int32Array | Uint32Array | Int16Array | Uint16Array

interface Tuples {
  2: [number, number]
  3: [number, number, number]
  4: [number, number, number, number]
}
export type VectorType<N extends keyof Tuples, View extends ArrayBufferView> = DataType<
  Tuples[N],
  Readonly<Tuples[N]> | NumberArray,
  View
>

export const vec2f = vector(2, f32)
export const vec3f = vector(3, f32)
export const vec4f = vector(4, f32)
export const vec2u = vector(2, u32)
export const vec3u = vector(3, u32)
export const vec4u = vector(4, u32)
export const vec2i = vector(2, i32)
export const vec3i = vector(3, i32)
export const vec4i = vector(4, i32)
export const vec2h = vector(2, f16)
export const vec3h = vector(3, f16)
export const vec4h = vector(4, f16)

function vector<N extends keyof Tuples, View extends ArrayBufferView>(
  n: N,
  element: DataType<number, number, View>,
): VectorType<N, View> {
  const align = element.size * (n === 2 ? 2 : 4)
  return {
    ...element,
    wgsl: `vec${n}<${element.wgsl}>`,
    size: n * element.size,
    align,
    load: (view, offset) => loadNumbers(view, offset, n, element) as Tuples[N],
    store: (view, offset, value, what) => storeNumbers(view, offset, value as ArrayLike<number>, n, element, what),
  }
}

function loadNumbers(view: DataView, offset: number, n: number, { load, size }: DataType<number>): number[] {
  return Array.from({ length: n }, (_, i) => load(view, offset + i * size))
}

function storeNumbers(
  view: DataView,
  offset: number,
  value: ArrayLike<number>,
  n: number,
  { store, size }: DataType<number>,
  what: string,
): void {
  checkList(value, n, what)
  for (let i = 0; i < n; i++) store(view, offset + i * size, value[i], `${what}[${i}]`)
}

function checkList(value: ArrayLike<unknown>, n: number, what: string): void {
  const isList = Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView))
  if (!isList) throw new TypeError(`${what} is ${describe(value)}, wanted a list of ${n}`)
  if (value.length !== n) throw new RangeError(`${what} has ${value.length} elements, wanted ${n}`)
}

/** Columns follow each other; on the CPU without the gaps that WGSL leaves after columns of three. */
export type MatrixType<View extends ArrayBufferView> = DataType<number[], readonly number[] | NumberArray, View>

export const mat2x2f = matrix(2, 2, f32)
export const mat2x3f = matrix(2, 3, f32)
export const mat2x4f = matrix(2, 4, f32)
export const mat3x2f = matrix(3, 2, f32)
export const mat3x3f = matrix(3, 3, f32)
export const mat3x4f = matrix(3, 4, f32)
export const mat4x2f = matrix(4, 2, f32)
export const mat4x3f = matrix(4, 3, f32)
export const mat4x4f = matrix(4, 4, f32)
export const mat2x2h = matrix(2, 2, f16)
export const mat2x3h = matrix(2, 3, f16)
export const mat2x4h = matrix(2, 4, f16)
export const mat3x2h = matrix(3, 2, f16)
export const mat3x3h = matrix(3, 3, f16)
export const mat3x4h = matrix(3, 4, f16)
export const mat4x2h = matrix(4, 2, f16)
export const mat4x3h = matrix(4, 3, f16)
export const mat4x4h = matrix(4, 4, f16)

function matrix<View extends ArrayBufferView>(
  columns: number,
  rows: 2 | 3 | 4,
  element: DataType<number, number, View>,
): MatrixType<View> {
  const column = vector(rows, element)
  const columnBytes = strideOf(column)
  const n = columns * rows
  return {
    ...column,
    wgsl: `mat${columns}x${rows}<${element.wgsl}>`,
    size: columns * columnBytes,
    load: (view, offset) => {
      const of = (c: number) => loadNumbers(view, offset + c * columnBytes, rows, element)
      return Array.from({ length: columns }, (_, c) => of(c)).flat()
    },
    store: (view, offset, value, what) => {
      checkList(value, n, what)
      for (let i = 0; i < n; i++) {
        const at = offset + Math.floor(i / rows) * columnBytes + (i % rows) * element.size
        element.store(view, at, value[i], `${what}[${i}]`)
      }
    },
  }
}

// ---- atomics, packed words, fixed arrays ----

/** A number for `atomicAdd` and its kin. `atomic(u32)`, `atomic(i32)`. */
export function atomic<View extends Uint32Array | Int32Array>(
  type: DataType<number, number, View>,
): DataType<number, number, View> {
  if (type !== (u32 as DataType) && type !== (i32 as DataType)) {
    throw new TypeError(`atomic(${describe(type?.wgsl)}), wanted u32 or i32`)
  }
  return { ...type, wgsl: `atomic<${type.wgsl}>`, isAtomic: true, whyNotUniform: 'it is atomic' }
}

/**
 * Words of 32 bits that hold several small numbers. The element is a `u32` in WGSL, whose built-in functions take it apart and put
 * it together: `unpack4xU8(x[i])`, `pack4x8unorm(v)`.
 */
export const u8x4 = packed('Uint8Array', 'Uint8ClampedArray')
export const i8x4 = packed('Int8Array')
export const unorm8x4 = u8x4
export const snorm8x4 = i8x4
export const u16x2 = packed('Uint16Array')
export const i16x2 = packed('Int16Array')
export const unorm16x2 = u16x2
export const snorm16x2 = i16x2
export const f16x2 = u16x2

function packed<Kind extends ViewKind>(...views: readonly Kind[]): DataType<number, number, ViewKinds[Kind]> {
  const { load, store } = u32
  return { ...layout('u32', 4, 4, views), load, store }
}

/** A fixed number of elements, in structs: `array(f32, 8)`. */
export function array<Out, In, View extends ArrayBufferView>(
  type: DataType<Out, In, View>,
  length: number,
): DataType<Out[], readonly In[], View> {
  if (!Number.isInteger(length) || length < 1) {
    throw new RangeError(`array of ${describe(length)} elements, wanted a whole number from 1`)
  }
  const stride = strideOf(type as DataType)
  const gap =
    stride % 16 === 0 ? null : `elements of an array in a uniform lie 16 bytes apart, those of ${type.wgsl} ${stride}`
  return {
    ...type,
    wgsl: `array<${type.wgsl}, ${length}>`,
    size: stride * length,
    whyNotUniform: type.whyNotUniform ?? gap,
    load: (view, offset) => Array.from({ length }, (_, i) => type.load(view, offset + i * stride)),
    store: (view, offset, value, what) => {
      checkList(value, length, what)
      value.forEach((each, i) => {
        type.store(view, offset + i * stride, each, `${what}[${i}]`)
      })
    },
  }
}
