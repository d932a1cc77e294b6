// Whether a search found what it should, by the five rules of the Graph500 specification (version 3.0, "Validation"). Nothing is
// compared with another search: the tree is checked against the list of edges as it was before anything was made of it.
//
//   1  the tree is a tree and has no cycles
//   2  each edge of the tree joins vertices whose levels differ by exactly one
//   3  each edge of the graph joins vertices whose levels differ by at most one, or that are both not in the tree
//   4  the tree reaches all of the component that its root is in
//   5  a vertex and its parent are joined by an edge of the graph
//
// Levels are an output of the search, as parents are, and are not believed more.

import { type EdgeList, NONE } from './edge-list.ts'
import type { SearchTree } from './plain-search.ts'

/** The rules, shortly. */
export const RULES = {
  1: 'the tree has no cycles',
  2: 'tree edges go down one level',
  3: 'edges join levels at most one apart',
  4: 'the whole component is reached',
  5: 'parents are neighbours',
} as const
export type Rule = keyof typeof RULES

/** The first thing that was found wrong. */
export interface BrokenRule {
  readonly rule: Rule
  /** A sentence that names vertices. */
  readonly message: string
}

export interface Validation {
  /** Null for a tree that is right. */
  readonly broken: BrokenRule | null
  /** Vertices that were reached. */
  readonly nreached: number
  /** Edges of the list, loops and repeated ones too, with both ends in the tree: what "edges per second" counts. */
  readonly nedges: number
  /** The greatest level. */
  readonly depth: number
}

/** Checks what a search found in the graph of `edges`. Takes a time in proportion to the edges. */
export function validateSearch(edges: EdgeList, tree: SearchTree): Validation {
  let nreached = 0
  let depth = 0
  for (const level of tree.levels) {
    if (level === NONE) continue
    nreached++
    if (level > depth) depth = level
  }
  const walked = checkTree(edges.nvertices, tree)
  const { nedges, broken } = checkEdges(edges, tree, walked !== null)
  return { broken: walked ?? broken, nreached, nedges, depth }
}

/** Rules 1 and 2: what the tree says by itself. */
function checkTree(nvertices: number, { root, parents, levels }: SearchTree): BrokenRule | null {
  if (parents[root] !== root) return broke(1, `the root ${root} has parent ${name(parents[root])}, wanted itself`)
  if (levels[root] !== 0) return broke(2, `the root ${root} is on level ${name(levels[root])}, wanted 0`)
  // Each vertex is followed up to one that is known to hang on the root. Marks: 0 not seen, else number of the walk that saw it.
  const seen = new Uint32Array(nvertices)
  const ROOTED = NONE
  seen[root] = ROOTED
  for (let start = 0; start < nvertices; start++) {
    const walk = start + 1
    let v = start
    while (parents[v] !== NONE && seen[v] !== ROOTED) {
      if (seen[v] === walk)
        return broke(1, `vertex ${start} hangs on a cycle through ${v}, which does not lead to the root`)
      seen[v] = walk
      const parent = parents[v]
      if (parent >= nvertices) return broke(1, `vertex ${v} has parent ${parent}, wanted one below ${nvertices}`)
      if (parents[parent] === NONE) return broke(1, `vertex ${v} has parent ${parent}, which is not in the tree`)
      v = parent
    }
    if (parents[start] === NONE) {
      if (levels[start] === NONE) continue
      return broke(2, `vertex ${start} is on level ${levels[start]} but has no parent`)
    }
    for (let w = start; seen[w] !== ROOTED; w = parents[w]) seen[w] = ROOTED
    const wanted = levels[parents[start]] + 1
    if (start === root || levels[start] === wanted) continue
    return broke(
      2,
      `vertex ${start} is on level ${name(levels[start])}, its parent ${parents[start]} on ${name(wanted - 1)}`,
    )
  }
  return null
}

/** Rules 3 to 5: one pass over the edges of the graph. Only counts if `countOnly`. */
function checkEdges(
  { nvertices, from, to }: EdgeList,
  { root, parents, levels }: SearchTree,
  countOnly: boolean,
): { nedges: number; broken: BrokenRule | null } {
  let broken: BrokenRule | null = null
  let nedges = 0
  /** 1 where the edge to the parent was met. */
  const joined = new Uint8Array(nvertices)
  for (let i = 0; i < from.length; i++) {
    const u = from[i]
    const v = to[i]
    const isIn = parents[u] !== NONE
    const isOtherIn = parents[v] !== NONE
    if (isIn && isOtherIn) nedges++
    if (countOnly || broken !== null || u === v) continue
    if (isIn !== isOtherIn) {
      const [reached, missed] = isIn ? [u, v] : [v, u]
      broken = broke(4, `edge ${i} joins ${reached}, which was reached, and ${missed}, which was not`)
    } else if (isIn && Math.abs(levels[u] - levels[v]) > 1) {
      broken = broke(3, `edge ${i} joins ${u} on level ${levels[u]} and ${v} on level ${levels[v]}`)
    }
    if (parents[u] === v) joined[u] = 1
    if (parents[v] === u) joined[v] = 1
  }
  if (countOnly || broken !== null) return { nedges, broken }
  for (let v = 0; v < nvertices; v++) {
    if (parents[v] === NONE || joined[v] === 1 || v === root) continue
    broken = broke(5, `vertex ${v} has parent ${parents[v]}, but no edge joins them`)
    break
  }
  return { nedges, broken }
}

function broke(rule: Rule, message: string): BrokenRule {
  return { rule, message: `rule ${rule} (${RULES[rule]}): ${message}` }
}

function name(value: number): string {
  return value === NONE ? 'none' : String(value)
}
