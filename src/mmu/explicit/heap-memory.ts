// The memory of an explicit heap: buffers of the program, each behind a run of frames. Frame numbers are page numbers in the
// heap, so between two segments there may be pages that do not exist.

import { PAGE_SIZE, type Pfn } from '../../base/addr.ts'
import { AssertionError, assert } from '../../base/assert.ts'

export class Segment {
  /** First frame. */
  readonly pfn: Pfn
  /** Exclusive. */
  readonly endPfn: Pfn
  readonly buffer: ArrayBufferLike
  /** The whole buffer in words of 32 bits. */
  readonly words: Int32Array

  constructor(pfn: Pfn, buffer: ArrayBufferLike) {
    this.pfn = pfn
    this.endPfn = pfn + buffer.byteLength / PAGE_SIZE
    this.buffer = buffer
    this.words = new Int32Array(buffer)
  }
}

export class HeapMemory {
  /** By ascending frame number. */
  readonly #segments: Segment[] = []
  #last: Segment | null = null

  get segments(): readonly Segment[] {
    return this.#segments
  }

  /** Puts a buffer of whole pages, all zero, behind the frames from `pfn` on. */
  add(pfn: Pfn, buffer: ArrayBufferLike): Segment {
    const segment = new Segment(pfn, buffer)
    let at = this.#segments.length
    while (at > 0 && this.#segments[at - 1].pfn > pfn) at--
    const isFree =
      (at === 0 || this.#segments[at - 1].endPfn <= pfn) &&
      (at === this.#segments.length || segment.endPfn <= this.#segments[at].pfn)
    assert(isFree, () => `frames ${pfn} to ${segment.endPfn} have no memory yet`)
    this.#segments.splice(at, 0, segment)
    return segment
  }

  /** The segment of a frame, null where there is no memory. */
  find(pfn: Pfn): Segment | null {
    const last = this.#last
    if (last !== null && pfn >= last.pfn && pfn < last.endPfn) return last
    for (const segment of this.#segments) {
      if (pfn < segment.pfn || pfn >= segment.endPfn) continue
      this.#last = segment
      return segment
    }
    return null
  }

  /** The segment of a frame that has memory. */
  get(pfn: Pfn): Segment {
    const segment = this.find(pfn)
    if (segment === null) throw new AssertionError(`frame ${pfn} has no memory`)
    return segment
  }

  /** Makes `npages` pages of one segment zero. */
  clear(pfn: Pfn, npages: number): void {
    const { words, pfn: first } = this.get(pfn)
    const at = (pfn - first) * (PAGE_SIZE / 4)
    words.fill(0, at, at + npages * (PAGE_SIZE / 4))
  }

  /** The 4096 bytes of a frame, as the program sees them. */
  bytes(pfn: Pfn): Uint8Array {
    const { buffer, pfn: first } = this.get(pfn)
    return new Uint8Array(buffer, (pfn - first) * PAGE_SIZE, PAGE_SIZE)
  }
}
