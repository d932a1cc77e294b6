// Random programs against the driver: several operations at a time, each on a part of the arrays that is its own in that round,
// on devices and staging buffers so small that they are always in each other's way. Every value and every invariant is
// checked after each round. A failure is printed as a program.

import fc from 'fast-check'
import { beforeAll, beforeEach, expect, it } from 'vitest'
import { ExplicitMachine, MIGRATING, PINNING } from '../../../test/helpers/explicit-machine.ts'
import { openGpu, whyNoGpu } from '../../../test/helpers/gpu.ts'
import { PAGE_SIZE } from '../../base/addr.ts'
import { mmMprotect } from '../../mm/mprotect.ts'
import { PROT_READ, PROT_WRITE } from '../../uapi/mman.ts'
import { touchPages, withMmapWriteLock } from '../edge.ts'

const RUNS = Math.min(5000, Number(process.env['HETMEM_MODEL_RUNS'] ?? 40))
const FLOATS = PAGE_SIZE / 4

let missing: string | null
let gpu: GPUDevice

beforeAll(async () => {
  missing = await whyNoGpu()
  if (missing === null) gpu = await openGpu()
})

beforeEach((test) => {
  if (missing !== null) test.skip(missing)
})

/** x and y are cut into `parts` parts of `partPages` pages. */
interface Setup {
  readonly parts: number
  readonly partPages: number
  readonly devicePages: number
  readonly pins: boolean
  readonly shared: boolean
  /** Pages of a bank. */
  readonly bankPages: number
}

class World {
  readonly machine: ExplicitMachine
  readonly setup: Setup
  readonly x: number
  readonly y: number
  readonly xModel: Float32Array
  readonly yModel: Float32Array

  constructor(machine: ExplicitMachine, setup: Setup) {
    this.machine = machine
    this.setup = setup
    const npages = setup.parts * setup.partPages
    this.x = machine.alloc(1, npages)
    this.y = machine.alloc(npages + 2, npages)
    machine.floats(this.x, npages * FLOATS).forEach((_, i, all) => {
      all[i] = i % 100
    })
    this.xModel = machine.floats(this.x, npages * FLOATS).slice()
    this.yModel = machine.floats(this.y, npages * FLOATS).slice()
  }

  /** Bytes of a part of x or y. */
  part(array: 'x' | 'y', part: number): [start: number, end: number] {
    const nbytes = this.setup.partPages * PAGE_SIZE
    return [this[array] + part * nbytes, this[array] + (part + 1) * nbytes]
  }

  floats(array: 'x' | 'y'): Float32Array {
    return this.machine.floats(this[array], this.xModel.length)
  }

  /** A stretch of elements within a part, from two numbers. */
  stretch(part: number, from: number, length: number): [first: number, end: number] {
    const count = this.setup.partPages * FLOATS
    const first = part * count + (from % count)
    return [first, first + 1 + (length % ((part + 1) * count - first))]
  }

  expectY(first: number, end: number): void {
    const actual = this.floats('y')
    for (let i = first; i < end; i++) {
      if (actual[i] !== this.yModel[i]) expect.fail(`y[${i}] is ${actual[i]}, wanted ${this.yModel[i]}`)
    }
  }
}

/** What is done with one part in one round. */
interface Command {
  run(world: World, part: number): Promise<void>
  toString(): string
}

const number = fc.nat(100_000)

function launchOf(a: number, from: number, length: number): Command {
  return {
    async run(world, part) {
      const [first, end] = world.stretch(part, from, length)
      await world.machine.saxpy(a, world.x + 4 * first, world.y + 4 * first, end - first)
      for (let i = first; i < end; i++) world.yModel[i] += a * world.xModel[i]
    },
    toString: () => `launch(a ${a}, from ${from}, length ${length})`,
  }
}

const launch = fc.tuple(fc.nat(2), number, number).map(([a, from, length]) => launchOf(a, from, length))

function writeXOf(value: number, from: number, length: number): Command {
  return {
    async run(world, part) {
      const [first, end] = world.stretch(part, from, length)
      await world.machine.sync(...world.part('x', part))
      world.floats('x').fill(value, first, end)
      world.xModel.fill(value, first, end)
    },
    toString: () => `write(x, ${value}, from ${from}, length ${length})`,
  }
}

const writeX = fc.tuple(fc.nat(50), number, number).map(([value, from, length]) => writeXOf(value, from, length))

const readY = fc.constantFrom('read' as const, 'write' as const).map(
  (access): Command => ({
    async run(world, part) {
      await world.machine.sync(...world.part('y', part), access)
      const [first, end] = world.part('y', part).map((addr) => (addr - world.y) / 4)
      world.expectY(first, end)
    },
    toString: () => `sync(y, ${access})`,
  }),
)

