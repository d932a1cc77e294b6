// The eleven kinds of typed arrays, and what the compiler knows of an array of a heap: its buffer may be shared, so an
// interface that does not take shared memory does not take the array.

import { describe } from '../base/describe.ts'
import { SEGMENT_BYTES_MAX } from './arena.ts'
import { HeapRangeError, HeapTypeError } from './heap-error.ts'

export const ARRAY_TYPES = [
  Int8Array,
  Uint8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
] as const

/** A constructor of typed arrays: `Float32Array`. */
export type ArrayType = (typeof ARRAY_TYPES)[number]

/** What it constructs, over memory that may be shared: `Float32Array<ArrayBufferLike>`. */
export type ArrayOf<T extends ArrayType> = T['prototype']

/** A typed array of any kind, over memory that may be shared. */
export type HeapArray = ArrayOf<ArrayType>

/** Whatever shows a part of the memory: a typed array or a DataView. */
export type HeapView = HeapArray | DataView<ArrayBufferLike>

/** Name of a kind: 'Float32Array'. */
export type ArrayTypeName =
  | 'Int8Array'
  | 'Uint8Array'
  | 'Uint8ClampedArray'
  | 'Int16Array'
  | 'Uint16Array'
  | 'Int32Array'
  | 'Uint32Array'
  | 'Float32Array'
  | 'Float64Array'
  | 'BigInt64Array'
  | 'BigUint64Array'

const TYPES: ReadonlySet<unknown> = new Set(ARRAY_TYPES)

/** Throws a TypeError unless `type` is one of the eleven constructors. */
export function checkArrayType(type: ArrayType): void {
  if (TYPES.has(type)) return
  throw new HeapTypeError(`type is ${describe(type)}, wanted a typed array such as Float32Array`)
}

/** A typed array over a part of a buffer. */
export function makeArray<T extends ArrayType>(
  type: T,
  buffer: ArrayBufferLike,
  byteOffset: number,
  length: number,
): ArrayOf<T> {
  const construct = type as unknown as new (buffer: ArrayBufferLike, byteOffset: number, length: number) => ArrayOf<T>
  return new construct(buffer, byteOffset, length)
}

/** Throws a TypeError unless `view` is a typed array or DataView. */
export function checkView(view: HeapView): void {
  if (!ArrayBuffer.isView(view)) throw new HeapTypeError(`view is ${describe(view)}, wanted a typed array of the heap`)
}

/** The length, if an array can have it. Throws a TypeError for no whole number, a RangeError for one that is negative or too large. */
export function checkLength(length: number): number {
  const isWhole =
    typeof length === 'number' && (Number.isInteger(length) || Math.abs(length) === Number.POSITIVE_INFINITY)
  if (!isWhole) throw new HeapTypeError(`length is ${describe(length)}, wanted a whole number of elements`)
  if (length < 0 || length > SEGMENT_BYTES_MAX) {
    throw new HeapRangeError(`length is ${length}, wanted 0 to ${SEGMENT_BYTES_MAX} elements`)
  }
  return length
}

export { describe }
