// Kernels whose arguments are bound directly, and how a launch is cut into slices that fit the device. A kernel says how many
// bytes of each argument belong to one invocation; so a slice needs these parts of the arguments and no others, and a launch
// may be larger than the memory of the device.

import { type Addr, PAGE_SIZE, pageAlignDown, pageAlignUp } from '../../base/addr.ts'
import { formatAddr } from '../../base/assert.ts'
import { ENOMEM, MmError } from '../../base/errno.ts'
import type { Access } from '../../trace/events.ts'
import type { AddrRange } from '../claims.ts'
import type { DeviceLimits, LaunchSlice } from '../driver/index.ts'
import { ARGUMENTS_MAX } from './direct-slice.wgsl.ts'

export const ARGUMENT_ACCESS = ['read', 'readWrite'] as const
export type ArgumentAccess = (typeof ARGUMENT_ACCESS)[number]

export interface DirectArgument {
  readonly name: string
  readonly access: ArgumentAccess
  /** Bytes of it that invocation i uses, from byte i * stride on; a multiple of 4. 0 if every invocation may use all of it. */
  readonly stride: number
}

export interface DirectKernel {
  readonly name: string
  /** A module with a compute entry point `main` that follows direct-slice.wgsl.ts. */
  readonly code: string
  /** Invocations per workgroup, as the code says; it has one dimension. */
  readonly workgroupSize: number
  readonly args: readonly DirectArgument[]
  /** Bytes of its uniforms, 0 for none. */
  readonly uniformBytes: number
}

/** A range of the address space that is passed as an argument. */
export interface ArgumentRange {
  /** A multiple of 4. */
  readonly addr: Addr
  readonly nbytes: number
}

export interface DirectCall {
  /** One per argument of the kernel. */
  readonly ranges: readonly ArgumentRange[]
  /** Invocations. */
  readonly count: number
  readonly uniforms?: Uint8Array<ArrayBuffer>
}

/** What the device can do at once. */
export interface DirectLimits extends DeviceLimits {
  /** Workgroups of one dispatch. */
  readonly workgroups: number
}

/** One dispatch. */
export interface Slice extends LaunchSlice {
  /** Number of its first invocation. */
  readonly first: number
  readonly count: number
  /** The part of each argument that it uses. */
  readonly args: readonly SliceArgument[]
}

export interface SliceArgument extends AddrRange {
  readonly access: Access
}

/** Bindings begin at multiples of this, in bytes: what every device accepts. */
export const BINDING_ALIGN = 256

/**
 * Cuts a launch into slices, in order.
 *
 * Throws a TypeError or RangeError for arguments that do not fit the kernel or each other, and an MmError ENOMEM if one
 * invocation needs more than the device has. Nothing has happened then.
 */
export function planSlices(kernel: DirectKernel, call: DirectCall, limits: DirectLimits): Slice[] {
  checkCall(kernel, call)
  const { count } = call
  if (count === 0) return []
  const whole = makeSlice(kernel, call, 0, count)
  if (fits(kernel, whole, limits, 1)) return [whole]
  const slices: Slice[] = []
  for (let first = 0; first < count; ) {
    const slice = largestSlice(kernel, call, first, limits)
    slices.push(slice)
    first += slice.count
  }
  return slices
}

/** All that a launch uses. */
export function rangesOfCall(kernel: DirectKernel, call: DirectCall): LaunchSlice {
  const { read = [], write = [] } = makeSlice(kernel, call, 0, call.count)
  const isUsed = ({ start, end }: AddrRange): boolean => start < end
  return { read: read.filter(isUsed), write: write.filter(isUsed) }
}

/**
 * The largest slice from an invocation on: of half of the memory, so that the next one is brought in while it is computed, or
 * of all of it where half is too little for one invocation. It ends where pages end, if it can.
 */
function largestSlice(kernel: DirectKernel, call: DirectCall, first: number, limits: DirectLimits): Slice {
  for (const parts of [2, 1]) {
    // Invocations that fit, and that do not.
    let enough = 0
    let tooMany = call.count - first + 1
    while (tooMany - enough > 1) {
      const middle = Math.floor((enough + tooMany) / 2)
      if (fits(kernel, makeSlice(kernel, call, first, middle), limits, parts)) enough = middle
      else tooMany = middle
    }
    if (enough === 0) continue
    const perPage = invocationsPerPage(kernel)
    const whole = Math.floor((first + enough) / perPage) * perPage - first
    return makeSlice(kernel, call, first, whole > 0 && first + enough < call.count ? whole : enough)
  }
  const needed = countPages(makeSlice(kernel, call, first, 1))
  const detail = `invocation ${first} of ${kernel.name} needs ${needed} pages, the device has ${limits.npages}`
  throw new MmError(-ENOMEM, 'launch', { detail })
}

