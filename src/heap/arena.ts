// Where arrays lie: segments, each one buffer, side by side in the address space of the heap. A segment is made when there is
// no room in the others; where they are made of ordinary buffers, each is as large as all before, so a small heap stays small.
//
//   address  0        4 KiB                                                            the page of address 0 has no memory,
//            | null   | segment: x .. | gap | y ........ | gap | z | | gap | segment   so that no array is at the null pointer
//
// An array begins with a page and is followed by a page that belongs to nobody. The last one of a segment may end with it.

import { PAGE_SIZE } from '../base/addr.ts'
import { assert } from '../base/assert.ts'
import { GIB, MIB } from '../base/size.ts'
import { FreeRuns } from '../devices/free-runs.ts'
import type { Extents } from './extents.ts'

/** Pointers are words of 4 bytes, numbered with 32 bits. */
export const HEAP_BYTES_MAX = 16 * GIB

export const SEGMENT_BYTES_MAX = 4 * GIB

/** More than any segment has: only one page is `n` above a multiple of it. */
const PAGES_MAX = 2 ** 31

/** Segments begin with this, if they may. */
export const SEGMENT_BYTES_FIRST = 16 * MIB

export class ArenaSegment {
  /** Address of its first byte. */
  readonly addr: number
  readonly npages: number
  readonly buffer: ArrayBufferLike
  /** With the page behind it, as the gap of the last array. */
  readonly free: FreeRuns
  /** Pages from here on were never given to anybody. */
  freshPage = 0

  /** Another thread's arena allocates in it. */
  readonly isOthers: boolean

  constructor(addr: number, buffer: ArrayBufferLike, npages = buffer.byteLength / PAGE_SIZE, isOthers = false) {
    this.addr = addr
    this.npages = npages
    this.buffer = buffer
    this.isOthers = isOthers
    this.free = new FreeRuns(isOthers ? 0 : npages + 1)
    if (addr === 0) this.free.alloc(1)
  }

  /** Bytes for arrays. */
  get nbytes(): number {
    return this.npages * PAGE_SIZE
  }

  /** Takes what the segment has of the pages `[first, end)` of the heap, unless something lies there. Returns whether it could. */
  takePages(first: number, end: number): boolean {
    const { from, npages } = this.#part(first, end)
    return npages === 0 || this.free.alloc(npages, PAGES_MAX, from) === from
  }

  /** Gives that back. */
  givePages(first: number, end: number): void {
    const { from, npages } = this.#part(first, end)
    if (npages > 0) this.free.free(from, npages)
  }

  /** The page behind the segment goes with its last one, and the page of address 0 is nobody's. */
  #part(first: number, end: number): { from: number; npages: number } {
    const segmentPage = this.addr / PAGE_SIZE
    const from = Math.max(first - segmentPage, this.addr === 0 ? 1 : 0)
    const to = end - segmentPage >= this.npages ? this.npages + 1 : end - segmentPage
    return { from, npages: from >= this.npages ? 0 : Math.max(0, to - from) }
  }
}

/** Where segments come from. */
export interface SegmentSource {
  /** Makes pages zero that were freed, if they are not. */
  clear(segment: ArenaSegment, page: number, npages: number): void
  /** A new segment with room for `npages` pages at a multiple of `align` bytes. Throws a HeapError OUT_OF_SPACE. */
  make(npages: number, align: number, what: string): ArenaSegment
  /** The segment that a buffer shows which came from another thread. */
  recognize?(buffer: ArrayBufferLike, segments: readonly ArenaSegment[]): ArenaSegment | undefined
}

/** Room for an array. */
export interface Place {
  readonly segment: ArenaSegment
  /** First page, counted from the beginning of the segment. */
  readonly page: number
  readonly npages: number
  /** So many pages from the first on were those of another array before. They are zero all the same. */
  readonly nstale: number
}

export class Arena {
  readonly #source: SegmentSource
  readonly #onSegment: (segment: ArenaSegment) => void
  readonly #segments: ArenaSegment[]
  /** Also by the buffers that stand for the same memory after they went through other threads. */
  readonly #byBuffer = new WeakMap<ArrayBufferLike, ArenaSegment>()
  readonly #extents: Extents | null
  /** Extents where others allocate, as far as they were met, by their first page. */
  #others: { readonly segment: ArenaSegment; readonly first: number }[] = []

