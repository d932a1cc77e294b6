// The thin slice: an explicit heap, one WebGPU device with half of the memory that the program needs, and everything between
// them through mm and hmm. It proves that the synchronous core fits a device that takes time.

import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { PAGE_SIZE } from '../../src/base/addr.ts'
import { mmapReadLock, touchPages, waitForOther } from '../../src/devices/edge.ts'
import { handleMmFault } from '../../src/mm/fault.ts'
import { FAULT_FLAG_WRITE, VM_FAULT_RETRY } from '../../src/mm/vm-fault.ts'
import { sumByCause } from '../../src/trace/index.ts'
import { ExplicitMachine, type ExplicitMachineOptions, MIGRATING } from '../helpers/explicit-machine.ts'
import { mustHaveGpu, openGpu, whyNoGpu } from '../helpers/gpu.ts'

/** 2 MiB each: 512 pages, 524,288 floats. */
const NPAGES = 512
const COUNT = (NPAGES * PAGE_SIZE) / 4
const X_PAGE = 1
const Y_PAGE = X_PAGE + NPAGES + 1

let missing: string | null
let gpu: GPUDevice
let machine: ExplicitMachine

beforeAll(async () => {
  missing = await whyNoGpu()
  if (missing === null) gpu = await openGpu()
})

beforeEach((test) => {
  if (missing !== null) test.skip(missing)
})

afterEach(async () => {
  if (missing === null) await machine?.close()
})

/** A heap of 8 MiB and 2 MiB of device memory, unless told otherwise. */
async function start(options: Partial<ExplicitMachineOptions> = {}): Promise<ExplicitMachine> {
  machine = await ExplicitMachine.create(gpu, { heapPages: 2048, devicePages: NPAGES, ...options })
  return machine
}

/** Two arrays of the CPU, full of whole numbers that stay exact as 32-bit floats. */
function makeArrays(seed = 1) {
  const x = machine.alloc(X_PAGE, NPAGES)
  const y = machine.alloc(Y_PAGE, NPAGES)
  const [xs, ys] = [machine.floats(x, COUNT), machine.floats(y, COUNT)]
  for (let i = 0; i < COUNT; i++) {
    xs[i] = (i * 7 + seed) % 1021
    ys[i] = (i * 3 + seed) % 509
  }
  return { x, y, xs, ys, end: { x: x + NPAGES * PAGE_SIZE, y: y + NPAGES * PAGE_SIZE } }
}

/** Index of the first element that is not, bit by bit, what the CPU computes; -1 if all are. */
function firstDifference(actual: Float32Array, expected: Float32Array): number {
  const [a, b] = [actual.slice(), expected.slice()]
  const [bits, wanted] = [new Uint32Array(a.buffer), new Uint32Array(b.buffer)]
  return bits.findIndex((word, i) => word !== wanted[i])
}

describe('the machine', () => {
  it('has an adapter wherever the packages of this repository bring one along', () => {
    if (mustHaveGpu()) expect(missing).toBeNull()
  })
})

