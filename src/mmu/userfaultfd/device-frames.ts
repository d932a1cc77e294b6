// Numbers for the frames of devices: above all system frames, in ranges that begin at multiples of 2 MiB, first fit.

import { HPAGE_PMD_NR, type Pfn } from '../../base/addr.ts'
import { assert } from '../../base/assert.ts'

export class DeviceFrames {
  readonly #first: Pfn
  /** By ascending frame number. */
  readonly #ranges: { readonly pfn: Pfn; readonly npages: number }[] = []

  /** `first` is where the numbers may begin. */
  constructor(first: Pfn) {
    this.#first = first
  }

  add(npages: number): Pfn {
    assert(Number.isSafeInteger(npages) && npages > 0, () => `${npages} device frames, wanted at least one`)
    let pfn = alignUp(this.#first)
    let at = 0
    while (at < this.#ranges.length && pfn + npages > this.#ranges[at].pfn) {
      pfn = alignUp(this.#ranges[at].pfn + this.#ranges[at].npages)
      at++
    }
    this.#ranges.splice(at, 0, { pfn, npages })
    return pfn
  }

  remove(pfn: Pfn, npages: number): void {
    const at = this.#ranges.findIndex((range) => range.pfn === pfn && range.npages === npages)
    assert(at >= 0, () => `removal of ${npages} device frames at ${pfn}, which were not added like that`)
    this.#ranges.splice(at, 1)
  }
}

function alignUp(pfn: Pfn): Pfn {
  return Math.ceil(pfn / HPAGE_PMD_NR) * HPAGE_PMD_NR
}
