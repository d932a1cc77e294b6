// Loops over all pages of a range of a mirror page table. They allocate nothing per page: a driver runs them over hundreds
// of thousands of pages.

import type { Addr } from '../../base/addr.ts'
import type { HmmPt } from './hmm-pt.ts'
import { HmmPtIter } from './hmm-pt-iter.ts'
import { HMM_PTE_VALID } from './hmm-pte.ts'

/** Whether any page of `[start, end)` has a valid entry. Stops at the first one. */
export function hmmPtHasValid(pt: HmmPt, start: Addr, end: Addr): boolean {
  if (pt.nvalid === 0) return false
  const iter = new HmmPtIter(pt)
  let found = false
  for (let i = iter.walk(start, end); i >= 0 && !found; i = iter.walk(iter.next, end)) {
    const { words } = iter
    const stop = 2 * (i + iter.npages)
    for (let w = 2 * i; w < stop && !found; w += 2) found = (words[w] & HMM_PTE_VALID) !== 0
  }
  iter.fini()
  return found
}

/** Valid entries of `[start, end)` that have all the low bits of `flags`. */
export function hmmPtCount(pt: HmmPt, start: Addr, end: Addr, flags = 0): number {
  const iter = new HmmPtIter(pt)
  let count = 0
  for (let i = iter.walk(start, end); i >= 0; i = iter.walk(iter.next, end)) {
    const { words } = iter
    const stop = 2 * (i + iter.npages)
    for (let w = 2 * i; w < stop; w += 2) {
      if ((words[w] & HMM_PTE_VALID) !== 0 && (words[w] & flags) === flags) count++
    }
  }
  iter.fini()
  return count
}

/** Sets low bits on every valid entry of `[start, end)` that has all the bits of `wanted`. Returns how many those are. */
export function hmmPtSetBits(pt: HmmPt, start: Addr, end: Addr, bits: number, wanted: number): number {
  const iter = new HmmPtIter(pt)
  let count = 0
  for (let i = iter.walk(start, end); i >= 0; i = iter.walk(iter.next, end)) {
    const { words } = iter
    const stop = 2 * (i + iter.npages)
    for (let w = 2 * i; w < stop; w += 2) {
      if ((words[w] & HMM_PTE_VALID) === 0 || (words[w] & wanted) !== wanted) continue
      words[w] |= bits
      count++
    }
  }
  iter.fini()
  return count
}
