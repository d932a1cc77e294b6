// What a call is about: ranges of arrays, in whole pages. And whether it may be: arrays that were freed, pages that are held, lost,
// or were touched by somebody who did not own them end a call with a Refusal, here and nowhere else.

import { type Addr, PAGE_SIZE, pageAlignDown, pageAlignUp } from '../../base/addr.ts'
import { formatAddr } from '../../base/assert.ts'
import { EFAULT, MmError } from '../../base/errno.ts'
import { formatSize } from '../../base/size.ts'
import { elementsOf } from './array-table.ts'
import type { ArrayRange } from './backend.ts'
import type { EngineParts } from './engine-parts.ts'
import { Refusal } from './failure.ts'
import type { ByteRange } from './protocol.ts'
import { lostInSwap } from './swapped.ts'

/** A range of whole pages, and what it is of. */
export interface Pages extends ArrayRange {
  readonly firstPage: Addr
  /** Exclusive. */
  readonly endPage: Addr
}

/** Pages that are held at once where memory is limited. */
const HOLD_PART = 256

export class Ranges {
  readonly #parts: EngineParts

  constructor(parts: EngineParts) {
    this.#parts = parts
  }

  /** Throws a Refusal USE_AFTER_FREE or FOREIGN_VIEW. Empty ranges are left out. */
  pagesOf(ranges: readonly ByteRange[]): Pages[] {
    const pages: Pages[] = []
    for (const { start, end } of ranges) {
      if (start === end) continue
      const array = this.#parts.arrays.at(start)
      // Messages of several threads meet here, so what one of them uses another one may have freed.
      if (array === undefined) throw new Refusal('USE_AFTER_FREE', `no array is at ${formatAddr(start)} any more`)
      if (end > array.end) throw new Refusal('FOREIGN_VIEW', `a view goes beyond the end of "${array.name}"`)
      pages.push({ array, start, end, firstPage: pageAlignDown(start), endPage: pageAlignUp(end) })
    }
    return pages
  }

  /** Throws a Refusal LOST for pages that were filled, as their contents are lost; but for those that nobody wants to know. */
  checkNotFilled(pages: readonly Pages[], unwanted: readonly ByteRange[] = []): void {
    for (const { array, start, end } of pages) {
      const reason = this.#parts.lostPages.reasonOf({ start, end }, unwanted)
      if (reason === undefined) continue
      throw new Refusal('LOST', `the newest contents of "${array.name}" ${reason}; discard them to go on`)
    }
  }

  /** Throws a Refusal LOST for pages that a lost device still has; but for those that come back filled, and nobody wants to know. */
  checkNotTaken(pages: readonly Pages[], unwanted: readonly ByteRange[]): void {
    for (const device of this.#parts.devices) {
      for (const { start, end, firstPage, endPage } of pages) {
        if (device.fillsLost && unwanted.some((each) => each.start <= firstPage && endPage <= each.end)) continue
        const lost = device.lostIn({ start, end })
        if (lost !== null) throw new Refusal('LOST', lost)
      }
    }
  }

  /** Throws a Refusal NOT_OWNED if the CPU touched pages that were not its own. */
  checkOwned(pages: readonly Pages[]): void {
    const { backend, arrays } = this.#parts
    backend.verify(pages, arrays)
    const misuses = this.#parts.misuses.take()
    if (misuses.length > 0) throw new Refusal('NOT_OWNED', 'the CPU touched pages that it did not own', { misuses })
  }

