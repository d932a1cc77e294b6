import { expect, test } from 'vitest'
import { buildCsr } from './csr.ts'
import type { EdgeList } from './edge-list.ts'
import type { HeapGraph } from './heap-graph.ts'
import type { Graph } from './make-graph.ts'
import { type SearchTree, searchPlain } from './plain-search.ts'
import { runSearches, WrongSearchError } from './searches.ts'

const edges: EdgeList = { nvertices: 4, from: Uint32Array.of(0, 1, 1), to: Uint32Array.of(1, 2, 3) }
const csr = buildCsr(edges)
const graph: Graph = { name: 'four', edges, csr, edgesSeconds: 0, csrSeconds: 0 }

/** Searches in plain JavaScript, and spoils the trees from one root. */
function searcher(spoil: (tree: SearchTree) => void = () => {}) {
  const roots: number[] = []
  const onHeap: Pick<HeapGraph, 'search'> = {
    async search(root, onLevel) {
      roots.push(root)
      onLevel?.({ depth: 0, direction: 'fromAbove', nfound: 1 })
      const tree = searchPlain(csr, root)
      spoil(tree)
      return { tree, seconds: 0.5 }
    },
  }
  return { roots, onHeap }
}

function listen() {
  const heard: string[] = []
  return {
    heard,
    level: (search: number) => void heard.push(`level of ${search}`),
    search: (search: number) => void heard.push(`end of ${search}`),
  }
}

test('runSearches() times and counts each search', async () => {
  const { roots, onHeap } = searcher()
  const progress = listen()
  expect(await runSearches(graph, onHeap, [2, 0], progress)).toEqual([
    { seconds: 0.5, nedges: 3 },
    { seconds: 0.5, nedges: 3 },
  ])
  expect(roots).toEqual([2, 0])
  expect(progress.heard).toEqual(['level of 0', 'end of 0', 'level of 1', 'end of 1'])
})

test('runSearches() ends at a search that breaks a rule', async () => {
  const { roots, onHeap } = searcher(({ root, parents }) => {
    if (root === 0) parents[3] = 2
  })
  const searches = runSearches(graph, onHeap, [2, 0, 1], listen())
  await expect(searches).rejects.toThrow(WrongSearchError)
  await expect(searches).rejects.toThrow(/^the search from vertex 0 breaks rule 2 .*vertex 3/)
  expect(roots).toEqual([2, 0])
})
