// Ranges that the program keeps with the CPU, by `withResident` and `pin`. Their pages are pinned in mm, so nothing moves them;
// who wants them for a device is told by whom they are held, and what takes them away waits.

import { type Addr, PAGE_SIZE, type Pfn } from '../../base/addr.ts'
import { assert } from '../../base/assert.ts'
import { WaitQueue } from '../../base/wait-queue.ts'
import { rangesOverlap } from '../../devices/claims.ts'
import { pinUserPages, unpinUserPage } from '../../mm/gup.ts'
import type { Mm } from '../../mm/mm.ts'
import { GUP_PIN_COUNTING_BIAS } from '../../mm/page.ts'
import type { ByteRange } from './protocol.ts'

/** Pages that one call into mm pins. */
const BATCH_PAGES = 1024

interface Hold {
  readonly ranges: readonly ByteRange[]
  readonly pfns: Pfn[]
}

export class Holds {
  readonly #mm: Mm
  readonly #holds = new Map<number, Hold>()
  readonly #released = new WaitQueue()
  #last = 0

  constructor(mm: Mm) {
    this.#mm = mm
  }

  /**
   * Holds pages that the CPU has; page aligned ranges. The caller holds mmapLock for reading.
   *
   * Returns the number of the hold, or a negative errno: -EAGAIN if a page has been taken from the CPU meanwhile.
   */
  add(ranges: readonly ByteRange[], write: boolean): number {
    const hold: Hold = { ranges, pfns: [] }
    for (const { start, end } of ranges) {
      const err = this.#pin(hold, start, end, write)
      if (err === 0) continue
      this.#unpin(hold)
      return err
    }
    this.#last++
    this.#holds.set(this.#last, hold)
    return this.#last
  }

  /** Makes one hold of several; they are released together. */
  merge(ids: readonly number[]): number {
    const holds = ids.flatMap((id) => this.#holds.get(id) ?? [])
    for (const id of ids) this.#holds.delete(id)
    this.#last++
    this.#holds.set(this.#last, {
      ranges: holds.flatMap(({ ranges }) => ranges),
      pfns: holds.flatMap(({ pfns }) => pfns),
    })
    return this.#last
  }

  release(id: number): void {
    const hold = this.#holds.get(id)
    if (hold === undefined) return
    this.#holds.delete(id)
    this.#unpin(hold)
    this.#released.wake()
  }

  releaseAll(): void {
    for (const id of [...this.#holds.keys()]) this.release(id)
  }

  /** Pages that are held, each as often as it is. */
  get npages(): number {
    let npages = 0
    for (const { pfns } of this.#holds.values()) npages += pfns.length
    return npages
  }

  /** Some of the range is held. */
  covers(range: ByteRange): boolean {
    for (const { ranges } of this.#holds.values()) if (ranges.some((held) => rangesOverlap(held, range))) return true
    return false
  }

  /** References that holds have on each frame: for `validateSystem`. */
  heldReferences(): (pfn: Pfn) => number {
    const held = new Map<Pfn, number>()
    for (const { pfns } of this.#holds.values()) {
      for (const pfn of pfns) held.set(pfn, (held.get(pfn) ?? 0) + GUP_PIN_COUNTING_BIAS)
    }
    return (pfn) => held.get(pfn) ?? 0
  }

  async whenReleased(range: ByteRange): Promise<void> {
    while (this.covers(range)) await this.#released.promise()
  }

  #pin(hold: Hold, start: Addr, end: Addr, write: boolean): number {
    for (let addr = start; addr < end; ) {
      const npages = Math.min((end - addr) / PAGE_SIZE, BATCH_PAGES)
      const npinned = pinUserPages(this.#mm, addr, npages, { write }, hold.pfns)
      if (npinned < 0) return npinned
      assert(npinned > 0, 'pinning ends with a page or an error')
      addr += npinned * PAGE_SIZE
    }
    return 0
  }

  #unpin(hold: Hold): void {
    for (const pfn of hold.pfns) unpinUserPage(this.#mm.sys, pfn)
    hold.pfns.length = 0
  }
}
