// A kernel that is run on a device and, written in JavaScript, on the CPU: afterwards every array has to have the same contents.

import { expect } from 'vitest'
import type { ArrayOf, ArrayType } from '../../../src/heap/array-types.ts'
import type { ArgumentValues, KernelArguments } from '../../../src/kernel/argument.ts'
import type { LaunchCount } from '../../../src/kernel/grid.ts'
import type { Kernel } from '../../../src/kernel/kernel.ts'

export type Alloc = <T extends ArrayType>(type: T, length: number) => ArrayOf<T>

/** What of a device a case needs to be small, so that the launch is cut. */
export interface CaseLimits {
  /** Pages of the device. */
  readonly npages?: number
  /** Workgroups of a slice along the dimension that is cut, at most. */
  readonly sliceMax?: number
}

/** Runs a kernel; returns in how many slices. */
export type Run = <A extends KernelArguments>(
  kernel: Kernel<A>,
  values: ArgumentValues<A>,
  count: LaunchCount,
  limits: CaseLimits,
) => Promise<number>

export interface KernelCase {
  readonly name: string
  readonly limits: CaseLimits
  check(alloc: Alloc, run: Run): Promise<void>
}

interface CaseSpec<A extends KernelArguments> {
  readonly kernel: () => Kernel<A>
  /** Makes the arrays, filled, and the uniforms. */
  readonly values: (alloc: Alloc) => ArgumentValues<A>
  readonly count: LaunchCount | ((values: ArgumentValues<A>) => LaunchCount)
  /** Does to the arrays what the kernel does. */
  readonly expected: (values: ArgumentValues<A>) => void
  readonly limits?: CaseLimits
  /** Slices that are wanted; default 1. */
  readonly slices?: number | 'several'
}

export function kernelCase<A extends KernelArguments>(name: string, spec: CaseSpec<A>): KernelCase {
  const { limits = {} } = spec
  return {
    name,
    limits,
    async check(alloc, run) {
      const { expected, slices = 1 } = spec
      // Whole arrays, so that what happens beside a part of one shows.
      const arrays: Uint8Array[] = []
      const values = spec.values((type, length) => {
        const array = alloc(type, length)
        arrays.push(array as Uint8Array)
        return array
      })
      const before = arrays.map((array) => array.slice())
      const count = typeof spec.count === 'function' ? spec.count(values) : spec.count
      const nslices = await run(spec.kernel(), values, count, limits)
      const after = arrays.map((array) => array.slice())
      // In place, so that arrays that overlap do so for the CPU too.
      for (const [i, array] of arrays.entries()) array.set(before[i])
      expected(values)
      for (const [i, array] of arrays.entries()) expectSame(i, after[i], array)
      if (slices === 'several') expect(nslices).toBeGreaterThan(1)
      else expect(nslices).toBe(slices)
    },
  }
}

/** Says which element differs: the arrays are too long to be printed. */
function expectSame(number: number, found: Uint8Array, wanted: Uint8Array): void {
  const at = found.findIndex((value, i) => !Object.is(value, wanted[i]))
  if (at >= 0) expect.fail(`array ${number}, [${at}] is ${found[at]}, wanted ${wanted[at]}`)
}

/** Numbers that look random and are whole, from 0 to below `below`. */
export function fill<T extends { length: number; [i: number]: number }>(array: T, below = 1000, seed = 1): T {
  let state = seed
  for (let i = 0; i < array.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    array[i] = (state >>> 8) % below
  }
  return array
}