const mapAnew: Command = {
  async run(world, part) {
    const [start, end] = world.part('y', part)
    expect(await world.machine.munmap(start, end - start)).toBe(0)
    world.machine.alloc(start / PAGE_SIZE, (end - start) / PAGE_SIZE)
    world.yModel.fill(0, (start - world.y) / 4, (end - world.y) / 4)
  },
  toString: () => 'munmap(y), mmap(y)',
}

const protect: Command = {
  async run(world, part) {
    const { mm } = world.machine
    const [start, end] = world.part('y', part)
    for (const prot of [PROT_READ, PROT_READ | PROT_WRITE]) {
      expect(await withMmapWriteLock(mm, () => mmMprotect(mm, start, end - start, prot))).toBe(0)
    }
  },
  toString: () => 'mprotect(y, read), mprotect(y, read and write)',
}

const evictAll: Command = {
  run: (world) => world.machine.device.evictAll(),
  toString: () => 'evictAll()',
}

const touchX: Command = {
  async run(world, part) {
    expect(await touchPages(world.machine.mm, ...world.part('x', part), false)).toBe(0)
  },
  toString: () => 'touch(x)',
}

const prefetchX = fc.nat(30).map(
  (npages): Command => ({
    async run(world, part) {
      const { partPages, devicePages } = world.setup
      const [start] = world.part('x', part)
      const wanted = 1 + (npages % Math.min(partPages, devicePages))
      await world.machine.prefetch(start, start + wanted * PAGE_SIZE, 'read')
    },
    toString: () => `prefetch(x, ${npages})`,
  }),
)

const nothing: Command = { run: async () => {}, toString: () => '-' }

const command = fc.oneof(
  { weight: 4, arbitrary: launch },
  { weight: 1, arbitrary: writeX },
  { weight: 1, arbitrary: readY },
  { weight: 1, arbitrary: fc.constantFrom(mapAnew, protect, evictAll, touchX, nothing) },
  { weight: 1, arbitrary: prefetchX },
)

/** One command per part; parts that the machine does not have are left out. */
const PARTS_MAX = 6
const round = fc.array(command, { minLength: PARTS_MAX, maxLength: PARTS_MAX })

const setup = fc
  .record({
    parts: fc.integer({ min: 1, max: PARTS_MAX }),
    partPages: fc.integer({ min: 1, max: 20 }),
    // From two pages for each argument, which a workgroup may need, to more than is needed.
    devicePages: fc.integer({ min: 4, max: 250 }),
    pins: fc.boolean(),
    shared: fc.boolean(),
    bankPages: fc.constantFrom(7, 64, 250),
  })
  .map((made): Setup => ({ ...made, devicePages: Math.min(made.devicePages, 2 * made.parts * made.partPages + 2) }))

const SMALL = { pins: true, shared: false, bankPages: 250 }

it('random programs compute what they should, whatever is in whose way', {
  timeout: Math.max(20_000, 1000 * RUNS),
}, async () => {
  await fc.assert(
    fc.asyncProperty(setup, fc.array(round, { maxLength: 10 }), async (made, rounds) => {
      const { parts, partPages, devicePages, pins, shared, bankPages } = made
      const machine = await ExplicitMachine.create(gpu, {
        heapPages: 2 * parts * partPages + 4,
        devicePages,
        policy: pins ? PINNING : MIGRATING,
        shared,
        bank: bankPages * PAGE_SIZE,
      })
      const world = new World(machine, made)
      for (const commands of rounds) {
        await settled(commands.slice(0, parts).map((each, part) => each.run(world, part)))
        machine.check()
      }
      await machine.sync(world.y, world.part('y', parts - 1)[1])
      world.expectY(0, world.yModel.length)
      await machine.close()
    }),
    {
      numRuns: RUNS,
      endOnFailure: false,
      examples: [
        // Pages without write permission on a device that has no room for both arguments at once.
        [
          { ...SMALL, parts: 2, partPages: 4, devicePages: 7 },
          [
            [launchOf(0, 3601, 94), launchOf(0, 523, 3120)],
            [mapAnew, protect],
            [launchOf(1, 3084, 483), launchOf(0, 1884, 214)],
            [writeXOf(1, 455, 1223), launchOf(1, 1779, 1955)],
          ],
        ],
        // The same with room, where each round trip made only some of the pages writable.
        [
          { ...SMALL, parts: 2, partPages: 8, devicePages: 20 },
          [
            [launchOf(0, 4556, 59), launchOf(2, 6856, 314)],
            [launchOf(1, 8054, 53), launchOf(2, 7168, 728)],
            [launchOf(0, 7791, 92), launchOf(1, 2830, 703)],
            [launchOf(0, 5005, 2531), protect],
            [launchOf(2, 3206, 3349), launchOf(1, 1196, 6311)],
          ],
        ],
      ],
    },
  )
})

/** Waits for all, so that nothing of a failed round reaches into the next one; then throws what was thrown first. */
async function settled(work: readonly Promise<void>[]): Promise<void> {
  const failed = (await Promise.allSettled(work)).find((each) => each.status === 'rejected')
  if (failed !== undefined) throw failed.reason
}
