// Too little of everything: system memory, swap, and the patience of the CPU.

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  DriverMachine,
  type DriverMachineOptions,
  ON_HARDWARES,
  SETUPS,
  type Setup,
  skipWithout,
  whyNot,
} from '../../../test/helpers/driver-machine.ts'
import { PAGE_SIZE, type Pfn } from '../../base/addr.ts'
import type { DevicePolicy, TouchCounters } from '../../hmm/policy.ts'
import { DEFAULT_POLICY } from '../../policies/index.ts'
import type { EventOf } from '../../trace/index.ts'
import type { Kernel } from '../memory/memory-device.ts'

let machine: DriverMachine

async function start(setup: Setup, options: DriverMachineOptions = {}): Promise<DriverMachine> {
  machine = await DriverMachine.open(setup, options)
  return machine
}

/** Every test ends with nothing left. */
async function end(setup: Setup): Promise<void> {
  if (whyNot(setup) !== null) return
  machine.check()
  await machine.close()
}

const pages = (addr: number, npages: number) => ({ start: addr, end: addr + npages * PAGE_SIZE })
const at = (addr: number, page: number) => addr + page * PAGE_SIZE
const NOTHING: Kernel = () => {}

/** Takes all free frames of the machine, as somebody else would. */
function takeAll(): Pfn[] {
  const { mmu, mm } = machine
  const taken: Pfn[] = []
  for (let page = 0; mmu.nfree > 0; page++) {
    const pfn = mmu.allocFrame(mm.space, page * PAGE_SIZE, 0)
    if (pfn >= 0) taken.push(pfn)
  }
  return taken
}

const addToAll = (addr: number, npages: number, n: number): Kernel => {
  return (memory) => {
    for (let i = 0; i < npages; i++) memory.store32(at(addr, i), memory.load32(at(addr, i)) + n)
  }
}

