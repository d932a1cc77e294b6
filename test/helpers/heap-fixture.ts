// A heap with memory devices, and what tests do with it: launches whose kernels see typed arrays, and every invariant of the
// machine behind it after each step.

import { assert } from '../../src/base/assert.ts'
import type { AddrRange } from '../../src/devices/claims.ts'
import { deviceTranslations, validateDevice } from '../../src/devices/driver/index.ts'
import type { LaunchMemory, LaunchReceipt, LaunchRequest } from '../../src/devices/memory/index.ts'
import type { Engine } from '../../src/heap/engine/engine.ts'
import { MemoryEngineDevice } from '../../src/heap/engine/memory-device.ts'
import { engineOf } from '../../src/heap/heap-engines.ts'
import { type Heap, type HeapArray, type HeapOptions, openHeap } from '../../src/index.ts'
import { validateSystem } from '../../src/mm/validate.ts'

export interface HeapLaunch extends Omit<LaunchRequest, 'read' | 'write'> {
  readonly read?: readonly HeapArray[]
  readonly write?: readonly HeapArray[]
  /** Index of the device. Default 0. */
  readonly device?: number
}

/** Works on copies of the arrays, which lie in one piece; what is in those that are written is stored to the device then. */
export type ArrayKernel = (written: HeapArray[], read: HeapArray[]) => void | Promise<void>

export class HeapFixture {
  readonly heap: Heap
  readonly engine: Engine

  /** A small explicit heap that is checked, with one device of 64 KiB, unless told otherwise. */
  static async open(options: HeapOptions = {}): Promise<HeapFixture> {
    const device = { kind: 'memory', memory: '64 KiB' } as const
    return new HeapFixture(await openHeap({ mode: 'explicit', size: '4 MiB', device, ...options }))
  }

  constructor(heap: Heap) {
    this.heap = heap
    this.engine = engineOf(heap)
  }

  device(index = 0): MemoryEngineDevice {
    const device = this.engine.devices[index]
    assert(device instanceof MemoryEngineDevice, () => `device ${index} is a memory device`)
    return device
  }

  /** Hands in a launch. Everything up to the claim happens before this returns. */
  launch(request: HeapLaunch, kernel: ArrayKernel): Promise<LaunchReceipt> {
    const { read = [], write = [], device = 0, ...rest } = request
    const uses = { read: read.map((array) => this.range(array)), write: write.map((array) => this.range(array)) }
    const run = async (memory: LaunchMemory): Promise<void> => {
      const load = (array: HeapArray, range: AddrRange): HeapArray => {
        const copy = new Uint8Array(array.byteLength)
        for (const { addr, bytes } of memory.pieces(range)) copy.set(bytes, addr - range.start)
        const type = array.constructor as new (buffer: ArrayBuffer) => HeapArray
        return new type(copy.buffer)
      }
      const copies = write.map((array, i) => load(array, uses.write[i]))
      await kernel(
        copies,
        read.map((array, i) => load(array, uses.read[i])),
      )
      copies.forEach((copy, i) => {
        const range = uses.write[i]
        const from = new Uint8Array(copy.buffer)
        for (const { addr, bytes } of memory.pieces(range, 'write')) {
          bytes.set(from.subarray(addr - range.start, addr - range.start + bytes.length))
        }
      })
    }
    return this.engine.launch(uses, () => this.device(device).handle.run({ ...rest, ...uses }, run))
  }

  /** Where an array lies in the heap. */
  range({ buffer, byteOffset, byteLength }: HeapArray): AddrRange {
    const inWord = byteOffset % 4
    const start = 4 * this.heap.ptr(new Uint8Array(buffer, byteOffset - inWord, 1)) + inWord
    return { start, end: start + byteLength }
  }

  /** Every invariant. Exact while nothing is in progress. */
  check(): void {
    const { sys, devices } = this.engine
    const drivers = devices.map((_, i) => this.device(i).device)
    const held = [this.engine.heldReferences(), ...drivers.map((driver) => driver.heldReferences())]
    const translations = drivers.flatMap((driver) => [...deviceTranslations(driver)])
    const heldReferences = (pfn: number) => held.reduce((sum, each) => sum + each(pfn), 0)
    validateSystem(sys, { level: 'full', translations, heldReferences })
    for (const driver of drivers) validateDevice(driver, (frame) => driver.hardware.page(frame))
  }

  /** A character per page: `c` the CPU's, `s` shared for reading, `-` in system memory, `D` on the first device, `E` the second. */
  async places(array: HeapArray): Promise<string> {
    const { runs } = await this.heap.where(array)
    const letters: Record<string, string> = { cpu: 'c', shared: 's', system: '-', moving: 'm' }
    const letterOf = (place: string, device?: string) => {
      const index = this.engine.devices.findIndex(({ name }) => name === device)
      return index < 0 ? letters[place] : 'DEFGH'[index]
    }
    return runs.map(({ place, device, pages }) => letterOf(place, device).repeat(pages)).join('')
  }

  /** Closes the heap, and holds that nothing is left in the machine. */
  async close(): Promise<void> {
    this.check()
    await this.heap.close()
    const { sys } = this.engine
    validateSystem(sys, { level: 'full', heldReferences: () => 0 })
    assert(sys.mms.size === 0, 'the address space is gone')
  }
}
