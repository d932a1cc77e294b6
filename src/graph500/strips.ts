// The graph as the GPU wants it: the row of each vertex cut into strips of 16 neighbours, one strip per invocation.
//
//   vertex 7 has 20 neighbours, vertex 8 has 3          columns   [ 16 of 7 ][ 4 of 7, 7 7 7 ...][ 3 of 8, 8 8 8 ...]
//                                                       owners      7          7                   8
//
// All invocations then have the same amount of work, although a vertex may have one neighbour or fifty thousand. And invocation i
// uses strip i and nothing else of these two arrays, so a launch over all strips can be cut anywhere: it streams through a device
// whose memory is much smaller than the graph. What is left over of a strip is filled with its owner, an edge that leads nowhere.

import type { Csr } from './csr.ts'

/** Neighbours in a strip. 64 bytes of them: what a cache line holds. */
export const STRIP = 16

/**
 * Strips in a block: what a search takes or leaves as a whole. 4096 strips have 256 KiB of neighbours: long enough to be copied
 * at full speed, and a multiple of a page for both arrays.
 */
export const BLOCK = 4096

export interface Strips {
  readonly nvertices: number
  /** The vertex that each strip belongs to; strips of a vertex follow each other. */
  readonly owners: Uint32Array
  /** The neighbours, STRIP for each strip, in ascending order within a vertex. */
  readonly columns: Uint32Array
  /** Number of the first strip of each vertex, and how many there are in all: nvertices + 1 numbers. */
  readonly firsts: Uint32Array
}

/** Strips that a graph makes. */
export function countStrips({ nvertices, offsets }: Csr): number {
  let count = 0
  for (let v = 0; v < nvertices; v++) count += Math.ceil((offsets[v + 1] - offsets[v]) / STRIP)
  return count
}

/** The strips of a graph, in arrays of their own. */
export function makeStrips(csr: Csr): Strips {
  const nstrips = countStrips(csr)
  const strips: Strips = {
    nvertices: csr.nvertices,
    owners: new Uint32Array(nstrips),
    columns: new Uint32Array(STRIP * nstrips),
    firsts: new Uint32Array(csr.nvertices + 1),
  }
  cutIntoStrips(csr, strips)
  return strips
}

/**
 * Cuts the rows of a graph into strips, in the three arrays that are given: countStrips, STRIP * countStrips, and nvertices + 1 long.
 */
export function cutIntoStrips({ nvertices, offsets, columns }: Csr, strips: Omit<Strips, 'nvertices'>): void {
  let strip = 0
  for (let v = 0; v < nvertices; v++) {
    strips.firsts[v] = strip
    const end = offsets[v + 1]
    for (let i = offsets[v]; i < end; i += STRIP, strip++) {
      strips.owners[strip] = v
      const neighbours = columns.subarray(i, Math.min(i + STRIP, end))
      strips.columns.set(neighbours, STRIP * strip)
      strips.columns.fill(v, STRIP * strip + neighbours.length, STRIP * (strip + 1))
    }
  }
  strips.firsts[nvertices] = strip
}
