// Which elements of an argument belong to which workgroups of a launch, from what was declared or found in the code and the
// values of the uniforms.

import { type ArrayArgument, DIMENSIONS } from './argument.ts'
import type { Grid, Triple } from './grid.ts'
import type { IndexForm, IndexTerm, IndexVariable } from './index-form.ts'
import type { ArgumentSlicing, LaunchSlicing } from './program.ts'

/** Numbers that the launch knows. */
export interface SlicingSite {
  readonly grid: Grid
  readonly workgroupSize: Triple
  /** The value of a uniform that is a number; throws a TypeError for any other. */
  readonly uniform: (name: string) => number
}

/** Every invocation may use all of it. */
export const WHOLE: ArgumentSlicing = [null, null, null]

/** Throws a TypeError or RangeError for a declared stride that is no whole number from 1. */
export function slicingOf(
  { slice }: ArrayArgument,
  forms: readonly IndexForm[] | null,
  site: SlicingSite,
  name: string,
): ArgumentSlicing {
  if (slice === 'whole') return WHOLE
  if (slice === 'found') {
    if (forms === null) return WHOLE
    return [0, 1, 2].map((d) => foundSlicing(forms, d, site)) as unknown as ArgumentSlicing
  }
  const stride = typeof slice.stride === 'number' ? slice.stride : site.uniform(slice.stride)
  if (!Number.isInteger(stride) || stride < 1) {
    throw new RangeError(
      `slice.stride of argument "${name}" is ${stride}, the value of "${slice.stride}", wanted a whole number from 1`,
    )
  }
  const { per, before, after } = slice
  const slicing = { per, stride, low: 0 - before * stride, high: (after + 1) * stride - 1 }
  return DIMENSIONS.map((along) => (along === slice.along ? slicing : null)) as unknown as ArgumentSlicing
}

/**
 * What all forms have in common along a dimension: the same positive factor of its id. The other terms move the elements by
 * something between `low` and `high`.
 */
function foundSlicing(forms: readonly IndexForm[], dimension: number, site: SlicingSite): LaunchSlicing | null {
  let common: LaunchSlicing | null = null
  for (const form of forms) {
    const slicing = formSlicing(form, dimension, site)
    if (slicing === null) return null
    if (common !== null && (common.per !== slicing.per || common.stride !== slicing.stride)) return null
    const low = Math.min(slicing.low, common?.low ?? slicing.low)
    const high = Math.max(slicing.high, common?.high ?? slicing.high)
    common = { ...slicing, low, high }
  }
  return common
}

/** Indices are numbers of 32 bits: sums beyond them begin again from 0, and are no sums any more. */
const INDEX_MAX = 2 ** 31

function formSlicing(form: IndexForm, dimension: number, site: SlicingSite): LaunchSlicing | null {
  let per: LaunchSlicing['per'] | null = null
  let stride = 0
  const others: IndexTerm[] = []
  for (const term of form) {
    if (!isAlong(term.variable, dimension)) {
      others.push(term)
      continue
    }
    if (per !== null && per !== term.variable.per) return null
    per = term.variable.per
    stride += factorOf(term, site)
  }
  const [low, high] = rangeOf(others, site)
  if (per === null || stride < 1 || Number.isNaN(low + high)) return null
  const last = (per === 'workgroup' ? site.grid.workgroups : site.grid.count)[dimension] - 1
  return low < -INDEX_MAX || last * stride + high > INDEX_MAX ? null : { per, stride, low, high }
}

/** The least and the greatest value that a form has in the launch; not a number where that is not known. */
function rangeOf(form: IndexForm, site: SlicingSite): [number, number] {
  let low = 0
  let high = 0
  for (const term of form) {
    const factor = factorOf(term, site)
    const [min, max] = term.variable === null ? [1, 1] : boundsOf(term.variable, site)
    low += Math.min(factor * min, factor * max)
    high += Math.max(factor * min, factor * max)
  }
  return [low, high]
}

function factorOf({ factor, uniform }: IndexTerm, site: SlicingSite): number {
  return factor * (uniform === null ? 1 : site.uniform(uniform))
}

function isAlong(
  variable: IndexVariable | null,
  dimension: number,
): variable is IndexVariable & { per: 'invocation' | 'workgroup' } {
  if (variable?.per !== 'invocation' && variable?.per !== 'workgroup') return false
  return variable.dimension === dimension
}

/** The least and the greatest value of a variable in the launch. */
function boundsOf(variable: IndexVariable, site: SlicingSite): [number, number] {
  const { grid, workgroupSize } = site
  switch (variable.per) {
    case 'invocation':
      return [0, grid.count[variable.dimension] - 1]
    case 'workgroup':
      return [0, grid.workgroups[variable.dimension] - 1]
    case 'local':
      return [0, workgroupSize[variable.dimension] - 1]
    case 'local index':
      return [0, workgroupSize[0] * workgroupSize[1] * workgroupSize[2] - 1]
    case 'loop': {
      const [, max] = rangeOf(variable.max, site)
      // Further below than the end of an empty loop: numbers without a sign have begun again from above.
      if (max < variable.min - 1) return [Number.NaN, Number.NaN]
      return [variable.min, Math.max(variable.min, max)]
    }
    case 'limit': {
      const [low, high] = rangeOf(variable.of, site)
      const [bound] = rangeOf(variable.bound, site)
      if (variable.isUnsigned && Math.min(low, bound) < 0) return [Number.NaN, Number.NaN]
      return variable.op === 'max' ? [0, Math.max(0, bound - low)] : [Math.min(0, bound - high), 0]
    }
  }
}
