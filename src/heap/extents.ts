// Who allocates where, when the heaps of several threads have the same memory. The address space is cut into extents, and each
// belongs to the thread that has first allocated there: from then on only that thread's arena looks for room in it. Claiming
// one is a compare-and-swap on a word that all threads share, so nobody waits for anybody.

import { assert } from '../base/assert.ts'

/** Extents of a heap, if it is large enough for as many. */
const EXTENTS_WANTED = 256
const EXTENT_PAGES_MIN = 16 // pages, 64 KiB
const NOBODY = 0

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

  /** First pages of the extents that are mine. */
  mine(): number[] {
    const pages: number[] = []
    for (let i = 0; i < this.owners.length; i++)
      if (Atomics.load(this.owners, i) === this.#me) pages.push(i * this.npages)
    return pages
  }

  /** Nothing lies in the extent at a page any more, and I go. */
  release(page: number): void {
    const owner = Atomics.compareExchange(this.owners, page / this.npages, this.#me, NOBODY)
    assert(owner === this.#me, () => `the extent of page ${page} is mine`)
  }
}