describe('thin slice', () => {
  it('runs a launch that needs twice the device memory, and gives every value back', async () => {
    const { device } = await start()
    const { x, y, xs, ys, end } = makeArrays()
    const expected = ys.map((value, i) => 3 * xs[i] + value)
    machine.check()

    const receipt = await machine.saxpy(3, x, y, COUNT)
    machine.check()
    expect(receipt).toMatchObject({ name: 'saxpy', mode: 'direct', pages: { duplicated: NPAGES, pinned: NPAGES } })
    expect(receipt.nslices).toBeGreaterThan(2)
    // Everything went up once. What the later slices pushed out was copies of x, which end, and pages of y, which go home.
    const { bytesHostToDevice, bytesDeviceToHost, pagesMigrated } = receipt.counters
    expect(bytesHostToDevice).toMatchObject({ fault: 2 * NPAGES * PAGE_SIZE, eviction: 0 })
    expect(pagesMigrated).toMatchObject({ fault: NPAGES, eviction: expect.any(Number) })
    expect(bytesDeviceToHost).toMatchObject({ fault: 0, eviction: pagesMigrated.eviction * PAGE_SIZE })
    expect(pagesMigrated.eviction).toBeGreaterThan(0)
    expect(machine.counters).toMatchObject({ bytesHostToDevice, bytesDeviceToHost, pagesMigrated })
    const pages = [machine.census(x, NPAGES), machine.census(y, NPAGES)]
    expect([pages[0].present, pages[1].device]).toEqual([NPAGES, device.npagesUsed])
    expect(pages.map(({ migrating, empty }) => migrating + empty)).toEqual([0, 0])

    await machine.sync(y, end.y, 'read')
    machine.check()
    expect(firstDifference(ys, expected)).toBe(-1)
    await machine.sync(x, end.x)
    machine.check()
    expect(
      firstDifference(
        xs,
        xs.map((_, i) => (i * 7 + 1) % 1021),
      ),
    ).toBe(-1)
    expect([device.npagesUsed, machine.census(x, NPAGES).present]).toEqual([0, NPAGES])

    // In all, each page of y was copied back once and no page of x ever.
    const total = machine.counters
    expect(sumByCause(total.bytesDeviceToHost)).toBe(NPAGES * PAGE_SIZE)
    expect(sumByCause(total.bytesHostToDevice)).toBe(2 * NPAGES * PAGE_SIZE)
    expect(sumByCause(total.pagesMigrated)).toBe(2 * NPAGES)
  })

  it('hands pages from one side to the other: whose they are shows at every step', async () => {
    const { mmu } = await start({ devicePages: 2 * NPAGES })
    const { x, y, ys, end } = makeArrays()
    const owners = () => [mmu.cpuAccess(x), mmu.cpuAccess(end.x - 1), mmu.cpuAccess(y), mmu.cpuAccess(end.y - 1)]
    expect(owners()).toEqual(['write', 'write', 'write', 'write'])
    await machine.saxpy(1, x, y, COUNT)
    // What is read has copies on the device; what is written is there.
    expect(owners()).toEqual(['read', 'read', 'none', 'none'])
    await machine.sync(y, y + PAGE_SIZE, 'read')
    expect(owners()).toEqual(['read', 'read', 'read', 'none'])
    await machine.sync(y, end.y)
    expect(owners()).toEqual(['read', 'read', 'write', 'write'])
    ys[0] = 5
    await machine.saxpy(0, x, y, COUNT)
    await machine.sync(y, y + PAGE_SIZE, 'read')
    expect(ys[0]).toBe(5)
    machine.check()
  })

  it('brings a page back by a CPU fault: VM_FAULT_RETRY, and success after the wake', async () => {
    const { mm, sys } = await start({ devicePages: 2 * NPAGES })
    const { x, y, xs, ys } = makeArrays()
    await machine.saxpy(2, x, y, COUNT)
    const expected = 2 * xs[0] + 1
    const vma = mm.vmaLookup(y)
    if (vma === null) throw new Error('y is mapped')

    await mmapReadLock(mm)
    expect(handleMmFault(vma, y, FAULT_FLAG_WRITE)).toBe(VM_FAULT_RETRY)
    const wait = waitForOther(sys)
    expect(machine.pages(y, 1)).toBe('M')
    machine.check()
    // A second fault meets the migration entry.
    expect(handleMmFault(vma, y, 0)).toBe(VM_FAULT_RETRY)
    const secondWait = waitForOther(sys)
    // The fault ends and gives its lock back; the migration goes on under its own.
    mm.mmapLock.unlockRead()
    expect(mm.mmapLock.readers).toBe(1)
    await Promise.all([wait, secondWait])

    await mmapReadLock(mm)
    expect(handleMmFault(vma, y, FAULT_FLAG_WRITE)).toBe(0)
    mm.mmapLock.unlockRead()
    machine.check()
    expect([machine.pages(y, 1), ys[0]]).toEqual(['w', expected])
    // Its neighbours within 64 KiB came along, the rest did not.
    expect(machine.census(y, NPAGES)).toMatchObject({ migrating: 0, device: NPAGES - (16 - (Y_PAGE % 16)) })
  })

  it('a clean page comes back by a fault at once, as nothing has to be copied', async () => {
    const { mm } = await start({ devicePages: 2 * NPAGES })
    const { x, xs, end } = makeArrays()
    await machine.prefetch(x, end.x)
    expect(machine.census(x, NPAGES).device).toBe(NPAGES)
    const vma = mm.vmaLookup(x)
    if (vma === null) throw new Error('x is mapped')
    await mmapReadLock(mm)
    expect(handleMmFault(vma, x, 0)).toBe(0)
    mm.mmapLock.unlockRead()
    expect(machine.pages(x, 1)).toBe('w')
    expect(await touchPages(mm, x, x + PAGE_SIZE, false)).toBe(0)
    machine.check()
    expect([xs[0], machine.mmu.cpuAccess(x)]).toEqual([1, 'read'])
    expect(sumByCause(machine.counters.bytesDeviceToHost)).toBe(0)
  })

  it('holds mmapLock across its waits: a writer waits until finalize, and no new reader overtakes it', async () => {
    const { mm, device } = await start({ devicePages: 2 * NPAGES })
    const { x, y, end } = makeArrays()
    await machine.saxpy(1, x, y, COUNT)
    const log: string[] = []
    const synced = machine.sync(y, end.y, 'read').then(
      () => log.push('sync is done'),
      // What was unmapped meanwhile cannot be given to anybody.
      (error: { code: string }) => log.push(`sync: ${error.code}`),
    )
    await machine.untilMigrating(y, NPAGES)
    machine.check()
    // One for each part of 2 MiB that is on its way.
    expect([mm.mmapLock.readers > 0, mm.mmapLock.writer]).toEqual([true, false])

    // The program unmaps the second half of y, and somebody touches x afterwards.
    const half = y + (NPAGES / 2) * PAGE_SIZE
    const unmapped = machine.munmap(half, end.y - half).then((result) => {
      log.push(`munmap returned ${result}`)
      expect(machine.census(y, NPAGES)).toMatchObject({ migrating: 0, empty: NPAGES / 2 })
    })
    const touched = touchPages(mm, x, x + PAGE_SIZE, true).then((result) => log.push(`touch returned ${result}`))
    expect(mm.mmapLock.waitingWriters).toBe(1)
    expect(mm.mmapLock.tryRead()).toBe(false)
    expect(machine.census(y, NPAGES).migrating).toBeGreaterThan(0)
    machine.check()
    // Only the waiting ends it: not a turn of the event loop in between.
    while (mm.mmapLock.readers > 0) {
      expect([mm.mmapLock.writer, mm.vmaLookup(end.y - PAGE_SIZE) !== null]).toEqual([false, true])
      await new Promise(setImmediate)
    }
    await Promise.all([synced, unmapped, touched])
    machine.check()
    expect(log.toSorted()).toEqual(['munmap returned 0', 'sync: EFAULT', 'touch returned 0'])
    expect(log.indexOf('munmap returned 0')).toBeLessThan(log.indexOf('touch returned 0'))
    expect(machine.census(y, NPAGES)).toMatchObject({ present: NPAGES / 2, empty: NPAGES / 2 })
    expect(device.npagesUsed).toBe(0)
  })

  it('a touch of what a launch uses waits for the launch', async () => {
    const { mm } = await start()
    const { x, y, xs, ys } = makeArrays()
    const expected = 2 * xs[0] + ys[0]
    let done = false
    const launched = machine.saxpy(2, x, y, COUNT).then(() => {
      done = true
    })
    await machine.sync(y, y + PAGE_SIZE, 'read')
    expect([done, ys[0]]).toEqual([true, expected])
    await launched
    expect(await touchPages(mm, y, y + PAGE_SIZE, true)).toBe(0)
    machine.check()
  })
})

