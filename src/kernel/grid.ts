// How many invocations a launch has, and in which workgroups they are.
//
//   run(kernel, args, 1000)                       1000 invocations, exactly
//   run(kernel, args, [640, 480])                 a rectangle of them, exactly
//   run(kernel, args, { workgroups: [8, 8, 1] })  whole workgroups: what kernels with barriers or workgroup ids take
//   run(kernel, args, indirect(view))             what the heap says when the launch begins

import { describe } from '../base/describe.ts'

/** x, y, z. */
export type Triple = readonly [number, number, number]

/** Numbers for one, two or three dimensions; those that are left out are 1. */
export type Extent = number | readonly [number] | readonly [number, number] | readonly [number, number, number]

/** One to three words of the heap that say how many; see `indirect`. */
export interface Indirect<View extends ArrayBufferView = ArrayBufferView> {
  readonly indirect: View
}

export type LaunchCount = Extent | Indirect<Uint32Array> | { readonly workgroups: Extent | Indirect<Uint32Array> }

/** The invocations of a launch. */
export interface Grid {
  /** Invocations in each dimension. */
  readonly count: Triple
  /** Workgroups that have them, the last of each dimension perhaps in part. */
  readonly workgroups: Triple
}

/** A box of workgroups, what one dispatch does. */
export interface Box {
  /** The first workgroup in each dimension. */
  readonly first: Triple
  readonly size: Triple
}

/** Ids are 32 bits. */
const COUNT_MAX = 2 ** 32 - 1

/**
 * Takes the number of invocations, or of workgroups with `{ workgroups: indirect(view) }`, from the heap: from one to three words that
 * an earlier launch, or the CPU, has written. Throws a TypeError or RangeError for what are not one to three words.
 */
export function indirect(view: Uint32Array): Indirect<Uint32Array> {
  if (!(view instanceof Uint32Array)) throw new TypeError(`indirect(${describe(view)}), wanted a Uint32Array`)
  if (view.length < 1 || view.length > 3) {
    throw new RangeError(`indirect of ${view.length} words, wanted 1 to 3: what are the dimensions`)
  }
  return { indirect: view }
}

/** The grid of so many invocations. Throws a TypeError or RangeError that calls them `what`. */
export function gridOfCount(count: Extent, workgroupSize: Triple, what: string): Grid {
  const triple = tripleOf(count, what)
  const workgroups = triple.map((n, d) => Math.ceil(n / workgroupSize[d])) as unknown as Triple
  return { count: triple, workgroups }
}

/** The grid of so many workgroups. Throws a TypeError or RangeError that calls them `what`. */
export function gridOfWorkgroups(workgroups: Extent, workgroupSize: Triple, what: string): Grid {
  const triple = tripleOf(workgroups, what)
  const count = triple.map((n, d) => n * workgroupSize[d]) as unknown as Triple
  for (const n of count) {
    if (n > COUNT_MAX) throw new RangeError(`${what} are ${n} invocations in one dimension, wanted less than 2^32`)
  }
  return { count, workgroups: triple }
}

export function isEmpty({ count: [x, y, z] }: Grid): boolean {
  return x === 0 || y === 0 || z === 0
}

/** All workgroups of a grid. */
export function wholeBox({ workgroups }: Grid): Box {
  return { first: [0, 0, 0], size: workgroups }
}

function tripleOf(extent: Extent, what: string): Triple {
  const numbers: readonly unknown[] = Array.isArray(extent) ? extent : [extent]
  if (numbers.length < 1 || numbers.length > 3) {
    throw new RangeError(`${what} has ${numbers.length} dimensions, wanted 1 to 3`)
  }
  for (const n of numbers) {
    if (typeof n !== 'number') {
      throw new TypeError(`${what} is ${describe(n)}, wanted a whole number or a list of up to three`)
    }
    if (!Number.isInteger(n) || n < 0 || n > COUNT_MAX) {
      throw new RangeError(`${what} is ${n}, wanted a whole number below 2^32`)
    }
  }
  const [x, y = 1, z = 1] = numbers as number[]
  return [x, y, z]
}
