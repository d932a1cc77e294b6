// How a broken invariant is reported: the number of the statement first, then the values.

import type { Addr } from '../base/addr.ts'
import { AssertionError, formatAddr } from '../base/assert.ts'
import type { Mm } from './mm.ts'
import type { Vma } from './vma.ts'

/** Throws: statement `invariant` of the specification does not hold. */
export function broken(invariant: string, detail: string): never {
  throw new AssertionError(`${invariant}: ${detail}`)
}

export function nameOf(mm: Mm): string {
  return `address space ${mm.space}`
}

export function nameOfVma(vma: Vma): string {
  return `${nameOf(vma.mm)}, mapping ${formatAddr(vma.start)}-${formatAddr(vma.end)}`
}

export function place(mm: Mm, addr: Addr): string {
  return `${formatAddr(addr)} of ${nameOf(mm)}`
}

/** The high word of an entry. */
export function formatFlags(flags: number): string {
  return `entry 0x${(flags >>> 0).toString(16)}`
}
