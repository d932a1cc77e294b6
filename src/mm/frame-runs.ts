// Neighbouring frames in the same state, about which something is decided once: how far they reach, one column of `Pages` at a time, and
// what becomes of them. A loop over one column stays in registers; one over all of them does not. Short runs are what scattered pages are,
// and a call of `fill` costs more than they do.
//
// What was worked out from addresses reaches the engine as floating point numbers, and a loop that begins with one counts in them, at a
// third of the speed. Hence `| 0`, here and in the other loops over runs; frame numbers have 31 bits.

import type { Pfn } from '../base/addr.ts'
import type { System } from './system.ts'

/** Frames from which on a call into the engine takes less time than a loop. */
const LONG_RUN = 16

/** How many frames from `first` on, at most `max`, have the same in a column of `Pages`. At least one. */
export function alikeFrames(column: Int32Array, first: Pfn, max: number): number {
  const from = first | 0
  const end = (from + max) | 0
  const value = column[from]
  let pfn = from + 1
  for (; pfn + 4 <= end; pfn += 4) {
    const differs =
      (column[pfn] ^ value) | (column[pfn + 1] ^ value) | (column[pfn + 2] ^ value) | (column[pfn + 3] ^ value)
    if (differs !== 0) break
  }
  while (pfn < end && column[pfn] === value) pfn++
  return pfn - from
}

/** The same in a column of bytes. */
export function alikeBytes(column: Uint8Array, first: number, max: number): number {
  const from = first | 0
  const end = (from + max) | 0
  const value = column[from]
  let at = from + 1
  for (; at + 4 <= end; at += 4) {
    const differs =
      (column[at] ^ value) | (column[at + 1] ^ value) | (column[at + 2] ^ value) | (column[at + 3] ^ value)
    if (differs !== 0) break
  }
  while (at < end && column[at] === value) at++
  return at - from
}

/** How many frames from `first` on, at most `max`, are of the same memory: that of the system, or of one device. */
export function framesOfMemory(sys: System, first: Pfn, max: number): number {
  const id = sys.pages.pagemap[first]
  let end = first + max
  for (const pagemap of sys.pagemaps) {
    if (pagemap === null) continue
    if (pagemap.id === id) end = Math.min(end, pagemap.pfn + pagemap.npages)
    else if (pagemap.pfn > first) end = Math.min(end, pagemap.pfn)
  }
  return (end - first) | 0
}

/**
 * How many pages from `first` on, at most `max`, are in the same state: in the same memory, with the same flags, as many references and
 * mappings, and in the same mapping. At least one.
 */
export function alikePages(sys: System, first: Pfn, max: number): number {
  // A page without neighbours is not asked for them: there are as many of those as there are runs.
  if (max < 2) return max
  const { flags, refcount, mapcount, mapping } = sys.pages
  let n = framesOfMemory(sys, first, max)
  n = alikeFrames(flags, first, n)
  n = alikeFrames(refcount, first, n)
  n = alikeFrames(mapcount, first, n)
  return alikeFrames(mapping, first, n)
}

/** Gives neighbouring frames the same value in a column of `Pages`. */
export function setFrames(column: Int32Array, value: number, first: Pfn, npages: number): void {
  if (npages >= LONG_RUN) column.fill(value, first, first + npages)
  else for (let pfn = first | 0, end = (pfn + npages) | 0; pfn < end; pfn++) column[pfn] = value
}

/** Gives frames what their counterparts have in a column of `Pages`. */
export function copyFrames(column: Int32Array | Float64Array, from: Pfn, to: Pfn, npages: number): void {
  if (npages >= LONG_RUN) column.copyWithin(to, from, from + npages)
  else for (let k = 0; k < npages; k++) column[to + k] = column[from + k]
}
