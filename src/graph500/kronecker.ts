// The graphs of Graph500: Kronecker graphs of 2^scale vertices, as section 3 of the specification (version 3.0) defines them. The
// adjacency matrix is cut into quarters again and again, and for each edge a quarter is drawn at every level, with probability
// 0.57, 0.19, 0.19 or 0.05. A few vertices so get very many neighbours, and about a third none at all.
//
// Edges come out the same, one by one, as those of the benchmark's own generator (graph500 3.0.0, whose seeds are 2 and 3). Each
// edge has a place of its own in the random sequence, 2^64 steps after its neighbour's. So their order is random already, and any part
// of the list can be made by itself.

import type { EdgeList } from './edge-list.ts'
import { Mrg, mrgJump, mrgStep } from './mrg.ts'

/** Edges per vertex. */
export const EDGE_FACTOR = 16

export const SCALE_MIN = 1
/** 2^24 vertices, 2^28 edges, 2.5 GiB of strips: those of the next one would not fit into one array of a heap. */
export const SCALE_MAX = 24

/** Steps from the beginning of an edge's random numbers to that of the next. */
const EDGE_STRIDE = 2n ** 64n
/** Steps to the numbers that the vertices are renamed with. */
const RENAMING_OFFSET = 50n * 2n ** 128n + 7n * 2n ** 64n

// Probabilities of the quarters, in 10,000ths. What is left, 500, is the last quarter.
const DENOMINATOR = 10_000
const A = 5_700
const B = 1_900
const C = 1_900
/** Numbers below are drawn again, so that those that remain are a multiple of the denominator. */
const REJECTED = (2 ** 31 - 1) % DENOMINATOR

export interface GraphSeeds {
  readonly seed1: bigint
  readonly seed2: bigint
}

/** The seeds of the benchmark's own runs. */
export const OFFICIAL_SEEDS: GraphSeeds = { seed1: 2n, seed2: 3n }

/**
 * Fills `edges.from` and `edges.to` with edges `first`, `first` + 1, ... of the graph with 2^scale vertices.
 *
 *     const nedges = EDGE_FACTOR * 2 ** 18
 *     const edges = { nvertices: 2 ** 18, from: new Uint32Array(nedges), to: new Uint32Array(nedges) }
 *     generateEdges(edges, 18)
 *
 * Throws a RangeError for a scale that is none.
 */
export function generateEdges(
  { from, to }: Pick<EdgeList, 'from' | 'to'>,
  scale: number,
  { first = 0, seeds = OFFICIAL_SEEDS }: { readonly first?: number; readonly seeds?: GraphSeeds } = {},
): void {
  if (!Number.isInteger(scale) || scale < SCALE_MIN || scale > SCALE_MAX) {
    throw new RangeError(`scale is ${scale}, wanted a whole number from ${SCALE_MIN} to ${SCALE_MAX}`)
  }
  const mrg = new Mrg(seeds.seed1, seeds.seed2)
  const rename = renaming(seeds, scale)
  if (first > 0) mrg.skip(mrgJump(EDGE_STRIDE * BigInt(first)))
  const toNextEdge = mrgJump(EDGE_STRIDE)
  const { state } = mrg
  for (let i = 0; i < from.length; i++) {
    // The numbers of this edge, newest first, in variables: this loop is where the time goes.
    let z0 = state[0]
    let z1 = state[1]
    let z2 = state[2]
    let z3 = state[3]
    let z4 = state[4]
    let row = 0
    let column = 0
    for (let bit = 1 << (scale - 1); bit !== 0; bit >>= 1) {
      let value: number
      do {
        value = mrgStep(z0, z4)
        z4 = z3
        z3 = z2
        z2 = z1
        z1 = z0
        z0 = value
      } while (value < REJECTED)
      const drawn = value % DENOMINATOR
      if (drawn < B + C) {
        // One of the quarters beside the diagonal. While row and column are the same both mean the same edges, as edges have no
        // direction: the one above the diagonal is taken.
        if (drawn < B || row === column) column |= bit
        else row |= bit
      } else if (drawn >= B + C + A) {
        row |= bit
        column |= bit
      }
    }
    from[i] = rename(row)
    to[i] = rename(column)
    mrg.skip(toNextEdge)
  }
}

/**
 * The new name of each vertex: names follow from the position in the matrix, so they would tell the degree. A permutation of
 * the numbers below 2^scale: twice an odd multiplier, and the order of the bits reversed. Only the low 32 bits of the 64 of the
 * benchmark's own computation have a part in the result.
 */
function renaming({ seed1, seed2 }: GraphSeeds, scale: number): (vertex: number) => number {
  const mrg = new Mrg(seed1, seed2)
  mrg.skip(mrgJump(RENAMING_OFFSET))
  const draw = () => BigInt(mrg.next()) * 0xffff_ffffn + BigInt(mrg.next())
  const [value0, value1] = [draw(), draw()]
  const low = (value: bigint) => Number(BigInt.asUintN(32, value))
  const addend = low(value0 + value1)
  const multiplier0 = low(value0 | 0x4519840211493211n)
  const multiplier1 = low(value1 | 0x3050852102c843a5n)
  const shift = 32 - scale
  return (vertex) => {
    const once = reverseBits(Math.imul(vertex + addend, multiplier0)) >>> shift
    return reverseBits(Math.imul(once, multiplier1)) >>> shift
  }
}

function reverseBits(word: number): number {
  word = ((word >>> 1) & 0x5555_5555) | ((word & 0x5555_5555) << 1)
  word = ((word >>> 2) & 0x3333_3333) | ((word & 0x3333_3333) << 2)
  word = ((word >>> 4) & 0x0f0f_0f0f) | ((word & 0x0f0f_0f0f) << 4)
  word = ((word >>> 8) & 0x00ff_00ff) | ((word & 0x00ff_00ff) << 8)
  return (word >>> 16) | (word << 16)
}
