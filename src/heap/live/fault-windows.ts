// How many pages a touch brings along. Each thread has a stream of touches in each array that it goes through; one that follows
// the pages that the last one brought, in either direction, gets more than that, another one less (policies/fault-around.ts).

import type { Addr } from '../../base/addr.ts'
import { PAGE_SIZE } from '../../base/addr.ts'
import { nextWindow } from '../../policies/index.ts'

/** Streams that are remembered; what was longest without a touch is forgotten first. */
const STREAMS_MAX = 256

/** Array numbers are below this, so that thread and array make one key. */
const ARRAYS_MAX = 2 ** 31

interface Stream {
  /** What the last touch brought. */
  start: Addr
  end: Addr
  /** Pages. */
  window: number
}

export class FaultWindows {
  readonly #streams = new Map<number, Stream>()

  /**
   * The bytes `[start, end)` that a touch of the page at `addr` brings, that page among them: those of its thread's stream in
   * the array, as far as the array goes.
   */
  next(thread: number, array: { id: number; start: Addr; end: Addr }, addr: Addr): { start: Addr; end: Addr } {
    const key = thread * ARRAYS_MAX + (array.id % ARRAYS_MAX)
    const last = this.#streams.get(key)
    const isForward = last !== undefined && addr === last.end
    const isBackward = last !== undefined && addr === last.start - PAGE_SIZE
    const window = nextWindow(last?.window ?? 0, isForward || isBackward)
    // A first touch says nothing about the next one; only where it begins at the front, a walk is likely.
    const npages = last === undefined && addr !== array.start ? 1 : window
    const from = isBackward ? addr - (npages - 1) * PAGE_SIZE : addr
    const start = Math.max(array.start, from)
    const end = Math.min(array.end, from + npages * PAGE_SIZE)
    this.#streams.delete(key)
    this.#streams.set(key, { start, end, window })
    if (this.#streams.size > STREAMS_MAX) this.#forgetOldest()
    return { start, end }
  }

  #forgetOldest(): void {
    for (const key of this.#streams.keys()) {
      this.#streams.delete(key)
      return
    }
  }
}
