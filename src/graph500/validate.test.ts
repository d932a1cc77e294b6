import { beforeEach, describe, expect, test } from 'vitest'
import { buildCsr } from './csr.ts'
import { type EdgeList, NONE } from './edge-list.ts'
import { EDGE_FACTOR, generateEdges } from './kronecker.ts'
import { type SearchTree, searchPlain } from './plain-search.ts'
import { drawSearchKeys } from './search-keys.ts'
import { validateSearch } from './validate.ts'

/**
 *   0 - 1 - 2 - 3     5 - 6     7, with a loop
 *   |   |
 *   + - 4
 */
const EDGES: EdgeList = {
  nvertices: 8,
  from: Uint32Array.of(0, 1, 3, 0, 4, 5, 7),
  to: Uint32Array.of(1, 2, 2, 4, 1, 6, 7),
}

describe('searchPlain()', () => {
  test('finds the nearest way to everything in the component', () => {
    const { parents, levels } = searchPlain(buildCsr(EDGES), 0)
    expect([...levels]).toEqual([0, 1, 2, 3, 1, NONE, NONE, NONE])
    expect([...parents]).toEqual([0, 0, 1, 2, 0, NONE, NONE, NONE])
  })
})

describe('validateSearch()', () => {
  let tree: SearchTree
  beforeEach(() => {
    tree = searchPlain(buildCsr(EDGES), 0)
  })

  /** The rule that is found broken, null for none. */
  const rule = (edges = EDGES) => validateSearch(edges, tree).broken?.rule ?? null

  test('accepts what is right, and counts', () => {
    expect(validateSearch(EDGES, tree)).toEqual({ broken: null, nreached: 5, nedges: 5, depth: 3 })
  })

  test('accepts another parent on the same level, as in a search of another order', () => {
    const edges = { nvertices: 4, from: Uint32Array.of(0, 0, 1, 2), to: Uint32Array.of(1, 2, 3, 3) }
    tree = searchPlain(buildCsr(edges), 0)
    expect(tree.parents[3]).toBe(1)
    tree.parents[3] = 2
    expect(rule(edges)).toBe(null)
  })

  test('counts loops and repeated edges of the component', () => {
    const edges = { nvertices: 4, from: Uint32Array.of(0, 1, 1, 2), to: Uint32Array.of(1, 0, 1, 3) }
    expect(validateSearch(edges, searchPlain(buildCsr(edges), 0)).nedges).toBe(3)
    expect(validateSearch(edges, searchPlain(buildCsr(edges), 2)).nedges).toBe(1)
  })

  test('rule 1: a cycle beside the tree', () => {
    tree.parents[2] = 3
    tree.parents[3] = 2
    expect(rule()).toBe(1)
  })

  test('rule 1: a vertex that is its own parent', () => {
    tree.parents[4] = 4
    expect(rule()).toBe(1)
  })

  test('rule 1: a root that hangs on something', () => {
    tree.parents[0] = 1
    expect(validateSearch(EDGES, tree).broken?.message).toBe(
      'rule 1 (the tree has no cycles): the root 0 has parent 1, wanted itself',
    )
  })

  test('rule 1: parents that are no vertices, or not in the tree', () => {
    tree.parents[4] = 8
    expect(rule()).toBe(1)
    tree.parents[4] = 7
    expect(rule()).toBe(1)
  })

  test('rule 2: a level that is not one below the parent', () => {
    tree.levels[3] = 4
    expect(rule()).toBe(2)
    tree.levels[3] = 2
    expect(rule()).toBe(2)
    tree.levels[3] = NONE
    expect(rule()).toBe(2)
  })

  test('rule 2: a level without a parent, and a root that is not on top', () => {
    tree.levels[6] = 1
    expect(rule()).toBe(2)
    tree.levels[6] = NONE
    tree.levels[0] = 1
    expect(rule()).toBe(2)
  })

  test('rule 3: a way that is not the nearest', () => {
    // 4 under 3, although it is a neighbour of the root: a tree, but not one of a breadth-first search.
    tree.parents[4] = 3
    tree.levels[4] = 4
    expect(rule()).toBe(3)
  })

  test('rule 4: a part of the component that was not reached', () => {
    tree.parents[3] = NONE
    tree.levels[3] = NONE
    expect(validateSearch(EDGES, tree).broken?.message).toBe(
      'rule 4 (the whole component is reached): edge 2 joins 2, which was reached, and 3, which was not',
    )
  })

  test('rule 5: a parent that is no neighbour', () => {
    tree.parents[2] = 4
    expect(rule()).toBe(5)
  })

  test('rule 5: an edge that the graph does not have', () => {
    const edges = { nvertices: 8, from: EDGES.from.slice(), to: EDGES.to.slice() }
    edges.to[2] = 3
    expect(rule(edges)).toBe(5)
  })
})

describe('validateSearch() of random graphs', () => {
  const nedges = EDGE_FACTOR * 2 ** 9
  const edges = { nvertices: 2 ** 9, from: new Uint32Array(nedges), to: new Uint32Array(nedges) }
  generateEdges(edges, 9, { seeds: { seed1: 5n, seed2: 7n } })
  const csr = buildCsr(edges)

  test('accepts searches from every key', () => {
    for (const key of drawSearchKeys(csr, 64)) expect(validateSearch(edges, searchPlain(csr, key)).broken).toBe(null)
  })

  test('refuses any single wrong parent or level, unless the parent is as good', () => {
    const [root] = drawSearchKeys(csr, 1)
    const tree = searchPlain(csr, root)
    for (let v = 0; v < edges.nvertices; v++) {
      const level = tree.levels[v]
      tree.levels[v] = level === NONE ? 1 : level + 1
      expect(validateSearch(edges, tree).broken).not.toBe(null)
      tree.levels[v] = level

      const parent = tree.parents[v]
      const other = (parent + 1) % edges.nvertices
      tree.parents[v] = other
      const neighbours = csr.columns.subarray(csr.offsets[v], csr.offsets[v + 1])
      const isAsGood = neighbours.includes(other) && tree.levels[other] + 1 === level
      expect(validateSearch(edges, tree).broken === null).toBe(isAsGood)
      tree.parents[v] = parent
    }
  })
})
