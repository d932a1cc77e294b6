// Which page is in memory for a swap slot (`swap_address_space` of mm/swap_state.c, Linux 6.1): a table by slot, as it is asked for
// every page on its way out and back in. Has the methods of a Map that are used of it.

import type { Pfn } from '../base/addr.ts'

export class SwapCache {
  /** Slots that have a page. */
  size = 0
  /** Frame number plus one, 0 for none: memory of the table that nobody uses costs nothing. */
  readonly #frames: Int32Array

  /** Slots are numbered from 1 to `npages`. */
  constructor(npages: number) {
    this.#frames = new Int32Array(npages + 1)
  }

  get(slot: number): Pfn | undefined {
    const frame = this.#frames[slot]
    return frame > 0 ? frame - 1 : undefined
  }

  has(slot: number): boolean {
    return this.#frames[slot] > 0
  }

  set(slot: number, pfn: Pfn): void {
    if (this.#frames[slot] === 0) this.size++
    this.#frames[slot] = pfn + 1
  }

  delete(slot: number): void {
    if (this.#frames[slot] === 0) return
    this.#frames[slot] = 0
    this.size--
  }

  /** Slots and their pages, by ascending slot. */
  *[Symbol.iterator](): Generator<[slot: number, pfn: Pfn]> {
    for (let slot = 0, left = this.size; left > 0; slot++) {
      if (this.#frames[slot] === 0) continue
      left--
      yield [slot, this.#frames[slot] - 1]
    }
  }
}
