/**
 * The allocator of system frames: a binary buddy allocator with orders 0 to 10, as mm/page_alloc.c keeps one per zone.
 *
 * A free block of 2^order frames lies at a multiple of its size and is linked into the list of its order. Taking a smaller
 * block halves a larger one, giving a block back merges it with its other half as often as that is free too. Frames that
 * were never used lie above a high-water mark and are in no list, so a machine with 16 GiB costs nothing before it is used:
 * the arrays are zero until touched, and untouched zero pages of the host are free. Nine bytes per frame in all.
 *
 *   | carved: allocated, or free and in a list ............... | never used ..................... |
 *   0                                                       carved                            nframes
 *
 * A few single frames that were freed last are kept aside, unmerged, as the kernel's per-CPU lists do: most frees are soon
 * followed by an allocation, and halving and merging a block of 4 MiB between the two costs more than all the rest.
 *
 * Differs from the kernel in that a block may be given back in pieces, or together with its neighbours: what counts is
 * that every frame is given back once. Which frame comes next depends on the calls alone, so runs repeat exactly.
 */

import type { Pfn } from '../../base/addr.ts'
import { AssertionError, assert } from '../../base/assert.ts'

/** The largest block has 2^10 frames, 4 MiB. */
export const MAX_ORDER = 10
const MAX_BLOCK = 1 << MAX_ORDER

/** Single frames kept aside at most. */
const HOT_MAX = 64
/** Single frames merged at once when there is no more room for another. */
const HOT_BATCH = 32

// One byte per frame. A free block shows in the byte of its first frame; the other bytes of it, and those of frames that
// were never used, are 0. Every frame of an allocated block is marked, so that a frame given back twice is always noticed.
//
//    7   6      5      4       3..0
//    0   HOT    FREE   TAKEN   order, with FREE
const TAKEN = 0x10
const FREE = 0x20
const HOT = 0x40

export class BuddyAllocator {
  readonly nframes: number
  #nfree: number
  /** Frames from here on were never used. A multiple of the largest block until the end is reached. */
  #carved = 0
  readonly #state: Uint8Array
  // Links of the free lists, valid for the first frame of a free block. They hold the frame number plus one: 0 ends a list.
  readonly #next: Int32Array
  readonly #prev: Int32Array
  /** First block of each order, plus one. */
  readonly #heads = new Int32Array(MAX_ORDER + 1)
  /** Free single frames kept aside, the latest on top. */
  readonly #hot = new Int32Array(HOT_MAX)
  #nhot = 0

  constructor(nframes: number) {
    assert(Number.isSafeInteger(nframes) && nframes >= 0, () => `buddy: ${nframes} frames, wanted a whole number`)
    this.nframes = nframes
    this.#nfree = nframes
    // Up to the end of the last largest block: the other half of a block at the edge can be looked at without a test.
    this.#state = new Uint8Array(Math.ceil(nframes / MAX_BLOCK) * MAX_BLOCK)
    this.#next = new Int32Array(nframes)
    this.#prev = new Int32Array(nframes)
  }

  /** Frames that are not allocated. They may be too scattered for a block of some order. */
  get nfree(): number {
    return this.#nfree
  }

  /** Whether the frame is allocated. False for numbers that are no frame. */
  isTaken(pfn: Pfn): boolean {
    return this.#state[pfn] === TAKEN
  }

  /** Takes 2^order frames and returns the first, a multiple of 2^order; -1 if no block is large enough. */
  alloc(order: number): Pfn {
    if (order === 0 && this.#nhot > 0) {
      const pfn = this.#hot[--this.#nhot]
      this.#state[pfn] = TAKEN
      this.#nfree--
      return pfn
    }
    const from = this.#findBlock(order)
    if (from < 0) return -1
    const pfn = this.#heads[from] - 1
    this.#unlink(pfn, from)
    for (let half = from - 1; half >= order; half--) this.#link(pfn + (1 << half), half)
    if (order === 0) this.#state[pfn] = TAKEN
    else this.#state.fill(TAKEN, pfn, pfn + (1 << order))
    this.#nfree -= 1 << order
    return pfn
  }