describe('thin slice, several launches', () => {
  it('launches run in the order in which they were handed in', async () => {
    await start()
    const { x, y, ys, xs, end } = makeArrays()
    const expected = ys.map((value, i) => (1 + 2 + 3) * xs[i] + value)
    await Promise.all([1, 2, 3].map((a) => machine.saxpy(a, x, y, COUNT)))
    machine.check()
    await machine.sync(y, end.y)
    expect(firstDifference(ys, expected)).toBe(-1)
  })

  it.each([
    { name: 'pinned in place', options: {} },
    { name: 'system pages freed', options: { policy: MIGRATING } },
    { name: 'several banks', options: { bank: 100 * PAGE_SIZE } },
    { name: 'shared heap', options: { shared: true } },
  ])('random launches on random parts, with the CPU in between: $name', async ({ options }) => {
    await start({ devicePages: 300, ...options })
    const { x, y, xs, ys, end } = makeArrays()
    const [xModel, yModel] = [xs.slice(), ys.slice()]
    const random = makeRandom(42)
    for (let step = 0; step < 40; step++) {
      // Anything from one element to everything, at any element, so pages and bindings are cut everywhere.
      const first = random(COUNT)
      const count = 1 + (random(random(2) === 0 ? 5000 : COUNT - first) % (COUNT - first))
      const [from, to] = [x + 4 * first, x + 4 * (first + count)]
      switch (random(4)) {
        case 0: {
          await machine.sync(pageOf(from), pageOf(to - 1) + PAGE_SIZE)
          const value = random(1000)
          xs.fill(value, first, first + count)
          xModel.fill(value, first, first + count)
          break
        }
        case 1: {
          const range = { addr: y + 4 * first, nbytes: 4 * count }
          await machine.sync(pageOf(range.addr), pageOf(range.addr + range.nbytes - 1) + PAGE_SIZE, 'read')
          const actual = ys.subarray(first, first + count)
          expect(firstDifference(actual, yModel.subarray(first, first + count))).toBe(-1)
          break
        }
        default: {
          const a = random(4)
          await machine.saxpy(a, from, y + 4 * first, count)
          for (let i = first; i < first + count; i++) yModel[i] += a * xModel[i]
        }
      }
      machine.check()
    }
    await machine.sync(x, end.x)
    await machine.sync(y, end.y)
    machine.check()
    expect([firstDifference(xs, xModel), firstDifference(ys, yModel)]).toEqual([-1, -1])
    expect(sumByCause(machine.counters.bytesDeviceToHost)).toBeGreaterThan(0)
  })
})

function pageOf(addr: number): number {
  return addr - (addr % PAGE_SIZE)
}

/** Whole numbers below a bound, the same in every run. */
function makeRandom(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}
