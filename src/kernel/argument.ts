// The arguments of a kernel: arrays of the heap, by how the code uses them, and uniforms, values that are the same for every
// invocation. From these the compiler infers what `run` takes.
//
//   args: { x: read(f32), y: readWrite(f32), a: uniform(f32) }      run(kernel, { x: Float32Array, y: Float32Array, a: number }, n)

import { describe } from '../base/describe.ts'
import { type DataType, type InOf, strideOf, type ViewOf } from './data-type.ts'
import { checkIdentifier } from './struct-type.ts'

/** What the code does with an array. */
export const ARRAY_ACCESSES = ['read', 'write', 'readWrite'] as const
export type ArrayAccess = (typeof ARRAY_ACCESSES)[number]

export const DIMENSIONS = ['x', 'y', 'z'] as const
export type Dimension = (typeof DIMENSIONS)[number]

/**
 * Which elements belong to which invocations, so that a launch that does not fit a device can be cut: invocation i of a dimension
 * uses the elements from (i - before) * stride to (i + 1 + after) * stride, and no others.
 */
export interface SliceSpec {
  /** The dimension of the invocations. Default 'x'. */
  readonly along?: Dimension
  /** Count workgroups of that dimension instead of invocations. Default 'invocation'. */
  readonly per?: 'invocation' | 'workgroup'
  /** Elements per invocation or workgroup: a whole number from 1, or the name of a uniform that has it. Default 1. */
  readonly stride?: number | string
  /** Neighbours that are read too, for arrays that are only read. Default 0. */
  readonly before?: number
  readonly after?: number
}

/** 'linear': element i belongs to invocation i. 'whole': each may use all. Left out: found in the code, else 'whole'. */
export type SliceOption = 'linear' | 'whole' | SliceSpec

/** How the elements that an invocation uses are found. */
export interface ArrayOptions {
  readonly slice?: SliceOption
}

/** An argument that is an array. */
export interface ArrayArgument<T extends DataType = DataType, A extends ArrayAccess = ArrayAccess> {
  readonly kind: 'array'
  readonly type: T
  readonly access: A
  readonly slice: 'found' | 'whole' | Required<SliceSpec>
}

/** An argument that is one value for all invocations. */
export interface UniformArgument<T extends DataType = DataType> {
  readonly kind: 'uniform'
  readonly type: T
}

export type KernelArgument = ArrayArgument | UniformArgument
export type KernelArguments = Readonly<Record<string, KernelArgument>>

/** What `run` takes for an argument. */
export type ArgumentValue<A extends KernelArgument> =
  A extends ArrayArgument<infer T> ? ViewOf<T> : A extends UniformArgument<infer T> ? InOf<T> : never

/** What `run` takes for all arguments of a kernel. */
export type ArgumentValues<A extends KernelArguments> = { readonly [K in keyof A]: ArgumentValue<A[K]> }

/** An array that the code only reads. Throws a TypeError or RangeError for a type or option that is none. */
export function read<T extends DataType>(type: T, options: ArrayOptions = {}): ArrayArgument<T, 'read'> {
  return arrayArgument('read', type, options)
}

/** An array that the code writes and never reads. Elements that it does not write keep their values. */
export function write<T extends DataType>(type: T, options: ArrayOptions = {}): ArrayArgument<T, 'write'> {
  return arrayArgument('write', type, options)
}

/** An array that the code reads and writes. */
export function readWrite<T extends DataType>(type: T, options: ArrayOptions = {}): ArrayArgument<T, 'readWrite'> {
  return arrayArgument('readWrite', type, options)
}

/** A value that is the same for every invocation. Throws a TypeError for a type that WGSL does not take there. */
export function uniform<T extends DataType>(type: T): UniformArgument<T> {
  checkType(type, 'uniform')
  if (type.whyNotUniform !== null) throw new TypeError(`uniform(${type.wgsl}): ${type.whyNotUniform}`)
  return { kind: 'uniform', type }
}

