// The arrays as the engine knows them: what lies at an address, and how to name it.

import { PAGE_SIZE, type Pfn, vpnToAddr } from '../../base/addr.ts'
import { assert } from '../../base/assert.ts'
import { type ElementKind, TAG_MAX } from '../../mmu/explicit/page-guard.ts'
import type { ElementRange } from '../heap-error.ts'
import type { ByteRange, NewArray } from './protocol.ts'

/** An array that is mapped. */
export interface MappedArray {
  readonly id: number
  readonly name: string
  readonly length: number
  readonly readOnly: boolean
  readonly elementBytes: number
  /** Address of the first byte. */
  readonly start: number
  /** End of its last page. */
  readonly end: number
  /** End of its last element. */
  readonly dataEnd: number
  readonly kind: ElementKind
  /** Number that stands for the array in patterns. */
  readonly tag: number
}

export class ArrayTable {
  readonly #byId = new Map<number, MappedArray>()
  /** By ascending address; they do not overlap. */
  readonly #byAddr: MappedArray[] = []
  /** Arrays that a pattern stood for, also those that are gone: what was loaded from them may turn up later. */
  readonly #byTag = new Map<number, MappedArray>()
  #last: MappedArray | null = null

  get size(): number {
    return this.#byId.size
  }

  [Symbol.iterator](): IterableIterator<MappedArray> {
    return this.#byAddr.values()
  }

  add(array: NewArray): MappedArray {
    const { id, name, length, nbytes, readOnly, addr, npages, type } = array
    const mapped: MappedArray = {
      id,
      name,
      length,
      readOnly,
      elementBytes: length === 0 ? 1 : nbytes / length,
      start: addr,
      end: addr + npages * PAGE_SIZE,
      dataEnd: addr + nbytes,
      kind: KINDS.get(type) ?? 'other',
      tag: tagOf(id),
    }
    const at = this.#endingAfter(addr)
    assert(
      at === this.#byAddr.length || this.#byAddr[at].start >= mapped.end,
      () => `nothing lies where "${name}" is to be`,
    )
    this.#byAddr.splice(at, 0, mapped)
    this.#byId.set(id, mapped)
    return mapped
  }

  remove(array: MappedArray): void {
    this.#byAddr.splice(this.#endingAfter(array.start), 1)
    this.#byId.delete(array.id)
    if (this.#last === array) this.#last = null
  }

  /** The array with a number. */
  find(id: number): MappedArray | undefined {
    return this.#byId.get(id)
  }

  /** The array whose pages cover an address. */
  at(addr: number): MappedArray | undefined {
    const last = this.#last
    if (last !== null && addr >= last.start && addr < last.end) return last
    const array = this.#byAddr[this.#endingAfter(addr)]
    if (array === undefined || array.start > addr) return undefined
    this.#last = array
    return array
  }

  /** Number for the pattern that takes the place of a page. */
  useTag(pfn: Pfn): number {
    const array = this.at(vpnToAddr(pfn))
    assert(array !== undefined, () => `page ${pfn} belongs to an array`)
    this.#byTag.set(array.tag, array)
    return array.tag
  }

  /** The array that a pattern stands for. */
  withTag(tag: number): MappedArray | undefined {
    return this.#byTag.get(tag)
  }

  /** Name of the array at an address, for events. */
  nameAt(addr: number): string | undefined {
    return this.at(addr)?.name
  }

  /** Index of the first array that ends after an address. */
  #endingAfter(addr: number): number {
    let low = 0
    let high = this.#byAddr.length
    while (low < high) {
      const mid = (low + high) >>> 1
      if (this.#byAddr[mid].end <= addr) low = mid + 1
      else high = mid
    }
    return low
  }
}

/** The elements of an array that lie in a range, as far as it goes. */
export function elementsOf(array: MappedArray, { start, end }: ByteRange): ElementRange {
  const index = (addr: number) => Math.floor((addr - array.start) / array.elementBytes)
  const last = Math.max(0, array.length - 1)
  const clamp = (element: number) => Math.min(Math.max(element, 0), last)
  return { array: array.name, first: clamp(index(start)), last: clamp(index(end - 1)) }
}

const KINDS: ReadonlyMap<string, ElementKind> = new Map([
  ['Float32Array', 'float32'],
  ['Float64Array', 'float64'],
])

/** Tags look like noise, so that small whole numbers and patterns have nothing in common. They repeat after half a million. */
function tagOf(id: number): number {
  const tag = Math.imul(id, 0x2545f) & 0x7_ffff
  return tag === 0 || tag > TAG_MAX ? tagOf(id + 7) : tag
}
