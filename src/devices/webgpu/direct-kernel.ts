// Kernels whose arguments are bound directly, and how a launch is cut into slices that fit the device. A kernel says how many
// bytes of each argument belong to one invocation; so a slice needs these parts of the arguments and no others, and a launch
// may be larger than the memory of the device.

import { type Addr, PAGE_SIZE, pageAlignDown, pageAlignUp } from '../../base/addr.ts'
import { formatAddr } from '../../base/assert.ts'
import { ENOMEM, MmError } from '../../base/errno.ts'
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

/** What the device can bind at once. */
export interface DirectLimits {
  /** Pages of device memory. */
  readonly npages: number
  /** Bytes of one binding. */
  readonly bindingBytes: number
  /** Workgroups of one dispatch. */
  readonly workgroups: number
}

/** Pages that have to lie on the device in one piece. */
export interface PageRange {
  readonly start: Addr
  readonly end: Addr
  /** Some argument in it is written. */
  readonly write: boolean
}

/** One dispatch. */
export interface Slice {
  /** Number of its first invocation. */
  readonly first: number
  readonly count: number
  /** The part of each argument that it uses. */
  readonly args: readonly { readonly start: Addr; readonly end: Addr; readonly write: boolean }[]
  /** Their pages; arguments that share a page share a range. */
  readonly pages: readonly PageRange[]
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
  if (fits(kernel, whole, limits, limits.npages)) return [whole]
  const slices: Slice[] = []
  for (let first = 0; first < count; ) {
    const slice = largestSlice(kernel, call, first, limits)
    slices.push(slice)
    first += slice.count
  }
  return slices
}

/** All pages that a launch uses. */
export function pagesOfCall(kernel: DirectKernel, call: DirectCall): readonly PageRange[] {
  return makeSlice(kernel, call, 0, call.count).pages
}

/**
 * The largest slice from an invocation on: of half of the memory, so that the next one is brought in while it is computed, or
 * of all of it where half is too little for one invocation.
 */
function largestSlice(kernel: DirectKernel, call: DirectCall, first: number, limits: DirectLimits): Slice {
  for (const npages of [Math.floor(limits.npages / 2), limits.npages]) {
    // Invocations that fit, and that do not.
    let enough = 0
    let tooMany = call.count - first + 1
    while (tooMany - enough > 1) {
      const middle = Math.floor((enough + tooMany) / 2)
      if (fits(kernel, makeSlice(kernel, call, first, middle), limits, npages)) enough = middle
      else tooMany = middle
    }
    if (enough > 0) return makeSlice(kernel, call, first, enough)
  }
  const needed = countPages(makeSlice(kernel, call, first, 1))
  const detail = `invocation ${first} of ${kernel.name} needs ${needed} pages, the device has ${limits.npages}`
  throw new MmError(-ENOMEM, 'launch', { detail })
}

function fits(kernel: DirectKernel, slice: Slice, limits: DirectLimits, npages: number): boolean {
  if (slice.count > limits.workgroups * kernel.workgroupSize || countPages(slice) > npages) return false
  return slice.args.every(({ start, end }) => end - start + BINDING_ALIGN <= limits.bindingBytes)
}

function countPages(slice: Slice): number {
  return slice.pages.reduce((sum, { start, end }) => sum + (end - start) / PAGE_SIZE, 0)
}

function makeSlice(kernel: DirectKernel, call: DirectCall, first: number, count: number): Slice {
  const args = kernel.args.map(({ stride, access }, k) => {
    const { addr, nbytes } = call.ranges[k]
    const write = access === 'readWrite'
    if (stride === 0) return { start: addr, end: addr + nbytes, write }
    return { start: addr + first * stride, end: addr + (first + count) * stride, write }
  })
  const pages: { start: Addr; end: Addr; write: boolean }[] = []
  for (const { start, end, write } of [...args].sort((a, b) => a.start - b.start)) {
    const last = pages.at(-1)
    const from = pageAlignDown(start)
    if (last !== undefined && from < last.end) {
      last.end = Math.max(last.end, pageAlignUp(end))
      last.write ||= write
    } else pages.push({ start: from, end: pageAlignUp(end), write })
  }
  return { first, count, args, pages }
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
