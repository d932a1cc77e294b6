// The arrays of a heap, and which of them a view belongs to. A view is any typed array or DataView over a segment: the array
// that `alloc` returned, a part of it, or the same bytes under another type.

import { PAGE_SIZE } from '../base/addr.ts'
import type { Size } from '../base/size.ts'
import type { Arena, ArenaSegment } from './arena.ts'
import { type ArrayTypeName, checkView, describe, type HeapView } from './array-types.ts'
import { HeapError, HeapRangeError } from './heap-error.ts'

/** What `alloc` takes besides type and length. */
export interface AllocOptions {
  /** In errors, statistics and traces. Default 'Float32Array #3', counted from 1. Need not be unique. */
  readonly name?: string
  /** The array begins at a multiple of so many bytes, a power of two. It begins with a page of 4096 bytes in any case. */
  readonly align?: Size
  /** Devices only read it: a launch that writes it is refused. The CPU may write it. Default false. */
  readonly readOnly?: boolean
}

/** One array, or what it was until it was freed. */
export interface Allocation {
  /** Numbered from 1 in the order of allocation. */
  readonly id: number
  readonly name: string
  readonly type: ArrayTypeName
  /** Elements. */
  readonly length: number
  readonly nbytes: number
  readonly readOnly: boolean
  readonly segment: ArenaSegment
  /** First page, counted from the beginning of the segment. */
  readonly page: number
  readonly npages: number
}

/** No array has this number. */
const OTHERS_ID = 0

/** Some bytes of an array. */
export interface Part {
  readonly allocation: Allocation
  /** Address in the heap. */
  readonly start: number
  /** Exclusive. */
  readonly end: number
}

/** Where an array begins in the heap. */
export function allocationAddr({ segment, page }: Allocation): number {
  return segment.addr + page * PAGE_SIZE
}

/** 'Float32Array "x" of 1024 elements' */
export function describeAllocation({ type, name, length }: Allocation): string {
  return `${type} "${name}" of ${length} element${length === 1 ? '' : 's'}`
}

export class Allocations {
  readonly #arena: Arena
  readonly #live = new Map<number, Allocation>()
  readonly #places = new Map<ArenaSegment, SegmentArrays>()
  /** Of the arrays that `alloc` handed out: tells one that was freed from the one that lies there now. */
  readonly #ofView = new WeakMap<HeapView, Allocation>()

  constructor(arena: Arena) {
    this.#arena = arena
  }

  /** Live arrays in the order of allocation. */
  get live(): IterableIterator<Allocation> {
    return this.#live.values()
  }

  get size(): number {
    return this.#live.size
  }

  /** The live array with a number. */
  get(id: number): Allocation | undefined {
    return this.#live.get(id)
  }

  /** As far as is known here: of another thread's array only the engine knows. */
  isLive(allocation: Allocation): boolean {
    return this.#live.has(allocation.id) || isOthers(allocation)
  }

  add(allocation: Allocation, view: HeapView): void {
    const places = this.#placesIn(allocation.segment)
    places.freed.deleteOverlaps(allocation)
    places.live.set(allocation)
    this.#live.set(allocation.id, allocation)
    this.#ofView.set(view, allocation)
  }

  /** The array is freed; its name is remembered until another one lies there. */
  remove(allocation: Allocation): void {
    const places = this.#placesIn(allocation.segment)
    places.live.deleteOverlaps(allocation)
    places.freed.set(allocation)
    this.#live.delete(allocation.id)
  }

  /** The live array that a view is of; undefined for any other value. */
  find(view: HeapView): Allocation | undefined {
    const found = this.#lookUp(view)
    return found !== undefined && this.isLive(found.allocation) ? found.allocation : undefined
  }

  /**
   * The part of an array that a view shows.
   *
   * Throws a TypeError for what is no view, and a HeapError USE_AFTER_FREE, or FOREIGN_VIEW for a view of other memory or of no
   * one array.
   */
  partOf(view: HeapView): Part {
    const part = this.#find(view)
    if (this.isLive(part.allocation)) return part
    throw new HeapError('USE_AFTER_FREE', `${describeAllocation(part.allocation)} is used after it was freed`)
  }

  /**
   * The array that a view shows as a whole, for free.
   *
   * Of another thread's array it is what the view shows. Throws like `partOf`, but DOUBLE_FREE if it was freed, and a RangeError for a view of less.
   */
  wholeOf(view: HeapView): Allocation {
    const { allocation, start, end } = this.#find(view)
    if (isOthers(allocation)) return allocation
    if (!this.isLive(allocation)) {
      throw new HeapError('DOUBLE_FREE', `${describeAllocation(allocation)} was freed already`)
    }
    if (start === allocationAddr(allocation) && end === start + allocation.nbytes) return allocation
    throw new HeapRangeError(`view of ${end - start} bytes, wanted the whole of ${describeAllocation(allocation)}`)
  }

