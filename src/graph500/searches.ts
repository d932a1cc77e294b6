// The searches of a run, one after the other: each is timed, and validated against the list of edges.

import type { HeapGraph } from './heap-graph.ts'
import type { Graph } from './make-graph.ts'
import type { SearchProgress } from './search-view.ts'
import type { TimedSearch } from './statistics.ts'
import { type BrokenRule, validateSearch } from './validate.ts'

/** A search that broke a rule of the specification. */
export class WrongSearchError extends Error {
  override readonly name = 'WrongSearchError'

  constructor(root: number, { message }: BrokenRule) {
    super(`the search from vertex ${root} breaks ${message}`)
  }
}

/** Searches from every key. Rejects with a WrongSearchError at the first one that is wrong. */
export async function runSearches(
  graph: Graph,
  onHeap: Pick<HeapGraph, 'search'>,
  keys: readonly number[],
  progress: SearchProgress,
): Promise<TimedSearch[]> {
  const searches: TimedSearch[] = []
  for (const [i, key] of keys.entries()) {
    const { tree, seconds } = await onHeap.search(key, (level) => progress.level(i, level))
    const { broken, nedges } = validateSearch(graph.edges, tree)
    if (broken !== null) throw new WrongSearchError(key, broken)
    searches.push({ seconds, nedges })
    progress.search(i, { seconds, nedges })
  }
  return searches
}
