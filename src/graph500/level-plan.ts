// What a level of a search has to launch: which of the two kernels, over which strips.
//
// From above only the blocks that have strips of vertices reached last are needed; the first and the last levels of a search touch few,
// and what is not needed is not brought to the device. From below every block may have a vertex that was not reached.

import { BLOCK } from './strips.ts'

/** The kernels of search.wgsl.ts. */
export type Direction = 'fromAbove' | 'fromBelow'

/** Neighbouring strips. */
export interface StripRun {
  readonly first: number
  readonly count: number
}

export interface LevelPlan {
  readonly direction: Direction
  readonly runs: readonly StripRun[]
}

/** What a level came to. */
export interface LevelReport {
  /** Of the vertices that the level began with. */
  readonly depth: number
  readonly direction: Direction
  /** Vertices that were found, on level depth + 1. */
  readonly nfound: number
}

/**
 * From below if at least one in so many vertices was reached last. Measured on a software adapter, where a search from below then
 * takes half the time: most strips find a parent among their first neighbours, instead of telling it to all of them.
 */
const BELOW_ONE_IN = 64

/** Blocks that are taken along rather than beginning another launch behind them. */
const GAP_BLOCKS = 4

/** Blocks that `nstrips` strips make. */
export function countBlocks(nstrips: number): number {
  return Math.ceil(nstrips / BLOCK)
}

/**
 * Plans the level after one on which `nreached` of `nvertices` vertices were reached, whose strips are in the blocks that `isActive`
 * has a number but zero for.
 */
export function planLevel(nreached: number, nvertices: number, isActive: Uint32Array, nstrips: number): LevelPlan {
  if (nreached * BELOW_ONE_IN >= nvertices) {
    return { direction: 'fromBelow', runs: [{ first: 0, count: nstrips }] }
  }
  const runs: StripRun[] = []
  let first = -1
  let last = -1
  const end = () => {
    if (first >= 0) runs.push({ first: first * BLOCK, count: Math.min((last + 1) * BLOCK, nstrips) - first * BLOCK })
  }
  for (let block = 0; block < countBlocks(nstrips); block++) {
    if (isActive[block] === 0) continue
    if (first < 0 || block - last > 1 + GAP_BLOCKS) {
      end()
      first = block
    }
    last = block
  }
  end()
  return { direction: 'fromAbove', runs }
}