  checkNotHeld({ array, start, end }: ArrayRange, what: string): void {
    if (!this.#parts.holds.covers({ start, end })) return
    throw new Refusal('HELD', `"${array.name}" is held by withResident or pin, so ${what} would wait for itself`)
  }

  /** What is held cannot make room for anything else, so some memory has to stay free of it. */
  checkHoldable(pages: readonly Pages[]): void {
    const { mm, holds } = this.#parts
    const { memoryPages, reservePages, lowPages, mmu, swap } = mm.sys
    if (memoryPages === mmu.nframes || swap?.device.isWritable !== true) return
    const wanted = pages.reduce((sum, { firstPage, endPage }) => sum + countPages(firstPage, endPage), 0)
    // What reclaim keeps free, and room for the pages that are about to be held.
    const kept = lowPages + (lowPages - reservePages) + HOLD_PART
    const left = Math.max(0, memoryPages - kept - holds.npages)
    if (wanted <= left) return
    const sizes = `${formatSize(wanted * PAGE_SIZE)} of "${pages[0].array.name}", and ${formatSize(left * PAGE_SIZE)}`
    throw new Refusal('OUT_OF_SPACE', `withResident or pin of ${sizes} of memory can be held; open the heap with more`)
  }

  /** After a wait: the array is still there. */
  checkMapped(range: ArrayRange): void {
    if (this.#parts.arrays.at(range.start) !== range.array) throw this.refusalFor(-EFAULT, range)
  }

  /**
   * What a device made of ranges. If pages of them could not be read back from swap for it, that is the error: it has failed, or has
   * worked with what they were filled with. Afterwards `renewed` pages have new contents.
   */
  async orLoss<T>(ranges: readonly Pages[], done: Promise<T>, renewed: readonly ByteRange[] = []): Promise<T> {
    let result: T
    try {
      result = await done
    } catch (error) {
      for (const range of ranges) {
        const loss = this.#swapLoss(range)
        if (loss !== null) throw loss
      }
      throw error
    }
    for (const range of renewed) this.#parts.lostPages.forget(range)
    this.checkNotFilled(ranges)
    return result
  }

  /** What an error of mm means for a range of an array. */
  refusalFor(err: number, { array, start, end }: ArrayRange): Refusal {
    for (const device of this.#parts.devices) {
      const lost = device.lostIn({ start, end })
      if (lost !== null) return new Refusal('LOST', lost)
    }
    const loss = this.#swapLoss({ array, start, end })
    if (loss !== null) return loss
    if (err === -EFAULT && this.#parts.arrays.at(start) !== array) {
      return new Refusal('USE_AFTER_FREE', `"${array.name}" was freed meanwhile`)
    }
    return new Refusal('FAILED', `"${array.name}": ${new MmError(err, 'fault', { addr: start }).message}`)
  }

  /** Which page of a range is lost in swap; null for none. */
  #swapLoss({ array, start, end }: ArrayRange): Refusal | null {
    const lost = lostInSwap(this.#parts.mm, pageAlignDown(start), end)
    if (lost === null) return null
    const { first } = elementsOf(array, { start: Math.max(start, lost.addr), end: lost.addr + PAGE_SIZE })
    return new Refusal('LOST', `"${array.name}"[${first}] and the rest of its page are lost: ${lost.why}`)
  }
}

/** The pages that a range covers, with what lies behind the last element of its array. It may be empty. */
export function wholePages({ array, start, end }: Pages): ByteRange {
  return { start: pageAlignUp(start), end: end >= array.dataEnd ? array.end : pageAlignDown(end) }
}

export function countPages(from: Addr, to: Addr): number {
  return Math.max(0, (to - from) / PAGE_SIZE)
}

/** Ranges cut into pieces that are held one by one, each in a list of its own. */
export function inParts(ranges: readonly Pages[]): Pages[][] {
  return ranges.flatMap((range) => {
    const parts: Pages[][] = []
    for (let firstPage = range.firstPage; firstPage < range.endPage; firstPage += HOLD_PART * PAGE_SIZE) {
      const endPage = Math.min(range.endPage, firstPage + HOLD_PART * PAGE_SIZE)
      const [start, end] = [Math.max(range.start, firstPage), Math.min(range.end, endPage)]
      parts.push([{ array: range.array, start, end, firstPage, endPage }])
    }
    return parts
  })
}
