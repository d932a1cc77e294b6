// Who allocates where, when the heaps of several threads have the same memory. The address space is cut into extents, and each
// belongs to the thread that has first allocated there: from then on only that thread's arena looks for room in it. Claiming
// one is a compare-and-swap on a word that all threads share, so nobody waits for anybody.

import { PAGE_SIZE } from '../base/addr.ts'

/** Extents of a heap, if it is large enough for as many. */
const EXTENTS_WANTED = 256
const EXTENT_PAGES_MIN = 16 // pages, 64 KiB
const NOBODY = 0

/** Where an array lies. */
export interface PlacedArray {
  /** Of its first page. */
  readonly addr: number
  readonly npages: number
}

export class Extents {
  /** Owner of each extent, 0 for nobody. */
  readonly owners: Int32Array<SharedArrayBuffer>
  /** Pages of an extent. */
  readonly npages: number
  readonly #me: number

  /** Those of a heap of so many pages, nobody's yet. */
  static make(npages: number, me: number): Extents {
    const each = Math.max(EXTENT_PAGES_MIN, 2 ** Math.ceil(Math.log2(npages / EXTENTS_WANTED)))
    return new Extents(new Int32Array(new SharedArrayBuffer(4 * Math.ceil(npages / each))), each, me)
  }

  /** The same, for somebody else: `me` is a number from 1 that nobody else has. */
  constructor(owners: Int32Array<SharedArrayBuffer>, npages: number, me: number) {
    this.owners = owners
    this.npages = npages
    this.#me = me
  }

  /**
   * Claims the extents of the pages `[first, end)` of the heap that are nobody's.
   *
   * Returns -1 if all of them are mine now, else the first page of one that is not.
   */
  claim(first: number, end: number): number {
    for (let extent = Math.floor(first / this.npages); extent * this.npages < end; extent++) {
      const owner = Atomics.compareExchange(this.owners, extent, NOBODY, this.#me)
      if (owner !== NOBODY && owner !== this.#me) return extent * this.npages
    }
    return -1
  }

  /** Whether somebody else allocates at a page. */
  isOthers(page: number): boolean {
    const owner = Atomics.load(this.owners, Math.floor(page / this.npages))
    return owner !== NOBODY && owner !== this.#me
  }

  /** Whether nobody allocates at a page, any more or yet. */
  isNobodys(page: number): boolean {
    return Atomics.load(this.owners, Math.floor(page / this.npages)) === NOBODY
  }

  /** For others: the extents of somebody who is gone, but for those in which something of his lies still. */
  releaseOf(owner: number, arrays: readonly PlacedArray[]): void {
    const used = new Set<number>()
    for (const { addr, npages } of arrays) {
      const first = addr / PAGE_SIZE
      // With the page behind it, which is nobody's.
      const last = first + npages
      for (let i = Math.floor(first / this.npages); i * this.npages <= last; i++) used.add(i)
    }
    for (let i = 0; i < this.owners.length; i++) {
      if (!used.has(i)) Atomics.compareExchange(this.owners, i, owner, NOBODY)
    }
  }
}
