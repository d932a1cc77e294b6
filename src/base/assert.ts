/**
 * Broken invariants: what must never happen, whatever the caller did.
 *
 * A wrong argument is a TypeError or RangeError, a refused operation an errno; both are ordinary and neither belongs
 * here. An AssertionError means that hetmem itself is wrong, so the message carries the values that show it.
 */

import type { Addr } from './addr.ts'

/** Thrown when an invariant of hetmem does not hold. */
export class AssertionError extends Error {
  override readonly name = 'AssertionError'
}

/**
 * Throws an AssertionError unless `condition` holds.
 *
 * Pass a function where the message has to be put together: it runs only on failure.
 */
export function assert(condition: unknown, message: string | (() => string)): asserts condition {
  if (!condition) throw new AssertionError(typeof message === 'string' ? message : message())
}

/** Ends a chain of branches over a union: does not compile when a member is left, and throws if one turns up at run time. */
export function assertNever(value: never): never {
  throw new AssertionError(`unexpected value: ${String(value)}`)
}

/** Hexadecimal text of an address, as in `/proc/self/maps` but with 0x in front. */
export function formatAddr(addr: Addr): string {
  return addr < 0 ? `-0x${(-addr).toString(16)}` : `0x${addr.toString(16)}`
}
