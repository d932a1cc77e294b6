// From what a program hands to `run` to what a device is given: arguments checked, ranges found, uniforms packed. Nothing has
// happened yet when something is refused here.

import { describe } from '../base/describe.ts'
import type { ArgumentValues, ArrayArgument, KernelArguments, UniformArgument } from './argument.ts'
import { roundUp, strideOf } from './data-type.ts'
import {
  type Extent,
  type Grid,
  gridOfCount,
  gridOfWorkgroups,
  type Indirect,
  type LaunchCount,
  type Triple,
} from './grid.ts'
import type { ArgumentGroups, Kernel } from './kernel.ts'
import { REACH_MAX } from './paged/paged-program.ts'
import {
  BINDING_ALIGN,
  type KernelLaunch,
  type KernelProgram,
  type LaunchArgument,
  type LaunchRange,
  type LaunchReach,
  UNIFORM_ALIGN,
} from './program.ts'
import { type SlicingSite, slicingOf, WHOLE } from './slicing.ts'

/** Where a view lies in the heap, in bytes. */
export interface ViewPlace {
  readonly start: number
  readonly end: number
  /** Of the array that it is of. What is behind its end, up to the next page, belongs to nobody. */
  readonly arrayStart: number
  readonly arrayEnd: number
  /** Devices may not write it. */
  readonly readOnly?: boolean
}

export interface LaunchSite {
  /** Finds a view in the heap, or throws. */
  readonly locate: (view: ArrayBufferView) => ViewPlace
  /** What pointers may touch, as views. */
  readonly reach?: readonly ArrayBufferView[]
  /** Count accesses beyond the arguments. */
  readonly strict: boolean
}

/** A grid that the heap says when the launch begins. */
export interface IndirectGrid {
  /** One to three words. */
  readonly range: LaunchRange
  /** They count workgroups, not invocations. */
  readonly workgroups: boolean
  /** The most that each may say; more is an error then. */
  readonly max: number
}

export interface PreparedLaunch {
  /** With an indirect grid, that of the launch is none yet. */
  readonly launch: KernelLaunch
  readonly indirect: IndirectGrid | null
  /** Which program of the kernel it is. */
  readonly groups: ArgumentGroups
}

/** More invocations in a dimension than an indirect launch may have: its slices are planned before it is known how many. */
const INDIRECT_MAX = 2 ** 28

/** Throws a TypeError or RangeError that names the argument, and whatever `locate` throws. */
export function prepareLaunch<A extends KernelArguments>(
  kernel: Kernel<A>,
  values: ArgumentValues<A>,
  count: LaunchCount,
  site: LaunchSite,
): PreparedLaunch {
  const { workgroupSize, facts } = kernel
  checkNames(kernel, values)
  const { grid, indirect } = gridOf(kernel, count, site)
  const arrays: PlacedArgument[] = []
  const uniforms: string[] = []
  for (const name of facts.args) {
    const arg = kernel.args[name]
    const value = (values as Readonly<Record<string, unknown>>)[name]
    if (arg.kind === 'uniform') uniforms.push(name)
    else arrays.push(placeArgument(kernel.name, name, arg, value as ArrayBufferView, site))
  }
  const groups = groupsOf(kernel.name, arrays)
  const program = kernel.program(
    groups.map(({ args }) => args.map(({ name }) => name)),
    site.strict,
  )
  const uniformBytes = packUniforms(kernel, values, uniforms)
  const slicingSite = { grid, workgroupSize, uniform: (name: string) => numberOf(kernel, values, name) }
  return {
    launch: {
      program,
      ranges: groups.map(({ start, end }) => ({ start, end })),
      args: groups.flatMap((group) => group.args.map((arg) => launchArgument(kernel, group, arg, slicingSite))),
      uniforms: uniformBytes,
      grid,
      reach: reachOf(program, site),
    },
    indirect,
    groups: program.bindings.map(({ args }) => args),
  }
}

/** The ranges that pointers may touch. Throws a TypeError for a program that follows pointers and is not told where, or the reverse. */
function reachOf({ name, paged }: KernelProgram, { reach = [], locate }: LaunchSite): LaunchReach[] {
  const pointers = paged?.pointers ?? null
  if (pointers === null && reach.length > 0)
    throw new TypeError(`run(${name}): reach is given, and it follows no pointers`)
  if (pointers === null) return []
  if (reach.length === 0)
    throw new TypeError(`run(${name}) follows pointers, wanted reach: the arrays that they may touch`)
  if (reach.length > REACH_MAX)
    throw new RangeError(`run(${name}): reach has ${reach.length} arrays, wanted at most ${REACH_MAX}`)
  return reach.map((view) => {
    const { start, end, readOnly = false } = locate(view)
    const write = pointers === 'write' && !readOnly
    return { start: Math.ceil(start / 4) * 4, end: Math.floor(end / 4) * 4, write }
  })
}

