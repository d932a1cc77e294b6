// What a paged kernel did that it may not, and what it needs that the device does not have: errors that name the kernel, the
// invocation and the place in the user's code.

import type { PagedSite } from './paged-program.ts'

export const GPU_FAULT_REASONS = ['index', 'pointer', 'page', 'working-set', 'store-count', 'torn'] as const
/**
 * - index        an index past the end of an array
 * - pointer      a pointer that is null, or leads out of the memory that the launch lets pointers touch
 * - page         an address in no argument
 * - working-set  one invocation (workgroup, step) needs more pages at once than the device has
 * - store-count  one invocation stores more before it ends than can be held back
 * - torn         one invocation was stopped between its stores, some of which are in memory: the library, or the device, is wrong
 */
export type GpuFaultReason = (typeof GPU_FAULT_REASONS)[number]

/**
 * A kernel was stopped. Stores of invocations that had ended before are in memory; nothing else was changed.
 *
 *     GPU fault: kernel "bfs" invocation 17,0,0 read "levels"[70000], which has 65536 elements, in line 12
 */
export class GpuFaultError extends Error {
  override readonly name = 'GpuFaultError'
  readonly code = 'GPU_FAULT'
  readonly reason: GpuFaultReason
  readonly kernel: string
  /** global_invocation_id; null where it is not one. */
  readonly invocation: readonly [number, number, number] | null
  /** The place in the user's code; null if it is nowhere in particular. */
  readonly site: PagedSite | null
  /** Index or word address; null where there is none. */
  readonly value: number | null
  /** Which of several launches it was; null until whoever ran them says so. */
  launch: number | null = null

  constructor(
    what: {
      reason: GpuFaultReason
      kernel: string
      invocation: readonly [number, number, number] | null
      site: PagedSite | null
      value: number | null
    },
    detail: string,
  ) {
    const who = what.invocation === null ? '' : ` invocation ${what.invocation.join(',')}`
    const where = what.site === null ? '' : `, in line ${what.site.line}`
    super(`GPU fault: kernel "${what.kernel}"${who} ${detail}${where}`)
    this.reason = what.reason
    this.kernel = what.kernel
    this.invocation = what.invocation
    this.site = what.site
    this.value = what.value
  }
}

/** A miss where there can be none. */
export function tornFault(kernel: string): GpuFaultError {
  const what = { reason: 'torn', kernel, invocation: null, site: null, value: null } as const
  return new GpuFaultError(what, 'missed a page between its stores, though it had found all of them before')
}

const VERBS = { load: 'read', store: 'wrote', atomic: 'changed', address: 'pointed to', span: 'used' } as const

/** An access that is not allowed, as the device reported it. `length` is that of the argument, in elements. */
export function faultAt(
  kernel: string,
  invocation: readonly [number, number, number],
  site: PagedSite,
  value: number,
  length: number | null,
): GpuFaultError {
  const verb = VERBS[site.kind]
  if (site.kind === 'span') {
    const detail = `${verb} element ${value} of a span of "${site.arg}" that has less`
    return new GpuFaultError({ reason: 'index', kernel, invocation, site, value }, detail)
  }
  const isPointer = length === null || (value === 0 && length > 0)
  if (isPointer) {
    const target = value === 0 ? 'a null pointer' : `word 0x${value.toString(16)}, which no pointer may touch`
    const what = { reason: 'pointer', kernel, invocation, site, value } as const
    if (value % site.align !== 0) {
      return new GpuFaultError(what, `${verb} word 0x${value.toString(16)}, wanted a multiple of ${site.align}`)
    }
    return new GpuFaultError(what, `${verb} ${value === 0 ? `through ${target}` : target}`)
  }
  // Indices are unsigned on the way here; a huge one was negative.
  const index = value >= 2 ** 31 ? value - 2 ** 32 : value
  const has = value >= length ? `, which has ${length} elements` : ', past the end of an array in it'
  const detail = `${verb} "${site.arg}"[${index}]${has}`
  return new GpuFaultError({ reason: 'index', kernel, invocation, site, value: index }, detail)
}