describe.each(SETUPS)('memory is short: a $hardware device on the $backend backend', (setup) => {
  const { backend } = setup
  beforeEach((test) => skipWithout(setup, test))
  afterEach(() => end(setup))

  it('pages in swap are fetched for a launch, for reading and for writing', async () => {
    const { handle, sys } = await start(setup, { nframes: 64, swapPages: 32 })
    const y = await machine.alloc(1, 8, (i) => i)
    expect(sys.reclaim(8)).toBe(8)
    machine.check()
    expect(machine.pages(y, 8)).toMatch(/^s{8}$/i)
    let sum = 0
    await handle.run({ write: [pages(y, 4)], read: [pages(at(y, 4), 4)] }, (memory) => {
      for (let i = 0; i < 8; i++) sum += memory.load32(at(y, i))
      memory.store32(y, 100)
    })
    expect([sum, await machine.loadAll(y, 8)]).toEqual([28, [100, 1, 2, 3, 4, 5, 6, 7]])
  })

  it('a duplicate ends when its page goes to swap, and the launch that uses it does not notice', async () => {
    const { handle, sys, device } = await start(setup, { nframes: 64, swapPages: 32 })
    const x = await machine.alloc(1, 4, (i) => i)
    let sum = 0
    await handle.run({ read: [pages(x, 4)] }, (memory) => {
      expect(sys.reclaim(4)).toBe(4)
      machine.check()
      for (let i = 0; i < 4; i++) sum += memory.load32(at(x, i))
    })
    expect([sum, device.counters.duplicatesInvalidated, await machine.loadAll(x, 4)]).toEqual([6, 4, [0, 1, 2, 3]])
  })

  it('pins turn into migrations when memory gets scarce: data of twice the memory goes round', async () => {
    const NPAGES = 48
    // The explicit backend has a place for each page, so there it is swap that makes the difference.
    const { handle, device } = await start(setup, {
      nframes: backend === 'simulated' ? 28 : 64,
      reservePages: 4,
      swapPages: 64,
      devices: [{ memory: 16 * PAGE_SIZE }],
    })
    const y = await machine.alloc(1, NPAGES, (i) => i)
    for (let round = 1; round <= 3; round++) {
      for (let first = 0; first < NPAGES; first += 12) {
        const part = at(y, first)
        await handle.run({ write: [pages(part, 12)] }, addToAll(part, 12, 1))
        machine.check()
      }
    }
    expect(await machine.loadAll(y, NPAGES)).toEqual(Array.from({ length: NPAGES }, (_, i) => i + 3))
    expect(device.counters.pagesMigrated.eviction).toBeGreaterThan(NPAGES)
  })

  it('a page comes back although memory is full: another one gives up the frame that is kept for it', async () => {
    const { handle, device, mmu } = await start(setup, { nframes: 16 })
    const y = await machine.alloc(0, 8, (i) => i)
    await handle.run({ write: [pages(y, 4)], placement: 'migrate' }, addToAll(y, 4, 10))
    await handle.run({ write: [pages(at(y, 4), 4)], placement: 'pin' }, addToAll(at(y, 4), 4, 10))
    // Four pages of the device have a frame in system memory, four have none, and now there is none.
    const taken = takeAll()
    expect([mmu.nfree, device.parts.pool.npinned]).toEqual([0, 4])
    if (backend === 'simulated') {
      expect(await machine.load(y)).toBe(10)
      expect(device.parts.pool.npinned).toBe(0)
    } else {
      // Here each page has one place, and somebody has taken it.
      await expect(machine.load(y)).rejects.toMatchObject({ code: 'ENOMEM' })
    }
    machine.check()
    for (const pfn of taken) mmu.freeFrame(pfn, 0)
    expect(await machine.loadAll(y, 8)).toEqual([10, 11, 12, 13, 14, 15, 16, 17])
  })

  it('a launch that finds no room on the device for pages that cannot leave says so', async () => {
    const { handle, device, mmu } = await start(setup, { nframes: 16, devices: [{ memory: 4 * PAGE_SIZE }] })
    const y = await machine.alloc(0, 4, (i) => i)
    await handle.run({ write: [pages(y, 4)], placement: 'migrate' }, NOTHING)
    const z = machine.map(8, 2)
    const taken = takeAll()
    const launch = handle.run({ name: 'late', write: [pages(z, 2)] }, NOTHING)
    await expect(launch).rejects.toThrow('mem0 0x8000: room for 2 pages, and only 0 of 4 can be made free')
    expect(device.npagesUsed).toBe(4)
    for (const pfn of taken) mmu.freeFrame(pfn, 0)
    expect(await machine.loadAll(y, 4)).toEqual([0, 1, 2, 3])
  })
})

describe.each(ON_HARDWARES)('pages that go back and forth: a $hardware device', (setup) => {
  beforeEach((test) => skipWithout(setup, test))
  afterEach(() => end(setup))

  /** The default, with what it was asked. */
  function listening(asked: TouchCounters[]): DevicePolicy {
    return {
      ...DEFAULT_POLICY,
      touch(counters) {
        asked.push(counters)
        return DEFAULT_POLICY.touch(counters)
      },
    }
  }

  const eventsOf = <K extends 'thrashing' | 'throttling'>(kind: K) =>
    machine.events.filter((event): event is EventOf<K> => event.kind === kind)

  it('are called thrashing from the third move on, and come back alone', async () => {
    const asked: TouchCounters[] = []
    const { handle } = await start(setup, { devices: [{ policy: listening(asked) }] })
    const y = await machine.alloc(1, 4, () => 0, 'y')
    for (let round = 0; round < 3; round++) {
      await handle.run({ write: [pages(y, 4)] }, addToAll(y, 4, 1))
      await machine.load(at(y, 1))
    }
    expect(asked.map(({ nmoves }) => nmoves)).toEqual([2, 4, 6])
    expect(eventsOf('thrashing')).toMatchObject([
      { start: at(y, 1), nmigrations: 4, allocation: 'y', device: 'mem0' },
      { nmigrations: 6 },
    ])
    expect(machine.pages(y, 4)).toMatch(/^D[rw]DD$/i)
    expect(await machine.loadAll(y, 4)).toEqual([3, 3, 3, 3])
  })

  it('are forgotten with time', async () => {
    const asked: TouchCounters[] = []
    const { handle, clock } = await start(setup, { devices: [{ policy: listening(asked) }] })
    const y = await machine.alloc(1, 4, () => 0)
    for (let round = 0; round < 3; round++) {
      await handle.run({ write: [pages(y, 4)] }, NOTHING)
      await machine.load(y)
      clock.advance(DEFAULT_POLICY.moveWindow + 1)
    }
    expect(asked.map(({ nmoves }) => nmoves)).toEqual([2, 2, 2])
    expect(eventsOf('thrashing')).toEqual([])
  })

  it('make the CPU wait a moment while the device has work, once for each touch', async () => {
    const policy: DevicePolicy = {
      ...DEFAULT_POLICY,
      touch: (counters) => ({ npages: 1, isThrashing: false, delay: counters.nqueued > 0 ? 25 : 0 }),
    }
    const { handle, clock } = await start(setup, { devices: [{ policy }] })
    const [x, y] = [await machine.alloc(1, 2, () => 7, 'x'), await machine.alloc(4, 1, () => 0)]
    await handle.run({ write: [pages(x, 2)] }, addToAll(x, 2, 1))
    let end = (): void => {}
    const kernel = (): Promise<void> =>
      new Promise((resolve) => {
        end = resolve
      })
    const launch = handle.run({ write: [pages(y, 1)] }, kernel)
    await machine.settle()
    let seen = 0
    const load = machine.load(x).then((value) => {
      seen = value
    })
    await machine.settle()
    expect([seen, machine.pages(x, 2)]).toEqual([0, 'DD'])
    clock.advance(24)
    await machine.settle()
    expect(seen).toBe(0)
    clock.advance(1)
    await load
    expect([seen, eventsOf('throttling')]).toMatchObject([8, [{ start: x, delay: 25, allocation: 'x' }]])
    end()
    await launch
    // Nobody waits for a device that does nothing.
    expect(await machine.load(at(x, 1))).toBe(8)
  })
})

