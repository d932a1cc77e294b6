// A heap and the way to its engine, wherever that is, for tests: launches of kernels by their names (engine-extensions.ts), and
// looks at the invariants of the machine.

import type { HeapView } from '../../src/heap/array-types.ts'
import { portOf } from '../../src/heap/heap-engines.ts'
import { HeapError } from '../../src/heap/heap-error.ts'
import type { Heap, HeapArray } from '../../src/index.ts'
import type * as extensions from './engine-extensions.ts'
import type { FunctionLaunch, FunctionResult, LaunchArray } from './engine-extensions.ts'

export interface NamedLaunch {
  readonly read?: readonly HeapArray[]
  readonly write?: readonly HeapArray[]
  /** Index of the device. Default 0. */
  readonly device?: number
  readonly durable?: boolean
  /** For the kernel. */
  readonly data?: unknown
}

export class ExtendedHeap {
  readonly heap: Heap

  constructor(heap: Heap) {
    this.heap = heap
  }

  /** Runs one of the kernels of engine-extensions.ts. */
  run(kernel: string, launch: NamedLaunch = {}): Promise<FunctionResult> {
    const { read = [], write = [], device = 0, durable = false, data = null } = launch
    const of = (array: HeapArray): LaunchArray => this.rangeOf(array)
    const args: FunctionLaunch = { kernel, device, read: read.map(of), write: write.map(of), durable, data }
    return this.extension('launch', args) as Promise<FunctionResult>
  }

  /** Calls a function of engine-extensions.ts. */
  extension(name: keyof typeof extensions, data: unknown = null): Promise<unknown> {
    return new Promise((resolve, reject) => {
      portOf(this.heap).call('extension', { name, data }, (reply) => {
        if (reply.ok) resolve(reply.answer)
        else reject(new HeapError(reply.failure.code, reply.failure.message))
      })
    })
  }

  /** Every invariant of the machine. Exact while nothing is in progress. */
  async check(): Promise<void> {
    await this.extension('validate')
  }

  /** Everything that was sent before has been done, as far as it does not wait for launches. */
  async settled(): Promise<void> {
    await this.heap.stats()
    await new Promise((resolve) => setImmediate(resolve))
  }

  /** A character per page: `c` the CPU's, `s` shared for reading, `-` in system memory, `D` on the first device, `E` the second. */
  async places(array: HeapView): Promise<string> {
    const { devices } = await this.heap.stats()
    const { runs } = await this.heap.where(array)
    const letters: Record<string, string> = { cpu: 'c', shared: 's', system: '-', moving: 'm' }
    const letterOf = (place: string, device?: string): string => {
      const index = devices.findIndex(({ name }) => name === device)
      return index < 0 ? letters[place] : 'DEFGH'[index]
    }
    return runs.map(({ place, device, pages }) => letterOf(place, device).repeat(pages)).join('')
  }

  async close(): Promise<void> {
    await this.check()
    await this.heap.close()
  }

  rangeOf(array: HeapArray): LaunchArray {
    const { buffer, byteOffset, byteLength } = array
    const inWord = byteOffset % 4
    const start = 4 * this.heap.ptr(new Uint8Array(buffer, byteOffset - inWord, 1)) + inWord
    return { start, end: start + byteLength, type: array.constructor.name as LaunchArray['type'] }
  }
}
