// Runs of pages as a list: where each begins and where it ends, one after the other, ascending. What is done for few pages of many costs
// as much as there are runs, however far apart they lie.
//
//   [0x1000, 0x3000, 0x8000, 0x9000]       pages 1, 2 and 8

import { type Addr, PAGE_SIZE } from './addr.ts'

/** Start and end, exclusive, of each run. */
export type PageRuns = readonly Addr[]

/** The pages of a list, by their addresses, ascending. */
export function runsOfPages(pages: readonly Addr[]): PageRuns {
  const runs: Addr[] = []
  for (const addr of pages) {
    if (runs[runs.length - 1] === addr) runs[runs.length - 1] = addr + PAGE_SIZE
    else runs.push(addr, addr + PAGE_SIZE)
  }
  return runs
}

/** The members of a set, a byte for each page from `start` on, 1 for those that are in it. */
export function runsOfSet(set: Uint8Array, start: Addr): PageRuns {
  const runs: Addr[] = []
  for (let first = set.indexOf(1); first >= 0; ) {
    let end = first + 1
    while (end < set.length && set[end] === 1) end++
    runs.push(start + first * PAGE_SIZE, start + end * PAGE_SIZE)
    first = set.indexOf(1, end)
  }
  return runs
}

/** What is left of runs without the pages of others, all of which are in them. */
export function runsWithout(runs: PageRuns, others: PageRuns): PageRuns {
  const left: Addr[] = []
  let k = 0
  for (let i = 0; i < runs.length; i += 2) {
    let start = runs[i]
    for (; k < others.length && others[k] < runs[i + 1]; k += 2) {
      if (others[k] > start) left.push(start, others[k])
      start = others[k + 1]
    }
    if (runs[i + 1] > start) left.push(start, runs[i + 1])
  }
  return left
}

/** The first page of some runs that is in `[start, end)`, `end` if there is none; `start` where no runs are given, which means all pages. */
export function firstPageIn(runs: PageRuns | null, start: Addr, end: Addr): Addr {
  if (runs === null) return start
  for (let i = 0; i < runs.length; i += 2) if (runs[i + 1] > start) return Math.min(end, Math.max(start, runs[i]))
  return end
}

/** Visits runs, as far as they lie in `[start, end)`. */
export function forEachRunIn(runs: PageRuns, start: Addr, end: Addr, visit: (start: Addr, end: Addr) => void): void {
  for (let i = 0; i < runs.length && runs[i] < end; i += 2) {
    if (runs[i + 1] > start) visit(Math.max(runs[i], start), Math.min(runs[i + 1], end))
  }
}
