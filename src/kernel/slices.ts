// Cuts a launch into slices that fit a device. A slice is a range of workgroups along one dimension, with the parts of the
// arguments that belong to them; an argument of which nobody knows what belongs to whom is needed whole by every slice.

import { PAGE_SIZE, pageAlignDown, pageAlignUp } from '../base/addr.ts'
import { ENOMEM, MmError } from '../base/errno.ts'
import { type Box, type Grid, isEmpty, wholeBox } from './grid.ts'
import { BINDING_ALIGN, type KernelLaunch, type LaunchArgument, type LaunchSlicing } from './program.ts'

type Dimension = 0 | 1 | 2

/** What a device can take at once. */
export interface SliceLimits {
  /** Pages of device memory. */
  readonly npages: number
  /** Bytes of one binding. */
  readonly bindingBytes: number
  /** Workgroups along the dimension that is cut. Default: as many as fit. */
  readonly workgroups?: number
}

/** Bytes that lie in one binding of a slice. */
export interface SliceRange {
  /** A multiple of BINDING_ALIGN. */
  readonly start: number
  readonly end: number
  readonly write: boolean
}

/** What the code of a slice has to know of an argument: four words of the launch block. */
export interface SliceArgument {
  /** Elements that the slice may use, both included. */
  readonly first: number
  readonly last: number
  /** What is added to an element's index to have its index in the binding; modulo 2^32. */
  readonly offset: number
  /** Elements of the whole argument. */
  readonly length: number
}

export interface LaunchSlice {
  readonly box: Box
  /** In the order of `program.bindings`. */
  readonly ranges: readonly SliceRange[]
  /** In the order of `program.args`. */
  readonly args: readonly SliceArgument[]
  /** The bodies can run as the user wrote them. */
  readonly direct: boolean
}

/**
 * Cuts a launch, in order. A launch without invocations has no slices.
 *
 * Throws an MmError: ENOMEM if one workgroup needs more than the device has, or than it can bind.
 */
export function planSlices(launch: KernelLaunch, limits: SliceLimits): LaunchSlice[] {
  const { grid } = launch
  if (isEmpty(grid)) return []
  const whole = makeSlice(launch, null, wholeBox(grid))
  const isWhole = fits(whole, limits, limits.npages) && canRun(launch, whole)
  if (isWhole && limits.workgroups === undefined) return [whole]
  const dimension = dimensionToCut(launch)
  if (isWhole && grid.workgroups[dimension] <= limits.workgroups!) return [whole]
  const slices: LaunchSlice[] = []
  // One of which two fit, so that the next one is brought in while it is computed; what both need is there once.
  const half = Math.floor((limits.npages + commonPages(launch, dimension)) / 2)
  // Most slices are as large as the one before.
  let size = 1
  for (let first = 0; first < grid.workgroups[dimension]; first += size) {
    const slice = largestSlice(launch, dimension, first, { limits, half, guess: size })
    slices.push(slice)
    size = slice.box.size[dimension]
  }
  return slices
}

/** The four words of each argument and what else the code asks for, for one dispatch. */
export function launchBlock({ program, grid }: KernelLaunch, slice: LaunchSlice, box: Box): Uint32Array<ArrayBuffer> {
  const words = new Uint32Array(launchBlockBytes(program.args.length) / 4)
  for (let d = 0; d < 3; d++) {
    words[d] = box.first[d] * program.workgroupSize[d]
    words[4 + d] = grid.count[d]
    words[8 + d] = grid.workgroups[d]
    words[12 + d] = box.first[d]
  }
  slice.args.forEach(({ first, last, offset, length }, k) => {
    words.set([first, last, offset, length], 16 + 4 * k)
  })
  return words
}

/** Bytes of a launch block. */
export function launchBlockBytes(nargs: number): number {
  return 64 + 16 * Math.max(1, nargs)
}

/** Pages that ranges need; one that several share counts once. */
export function countPages(ranges: readonly { readonly start: number; readonly end: number }[]): number {
  let npages = 0
  let counted = 0
  for (const { start, end } of [...ranges].sort((a, b) => a.start - b.start)) {
    const from = Math.max(counted, pageAlignDown(start))
    const to = pageAlignUp(end)
    if (to > from) npages += (to - from) / PAGE_SIZE
    counted = Math.max(counted, to)
  }
  return npages
}

/** The dimension along which one row of workgroups needs the fewest bytes. */
function dimensionToCut(launch: KernelLaunch): Dimension {
  const needs = ([0, 1, 2] as const).map((d) => nbytesOf(makeSlice(launch, d, boxAlong(launch.grid, d, 0, 1))))
  return needs.indexOf(Math.min(...needs)) as Dimension
}

function nbytesOf({ ranges }: LaunchSlice): number {
  return ranges.reduce((sum, { start, end }) => sum + end - start, 0)
}

/** The largest slice from a workgroup on: of `half` of the memory, or of all of it where that is too little for one workgroup. */
function largestSlice(
  launch: KernelLaunch,
  dimension: Dimension,
  first: number,
  { limits, half, guess }: { readonly limits: SliceLimits; readonly half: number; readonly guess: number },
): LaunchSlice {
  const slice = (size: number) => makeSlice(launch, dimension, boxAlong(launch.grid, dimension, first, size))
  const left = launch.grid.workgroups[dimension] - first
  const max = Math.min(left, limits.workgroups ?? left)
  for (const npages of [half, limits.npages]) {
    const size = largestThat((n) => fits(slice(n), limits, npages), max, guess)
    if (size > 0 && canRun(launch, slice(size))) return slice(size)
  }
  throw doesNotFit(launch, slice(1), limits)
}

