// Breadth-first search in plain JavaScript, with everything in ordinary memory: what the GPU's answer is compared with, and what its
// speed is measured against. One queue, one pass over the neighbours of each vertex that was reached.

import type { Csr } from './csr.ts'
import { NONE } from './edge-list.ts'

/** What a search found. */
export interface SearchTree {
  /** The vertex where it began. */
  readonly root: number
  /** For each vertex the one that it was reached from; the root itself for the root, NONE if not reached. */
  readonly parents: Uint32Array
  /** For each vertex the number of edges from the root, NONE if not reached. */
  readonly levels: Uint32Array
}

/** Searches from `root`. */
export function searchPlain({ nvertices, offsets, columns }: Csr, root: number): SearchTree {
  const parents = new Uint32Array(nvertices).fill(NONE)
  const levels = new Uint32Array(nvertices).fill(NONE)
  const queue = new Uint32Array(nvertices)
  parents[root] = root
  levels[root] = 0
  queue[0] = root
  let filled = 1
  for (let taken = 0; taken < filled; taken++) {
    const u = queue[taken]
    const end = offsets[u + 1]
    for (let i = offsets[u]; i < end; i++) {
      const v = columns[i]
      if (parents[v] !== NONE) continue
      parents[v] = u
      levels[v] = levels[u] + 1
      queue[filled++] = v
    }
  }
  return { root, parents, levels }
}
