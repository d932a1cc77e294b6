// CPU and GPUs take turns on the same pages at random: stores, launches on two devices, loads, prefetches, pins, frees, with many
// launches in flight. The order of the calls says what every element must be; a failure prints the last steps, and the seed.
//
// HETMEM_MODEL_RUNS sets the number of turns.

import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { whyNoGpu } from '../../test/helpers/gpu.ts'
import { findTestModes } from '../../test/helpers/mode-fixture.ts'
import { type Heap, kernel, openHeap, read, readWrite, u32, uniform } from '../index.ts'

const TURNS = Number(process.env['HETMEM_MODEL_RUNS'] ?? 150)
const SEED = Number(process.env['HETMEM_MODEL_SEED'] ?? Date.now() % 1_000_000)

const NARRAYS = 4
/** Some pages and a bit; together more than either device has. */
const LENGTHS = [5 * 1024 + 17, 3 * 1024, 9 * 1024 + 1000, 1025]
const IN_FLIGHT_MAX = 6

const addTo = kernel({
  name: 'addTo',
  args: { y: readWrite(u32), a: uniform(u32) },
  code: '@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) { y[id.x] += a; }',
})

const addArray = kernel({
  name: 'addArray',
  args: { x: read(u32), y: readWrite(u32) },
  code: '@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) { y[id.x] += x[id.x]; }',
})

/** An array, and what must be in it. */
interface Pair {
  readonly array: Uint32Array
  readonly model: Uint32Array
  /** Prefetches and advice under way, which a program does not free the array of. Launches go on with it. */
  readonly helping: Set<Promise<unknown>>
}

/** Whole numbers below a bound, the same for the same seed. */
function makeRandom(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

class Turns {
  readonly heap: Heap
  readonly log: string[] = []
  private readonly random: (below: number) => number
  private readonly pairs: Pair[]
  private readonly inFlight = new Set<Promise<unknown>>()

  constructor(heap: Heap, seed: number) {
    this.heap = heap
    this.random = makeRandom(seed)
    this.pairs = LENGTHS.map((length) => this.allocate(length))
  }

  async turn(): Promise<void> {
    const { random } = this
    const index = random(NARRAYS)
    const pair = this.pairs[index]
    const first = random(pair.array.length)
    const end = first + 1 + random(pair.array.length - first)
    const where = `${index}[${first}..${end})`
    const view = pair.array.subarray(first, end)
    const device = random(2) === 0 ? 'a' : 'b'
    const value = 1 + random(9)
    switch (random(12)) {
      case 0:
      case 1:
      case 2: {
        this.log.push(`addTo ${where} ${value} on ${device}`)
        await this.begin(this.heap.run(addTo, { y: view, a: value }, view.length, { device, durable: random(8) === 0 }))
        for (let i = first; i < end; i++) pair.model[i] += value
        break
      }
      case 3:
      case 4: {
        const other = (index + 1 + random(NARRAYS - 1)) % NARRAYS
        const from = this.pairs[other]
        const at = random(from.array.length)
        const count = Math.min(view.length, from.array.length - at)
        this.log.push(`addArray ${where} += ${other}[${at}..) on ${device}`)
        const args = { x: from.array.subarray(at, at + count), y: view.subarray(0, count) }
        await this.begin(this.heap.run(addArray, args, count, { device }))
        for (let i = 0; i < count; i++) pair.model[first + i] += from.model[at + i]
        break
      }
      case 5: {
        this.log.push(`store ${where} ${value}`)
        await this.heap.sync(view)
        view.fill(value)
        pair.model.fill(value, first, end)
        break
      }
      case 6:
      case 7: {
        this.log.push(`load ${where}`)
        await this.heap.sync(view, 'read')
        this.compare(index, first, end)
        break
      }
      case 8: {
        const to = ['cpu', 'a', 'b'][random(3)]
        this.log.push(`prefetch ${where} to ${to}`)
        await this.help(pair, this.heap.prefetch(view, { to, access: random(2) === 0 ? 'read' : 'readWrite' }))
        break
      }
      case 9: {
        this.log.push(`pin ${where}, store ${value}`)
        const pin = await this.heap.pin(view)
        view[0] = value
        pair.model[first] = value
        this.compare(index, first, end)
        pin.unpin()
        break
      }
      case 10: {
        this.log.push(`discard or cold ${where}`)
        if (random(2) === 0) await this.help(pair, this.heap.advise(view, 'cold'))
        else await this.zero(index)
        break
      }
      default: {
        if (random(3) > 0) break
        this.log.push(`free ${index}`)
        await Promise.all(pair.helping)
        this.heap.free(pair.array)
        this.pairs[index] = this.allocate(LENGTHS[random(LENGTHS.length)])
      }
    }
  }

  async end(): Promise<void> {
    await Promise.all(this.inFlight)
    for (const [index, { array }] of this.pairs.entries()) {
      await this.heap.sync(array)
      this.compare(index, 0, array.length)
    }
    await this.heap.close()
  }

  /** Lets something go on while later turns are taken. */
  private async begin(work: Promise<unknown>): Promise<void> {
    const ending = work.then(() => void this.inFlight.delete(ending))
    this.inFlight.add(ending)
    if (this.inFlight.size >= IN_FLIGHT_MAX) await Promise.race(this.inFlight)
  }

  private async help(pair: Pair, work: Promise<unknown>): Promise<void> {
    const ending = work.finally(() => pair.helping.delete(ending))
    pair.helping.add(ending)
    await this.begin(ending)
  }

  private async zero(index: number): Promise<void> {
    const { array, model } = this.pairs[index]
    await this.heap.discard(array)
    model.fill(0)
  }

  private allocate(length: number): Pair {
    return { array: this.heap.alloc(Uint32Array, length), model: new Uint32Array(length), helping: new Set() }
  }

  private compare(index: number, first: number, end: number): void {
    const { array, model } = this.pairs[index]
    for (let i = first; i < end; i++) {
      if (array[i] === model[i]) continue
      expect.fail(`element ${i} of array ${index} is ${array[i]}, wanted ${model[i]}`)
    }
  }
}

let missing: string | null

beforeAll(async () => {
  missing = await whyNoGpu()
})

describe.each(await findTestModes())('CPU and two GPUs in $name mode', (mode) => {
  beforeEach((test) => {
    if (missing !== null) test.skip(missing)
    if (mode.missing !== null) test.skip(mode.missing)
  })

  it('find every value right, whoever had the page before', { timeout: 60_000 + 200 * TURNS }, async () => {
    const device = [
      { name: 'a', memory: '40 KiB' },
      { name: 'b', memory: '1 MiB' },
    ] as const
    const turns = new Turns(await openHeap({ mode: mode.name, size: '16 MiB', device, onNotice: () => {} }), SEED)
    try {
      for (let i = 0; i < TURNS; i++) await turns.turn()
      await turns.end()
    } catch (error) {
      throw new Error(`seed ${SEED}, after ${turns.log.slice(-12).join('; ')}`, { cause: error })
    }
  })
})
