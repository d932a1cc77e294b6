// Where searches begin: distinct vertices that have a neighbour, drawn as the benchmark's own driver draws them. With its seeds
// and its graph they are the same vertices.

import type { Csr } from './csr.ts'
import { type GraphSeeds, OFFICIAL_SEEDS } from './kronecker.ts'
import { Mrg, mrgJump } from './mrg.ts'

/** Steps from the seeds to the numbers that search keys are made of. */
const KEYS_OFFSET = 2n * 2n ** 128n

/**
 * Up to `count` distinct vertices with at least one neighbour besides themselves; fewer where the graph does not have as many. After as
 * many draws as there are vertices, the rest is taken from the first ones on.
 */
export function drawSearchKeys(
  { nvertices, offsets }: Csr,
  count: number,
  seeds: GraphSeeds = OFFICIAL_SEEDS,
): number[] {
  const mrg = new Mrg(seeds.seed1, seeds.seed2)
  mrg.skip(mrgJump(KEYS_OFFSET))
  const keys = new Set<number>()
  const hasNeighbours = (v: number) => offsets[v + 1] > offsets[v]
  for (let draws = 0; draws < nvertices && keys.size < count; draws++) {
    const key = Math.floor((mrg.nextDouble() + mrg.nextDouble()) * nvertices) % nvertices
    if (hasNeighbours(key)) keys.add(key)
  }
  for (let v = 0; v < nvertices && keys.size < count; v++) if (hasNeighbours(v)) keys.add(v)
  return [...keys]
}