  /** Gives 2^order frames back: a whole block, an aligned part of one, or several that lie together. */
  free(pfn: Pfn, order: number): void {
    const state = this.#state
    const end = pfn + (1 << order)
    checkOrder(order)
    if ((pfn & (end - pfn - 1)) !== 0) {
      throw new AssertionError(`buddy: free of frame ${pfn}, where no block of order ${order} starts`)
    }
    for (let i = pfn; i < end; i++) {
      if (state[i] !== TAKEN) throw new AssertionError(`buddy: free of frame ${i}, which is not allocated`)
    }
    this.#nfree += end - pfn
    if (order > 0) {
      state.fill(0, pfn, end)
      this.#merge(pfn, order)
      return
    }
    if (this.#nhot === HOT_MAX) this.#mergeHot(HOT_BATCH)
    this.#hot[this.#nhot++] = pfn
    state[pfn] = HOT
  }

  /** Throws unless lists, marks and counts agree. Walks every frame that was ever used. */
  validate(): void {
    const state = this.#state
    let nfree = this.nframes - this.#carved + this.#nhot
    for (let order = 0; order <= MAX_ORDER; order++) {
      let before = 0
      for (let at = this.#heads[order]; at !== 0; at = this.#next[at - 1]) {
        const pfn = at - 1
        const other = pfn ^ (1 << order)
        assert(this.#prev[pfn] === before, () => `buddy: block ${pfn} has a wrong predecessor`)
        assert(state[pfn] === (FREE | order), () => `buddy: block ${pfn} is in the list of order ${order}`)
        assert(pfn % (1 << order) === 0, () => `buddy: block ${pfn} of order ${order} is not aligned`)
        assert(
          order === MAX_ORDER || state[other] !== (FREE | order),
          () => `buddy: blocks ${pfn} and ${other} of order ${order} were not merged`,
        )
        nfree += 1 << order
        before = at
      }
    }
    for (const pfn of this.#hot.subarray(0, this.#nhot)) {
      assert(state[pfn] === HOT, () => `buddy: frame ${pfn} is kept aside but not marked`)
    }
    let ntaken = 0
    for (let pfn = 0; pfn < this.#carved; ) {
      const mark = state[pfn]
      assert(mark !== 0, () => `buddy: frame ${pfn} is neither allocated nor in a free block`)
      if (mark === TAKEN) ntaken++
      pfn += (mark & FREE) === 0 ? 1 : 1 << (mark & 0xf)
    }
    assert(nfree === this.#nfree, () => `buddy: ${nfree} frames are free, the count says ${this.#nfree}`)
    assert(ntaken + nfree === this.nframes, () => `buddy: ${ntaken} allocated and ${nfree} free of ${this.nframes}`)
  }

  /** Order of a list that is not empty and whose blocks are large enough, -1 if there is none. */
  #findBlock(order: number): number {
    checkOrder(order)
    const found = this.#findInLists(order)
    if (found >= 0) return found
    const carved = this.#carve(order)
    if (carved >= 0 || this.#nhot === 0) return carved
    // What is kept aside may be what a larger block lacks.
    this.#mergeHot(this.#nhot)
    return this.#findInLists(order)
  }

  #findInLists(order: number): number {
    for (let from = order; from <= MAX_ORDER; from++) if (this.#heads[from] !== 0) return from
    return -1
  }

  /**
   * Puts the next never used frames in the lists: one of the largest blocks, or at the very end, where none fits, as many
   * smaller ones as it takes to reach `order`. Returns the order of the last of them, -1 if none is large enough.
   */
  #carve(order: number): number {
    while (this.#carved < this.nframes) {
      let size = MAX_ORDER
      while (this.#carved + (1 << size) > this.nframes) size--
      this.#link(this.#carved, size)
      this.#carved += 1 << size
      if (size >= order) return size
    }
    return -1
  }

  /** Merges the single frames that have been kept aside the longest. */
  #mergeHot(count: number): void {
    const hot = this.#hot
    for (let i = 0; i < count; i++) {
      this.#state[hot[i]] = 0
      this.#merge(hot[i], 0)
    }
    hot.copyWithin(0, count, this.#nhot)
    this.#nhot -= count
  }

  /** Puts a free block in its list, together with all that it can be merged with. */
  #merge(pfn: Pfn, order: number): void {
    const state = this.#state
    while (order < MAX_ORDER) {
      const other = pfn ^ (1 << order)
      if (state[other] !== (FREE | order)) break
      this.#unlink(other, order)
      if (other < pfn) pfn = other
      order++
    }
    this.#link(pfn, order)
  }

  #link(pfn: Pfn, order: number): void {
    const head = this.#heads[order]
    this.#state[pfn] = FREE | order
    this.#next[pfn] = head
    this.#prev[pfn] = 0
    if (head !== 0) this.#prev[head - 1] = pfn + 1
    this.#heads[order] = pfn + 1
  }

  #unlink(pfn: Pfn, order: number): void {
    const next = this.#next[pfn]
    const prev = this.#prev[pfn]
    this.#state[pfn] = 0
    if (prev === 0) this.#heads[order] = next
    else this.#next[prev - 1] = next
    if (next !== 0) this.#prev[next - 1] = prev
  }
}

function checkOrder(order: number): void {
  if (!(order >= 0 && order <= MAX_ORDER)) throw new AssertionError(`buddy: order ${order}, wanted 0 to ${MAX_ORDER}`)
}
