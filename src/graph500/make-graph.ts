// The graph of a run: a Kronecker graph, or one from a file.

import { basename } from 'node:path'
import { formatSize } from '../base/size.ts'
import type { MainJob } from './command-line.ts'
import { buildCsr, type Csr } from './csr.ts'
import type { EdgeList } from './edge-list.ts'
import { readGraph } from './files/read-graph.ts'
import { EDGE_FACTOR, generateEdges } from './kronecker.ts'

export interface GraphSource extends Pick<MainJob, 'graph' | 'format'> {
  /** Of the Kronecker graph. */
  readonly scale: number
}

export interface Graph {
  /** What it is, as a phrase. */
  readonly name: string
  readonly edges: EdgeList
  readonly csr: Csr
  /** What it took to make or read the edges, and to sort them. */
  readonly edgesSeconds: number
  readonly csrSeconds: number
}

/** Edges that are made between two reports. */
const PART = 1 << 16

/**
 * Makes or reads a graph. `onProgress` is told again and again what part of the edges is there, where that is known.
 *
 * Rejects with a GraphFileError, and with a RangeError for a graph that is too large for the machine.
 */
export async function makeGraph(
  { graph, format, scale }: GraphSource,
  onProgress: (part: number) => void = () => {},
): Promise<Graph> {
  const begunAt = performance.now()
  const { name, edges } = graph === null ? makeKronecker(scale, onProgress) : await readFile(graph, format)
  const madeAt = performance.now()
  const csr = enoughMemory(edges.from.length, () => buildCsr(edges))
  const sortedAt = performance.now()
  return { name, edges, csr, edgesSeconds: (madeAt - begunAt) / 1000, csrSeconds: (sortedAt - madeAt) / 1000 }
}

function makeKronecker(scale: number, onProgress: (part: number) => void): { name: string; edges: EdgeList } {
  const nedges = EDGE_FACTOR * 2 ** scale
  const edges = enoughMemory(nedges, () => ({
    nvertices: 2 ** scale,
    from: new Uint32Array(nedges),
    to: new Uint32Array(nedges),
  }))
  for (let first = 0; first < nedges; first += PART) {
    const part = { from: edges.from.subarray(first, first + PART), to: edges.to.subarray(first, first + PART) }
    generateEdges(part, scale, { first })
    onProgress((first + part.from.length) / nedges)
  }
  return { name: `Kronecker graph of scale ${scale}`, edges }
}

async function readFile(path: string, given: MainJob['format']): Promise<{ name: string; edges: EdgeList }> {
  const { edges, format } = await readGraph(path, given)
  return { name: `${basename(path)} (${format})`, edges }
}

/** Runs what allocates the arrays of a graph, and says what it was for if there is no room. */
function enoughMemory<T>(nedges: number, make: () => T): T {
  try {
    return make()
  } catch (error) {
    const isRoom = error instanceof RangeError && /allocation failed|array length/i.test(error.message)
    if (!isRoom) throw error
    // Both ends of each edge, in the list and, twice while they are sorted, in the rows.
    const needed = formatSize(6 * 4 * nedges)
    const message = `a graph of ${nedges} edges needs ${needed} of memory, which this machine does not give`
    throw new RangeError(message, { cause: error })
  }
}
