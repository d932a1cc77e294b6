// Which page is in memory for a swap slot (`swap_address_space` of mm/swap_state.c, Linux 6.1): a table by slot, as it is asked for
// every page on its way out and back in. Has the methods of a Map that are used of it.

import type { Pfn } from '../base/addr.ts'

export class SwapCache {
  /** Slots that have a page. */
  size = 0
  readonly #npages: number
  /** Frame number plus one, 0 for none. Empty until a slot has a page: most heaps never swap. */
  #frames = new Int32Array(0)

  /** Slots are numbered from 1 to `npages`. */
  constructor(npages: number) {
    this.#npages = npages
  }

  get(slot: number): Pfn | undefined {
    const frame = this.#frames[slot]
    return frame > 0 ? frame - 1 : undefined
  }

  has(slot: number): boolean {
    return this.#frames[slot] > 0
  }

  set(slot: number, pfn: Pfn): void {
    if (this.#frames.length === 0) this.#frames = new Int32Array(this.#npages + 1)
    if (this.#frames[slot] === 0) this.size++
    this.#frames[slot] = pfn + 1
  }

  delete(slot: number): void {
    if (!this.has(slot)) return
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
