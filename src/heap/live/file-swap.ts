// The swap device of a live heap (mm/swap-device.ts): a file with a block for each page of the heap, which the thread of page-io.ts
// writes and reads. Pages are handed over in ascending order, so neighbours travel together whatever order they got cold in.

import { type Pfn, vpnToAddr } from '../../base/addr.ts'
import type { SwapDevice, SwapIoEnd, SwapPage } from '../../mm/swap-device.ts'
import type { HomeFrames } from '../../mmu/userfaultfd/home-frames.ts'
import type { Tracer } from '../../trace/tracer.ts'
import type { PageIo } from './page-io.ts'
import { forEachRun } from './page-runs.ts'

/** Pages of one request: what is read comes back no sooner than all of it. */
const REQUEST_MAX = 512 // 2 MiB

export class FileSwap implements SwapDevice {
  readonly isSynchronous = false
  readonly hasHomeSlots = true
  /** Where events go, when there is somebody to take them. */
  tracer: Tracer | null = null
  readonly #io: PageIo
  readonly #frames: HomeFrames

  constructor(io: PageIo, frames: HomeFrames) {
    this.#io = io
    this.#frames = frames
  }

  write(pages: readonly SwapPage[], end: SwapIoEnd): void {
    this.#request('write', pages, end)
  }

  read(pages: readonly SwapPage[], end: SwapIoEnd): void {
    this.#request('read', pages, end)
  }

  /** The block stays reserved for the page until its array is freed. */
  discard(): void {}

  #request(op: 'write' | 'read', pages: readonly SwapPage[], end: SwapIoEnd): void {
    const sorted = pages.toSorted((a, b) => a.pfn - b.pfn)
    for (let first = 0; first < sorted.length; first += REQUEST_MAX) {
      const part = sorted.slice(first, first + REQUEST_MAX)
      const pfns = Uint32Array.from(part, ({ pfn }) => pfn)
      this.#io.request({ op }, pfns, (errors) => {
        const done = errors === null ? part : part.filter((_, i) => errors[i] === 0)
        this.#trace(op, done)
        part.forEach((page, i) => {
          const err = errors === null ? 0 : errors[i]
          if (op === 'read' && err === 0) this.#frames.noteBacked(page.pfn)
          end(page, err)
        })
      })
    }
  }

  #trace(op: 'write' | 'read', pages: readonly SwapPage[]): void {
    const { tracer } = this
    if (tracer === null || !tracer.on) return
    forEachRun(pages, (first: Pfn, npages) => {
      const range = { start: vpnToAddr(first), end: vpnToAddr(first + npages), npages }
      if (op === 'read') tracer.emit({ kind: 'swap-in', ...range })
      else tracer.emit({ kind: 'swap-out', ...range, nbytes: range.end - range.start })
    })
  }
}