/** Throws a TypeError for what are no arguments, or have names that WGSL does not take. */
export function checkArguments(args: KernelArguments): void {
  if (typeof args !== 'object' || args === null || Array.isArray(args)) {
    throw new TypeError(`args is ${describe(args)}, wanted an object such as { x: read(f32) }`)
  }
  for (const [name, arg] of Object.entries(args)) {
    checkIdentifier(name, 'the name of an argument')
    if (arg?.kind === 'array' || arg?.kind === 'uniform') continue
    throw new TypeError(`args.${name} is ${describe(arg)}, wanted read, write, readWrite or uniform of a type`)
  }
}

function arrayArgument<T extends DataType, A extends ArrayAccess>(
  access: A,
  type: T,
  options: ArrayOptions,
): ArrayArgument<T, A> {
  checkType(type, access)
  if (type.isAtomic && access !== 'readWrite') {
    throw new TypeError(`${access}(${type.wgsl}), wanted readWrite: atomics are read and written`)
  }
  if (typeof options !== 'object' || options === null) {
    throw new TypeError(`options of ${access}(${type.wgsl}) is ${describe(options)}, wanted an object with slice`)
  }
  for (const name of Object.keys(options)) {
    if (name !== 'slice') throw new TypeError(`options.${name} of ${access}(${type.wgsl}) is no option, wanted slice`)
  }
  return { kind: 'array', type, access, slice: parseSlice(options.slice, access) }
}

function checkType(type: DataType, what: string): void {
  if (typeof type?.store === 'function' && strideOf(type) > 0) return
  throw new TypeError(`${what}(${describe(type)}), wanted a type such as f32`)
}

function parseSlice(slice: SliceOption | undefined, access: ArrayAccess): ArrayArgument['slice'] {
  if (slice === undefined) return 'found'
  if (slice === 'whole') return 'whole'
  const spec: SliceSpec = slice === 'linear' ? {} : slice
  if (typeof spec !== 'object' || spec === null) {
    const wanted = `wanted 'linear', 'whole' or an object with ${SLICE_NAMES.join(', ')}`
    if (typeof spec === 'string') throw new RangeError(`slice is ${describe(spec)}, ${wanted}`)
    throw new TypeError(`slice is ${describe(spec)}, ${wanted}`)
  }
  for (const name of Object.keys(spec)) {
    if (!(SLICE_NAMES as readonly string[]).includes(name)) {
      throw new TypeError(`slice.${name} is no option, wanted ${SLICE_NAMES.join(', ')}`)
    }
  }
  const { along = 'x', per = 'invocation', stride = 1, before = 0, after = 0 } = spec
  if (!DIMENSIONS.includes(along)) {
    throw new RangeError(`slice.along is ${describe(along)}, wanted one of ${DIMENSIONS.join(', ')}`)
  }
  if (per !== 'invocation' && per !== 'workgroup') {
    throw new RangeError(`slice.per is ${describe(per)}, wanted 'invocation' or 'workgroup'`)
  }
  if (typeof stride !== 'string') checkCount(stride, 'slice.stride', 1)
  checkCount(before, 'slice.before', 0)
  checkCount(after, 'slice.after', 0)
  if (before + after > 0 && access !== 'read') {
    throw new RangeError(
      `slice.before and slice.after of an array that is written, wanted 0: slices run one after the other`,
    )
  }
  return { along, per, stride, before, after }
}

const SLICE_NAMES = ['along', 'per', 'stride', 'before', 'after'] as const satisfies readonly (keyof SliceSpec)[]

function checkCount(value: number, what: string, min: number): void {
  if (typeof value !== 'number') throw new TypeError(`${what} is ${describe(value)}, wanted a whole number from ${min}`)
  if (!Number.isInteger(value) || value < min) {
    throw new RangeError(`${what} is ${value}, wanted a whole number from ${min}`)
  }
}