/**
 * The largest number from 1 to `max` that passes a test; 0 if none does. Where one passes, all smaller ones do. It is found sooner
 * near `guess`.
 */
function largestThat(passes: (n: number) => boolean, max: number, guess: number): number {
  // Passes, and does not.
  let enough = 0
  let tooMany = max + 1
  const test = (n: number): void => {
    if (n <= enough || n >= tooMany) return
    if (passes(n)) enough = n
    else tooMany = n
  }
  for (const n of [guess, guess + 1, guess - 1]) test(n)
  while (tooMany - enough > 1) test(Math.floor((enough + tooMany) / 2))
  return enough
}

/** Pages that the first and the last slice both need: arguments that are not cut. */
function commonPages(launch: KernelLaunch, dimension: Dimension): number {
  const nworkgroups = launch.grid.workgroups[dimension]
  const [first, last] = [0, nworkgroups - 1].map((i) =>
    makeSlice(launch, dimension, boxAlong(launch.grid, dimension, i, 1)),
  )
  return countPages(first.ranges) + countPages(last.ranges) - countPages([...first.ranges, ...last.ranges])
}

function boxAlong({ workgroups }: Grid, dimension: Dimension, first: number, size: number): Box {
  const box = { first: [0, 0, 0] as [number, number, number], size: [...workgroups] as [number, number, number] }
  box.first[dimension] = first
  box.size[dimension] = size
  return box
}

function fits(slice: LaunchSlice, { bindingBytes }: SliceLimits, npages: number): boolean {
  return countPages(slice.ranges) <= npages && slice.ranges.every(({ start, end }) => end - start <= bindingBytes)
}

/** There is code for it. */
function canRun({ program }: KernelLaunch, slice: LaunchSlice): boolean {
  return slice.direct || program.indexed !== null
}

function doesNotFit({ program }: KernelLaunch, slice: LaunchSlice, limits: SliceLimits): MmError {
  const needs = `one workgroup of ${program.name} needs ${countPages(slice.ranges)} pages, the device has ${limits.npages}`
  if (countPages(slice.ranges) > limits.npages) return new MmError(-ENOMEM, 'launch', { detail: needs })
  const large = slice.ranges.findIndex(({ start, end }) => end - start > limits.bindingBytes)
  if (large >= 0) {
    const names = program.bindings[large].args.join(' and ')
    const { start, end } = slice.ranges[large]
    const detail = `${names} of ${program.name} takes a binding of ${end - start} bytes, the device has ${limits.bindingBytes}`
    return new MmError(-ENOMEM, 'launch', { detail })
  }
  const detail = `${program.name} has to be cut to fit the device, and cannot be: ${program.whyNotIndexed}`
  return new MmError(-ENOMEM, 'launch', { detail })
}

/** The parts of the arguments that belong to a box; all of them if it is not cut along a dimension. */
function makeSlice(launch: KernelLaunch, dimension: Dimension | null, box: Box): LaunchSlice {
  const { program, args } = launch
  const ranges = launch.ranges.map(({ start, end }, k) => ({ start, end, write: program.bindings[k].write }))
  const parts = args.map((arg, k): SliceArgument => {
    const { length, skip, slicing } = arg
    const { binding, stride } = program.args[k]
    const along = dimension === null ? null : slicing[dimension]
    if (dimension === null || along === null) return { first: 0, last: length - 1, offset: skip, length }
    const { first, end } = elementsOf(launch, arg, along, dimension, box)
    // The binding begins where one can, at most some elements before.
    const step = BINDING_ALIGN / commonDivisor(BINDING_ALIGN, stride)
    const from = Math.floor((skip + first) / step) * step
    const range = ranges[binding]
    range.end = Math.min(range.end, range.start + Math.ceil(((skip + end) * stride) / 4) * 4)
    range.start += from * stride
    return { first, last: end - 1, offset: (skip - from) >>> 0, length }
  })
  // The bodies run as they are where an index is one into the binding, and `arrayLength` of the binding is that of the argument.
  const isBound = parts.every(({ offset, last, length }, k) => {
    const { binding, stride } = program.args[k]
    const nbytes = ranges[binding].end - ranges[binding].start
    return offset === 0 && last + 1 === length && Math.floor(nbytes / stride) === length
  })
  return { box, ranges, args: parts, direct: program.direct !== null && isBound }
}

/** Elements of an argument that the workgroups of a box use; at least one, because nothing cannot be bound. */
function elementsOf(
  { program, grid }: KernelLaunch,
  { length }: LaunchArgument,
  { per, stride, low, high }: LaunchSlicing,
  d: Dimension,
  box: Box,
): { first: number; end: number } {
  const unit = per === 'workgroup' ? 1 : program.workgroupSize[d]
  const all = per === 'workgroup' ? grid.workgroups[d] : grid.count[d]
  const from = box.first[d] * unit
  const to = Math.min((box.first[d] + box.size[d]) * unit, all) - 1
  const first = Math.min(Math.max(0, from * stride + low), length - 1)
  return { first, end: Math.min(Math.max(first + 1, to * stride + high + 1), length) }
}

function commonDivisor(a: number, b: number): number {
  return b === 0 ? a : commonDivisor(b, a % b)
}
