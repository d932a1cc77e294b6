// A swap device that takes its time: reads and writes are kept until a test ends them, in any order and with any result. It
// looks after its own contract: what it is about to write must not change before it has ended, and a slot must be free of
// writes when it is read or forgotten.

import { assert } from '../../src/base/assert.ts'
import type { SwapDevice, SwapIoEnd, SwapPage } from '../../src/mm/swap-device.ts'
import type { Mmu } from '../../src/mmu/mmu.ts'

interface Pending {
  readonly kind: 'read' | 'write'
  readonly page: SwapPage
  readonly end: SwapIoEnd
  /** What the page held when its write began. */
  readonly begun: Uint8Array | null
}

export class AsyncSwap implements SwapDevice {
  readonly isSynchronous = false
  readonly hasHomeSlots: boolean
  readonly isWritable = true
  readonly contents = new Map<number, Uint8Array>()
  readonly pending: Pending[] = []
  /** Pages of each call, in order. */
  readonly calls: string[] = []
  readonly #mmu: Mmu

  constructor(mmu: Mmu, hasHomeSlots = false) {
    this.#mmu = mmu
    this.hasHomeSlots = hasHomeSlots
  }

  write(pages: readonly SwapPage[], end: SwapIoEnd): void {
    this.calls.push(`write ${pages.length}`)
    for (const page of pages) {
      this.#checkIdle(page.slot)
      this.pending.push({ kind: 'write', page, end, begun: this.#mmu.bytes(page.pfn).slice() })
    }
  }

  read(pages: readonly SwapPage[], end: SwapIoEnd): void {
    this.calls.push(`read ${pages.length}`)
    for (const page of pages) {
      this.#checkIdle(page.slot)
      assert(this.contents.has(page.slot), () => `slot ${page.slot} was written before it is read`)
      this.pending.push({ kind: 'read', page, end, begun: null })
    }
  }

  discard(slot: number): void {
    this.#checkIdle(slot)
    this.contents.delete(slot)
  }

  /** Ends the read or write at a place in `pending`. With an error nothing is written, and rubbish is read. */
  end(index: number, err = 0): void {
    const [{ kind, page, end, begun }] = this.pending.splice(index, 1)
    const bytes = this.#mmu.bytes(page.pfn)
    if (begun !== null) {
      assert(Buffer.compare(bytes, begun) === 0, () => `frame ${page.pfn} did not change while it was written`)
    }
    const isOk = err === 0
    if (kind === 'write') this.contents.set(page.slot, isOk ? bytes.slice() : new Uint8Array(bytes.length).fill(0xdb))
    else bytes.set(isOk ? (this.contents.get(page.slot) as Uint8Array) : new Uint8Array(bytes.length).fill(0xdb))
    end(page, err)
  }

  /** Ends everything, oldest first. */
  endAll(err = 0): void {
    while (this.pending.length > 0) this.end(0, err)
  }

  #checkIdle(slot: number): void {
    assert(!this.pending.some(({ page }) => page.slot === slot), () => `nothing is under way for slot ${slot}`)
  }
}
