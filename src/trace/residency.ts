/**
 * How much of each allocation devices have, followed through the events of a trace.
 *
 * Events say how many pages of a range changed sides, not which, so this counts: per allocation, and within it per stripe, a
 * part of equal size from front to back, so that one sees what part of an array is where. The count of an allocation is
 * exact as long as the trace is whole. A stripe is exact unless an event took some pages of a range that spans several.
 *
 * A page counts while a device has it for itself, and while it has a copy of it for reading.
 */

import { PAGE_SIZE } from '../base/addr.ts'
import type { TraceEvent } from './events.ts'

/** Events without a name count for this one. */
export const UNNAMED = '(unnamed)'

/** What devices have of all live allocations of one name. */
export interface Residency {
  readonly name: string
  /** Pages of the allocations. */
  readonly npages: number
  /** Pages on each device, by its name. */
  readonly onDevice: ReadonlyMap<string, number>
  /** Pages on devices in each stripe, front to back. */
  readonly stripes: Float64Array
}

/** Where arrays are, found from events. */
export class ResidencyTracker {
  readonly nstripes: number
  readonly #names = new Map<string, NamedResidency>()

  /** @throws RangeError unless `nstripes` is a positive integer */
  constructor(nstripes = 1) {
    if (!Number.isInteger(nstripes) || nstripes < 1) {
      throw new RangeError(`residency: nstripes is ${nstripes}, wanted a positive integer`)
    }
    this.nstripes = nstripes
  }

  /** All names seen so far, in the order in which they were. */
  get all(): IterableIterator<Residency> {
    return this.#names.values()
  }

