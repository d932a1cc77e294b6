// Where the contents of swapped pages are kept: what swap (swap.ts) asks of a swap device, and the device of the simulated
// machine, which is memory. Corresponds to the block device under a swap area in Linux 6.1.
//
// A synchronous device (SWP_SYNCHRONOUS_IO) has done everything when its call returns. Any other begins its reads and writes,
// in the order of the calls but ending in any order, and says later how each page ended. The pages stay as they are until
// then: one that is written cannot be stored to, one that is read cannot be seen.

import type { Pfn } from '../base/addr.ts'
import { assert } from '../base/assert.ts'
import type { Mmu } from '../mmu/mmu.ts'

/** A page in memory and its slot. */
export interface SwapPage {
  readonly slot: number
  readonly pfn: Pfn
}

/** Says how one page ended: 0 or a negative errno. -EBADMSG: what was read is not what was written. */
export type SwapIoEnd = (page: SwapPage, err: number) => void

export interface SwapDevice {
  readonly isSynchronous: boolean
  /** Slot n + 1 is that of frame n and of no other: for backends where a page has one home frame. */
  readonly hasHomeSlots: boolean
  /** False for a device that can only be read: pages that it does not have stay in memory. */
  readonly isWritable: boolean
  /** Writes pages to their slots. `end` is called once for each, from anywhere but inside a call into mm unless synchronous. */
  write(pages: readonly SwapPage[], end: SwapIoEnd): void
  /** Reads pages from slots that were written. */
  read(pages: readonly SwapPage[], end: SwapIoEnd): void
  /** Nobody needs what is in the slot any more, and nothing is under way for it. */
  discard(slot: number): void
}

/** A swap device in memory: what is written there takes as much memory again, so this is for simulated machines. */
export class MemorySwapDevice implements SwapDevice {
  readonly isSynchronous = true
  readonly hasHomeSlots = false
  readonly isWritable = true
  /** What is in each slot that was written. */
  readonly contents = new Map<number, Uint8Array>()
  readonly #mmu: Mmu

  constructor(mmu: Mmu) {
    this.#mmu = mmu
  }

  write(pages: readonly SwapPage[], end: SwapIoEnd): void {
    for (const page of pages) {
      this.contents.set(page.slot, this.#mmu.bytes(page.pfn).slice())
      end(page, 0)
    }
  }

  read(pages: readonly SwapPage[], end: SwapIoEnd): void {
    for (const page of pages) {
      const bytes = this.contents.get(page.slot)
      assert(bytes !== undefined, () => `swap slot ${page.slot} was written before it is read`)
      this.#mmu.bytes(page.pfn).set(bytes)
      end(page, 0)
    }
  }

  discard(slot: number): void {
    this.contents.delete(slot)
  }
}
