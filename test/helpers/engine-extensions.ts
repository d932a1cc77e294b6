// What tests do with an engine that is on a thread of its own: launches whose kernels are functions, each by its name, and the
// invariants of the machine. Plain data comes in and goes out. In explicit mode the same functions run on the test's thread.

import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { PAGE_SIZE } from '../../src/base/addr.ts'
import { assert } from '../../src/base/assert.ts'
import { deviceTranslations, validateDevice } from '../../src/devices/driver/index.ts'
import { formatReceipt, type LaunchMemory, type LaunchReceipt } from '../../src/devices/memory/index.ts'
import { ARRAY_TYPES, type ArrayTypeName } from '../../src/heap/array-types.ts'
import type { Engine } from '../../src/heap/engine/engine.ts'
import { MemoryEngineDevice } from '../../src/heap/engine/memory-device.ts'
import type { ByteRange, EngineCall, EngineCalls, WaitingTouch } from '../../src/heap/engine/protocol.ts'
import { collectWrites } from '../../src/mm/share.ts'
import { validateSystem } from '../../src/mm/validate.ts'
import { UserfaultfdMmu, type WriteTracking } from '../../src/mmu/userfaultfd/userfaultfd-mmu.ts'

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
  /** Waits for `tell`. */
  async lookWhenTold(written, read, indices) {
    await told
    const [array] = [...read, ...written]
    return (indices as number[]).map((i) => array[i])
  },
  never: () => new Promise(() => {}),
}

/** Resolves when the kernels that wait may go on. */
let told: Promise<void> = Promise.resolve()
let tellThem: () => void = () => {}

/** Kernels that wait to be told wait from now on. */
export function silence(): null {
  told = new Promise((resolve) => {
    tellThem = resolve
  })
  return null
}

/** Tells them. */
export function tell(): null {
  tellThem()
  return null
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

/** Says something on the output that all threads have in common. */
export function log(_: Engine, text: string): null {
  console.log(text)
  return null
}

/** The thread of the engine ends, in one way or another. */
export function fail(engine: Engine, how: 'throw' | 'throw late' | 'reject' | 'exit' | 'stop' | 'memory'): unknown {
  switch (how) {
    case 'throw late': {
      // When somebody waits for a page.
      const look = (): void => {
        engine.call('stats', {}, (reply) => {
          if (reply.ok && reply.answer.waiting.length > 0) fail(engine, 'throw')
          else setTimeout(look, 5)
        })
      }
      look()
      return null
    }
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
    case 'stop':
      for (;;) {}
    case 'memory': {
      const all: unknown[] = []
      for (;;) all.push(new Array(100_000).fill(0.5), all.length)
    }
  }
}

let collecting: NodeJS.Timeout | undefined
let ncollections = 0

/** Collects the garbage of the engine's thread all the time, or no longer. Returns how often that has been. */
export function collect(_: Engine, isWanted: boolean): number {
  setFlagsFromString('--expose-gc')
  const collectNow = runInNewContext('gc') as () => void
  clearInterval(collecting)
  if (isWanted) {
    collecting = setInterval(() => {
      collectNow()
      ncollections++
    }, 5)
  }
  return ncollections
}

/** How stores are tracked in a live heap, and how many pages its files hold. */
export function memory({ sys }: Engine): { tracking: WriteTracking; backed: number } {
  assert(sys.mmu instanceof UserfaultfdMmu, 'the heap is live')
  return { tracking: sys.mmu.tracking, backed: sys.mmu.frames.nbacked }
}

// ---- a life of trouble ----

export interface Disturbances {
  /** What was done, by name. */
  readonly counts: Record<string, number>
  /** What launches have added to all words together. */
  readonly added: number
}

let disturbing: Promise<Disturbances> | null = null
let isCalm = true

/** Does to an array whatever can be done to it without changing it, until `calm`; launches add 1 to each `step`th word. */
export function disturb(engine: Engine, request: { array: LaunchArray; word: number; step: number }): null {
  isCalm = false
  disturbing = disturbUntilCalm(engine, request)
  return null
}

/** Ends that. */
export async function calm(): Promise<Disturbances> {
  isCalm = true
  assert(disturbing !== null, 'something was disturbed')
  return await disturbing
}

async function disturbUntilCalm(
  engine: Engine,
  { array, word, step }: { array: LaunchArray; word: number; step: number },
): Promise<Disturbances> {
  const counts: Record<string, number> = {}
  let added = 0
  let ndone = 0
  const call = <C extends EngineCall>(name: C, args: EngineCalls[C]['args']): Promise<unknown> =>
    new Promise((resolve, reject) => {
      engine.call(name, args, (reply) => (reply.ok ? resolve(reply.answer) : reject(new Error(reply.failure.message))))
    })
  const disturbOnce = async (): Promise<void> => {
    const range = somePages(array, 64)
    const ranges = [range]
    const device = random(engine.devices.length)
    const { name } = engine.devices[device]
    const what = DISTURBANCES[ndone++ % DISTURBANCES.length]
    counts[what] = (counts[what] ?? 0) + 1
    if (what === 'duplicate') await call('prefetch', { ranges, write: false, device: name })
    else if (what === 'move') await call('prefetch', { ranges, write: true, device: name })
    else if (what === 'cold') await call('advise', { ranges, advice: 'cold' })
    else if (what === 'sync') await call('sync', { ranges, write: random(2) === 0 })
    else {
      const uses = what === 'read' ? { read: [range], write: [] } : { read: [], write: [range] }
      await engine.launch(uses, () =>
        memoryDevice(engine, device).handle.run(uses, async (memory) => {
          const elements = load(memory, { ...range, type: 'Int32Array' })
          // Whatever the CPU would do meanwhile would be lost.
          if (random(2) === 0) await new Promise((resolve) => setTimeout(resolve, random(4)))
          if (what === 'read') return
          for (let i = word; i < elements.length; i += step) elements[i]++
          store(memory, range, elements)
          added += Math.ceil((elements.length - word) / step)
        }),
      )
    }
  }
  const worker = async (): Promise<void> => {
    while (!isCalm) {
      await disturbOnce()
      await new Promise((resolve) => setTimeout(resolve, random(3)))
    }
  }
  await Promise.all([worker(), worker(), worker()])
  return { counts, added }
}

const DISTURBANCES = ['duplicate', 'move', 'cold', 'sync', 'read', 'write'] as const

function somePages({ start, end }: ByteRange, npagesMax: number): ByteRange {
  const npages = (end - start) / PAGE_SIZE
  const first = random(npages)
  return { start: start + first * PAGE_SIZE, end: start + Math.min(npages, first + 1 + random(npagesMax)) * PAGE_SIZE }
}

function random(below: number): number {
  return Math.floor(Math.random() * below)
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

/** Asks the thread of the page I/O for a page that no heap has: it fails. */
export function breakPageIo({ sys }: Engine): void {
  const pfn = sys.mmu.nframes + 2 ** 22
  sys.swap?.device.read([{ slot: pfn + 1, pfn }], () => {})
}