  /** Pages that a device has, of all allocations. */
  npagesOn(device: string): number {
    let npages = 0
    for (const { onDevice } of this.#names.values()) npages += onDevice.get(device) ?? 0
    return npages
  }

  /** Takes the next event. Returns what it changed. */
  add(event: TraceEvent): readonly Residency[] {
    switch (event.kind) {
      case 'alloc':
        return [this.#named(event.allocation).begin(event.start, event.end)]
      case 'free':
        return [this.#named(event.allocation).end(event.start)]
      case 'migration':
        if (event.direction === 'device-to-device') return [] // each of the two devices tells its own part
        return [this.#move(event, event.direction === 'host-to-device' ? event.npages : -event.npages)]
      case 'duplication':
        return [this.#move(event, event.npages)]
      case 'duplicate-invalidated':
        return [this.#move(event, -event.npages)]
      case 'discard':
        return [this.#named(event.allocation).discard(event.start, event.end)]
      case 'device-lost':
        return [...this.#names.values()].filter((named) => named.lose(event.device))
      default:
        return []
    }
  }

  #move(event: TraceEvent & { start: number; end: number; device: string }, npages: number): Residency {
    const { allocation, device, start, end } = event
    return this.#named(allocation).move(device, start, end, npages)
  }

  #named(name = UNNAMED): NamedResidency {
    let named = this.#names.get(name)
    if (named === undefined) {
      named = new NamedResidency(name, this.nstripes)
      this.#names.set(name, named)
    }
    return named
  }
}

/** What a device has of one allocation. */
interface Share {
  npages: number
  readonly stripes: Float64Array
}

/** One allocation. */
interface Extent {
  start: number
  end: number
  /** An alloc event told of it. Otherwise it is what events have shown so far. */
  readonly isKnown: boolean
  readonly shares: Map<string, Share>
}

/** All live allocations of one name, and the sums over them. */
class NamedResidency implements Residency {
  readonly name: string
  readonly onDevice = new Map<string, number>()
  readonly stripes: Float64Array
  #npages = 0
  #extents: Extent[] = []

  constructor(name: string, nstripes: number) {
    this.name = name
    this.stripes = new Float64Array(nstripes)
  }

  get npages(): number {
    return this.#npages
  }

  begin(start: number, end: number): this {
    this.#extents.push({ start, end, isKnown: true, shares: new Map() })
    this.#npages += (end - start) / PAGE_SIZE
    return this
  }

  end(start: number): this {
    const extent = this.#extents.find((each) => each.start === start)
    if (extent === undefined) return this
    for (const device of extent.shares.keys()) this.#change(extent, device, (share) => empty(share))
    this.#extents = this.#extents.filter((each) => each !== extent)
    this.#npages -= (extent.end - extent.start) / PAGE_SIZE
    return this
  }

  /** `npages` of the range come to a device, or leave it if negative. */
  move(device: string, start: number, end: number, npages: number): this {
    const extent = this.#extentAt(start, end)
    this.#change(extent, device, (share) => {
      for (const [stripe, part] of this.#partsOf(extent, start, end)) {
        share.stripes[stripe] = Math.max(0, share.stripes[stripe] + npages * part)
      }
      // A trace that began late tells of pages that leave and never came.
      share.npages = Math.max(0, share.npages + npages)
      scale(share)
    })
    return this
  }

  /** What devices had of the range is gone with its contents. */
  discard(start: number, end: number): this {
    const extent = this.#extentAt(start, end)
    const stripeBytes = (extent.end - extent.start) / this.stripes.length
    for (const device of extent.shares.keys()) {
      this.#change(extent, device, (share) => {
        for (const [stripe, part] of this.#partsOf(extent, start, end)) {
          share.stripes[stripe] *= 1 - Math.min(1, (part * (end - start)) / stripeBytes)
        }
        share.npages = Math.round(share.stripes.reduce((sum, npages) => sum + npages, 0))
      })
    }
    return this
  }

  /** Returns whether the device had anything. */
  lose(device: string): boolean {
    const hadSome = (this.onDevice.get(device) ?? 0) > 0
    for (const extent of this.#extents) {
      if (extent.shares.has(device)) this.#change(extent, device, (share) => empty(share))
    }
    return hadSome
  }

  /** Changes what a device has of an allocation, and the sums with it. */
  #change(extent: Extent, device: string, act: (share: Share) => void): void {
    let share = extent.shares.get(device)
    if (share === undefined) {
      share = { npages: 0, stripes: new Float64Array(this.stripes.length) }
      extent.shares.set(device, share)
    }
    const others = (this.onDevice.get(device) ?? 0) - share.npages
    for (let i = 0; i < this.stripes.length; i++) this.stripes[i] -= share.stripes[i]
    act(share)
    this.onDevice.set(device, others + share.npages)
    // Shares of pages leave specks behind.
    for (let i = 0; i < this.stripes.length; i++) this.stripes[i] = Math.max(0, this.stripes[i] + share.stripes[i])
  }

  /** The allocation that a range lies in. One that no event has told of grows with what is seen of it. */
  #extentAt(start: number, end: number): Extent {
    const known = this.#extents.find((each) => each.isKnown && each.start <= start && start < each.end)
    if (known !== undefined) return known
    let seen = this.#extents.find(({ isKnown }) => !isKnown)
    if (seen === undefined) {
      seen = { start, end: start, isKnown: false, shares: new Map() }
      this.#extents.push(seen)
    }
    this.#npages -= (seen.end - seen.start) / PAGE_SIZE
    seen.start = Math.min(seen.start, start)
    seen.end = Math.max(seen.end, end)
    this.#npages += (seen.end - seen.start) / PAGE_SIZE
    return seen
  }

  /** The stripes that a range touches, and what part of the range lies in each. */
  *#partsOf(extent: Extent, start: number, end: number): IterableIterator<[stripe: number, part: number]> {
    const last = this.stripes.length - 1
    const size = (extent.end - extent.start) / this.stripes.length
    for (let stripe = Math.min(last, Math.floor((start - extent.start) / size)); stripe <= last; stripe++) {
      const from = Math.max(start, extent.start + stripe * size)
      // What lies beyond the allocation counts for its last stripe.
      const to = stripe === last ? end : Math.min(end, extent.start + (stripe + 1) * size)
      if (to <= from) break
      yield [stripe, (to - from) / (end - start)]
    }
  }
}

function empty(share: Share): void {
  share.npages = 0
  share.stripes.fill(0)
}

/** Scales the stripes so that they hold the pages of the share, which are counted exactly. */
function scale({ npages, stripes }: Share): void {
  const sum = stripes.reduce((total, each) => total + each, 0)
  if (sum > 0) for (let i = 0; i < stripes.length; i++) stripes[i] *= npages / sum
  else stripes.fill(npages / stripes.length)
}