// ---- how many ----

/** The grid that the words of an indirect launch make. Throws a RangeError that begins with `launch` for more than may be. */
export function indirectGridOf(
  words: readonly number[],
  { workgroups, max }: IndirectGrid,
  size: Triple,
  launch: string,
): Grid {
  const what = `${launch}: the indirect ${workgroups ? 'count of workgroups' : 'count'}`
  for (const word of words) if (word > max) throw new RangeError(`${what} is ${word}, wanted at most ${max}`)
  const extent = words as unknown as Extent
  return workgroups ? gridOfWorkgroups(extent, size, what) : gridOfCount(extent, size, what)
}

function gridOf(kernel: Kernel, count: LaunchCount, site: LaunchSite): { grid: Grid; indirect: IndirectGrid | null } {
  const { name, workgroupSize, facts } = kernel
  const counts = typeof count === 'object' && count !== null && 'workgroups' in count
  const extent = counts ? count.workgroups : count
  if (!counts && facts.whyWorkgroups !== null) {
    const why = `wanted { workgroups: ... }: it runs in whole workgroups, because ${facts.whyWorkgroups}`
    throw new TypeError(`run(${name}): the count is ${describe(count)}, ${why}`)
  }
  const what = `run(${name}): ${counts ? 'workgroups' : 'the count'}`
  if (!isIndirect(extent)) {
    const grid = counts ? gridOfWorkgroups(extent, workgroupSize, what) : gridOfCount(extent, workgroupSize, what)
    return { grid, indirect: null }
  }
  const { start, end } = site.locate(extent.indirect)
  if (start % 4 !== 0) throw new RangeError(`${what} is at byte ${start}, wanted a multiple of 4`)
  const max = counts ? Math.floor(INDIRECT_MAX / Math.max(...workgroupSize)) : INDIRECT_MAX
  const indirect = { range: { start, end }, workgroups: counts, max }
  const most = Array.from({ length: (end - start) / 4 }, () => max)
  return { grid: indirectGridOf(most, indirect, workgroupSize, `run(${name})`), indirect }
}

function isIndirect(extent: Extent | Indirect): extent is Indirect<Uint32Array> {
  return typeof extent === 'object' && extent !== null && 'indirect' in extent
}

// ---- arrays ----

/** An array argument, and where it lies. */
interface PlacedArgument extends LaunchRange {
  readonly name: string
  readonly arg: ArrayArgument
  /** Of its first element. */
  readonly first: number
  readonly length: number
}

/** Arguments that share a binding because they share memory. */
interface ArgumentGroup extends LaunchRange {
  readonly args: readonly PlacedArgument[]
}

function placeArgument(
  kernel: string,
  name: string,
  arg: ArrayArgument,
  view: ArrayBufferView,
  site: LaunchSite,
): PlacedArgument {
  const { type } = arg
  const what = `run(${kernel}): argument "${name}"`
  const kinds = type.views as readonly string[] | null
  if (!ArrayBuffer.isView(view) || (kinds !== null && !kinds.includes(kindOf(view)))) {
    const wanted = kinds === null ? 'a typed array or DataView' : kinds.join(' or ')
    throw new TypeError(`${what} is ${describe(view)}, wanted ${wanted} of the heap`)
  }
  const { start, end, arrayStart, arrayEnd } = site.locate(view)
  const stride = strideOf(type)
  // Whole words are bound; behind the end of an array nothing is in their way.
  const nbytes = end === arrayEnd && stride % 4 === 0 ? roundUp(end - start, 4) : end - start
  if (nbytes === 0) throw new RangeError(`${what} has no elements, wanted at least one`)
  if (nbytes % stride !== 0) {
    throw new RangeError(`${what} has ${nbytes} bytes, wanted a multiple of the ${stride} of ${type.wgsl}`)
  }
  // The binding begins at or before the first element, inside of the array, where one can begin and elements still fit.
  for (let from = start; from >= arrayStart; from -= stride) {
    if (from % BINDING_ALIGN !== 0) continue
    return { name, arg, start: from, end: roundUp(end, 4), first: start, length: nbytes / stride }
  }
  const offset = start - arrayStart
  throw new RangeError(
    `${what} begins at byte ${offset} of its array, wanted a multiple of the ${stride} of ${type.wgsl}`,
  )
}

/** The name of its kind, also for views of another realm. */
function kindOf(view: ArrayBufferView): string {
  return (view as unknown as Record<symbol, string>)[Symbol.toStringTag]
}

