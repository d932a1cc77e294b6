// What the operations of a heap came to. A receipt is for programs to look into and for people to print:
//
//   console.log(`${await heap.sync(y)}`)      // sync: 12 pages to the CPU, 48 KiB copied; 3 pages of "y" in place

import { PAGE_SIZE } from '../base/addr.ts'
import { formatSize } from '../base/size.ts'
import type { Counters } from '../trace/counters.ts'
import type { DeviceStats, MemoryStats, Outcome, Place, PlaceRun, Skipped, WaitingTouch } from './engine/protocol.ts'
import type { HeapMode } from './heap-options.ts'

/** What sync, prefetch, pin, discard and advise did. */
export class Receipt implements Outcome {
  /** Name of the operation. */
  readonly operation: string
  /** Pages of 4096 bytes that changed hands or places. */
  readonly pages: number
  /** Bytes that were copied for it, in one direction. */
  readonly bytes: number
  /** Pages that were left as they were, and why. */
  readonly skipped: readonly Skipped[]
  readonly #what: string

  /** @internal */
  constructor(operation: string, what: string, { pages, bytes, skipped }: Outcome) {
    this.operation = operation
    this.pages = pages
    this.bytes = bytes
    this.skipped = skipped
    this.#what = what
  }

  /** In one line, for people. */
  toString(): string {
    const copied = this.bytes === 0 ? '' : `, ${formatSize(this.bytes)} copied`
    const skipped = this.skipped.map(({ array, pages, why }) => `; ${countPages(pages)} of "${array}" ${why}`)
    return `${this.operation}: ${countPages(this.pages)} ${this.#what}${copied}${skipped.join('')}`
  }
}

/** What `load` read. */
export class LoadReceipt {
  /** Name of the array. */
  readonly array: string
  readonly bytes: number
  readonly ms: number

  /** @internal */
  constructor(array: string, bytes: number, ms: number) {
    this.array = array
    this.bytes = bytes
    this.ms = ms
  }

  /** In one line, for people. */
  toString(): string {
    return `load: ${formatSize(this.bytes)} to "${this.array}" in ${this.ms.toFixed(1)} ms`
  }
}

/** Pages that stay with the CPU until `unpin`. */
export class PinReceipt extends Receipt {
  readonly #unpin: () => void

  /** @internal */
  constructor(outcome: Outcome, unpin: () => void) {
    super('pin', 'to the CPU', outcome)
    this.#unpin = unpin
  }

  /** Lets the pages go. Doing so twice is the same as once. */
  unpin(): void {
    this.#unpin()
  }
}

/** Neighbouring elements whose pages are in one place. */
export interface ResidencyRun {
  /** Elements of the view, both included. Where a page is in two runs of elements, it counts for the first. */
  readonly first: number
  readonly last: number
  readonly place: Place
  /** Which device, for 'device'. */
  readonly device?: string
  readonly pages: number
}

/** Where the pages of an array are. */
export class Residency {
  /** Name of the array. */
  readonly array: string
  readonly runs: readonly ResidencyRun[]
  /** Pages in each place; one device counts as one place, under its name. */
  readonly pages: Readonly<Record<string, number>>

  /** @internal `offset`: bytes from the beginning of the first page to the first element of `length`. */
  constructor(array: string, runs: readonly PlaceRun[], offset: number, elementBytes: number, length: number) {
    this.array = array
    const pages: Record<string, number> = {}
    let page = 0
    this.runs = runs.map(({ place, device, pages: npages }) => {
      const name = device ?? place
      pages[name] = (pages[name] ?? 0) + npages
      const first = Math.max(0, Math.ceil((page * PAGE_SIZE - offset) / elementBytes))
      page += npages
      const last = Math.min(length, Math.ceil((page * PAGE_SIZE - offset) / elementBytes)) - 1
      return { first, last, place, ...(device !== undefined && { device }), pages: npages }
    })
    this.pages = pages
  }

  /** In one line, for people. */
  toString(): string {
    const places = Object.entries(this.pages).map(([place, pages]) => `${countPages(pages)} ${phrase(place)}`)
    return `"${this.array}": ${places.length === 0 ? 'no pages' : places.join(', ')}`
  }
}

/** What a heap holds, and what happened in it. */
export class HeapStats {
  readonly mode: HeapMode
  /** Arrays that live; those that heaps of other threads have allocated do not count. */
  readonly arrays: number
  /** Bytes of their elements. */
  readonly allocated: number
  /** Bytes of the segments that this heap knows. */
  readonly reserved: number
  readonly devices: readonly DeviceStats[]
  /** Live mode: touches that wait now, for a launch that writes the page or for a page on its way. */
  readonly waiting: readonly WaitingTouch[]
  /** System memory, its limit, and what went to swap. In explicit mode what the engine knows of: pages that devices have used. */
  readonly memory: MemoryStats
  /** Sums over all events since the heap was opened. */
  readonly counters: Counters
  /** The same by name of the array. */
  readonly byArray: Readonly<Record<string, Counters>>

  /** @internal */
  constructor(stats: Omit<HeapStats, 'toString'>) {
    this.mode = stats.mode
    this.arrays = stats.arrays
    this.allocated = stats.allocated
    this.reserved = stats.reserved
    this.devices = stats.devices
    this.waiting = stats.waiting
    this.memory = stats.memory
    this.counters = stats.counters
    this.byArray = stats.byArray
  }

  /** In one line, for people. */
  toString(): string {
    const devices = this.devices.map(
      ({ name, used, memory }) => `; ${name} ${formatSize(used)} of ${formatSize(memory)}`,
    )
    const arrays = `${this.arrays} array${this.arrays === 1 ? '' : 's'}`
    return `heap, ${this.mode}: ${arrays}, ${formatSize(this.allocated)}${devices.join('')}`
  }
}

/** An array that was not freed. */
export interface UnfreedArray {
  readonly name: string
  readonly type: string
  readonly bytes: number
}

/** What was left when the heap was closed. */
export class CloseReceipt {
  /** Arrays that nobody freed, oldest first. Their memory goes with the heap. */
  readonly unfreed: readonly UnfreedArray[]

  /** @internal */
  constructor(unfreed: readonly UnfreedArray[]) {
    this.unfreed = unfreed
  }

  /** In one line, for people. */
  toString(): string {
    if (this.unfreed.length === 0) return 'close: every array was freed'
    return `close: ${describeUnfreed(this.unfreed)}`
  }
}

/** '3 arrays were not freed: "x" (4 KiB), "y" (8 KiB), ...' */
export function describeUnfreed(unfreed: readonly UnfreedArray[]): string {
  const shown = unfreed.slice(0, 8).map(({ name, bytes }) => `"${name}" (${formatSize(bytes)})`)
  if (unfreed.length > shown.length) shown.push(`and ${unfreed.length - shown.length} more`)
  return `${unfreed.length} array${unfreed.length === 1 ? ' was' : 's were'} not freed: ${shown.join(', ')}`
}

function countPages(pages: number): string {
  return `${pages} page${pages === 1 ? '' : 's'}`
}

/** A place as it stands in a sentence; a device stands for itself. */
function phrase(place: string): string {
  switch (place) {
    case 'cpu':
      return 'with the CPU'
    case 'shared':
      return 'shared for reading'
    case 'system':
      return 'in system memory'
    case 'swap':
      return 'in swap'
    case 'moving':
      return 'on the way'
    default:
      return `on ${place}`
  }
}
