// Segments of ordinary buffers, made when they are needed: each as large as all before, within bounds. Several threads can make
// segments of one heap; then each claims its addresses with a compare-and-swap, and every buffer tells whose it is:
//
//   buffer   | pages for arrays ...                  | tag |      the page of the tag is the gap before the next segment
//                                                    heapId (4 words), first page of the segment
//
// Every thread has buffers of its own for the same memory, and new ones with each array that comes by message. What they have in
// common is what is in them.

import { PAGE_SIZE } from '../base/addr.ts'
import { formatSize } from '../base/size.ts'
import { ArenaSegment, addressPages, SEGMENT_BYTES_FIRST, type SegmentSource } from './arena.ts'
import { makeWords, NEXT_PAGE, USED_PAGES } from './engine/words.ts'
import { HeapError } from './heap-error.ts'

export interface GrowingSegmentsOptions {
  /** Bytes of all segments together, whole pages. */
  readonly size: number
  /** Bytes of a segment at most, whole pages. */
  readonly segmentMax: number
  /** Makes a buffer of zeroes, or throws a RangeError if there is not as much memory. */
  readonly makeBuffer: (nbytes: number) => ArrayBufferLike
  /** For segments of several threads. */
  readonly shared?: SharedSegments
}

export interface SharedSegments {
  /** See engine/words.ts. */
  readonly words: Int32Array
  /** Four words that no other heap has. */
  readonly heapId: readonly number[]
}

const TAG_WORDS = 5

export class GrowingSegments implements SegmentSource {
  readonly #options: GrowingSegmentsOptions
  /** Where the address space ends. */
  readonly #end: number
  readonly #words: Int32Array
  /** Bytes of a buffer behind those for arrays. */
  readonly #tagBytes: number

  constructor(options: GrowingSegmentsOptions) {
    const { size, segmentMax, shared } = options
    this.#options = options
    this.#end = addressPages(size, segmentMax) * PAGE_SIZE
    this.#words = shared?.words ?? makeWords(false)
    this.#tagBytes = shared === undefined ? 0 : PAGE_SIZE
    // The page of address 0 has no memory.
    Atomics.compareExchange(this.#words, NEXT_PAGE, 0, 1)
  }

  make(npages: number, align: number, what: string): ArenaSegment {
    for (let isModest = false; ; ) {
      const first = Atomics.load(this.#words, NEXT_PAGE)
      const { needed, wished } = this.#sizes(first * PAGE_SIZE, npages * PAGE_SIZE, align, what)
      const pages = (isModest ? needed : wished) / PAGE_SIZE
      const next = first + pages + 1
      if (Atomics.compareExchange(this.#words, NEXT_PAGE, first, next) !== first) continue
      Atomics.add(this.#words, USED_PAGES, pages)
      try {
        return this.#makeSegment(first, pages)
      } catch (error) {
        Atomics.sub(this.#words, USED_PAGES, pages)
        // Unless somebody has his segment behind it already.
        Atomics.compareExchange(this.#words, NEXT_PAGE, next, first)
        if (!(error instanceof RangeError)) throw error
        if (pages > needed / PAGE_SIZE) {
          isModest = true
          continue
        }
        const text = `${what}: the system gives no buffer of ${formatSize(needed)}`
        throw new HeapError('OUT_OF_SPACE', text, { cause: error })
      }
    }
  }

  clear({ buffer }: ArenaSegment, page: number, npages: number): void {
    new Uint8Array(buffer, page * PAGE_SIZE, npages * PAGE_SIZE).fill(0)
  }

  recognize(buffer: ArrayBufferLike, segments: readonly ArenaSegment[]): ArenaSegment | undefined {
    const { shared } = this.#options
    const isShared = typeof SharedArrayBuffer === 'function' && buffer instanceof SharedArrayBuffer
    const nbytes = buffer.byteLength - PAGE_SIZE
    if (shared === undefined || !isShared || nbytes <= 0 || nbytes % PAGE_SIZE !== 0) return undefined
    const tag = new Int32Array(buffer, nbytes, TAG_WORDS)
    if (shared.heapId.some((word, i) => tag[i] !== word)) return undefined
    const addr = tag[TAG_WORDS - 1] * PAGE_SIZE
    return segments.find((segment) => segment.addr === addr) ?? new ArenaSegment(addr, buffer, nbytes / PAGE_SIZE, true)
  }

  /** Bytes that a segment at an address needs for an array, and what is better. Throws a HeapError OUT_OF_SPACE. */
  #sizes(addr: number, nbytes: number, align: number, what: string): { needed: number; wished: number } {
    const { size, segmentMax } = this.#options
    // In front of an array that is aligned there may be room that it cannot use.
    const needed = nbytes + ((align - (addr % align)) % align)
    if (needed > segmentMax) {
      const limit = formatSize(segmentMax)
      throw new HeapError('OUT_OF_SPACE', `${what}: an array lies in one segment, and those have up to ${limit}`)
    }
    const used = Atomics.load(this.#words, USED_PAGES) * PAGE_SIZE
    const left = Math.max(0, Math.min(size - used, this.#end - this.#tagBytes - addr))
    if (needed > left) {
      const text = `no segment has room for it, and for a new one ${formatSize(left)} of ${formatSize(size)} are left`
      throw new HeapError('OUT_OF_SPACE', `${what}: ${text}; free arrays, or open the heap with a larger size`)
    }
    return { needed, wished: Math.max(needed, Math.min(Math.max(SEGMENT_BYTES_FIRST, used), segmentMax, left)) }
  }

  /** Throws a RangeError if there is not as much memory. */
  #makeSegment(first: number, npages: number): ArenaSegment {
    const { makeBuffer, shared } = this.#options
    const buffer = makeBuffer(npages * PAGE_SIZE + this.#tagBytes)
    if (shared !== undefined) new Int32Array(buffer, npages * PAGE_SIZE).set([...shared.heapId, first])
    return new ArenaSegment(first * PAGE_SIZE, buffer, npages)
  }
}