/** Arguments whose bindings would overlap share one. In the order of their first arguments. Throws a RangeError if they cannot. */
function groupsOf(kernel: string, arrays: readonly PlacedArgument[]): ArgumentGroup[] {
  const groups: { start: number; end: number; args: PlacedArgument[] }[] = []
  for (const array of [...arrays].sort((a, b) => a.start - b.start)) {
    const last = groups.at(-1)
    if (last === undefined || array.start >= last.end) {
      groups.push({ start: array.start, end: array.end, args: [array] })
      continue
    }
    last.end = Math.max(last.end, array.end)
    last.args.push(array)
  }
  for (const { start, args } of groups) {
    const [one] = args
    for (const other of args.slice(1)) {
      const names = `"${one.name}" and "${other.name}"`
      const what = `run(${kernel}): arguments ${names} overlap, or lie in the same ${BINDING_ALIGN} bytes`
      if (other.arg.type.wgsl !== one.arg.type.wgsl) {
        throw new RangeError(`${what}: ${one.arg.type.wgsl} and ${other.arg.type.wgsl}, wanted the same type`)
      }
      const distance = other.first - start
      const stride = strideOf(one.arg.type)
      if (distance % stride === 0) continue
      throw new RangeError(
        `${what}, ${distance} bytes apart, wanted a multiple of the ${stride} of ${one.arg.type.wgsl}`,
      )
    }
    args.sort((a, b) => arrays.indexOf(a) - arrays.indexOf(b))
  }
  return groups.sort((a, b) => arrays.indexOf(a.args[0]) - arrays.indexOf(b.args[0]))
}

function launchArgument(
  kernel: Kernel,
  group: ArgumentGroup,
  { name, arg, first, length }: PlacedArgument,
  site: SlicingSite,
): LaunchArgument {
  const skip = (first - group.start) / strideOf(arg.type)
  const isAlone = group.args.length === 1
  const slicing = isAlone ? slicingOf(arg, kernel.formsOf(name), site, name) : WHOLE
  return { skip, length, slicing, isOverwritten: isAlone && overwrites(kernel, name, arg, length, site) }
}

/** Whether each element of an argument is written by one of the invocations, whatever happens, and nothing of it is read. */
function overwrites(kernel: Kernel, name: string, arg: ArrayArgument, length: number, site: SlicingSite): boolean {
  const { access, type } = arg
  const forms = kernel.formsOf(name)
  if (access !== 'write' || forms === null || !kernel.facts.written.has(name)) return false
  // Nothing between the elements stays what it was.
  if ('offsets' in type || type.size !== strideOf(type)) return false
  // What is declared may be less than what is true; what is found is exact.
  const [each] = slicingOf({ ...arg, slice: 'found' }, forms, site, name)
  const isOwn = each?.per === 'invocation' && each.stride === 1 && each.low === 0 && each.high === 0
  return isOwn && site.grid.count[0] >= length
}

// ---- values ----

function packUniforms<A extends KernelArguments>(
  kernel: Kernel<A>,
  values: ArgumentValues<A>,
  names: readonly string[],
): Uint8Array {
  const places: { name: string; arg: UniformArgument; offset: number }[] = []
  let end = 0
  for (const name of names) {
    const arg = kernel.args[name] as UniformArgument
    places.push({ name, arg, offset: end })
    end += roundUp(arg.type.size, UNIFORM_ALIGN)
  }
  const bytes = new Uint8Array(end)
  const view = new DataView(bytes.buffer)
  for (const { name, arg, offset } of places) {
    arg.type.store(view, offset, (values as Record<string, unknown>)[name], `run(${kernel.name}): argument "${name}"`)
  }
  return bytes
}

/** The value of a uniform that is a whole number. */
function numberOf<A extends KernelArguments>(kernel: Kernel<A>, values: ArgumentValues<A>, name: string): number {
  const arg: KernelArguments[string] | undefined = kernel.args[name]
  const value = (values as Record<string, unknown>)[name]
  if (arg?.kind !== 'uniform' || typeof value !== 'number') {
    throw new TypeError(
      `run(${kernel.name}): slice.stride is "${name}", wanted a number or the name of a uniform that is one`,
    )
  }
  return value
}

function checkNames<A extends KernelArguments>(kernel: Kernel<A>, values: ArgumentValues<A>): void {
  const names = Object.keys(kernel.args)
  const what = `run(${kernel.name}):`
  if (typeof values !== 'object' || values === null) {
    throw new TypeError(`${what} the arguments are ${describe(values)}, wanted an object with ${names.join(', ')}`)
  }
  for (const name of Object.keys(values)) {
    if (!names.includes(name)) throw new TypeError(`${what} there is no argument "${name}", wanted ${names.join(', ')}`)
  }
  for (const name of kernel.facts.args) {
    if ((values as Record<string, unknown>)[name] === undefined)
      throw new TypeError(`${what} argument "${name}" is missing`)
  }
}
