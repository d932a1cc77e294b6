// A list of edges that grows while a file is read, and whose vertices get numbers that a search can use.

import type { EdgeList } from '../edge-list.ts'

/**
 * Numbers are kept as they are, unless there are more than this many of them for each end of an edge: then they are no counting
 * of vertices but somebody's identifiers, and arrays of that length would be mostly empty.
 */
const SPARSE = 4

export class EdgeBuilder {
  #from = new Uint32Array(1 << 16)
  #to = new Uint32Array(1 << 16)
  #count = 0
  #greatest = -1

  /** Edges so far. */
  get count(): number {
    return this.#count
  }

  add(u: number, v: number): void {
    if (this.#count === this.#from.length) {
      this.#from = grow(this.#from)
      this.#to = grow(this.#to)
    }
    this.#from[this.#count] = u
    this.#to[this.#count] = v
    this.#count++
    if (u > this.#greatest) this.#greatest = u
    if (v > this.#greatest) this.#greatest = v
  }

  /**
   * The edges. `nvertices` is known to some formats; otherwise it follows from the greatest number. Vertices that are numbered
   * anew keep their order.
   */
  finish(nvertices = this.#greatest + 1): EdgeList {
    const from = this.#from.slice(0, this.#count)
    const to = this.#to.slice(0, this.#count)
    if (nvertices <= SPARSE * 2 * this.#count) return { nvertices, from, to }
    const used = distinct(from, to)
    for (const ends of [from, to]) for (let i = 0; i < ends.length; i++) ends[i] = indexOf(used, ends[i])
    return { nvertices: used.length, from, to }
  }
}

function grow(array: Uint32Array<ArrayBuffer>): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(2 * array.length)
  larger.set(array)
  return larger
}

/** The numbers that occur, in ascending order. */
function distinct(from: Uint32Array, to: Uint32Array): Uint32Array {
  const all = new Uint32Array(from.length + to.length)
  all.set(from)
  all.set(to, from.length)
  all.sort()
  return all.filter((value, i) => i === 0 || value !== all[i - 1])
}

/** Where `value` is in `sorted`, which has it. */
function indexOf(sorted: Uint32Array, value: number): number {
  let low = 0
  let high = sorted.length - 1
  while (low < high) {
    const middle = (low + high) >>> 1
    if (sorted[middle] < value) low = middle + 1
    else high = middle
  }
  return low
}