describe.each(ON_HARDWARES)('the trace of a $hardware device', (setup) => {
  beforeEach((test) => skipWithout(setup, test))
  afterEach(() => end(setup))

  it('has everything with its cause, its allocation and its device, and adds up to the counters', async () => {
    const { handle, device, tracer } = await start(setup, { devices: [{ memory: 8 * PAGE_SIZE }] })
    const x = await machine.alloc(1, 4, () => 1, 'x')
    const y = await machine.alloc(8, 4, () => 1, 'y')
    const z = await machine.alloc(16, 4, () => 1, 'z')
    await handle.prefetch(pages(x, 4), 'read')
    await handle.run({ read: [pages(x, 4)], write: [pages(y, 4)] }, addToAll(y, 4, 1))
    await machine.store(x, 2)
    await handle.run({ read: [pages(x, 4)] }, NOTHING)
    await handle.run({ write: [pages(z, 4)] }, addToAll(z, 1, 1))
    await machine.load(z)
    const seen = machine.events.map(({ kind, allocation, ...event }) => {
      const { cause, direction, npages, nbytes, nfaults, mode } = event as Record<string, unknown>
      return [kind, allocation, cause ?? nfaults ?? mode, direction, npages ?? nbytes]
        .filter((each) => each !== undefined)
        .join(' ')
    })
    expect(seen).toEqual([
      'duplication x prefetch 4',
      'transfer x prefetch host-to-device 16384',
      'device-fault y 4',
      'migration y fault host-to-device 4',
      'transfer y fault host-to-device 16384',
      'launch direct',
      'duplicate-invalidated x coherence 1',
      'device-fault x 1',
      'duplication x fault 1',
      'transfer x fault host-to-device 4096',
      'launch direct',
      'device-fault z 4',
      'migration y eviction device-to-host 4',
      'transfer y eviction device-to-host 16384',
      'migration z fault host-to-device 4',
      'transfer z fault host-to-device 16384',
      'launch direct',
      'migration z fault device-to-host 1',
      'transfer z fault device-to-host 4096',
      'migration z prefetch device-to-host 3',
    ])
    expect(machine.events.every((event) => event.device === 'mem0')).toBe(true)
    expect(tracer.counters.total).toEqual(device.counters)
    expect(tracer.counters.byAllocation.get('y')?.bytesDeviceToHost.eviction).toBe(4 * PAGE_SIZE)
  })
})