/** Invocations after which all arguments are as far into a page as before. */
function invocationsPerPage({ args }: DirectKernel): number {
  return args.reduce((most, { stride }) => {
    let step = 1
    while (step < PAGE_SIZE && (step * stride) % PAGE_SIZE !== 0) step *= 2
    return Math.max(most, step)
  }, 1)
}

/** The slice fits into one of `parts` equal parts of the device. */
function fits(kernel: DirectKernel, slice: Slice, limits: DirectLimits, parts: number): boolean {
  const { npages, bankPages, pieceBytesMax, workgroups } = limits
  if (slice.count > workgroups * kernel.workgroupSize || countPages(slice) > npages / parts) return false
  // Half of a bank at most, where there are several: then there is a place for each piece however the others lie.
  const pieceMax = Math.min(pieceBytesMax, (bankPages * PAGE_SIZE) / (bankPages < npages ? parts : 1))
  return pagesOf(slice).every(({ start, end }) => end - start <= pieceMax)
}

function countPages(slice: Slice): number {
  return pagesOf(slice).reduce((sum, { start, end }) => sum + (end - start) / PAGE_SIZE, 0)
}

/** The pages of a slice, as ranges that have none in common. */
function pagesOf({ args }: Slice): readonly AddrRange[] {
  const pages: { start: Addr; end: Addr }[] = []
  for (const { start, end } of [...args].sort((a, b) => a.start - b.start)) {
    const last = pages.at(-1)
    const from = pageAlignDown(start)
    if (last !== undefined && from < last.end) last.end = Math.max(last.end, pageAlignUp(end))
    else pages.push({ start: from, end: pageAlignUp(end) })
  }
  return pages
}

function makeSlice(kernel: DirectKernel, call: DirectCall, first: number, count: number): Slice {
  const args = kernel.args.map(({ stride, access }, k): SliceArgument => {
    const { addr, nbytes } = call.ranges[k]
    const range =
      stride === 0
        ? { start: addr, end: addr + nbytes }
        : { start: addr + first * stride, end: addr + (first + count) * stride }
    return { ...range, access: access === 'read' ? 'read' : 'write' }
  })
  const read = args.filter(({ access }) => access === 'read')
  const write = args.filter(({ access }) => access === 'write')
  return { first, count, args, read, write }
}

function checkCall(kernel: DirectKernel, call: DirectCall): void {
  const { args, name, uniformBytes } = kernel
  const { ranges, count, uniforms } = call
  if (args.length === 0 || args.length > ARGUMENTS_MAX) {
    throw new RangeError(`kernel ${name} has ${args.length} arguments, wanted 1 to ${ARGUMENTS_MAX}`)
  }
  if (ranges.length !== args.length) {
    throw new TypeError(`kernel ${name} has ${args.length} arguments, the call has ${ranges.length}`)
  }
  if (!Number.isInteger(count) || count < 0 || count > 2 ** 32) {
    throw new RangeError(`${count} invocations of ${name}, wanted 0 to 2^32`)
  }
  if ((uniforms?.byteLength ?? 0) !== uniformBytes) {
    throw new RangeError(`kernel ${name} has ${uniformBytes} bytes of uniforms, the call ${uniforms?.byteLength ?? 0}`)
  }
  args.forEach((arg, k) => {
    const { addr, nbytes } = ranges[k]
    const what = `argument ${arg.name} of ${name}`
    if (arg.stride % 4 !== 0 || arg.stride < 0)
      throw new RangeError(`${what}: the stride ${arg.stride} is no multiple of 4`)
    if (!Number.isSafeInteger(addr) || addr < 0 || addr % 4 !== 0) {
      throw new RangeError(`${what} begins at ${formatAddr(addr)}, wanted a multiple of 4`)
    }
    if (!Number.isSafeInteger(nbytes) || nbytes <= 0 || nbytes % 4 !== 0) {
      throw new RangeError(`${what} has ${nbytes} bytes, wanted a multiple of 4`)
    }
    if (count * arg.stride > nbytes) {
      throw new RangeError(`${what} has ${nbytes} bytes, ${count} invocations need ${count * arg.stride}`)
    }
  })
  checkDisjoint(kernel, ranges)
}

/** Two bindings of one buffer must not overlap, and each begins at a multiple of BINDING_ALIGN at or before its range. */
function checkDisjoint(kernel: DirectKernel, ranges: readonly ArgumentRange[]): void {
  const order = ranges.map((_, k) => k).sort((a, b) => ranges[a].addr - ranges[b].addr)
  for (let i = 1; i < order.length; i++) {
    const [before, after] = [ranges[order[i - 1]], ranges[order[i]]]
    if (after.addr - (after.addr % BINDING_ALIGN) >= before.addr + before.nbytes) continue
    const names = `${kernel.args[order[i - 1]].name} and ${kernel.args[order[i]].name}`
    throw new RangeError(`arguments ${names} of ${kernel.name} overlap, or lie in the same ${BINDING_ALIGN} bytes`)
  }
}