  /**
   * Begins with `segments`. `onSegment` is called for each new one, before anything lies in it. With `extents` other arenas have
   * the same segments.
   */
  constructor(
    source: SegmentSource,
    onSegment: (segment: ArenaSegment) => void,
    segments: readonly ArenaSegment[] = [],
    extents: Extents | null = null,
  ) {
    this.#source = source
    this.#onSegment = onSegment
    this.#segments = [...segments]
    for (const segment of segments) this.#byBuffer.set(segment.buffer, segment)
    this.#extents = extents
  }

  get segments(): readonly ArenaSegment[] {
    return this.#segments
  }

  /** The segment that is made of a buffer. */
  segmentOf(buffer: ArrayBufferLike): ArenaSegment | undefined {
    const known = this.#byBuffer.get(buffer)
    if (known !== undefined) return known
    const segment = this.#source.recognize?.(buffer, this.#segments)
    if (segment === undefined) return undefined
    this.#byBuffer.set(buffer, segment)
    if (!this.#segments.includes(segment)) this.#segments.push(segment)
    return segment
  }

  /** Whether another thread's arena allocates at a page of a segment. */
  isOthers(segment: ArenaSegment, page: number): boolean {
    return segment.isOthers || this.#extents?.isOthers(segment.addr / PAGE_SIZE + page) === true
  }

  /** The segment at an address. */
  segmentAt(addr: number): ArenaSegment | undefined {
    return this.#segments.find((segment) => addr >= segment.addr && addr < segment.addr + segment.nbytes)
  }

  /**
   * Finds room for `npages` pages of zeroes at a multiple of `align` bytes.
   *
   * Throws a HeapError OUT_OF_SPACE; `what` says for what, in the message.
   */
  alloc(npages: number, align: number, what: string): Place {
    const place = this.#find(npages, align) ?? (this.#lookForLeft() ? this.#find(npages, align) : null)
    if (place !== null) return place
    const segment = this.#source.make(npages, align, what)
    this.#segments.push(segment)
    this.#byBuffer.set(segment.buffer, segment)
    this.#onSegment(segment)
    const made = this.#take(segment, npages, align)
    assert(made !== null, () => `a segment that was made for ${npages} pages has room for them`)
    return made
  }

  #find(npages: number, align: number): Place | null {
    for (const segment of this.#segments) {
      const place = this.#take(segment, npages, align)
      if (place === null) continue
      if (place.nstale > 0) this.#source.clear(segment, place.page, place.nstale)
      return place
    }
    return null
  }

  /** Whether some of what was others' is nobody's by now, as they have gone. */
  #lookForLeft(): boolean {
    const extents = this.#extents
    if (extents === null) return false
    const left = this.#others.filter(({ first }) => extents.isNobodys(first))
    for (const { segment, first } of left) segment.givePages(first, first + extents.npages)
    this.#others = this.#others.filter((each) => !left.includes(each))
    return left.length > 0
  }

  /** Room in a segment, in extents that are ours; null if there is none. */
  #take(segment: ArenaSegment, npages: number, align: number): Place | null {
    for (;;) {
      const place = take(segment, npages, align)
      if (place === null || this.#extents === null) return place
      const first = segment.addr / PAGE_SIZE
      const end = Math.min(place.page + npages + 1, segment.npages)
      const others = this.#extents.claim(first + place.page, first + end)
      if (others < 0) return place
      this.free(segment, place.page, npages)
      if (segment.takePages(others, others + this.#extents.npages)) this.#others.push({ segment, first: others })
    }
  }

  /** Gives room back. */
  free(segment: ArenaSegment, page: number, npages: number): void {
    segment.free.free(page, npages + 1)
  }
}

/** Pages of address space that growing segments of `size` bytes in all may need, gaps included. */
export function addressPages(size: number, segmentMax: number): number {
  // Besides segments of the largest size there are those of the beginning.
  const nsegments = Math.ceil(size / segmentMax) + Math.ceil(Math.log2(Math.max(2, size / SEGMENT_BYTES_FIRST))) + 2
  return Math.min(size / PAGE_SIZE + nsegments + 1, HEAP_BYTES_MAX / PAGE_SIZE)
}

function take(segment: ArenaSegment, npages: number, align: number): Place | null {
  const alignPages = Math.max(1, align / PAGE_SIZE)
  const phase = (alignPages - ((segment.addr / PAGE_SIZE) % alignPages)) % alignPages
  const page = segment.free.alloc(npages + 1, alignPages, phase)
  if (page < 0) return null
  const nstale = Math.max(0, Math.min(page + npages, segment.freshPage) - page)
  segment.freshPage = Math.max(segment.freshPage, page + npages)
  return { segment, page, npages, nstale }
}
