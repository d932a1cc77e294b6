// What tests do with an engine that is on a thread of its own: launches whose kernels are functions, each by its name, and the
// invariants of the machine. Plain data comes in and goes out. In explicit mode the same functions run on the test's thread.

import { assert } from '../../src/base/assert.ts'
import { deviceTranslations, validateDevice } from '../../src/devices/driver/index.ts'
import { formatReceipt, type LaunchMemory, type LaunchReceipt } from '../../src/devices/memory/index.ts'
import { ARRAY_TYPES, type ArrayTypeName } from '../../src/heap/array-types.ts'
import type { Engine } from '../../src/heap/engine/engine.ts'
import { MemoryEngineDevice } from '../../src/heap/engine/memory-device.ts'
import type { ByteRange, WaitingTouch } from '../../src/heap/engine/protocol.ts'
import { collectWrites } from '../../src/mm/share.ts'
import { validateSystem } from '../../src/mm/validate.ts'

/** An array as a launch uses it. */
export interface LaunchArray extends ByteRange {
  readonly type: ArrayTypeName
}

export interface FunctionLaunch {
  /** One of KERNELS. */
  readonly kernel: string
  /** Index of the device. */
  readonly device: number
  readonly read: readonly LaunchArray[]
  readonly write: readonly LaunchArray[]
  readonly durable: boolean
  /** For the kernel. */
  readonly data: unknown
}

export interface FunctionResult {
  readonly pages: LaunchReceipt['pages']
  readonly text: string
  /** What the kernel returned. */
  readonly value: unknown
}

/** Elements; what is in those that are written is stored to the device when the kernel has ended. */
interface Elements {
  [i: number]: number
  readonly length: number
  readonly buffer: ArrayBuffer
  fill(value: number): unknown
  set(from: Elements): void
}

type FunctionKernel = (written: Elements[], read: Elements[], data: unknown, engine: Engine) => unknown

const KERNELS: Readonly<Record<string, FunctionKernel>> = {
  nothing() {},
  addOne(written) {
    for (const array of written) for (let i = 0; i < array.length; i++) array[i]++
  },
  /** Adds what is read to what is written, element by element. */
  add([y], [x]) {
    for (let i = 0; i < y.length; i++) y[i] += x[i]
  },
  copy([y], [x]) {
    y.set(x)
  },
  fill([y], _, value) {
    y.fill(value as number)
  },
  /** y = 10 y + x */
  append([y], [x]) {
    for (let i = 0; i < y.length; i++) y[i] = 10 * y[i] + x[i]
  },
  /** Some elements, as the device sees them. */
  look(written, read, indices) {
    const [array] = [...read, ...written]
    return (indices as number[]).map((i) => array[i])
  },
  async lookAndSet([array], _, value) {
    await null
    const before = array[0]
    array[0] = value as number
    return before
  },
  /** Ends when a thread of the program has waited for so many milliseconds. */
  async addOneToImpatience(written, _, ms, engine) {
    while (!waitingTouches(engine).some((touch) => touch.ms > (ms as number))) {
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    for (const array of written) for (let i = 0; i < array.length; i++) array[i]++
  },
  never: () => new Promise(() => {}),
}

/** Hands in a launch. Up to its claim everything happens at once. */
export async function launch(engine: Engine, request: FunctionLaunch): Promise<FunctionResult> {
  const { kernel, device, read, write, durable, data } = request
  const run = KERNELS[kernel]
  assert(run !== undefined, () => `there is a kernel ${kernel}`)
  let value: unknown
  const begin = (): Promise<LaunchReceipt> =>
    memoryDevice(engine, device).handle.run({ name: kernel, read, write, durable }, async (memory) => {
      const copies = write.map((array) => load(memory, array))
      const inputs = read.map((array) => load(memory, array))
      value = await run(copies, inputs, data, engine)
      for (const [i, copy] of copies.entries()) store(memory, write[i], copy)
    })
  const receipt = await engine.launch({ read, write }, begin)
  return { pages: receipt.pages, text: formatReceipt(receipt), value }
}

/** Every invariant of the machine. Exact while nothing is in progress. */
export function validate(engine: Engine): null {
  const { sys, mm, devices } = engine
  if (sys.mmu.capabilities.traps) {
    // A store beside a copy is let through and found out about later: now.
    assert(mm.mmapLock.tryRead(), 'nothing is in progress')
    for (const { start, end } of engine.arrays) collectWrites(mm, start, end)
    mm.mmapLock.unlockRead()
  }
  const drivers = devices.map((_, i) => memoryDevice(engine, i).device)
  const held = [engine.heldReferences(), ...drivers.map((driver) => driver.heldReferences())]
  const translations = drivers.flatMap((driver) => [...deviceTranslations(driver)])
  const heldReferences = (pfn: number) => held.reduce((sum, each) => sum + each(pfn), 0)
  validateSystem(sys, { level: 'full', translations, heldReferences })
  for (const driver of drivers) validateDevice(driver, (frame) => driver.hardware.page(frame))
  return null
}

/** The first device is gone. */
export function lose(engine: Engine, reason: string): null {
  memoryDevice(engine, 0).device.lose(reason)
  return null
}

/** Mappings of the machine. */
export function countMappings(engine: Engine): number {
  return engine.mm.vmas.length
}

/** The thread of the engine ends, in one way or another. */
export function fail(_: Engine, how: 'throw' | 'reject' | 'exit' | 'memory'): unknown {
  switch (how) {
    case 'throw':
      setImmediate(() => {
        throw new Error('as ordered')
      })
      return null
    case 'reject':
      void Promise.reject(new Error('as ordered'))
      return null
    case 'exit':
      return process.exit(3)
    case 'memory': {
      const all: unknown[] = []
      for (;;) all.push(new Array(100_000).fill(0.5), all.length)
    }
  }
}

/** Touches that wait now. */
export function waitingTouches(engine: Engine): readonly WaitingTouch[] {
  let waiting: readonly WaitingTouch[] = []
  engine.call('stats', {}, (reply) => {
    if (reply.ok) waiting = reply.answer.waiting
  })
  return waiting
}

export function memoryDevice({ devices }: Engine, index: number): MemoryEngineDevice {
  const device = devices[index]
  assert(device instanceof MemoryEngineDevice, () => `device ${index} is a memory device`)
  return device
}

function load(memory: LaunchMemory, { type, start, end }: LaunchArray): Elements {
  const copy = new Uint8Array(end - start)
  for (const { addr, bytes } of memory.pieces({ start, end })) copy.set(bytes, addr - start)
  const construct = ARRAY_TYPES.find(({ name }) => name === type) as unknown as new (buffer: ArrayBuffer) => Elements
  return new construct(copy.buffer)
}

function store(memory: LaunchMemory, { start, end }: ByteRange, { buffer }: Elements): void {
  const from = new Uint8Array(buffer)
  for (const { addr, bytes } of memory.pieces({ start, end }, 'write')) {
    bytes.set(from.subarray(addr - start, addr - start + bytes.length))
  }
}
