// The graph as a search wants it: for each vertex its neighbours, one after the other (compressed sparse rows). This is "kernel 1" of
// Graph500, the step from the list of edges to the data structure, which the benchmark times by itself.
//
//   offsets   0   2   3         6         the neighbours of vertex v are
//   columns   1 4 | 0 | 0 4 4 | ...       columns[offsets[v]] to columns[offsets[v + 1] - 1], in ascending order
//
// Each edge is entered at both of its ends, as often as it is in the list; edges from a vertex to itself are left out.

import type { EdgeList } from './edge-list.ts'

export interface Csr {
  readonly nvertices: number
  /** nvertices + 1 numbers. */
  readonly offsets: Uint32Array
  readonly columns: Uint32Array
}

/**
 * The neighbours of every vertex. Throws a RangeError for an edge whose end is no vertex.
 *
 * Sorting takes no comparisons: rows that are filled in the order of the other end are sorted. So the graph is turned round
 * twice, which for a graph without directions gives the graph again, the second time in order.
 */
export function buildCsr(edges: EdgeList): Csr {
  const offsets = countNeighbours(edges)
  const unsorted = fillRows(edges, offsets)
  const columns = new Uint32Array(unsorted.length)
  const cursors = offsets.slice(0, -1)
  for (let v = 0; v < edges.nvertices; v++) {
    const end = offsets[v + 1]
    for (let i = offsets[v]; i < end; i++) columns[cursors[unsorted[i]]++] = v
  }
  return { nvertices: edges.nvertices, offsets, columns }
}

/** Where the row of each vertex begins, and where the last one ends. */
function countNeighbours({ nvertices, from, to }: EdgeList): Uint32Array {
  const offsets = new Uint32Array(nvertices + 1)
  for (let i = 0; i < from.length; i++) {
    const u = from[i]
    const v = to[i]
    if (u >= nvertices || v >= nvertices) {
      throw new RangeError(`edge ${i} joins ${u} and ${v}, wanted vertices below ${nvertices}`)
    }
    if (u === v) continue
    offsets[u + 1]++
    offsets[v + 1]++
  }
  for (let v = 0; v < nvertices; v++) offsets[v + 1] += offsets[v]
  return offsets
}

/** The rows, in the order of the list of edges. */
function fillRows({ from, to }: EdgeList, offsets: Uint32Array): Uint32Array {
  const columns = new Uint32Array(offsets[offsets.length - 1])
  const cursors = offsets.slice(0, -1)
  for (let i = 0; i < from.length; i++) {
    const u = from[i]
    const v = to[i]
    if (u === v) continue
    columns[cursors[u]++] = v
    columns[cursors[v]++] = u
  }
  return columns
}
