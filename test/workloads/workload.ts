// A workload is a program that uses a heap as users do: it makes arrays, has kernels change them on a device, and compares every word with
// what JavaScript makes of it. The same ones run in Node, in every mode, and in pages of a browser, on devices that have more memory
// than the data and on such that have much less. Nothing here belongs to a test runner or to Node.

import type {
  ArgumentValues,
  Batch,
  Heap,
  HeapArray,
  HeapView,
  Kernel,
  KernelArguments,
  LaunchCount,
  Pointer,
  RunReceipt,
} from '../../src/index.ts'

export interface Workload {
  readonly name: string
  /** Pages of device memory with which each of its transactions can end. */
  readonly minimum: number
  /** How it is run when it does not fit the device; 'always paged' goes through a page table even if it does. */
  readonly mode: 'direct' | 'paged' | 'always paged'
  /** Rejects with an Error that names the first word that is wrong. */
  run(site: Site): Promise<void>
}

/** Words of 4 bytes in a page. */
export const PAGE_WORDS = 1024

/** What an entry point of 64 invocations begins with. */
export const MAIN = '@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u)'

type Words = Uint32Array | Float32Array

/** A heap and one of its devices, for the time of one workload. */
export class Site {
  readonly receipts: RunReceipt[] = []
  readonly #heap: Heap
  readonly #device: string
  readonly #arrays: HeapArray[] = []

  constructor(heap: Heap, device: string) {
    this.#heap = heap
    this.#device = device
  }

  words(length: number): Uint32Array {
    return this.#keep(this.#heap.alloc(Uint32Array, length))
  }

  floats(length: number): Float32Array {
    return this.#keep(this.#heap.alloc(Float32Array, length))
  }

  ptr(view: HeapView): Pointer {
    return this.#heap.ptr(view)
  }

  async launch<A extends KernelArguments>(
    kernel: Kernel<A>,
    args: ArgumentValues<A>,
    count: LaunchCount,
    reach: readonly HeapView[] = [],
  ): Promise<void> {
    const options = { device: this.#device, ...(reach.length > 0 && { reach }) }
    this.receipts.push(await this.#heap.run(kernel, args, count, options))
  }

  async batch(body: (batch: Batch) => void): Promise<void> {
    this.receipts.push(await this.#heap.batch(body, { device: this.#device }))
  }

  /** The array as the CPU may read and write it. */
  async own<T extends HeapView>(array: T): Promise<T> {
    await this.#heap.sync(array)
    return array
  }

  /** Every bit of an array is as expected. */
  async same(what: string, found: Words, expected: Words): Promise<void> {
    await this.#heap.sync(found, 'read')
    expectSame(what, found, expected)
  }

  free(): void {
    for (const array of this.#arrays.splice(0)) this.#heap.free(array)
  }

  #keep<T extends HeapArray>(array: T): T {
    this.#arrays.push(array)
    return array
  }
}

export function expectSame(what: string, found: Words, expected: Words): void {
  if (found.length !== expected.length) throw new Error(`${what}: ${found.length}, wanted ${expected.length} elements`)
  const bits = (array: Words): Uint32Array => new Uint32Array(array.buffer, array.byteOffset, array.length)
  const [left, right] = [bits(found), bits(expected)]
  const at = left.findIndex((word, i) => word !== right[i])
  if (at >= 0) throw new Error(`${what}[${at}] is ${found[at]}, wanted ${expected[at]}`)
}

/** Whole numbers that look random, from 0 to below `below`. */
export function fill<T extends Words>(array: T, below: number, seed = 1): T {
  let state = seed
  for (let i = 0; i < array.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    array[i] = (state >>> 8) % below
  }
  return array
}

/** Different places below `below`, in runs of 16 that lie anywhere. */
export function scatterPlaces<T extends Words>(array: T, below: number): T {
  const runs = Math.floor(below / 16)
  for (let i = 0; i < array.length; i++) array[i] = 16 * (((i >> 4) * 1597) % runs) + (i & 15)
  return array
}

export function sorted(words: Iterable<number>): Uint32Array {
  return Uint32Array.from(words).sort()
}