  /**
   * The part of an array at an address.
   *
   * Throws a HeapError BAD_POINTER where there is none or less of it, or USE_AFTER_FREE; `what` names the pointer.
   */
  partAt(addr: number, nbytes: number, what: string): Part {
    const segment = this.#arena.segmentAt(addr)
    const found = segment === undefined ? undefined : this.#findAt(segment, addr - segment.addr, nbytes)
    if (found === undefined) throw new HeapError('BAD_POINTER', `${what} points to no array`)
    const { allocation } = found
    if (!this.isLive(allocation)) {
      throw new HeapError('USE_AFTER_FREE', `${what} points to ${describeAllocation(allocation)}, which was freed`)
    }
    const left = allocationAddr(allocation) + allocation.nbytes - addr
    if (nbytes <= left) return found
    const bounds = `${nbytes} bytes from ${what}, but ${describeAllocation(allocation)} ends after ${Math.max(0, left)}`
    throw new HeapError('BAD_POINTER', bounds)
  }

  /** The part of a live or freed array that a view shows. Throws a TypeError or a HeapError FOREIGN_VIEW. */
  #find(view: HeapView): Part {
    checkView(view)
    const found = this.#lookUp(view)
    if (found !== undefined) return found
    const what =
      this.#arena.segmentOf(view.buffer) === undefined ? 'is not of this heap' : 'lies in no one array of this heap'
    throw new HeapError('FOREIGN_VIEW', `${describe(view)} of ${view.byteLength} bytes ${what}`)
  }

  #lookUp(view: HeapView): Part | undefined {
    const known = this.#ofView.get(view)
    if (known !== undefined) {
      const start = allocationAddr(known)
      return { allocation: known, start, end: start + known.nbytes }
    }
    const segment = this.#arena.segmentOf(view.buffer)
    const found = segment === undefined ? undefined : this.#findAt(segment, view.byteOffset, view.byteLength)
    if (found === undefined) return undefined
    return found.end <= allocationAddr(found.allocation) + found.allocation.nbytes ? found : undefined
  }

  /** What begins at a byte of a segment: in a live array if it can be, otherwise in one that was freed. */
  #findAt(segment: ArenaSegment, byteOffset: number, nbytes: number): Part | undefined {
    const { live, freed } = this.#placesIn(segment)
    const page = Math.floor(byteOffset / PAGE_SIZE)
    if (page < segment.npages && this.#arena.isOthers(segment, page)) return othersPart(segment, byteOffset, nbytes)
    // A view without elements may begin where the last page of its array ends.
    const isEdge = nbytes === 0 && byteOffset % PAGE_SIZE === 0 && page > 0
    const allocation = live.at(page) ?? (isEdge ? live.at(page - 1) : undefined) ?? freed.at(page)
    if (allocation === undefined) return undefined
    const start = segment.addr + byteOffset
    return { allocation, start, end: start + nbytes }
  }

  #placesIn(segment: ArenaSegment): SegmentArrays {
    let places = this.#places.get(segment)
    if (places === undefined) {
      places = { live: new PageMap(), freed: new PageMap() }
      this.#places.set(segment, places)
    }
    return places
  }
}

/** What stands for the array of another thread's heap. */
export function isOthers({ id }: Allocation): boolean {
  return id === OTHERS_ID
}

function othersPart(segment: ArenaSegment, byteOffset: number, nbytes: number): Part | undefined {
  if (byteOffset + nbytes > segment.nbytes) return undefined
  const page = Math.floor(byteOffset / PAGE_SIZE)
  const length = byteOffset + nbytes - page * PAGE_SIZE
  const npages = Math.ceil(length / PAGE_SIZE)
  const name = 'array of another thread'
  const rest = { type: 'Uint8Array', readOnly: false } as const
  const allocation = { id: OTHERS_ID, name, length, nbytes: length, segment, page, npages, ...rest }
  const start = segment.addr + byteOffset
  return { allocation, start, end: start + nbytes }
}

/** Arrays of one segment: those that live, and those that are gone from places that nobody took since. */
interface SegmentArrays {
  readonly live: PageMap
  readonly freed: PageMap
}

/** Arrays that do not overlap, by ascending page. */
class PageMap {
  readonly #arrays: Allocation[] = []

  /** The array that has a page. */
  at(page: number): Allocation | undefined {
    const array = this.#arrays[this.#endingAfter(page)]
    return array !== undefined && array.page <= page ? array : undefined
  }

  set(array: Allocation): void {
    this.#arrays.splice(this.#endingAfter(array.page), 0, array)
  }

  deleteOverlaps({ page, npages }: Allocation): void {
    const from = this.#endingAfter(page)
    let to = from
    while (to < this.#arrays.length && this.#arrays[to].page < page + npages) to++
    if (to > from) this.#arrays.splice(from, to - from)
  }

  /** Index of the first array that ends after a page. */
  #endingAfter(page: number): number {
    let low = 0
    let high = this.#arrays.length
    while (low < high) {
      const mid = (low + high) >>> 1
      if (this.#arrays[mid].page + this.#arrays[mid].npages <= page) low = mid + 1
      else high = mid
    }
    return low
  }
}
