// Pages that a launch asks for while it runs: what comes along with them, what has to go for them, and what it says about that.

import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { DriverMachine } from '../../../test/helpers/driver-machine.ts'
import { addrToVpn, PAGE_SIZE } from '../../base/addr.ts'
import { DEFAULT_POLICY } from '../../policies/index.ts'
import type { LaunchMemory } from '../memory/launch-memory.ts'
import type { MemoryDevice } from '../memory/memory-device.ts'
import type { DemandPages, PageDemand } from './demand-pages.ts'
import type { DriverHandle } from './driver-handle.ts'
import type { LaunchReceipt } from './receipt.ts'

let machine: DriverMachine

afterEach(async () => {
  machine.check()
  await machine.close()
})

async function start(devicePages: number, prefetches = true): Promise<void> {
  const policy = prefetches ? DEFAULT_POLICY : { ...DEFAULT_POLICY, prefetch: () => false }
  const devices = [{ memory: devicePages * PAGE_SIZE, policy }]
  machine = await DriverMachine.open({ backend: 'simulated', hardware: 'memory' }, { nframes: 512, devices })
}

const pages = (addr: number, npages: number) => ({ start: addr, end: addr + npages * PAGE_SIZE })

function launch(
  { read = 0, write = 0, durable = false }: { read?: number; write?: number; durable?: boolean },
  program: (demand: DemandPages) => Promise<void>,
): Promise<LaunchReceipt> {
  const handle = machine.handle as unknown as DriverHandle<LaunchMemory>
  const ranges = { read: read === 0 ? [] : [pages(X, read)], write: write === 0 ? [] : [pages(Y, write)] }
  const request = { name: 'k', durable, ...ranges }
  return handle.runOnDemand(request, 'it is a test', async (demand) => {
    await program(demand)
    return { nslices: 1, nreplays: 0 }
  })
}

const bring = (demand: DemandPages, { read = [], write = [] }: { read?: number[]; write?: number[] }) => {
  const wanted: PageDemand = { read, write, pinned: new Set([...read, ...write]) }
  return demand.bring(wanted)
}

const X = 64 * PAGE_SIZE
const Y = 256 * PAGE_SIZE
const vpnX = addrToVpn(X)
const vpnY = addrToVpn(Y)
const upTo = (n: number, first = 0): number[] => Array.from({ length: n }, (_, i) => first + i)

/** The first word of the frame that holds a page. */
function wordOf(demand: DemandPages, vpn: number): number {
  const bytes = (machine.device as MemoryDevice).hardware.page(demand.frames.get(vpn)!)
  return new Uint32Array(bytes.buffer, bytes.byteOffset, 1)[0]
}

function store(demand: DemandPages, vpn: number, value: number): void {
  const frame = demand.frames.get(vpn)!
  const bytes = (machine.device as MemoryDevice).hardware.page(frame)
  new Uint32Array(bytes.buffer, bytes.byteOffset, 1)[0] = value
  demand.markWritten([frame])
}

describe('pages that come along with missing ones', () => {
  it('are those of 64 KiB, with their cause in receipt and trace', async () => {
    await start(64)
    await machine.alloc(vpnX, 40, (i) => i, 'x')
    const { counters, pages: found } = await launch({ read: 40 }, async (demand) => {
      await bring(demand, { read: [vpnX + 5] })
      expect([...demand.frames.keys()].sort((a, b) => a - b)).toEqual(upTo(16, vpnX))
      for (const vpn of demand.frames.keys()) expect(wordOf(demand, vpn)).toBe(vpn - vpnX)
      expect(demand.isWritable(vpnX)).toBe(false)
    })
    expect(counters.bytesHostToDevice).toMatchObject({ fault: PAGE_SIZE, prefetch: 15 * PAGE_SIZE })
    expect([counters.deviceFaults, found.duplicated]).toEqual([1, 1])
    expect(machine.events.filter(({ kind }) => kind === 'duplication')).toMatchObject([
      { cause: 'fault', npages: 1, allocation: 'x' },
      { cause: 'prefetch', npages: 5 },
      { cause: 'prefetch', npages: 10 },
    ])
  })

  it('are for writing where the missing ones are, and count as written when they were', async () => {
    await start(64)
    await machine.alloc(vpnY, 40, (i) => i)
    await launch({ write: 40 }, async (demand) => {
      await bring(demand, { write: [vpnY + 20] })
      expect([vpnY + 16, vpnY + 31].map((vpn) => demand.isWritable(vpn))).toEqual([true, true])
      store(demand, vpnY + 30, 1000)
    })
    expect(await machine.load(Y + 30 * PAGE_SIZE)).toBe(1000)
    expect(await machine.load(Y + 31 * PAGE_SIZE)).toBe(31)
  })

  it('take free memory alone, and are no more than that', async () => {
    await start(20)
    await machine.alloc(vpnX, 64, (i) => i)
    await machine.alloc(vpnY, 4, (i) => i)
    await machine.handle.run({ write: [pages(Y, 4)] }, () => {})
    const { counters } = await launch({ read: 64 }, async (demand) => {
      await bring(demand, { read: [vpnX] })
      expect(demand.frames.size).toBe(16)
      await bring(demand, { read: [vpnX + 16] })
      expect(demand.frames.size).toBe(20)
      await bring(demand, { read: [vpnX + 32] })
      expect(demand.frames.size).toBe(20)
    })
    // The block of y had to go for the second one, as blocks go as a whole; there were three free pages then.
    expect(counters.pagesMigrated.eviction).toBe(4)
    expect(counters.bytesHostToDevice.prefetch).toBe(18 * PAGE_SIZE)
  })

  it('grow to 2 MiB with what is there', async () => {
    await start(64)
    await machine.alloc(vpnX, 64, (i) => i)
    await launch({ read: 64 }, async (demand) => {
      await bring(demand, { read: [vpnX] })
      await bring(demand, { read: [vpnX + 16] })
      expect(demand.frames.size).toBe(32)
      await bring(demand, { read: [vpnX + 32] })
      expect(demand.frames.size).toBe(64)
    })
  })
})

describe('a launch that misses what it had', () => {
  it('is said to thrash, with the array and how often', async () => {
    await start(16)
    await machine.alloc(vpnX, 32, (i) => i, 'x')
    await machine.alloc(vpnY, 2, (i) => i, 'y')
    const receipt = await launch({ read: 32, write: 2 }, async (demand) => {
      await bring(demand, { write: [vpnY] })
      for (let round = 0; round < 3; round++) {
        for (let i = 0; i < 24; i += 8) await bring(demand, { read: upTo(8, vpnX + i) })
      }
    })
    // The first time they are new.
    const [x, ...others] = receipt.thrashing
    expect(others).toEqual([])
    expect(x.array).toBe('x')
    expect(x.faults).toBeGreaterThan(x.refaults)
    expect(4 * x.refaults).toBeGreaterThan(x.faults)
    expect(receipt.counters.thrashing).toBe(1)
    expect(machine.events.filter(({ kind }) => kind === 'thrashing')).toMatchObject([
      { allocation: 'x', nmigrations: x.refaults, start: X, end: X + 32 * PAGE_SIZE, device: 'mem0' },
    ])
  })

  it('is not said to if it goes through more than fits once', async () => {
    await start(16)
    await machine.alloc(vpnX, 64, (i) => i)
    const receipt = await launch({ read: 64 }, async (demand) => {
      for (let i = 0; i < 64; i += 8) await bring(demand, { read: upTo(8, vpnX + i) })
    })
    expect([receipt.thrashing, receipt.counters.thrashing]).toEqual([[], 0])
  })
})

describe('pages that lie scattered', () => {
  const scattered = upTo(24).map((i) => vpnX + 5 * i)

  it('come all at once, and nothing between them does', async () => {
    await start(32, false)
    await machine.alloc(vpnX, 120, (i) => i, 'x')
    const { counters, pages: found } = await launch({ read: 120 }, async (demand) => {
      await bring(demand, { read: scattered.toReversed() })
      expect([...demand.frames.keys()].sort((a, b) => a - b)).toEqual(scattered)
      for (const vpn of scattered) expect(wordOf(demand, vpn)).toBe(vpn - vpnX)
    })
    expect(counters).toMatchObject({ deviceFaults: 24, pagesDuplicated: 24 })
    expect(counters.bytesHostToDevice.fault).toBe(24 * PAGE_SIZE)
    expect(found).toMatchObject({ resident: 0, duplicated: 24 })
    expect(machine.events.filter(({ kind }) => kind === 'duplication')).toMatchObject([{ npages: 24, allocation: 'x' }])
    // A store to a page between them meets no duplicate.
    await machine.store(X + PAGE_SIZE, 7)
    await launch({ read: 120 }, async (demand) => {
      await bring(demand, { read: scattered })
    })
    expect(machine.events.filter(({ kind }) => kind === 'duplication')).toHaveLength(1)
  })

  it('may be neighbours in two blocks', async () => {
    await start(16, false)
    const vpn = 512
    const addr = vpn * PAGE_SIZE
    await machine.alloc(vpn - 4, 8, (i) => i)
    const handle = machine.handle as unknown as DriverHandle<LaunchMemory>
    const request = { name: 'k', read: [pages(addr - 4 * PAGE_SIZE, 8)] }
    await handle.runOnDemand(request, 'it is a test', async (demand) => {
      for (let round = 0; round < 3; round++) {
        await bring(demand, { read: upTo(8, vpn - 4) })
        for (let i = 0; i < 8; i++) expect(wordOf(demand, vpn - 4 + i)).toBe(i)
        machine.check()
        demand.release()
      }
      return { nslices: 1, nreplays: 0 }
    })
    await machine.handle.run({ write: [pages(addr - 4 * PAGE_SIZE, 8)] }, () => {})
  })

  it('are there from the beginning if an earlier launch has left them, as far as they fit', async () => {
    await start(8, false)
    await machine.alloc(vpnX, 120, (i) => i)
    await machine.alloc(vpnY, 4, (i) => i)
    await launch({ read: 120, write: 4 }, async (demand) => {
      await bring(demand, { read: scattered.slice(0, 5), write: [vpnY, vpnY + 1] })
      store(demand, vpnY, 10)
    })
    const { counters, pages: found } = await launch({ read: 120, write: 4 }, async (demand) => {
      demand.keepResident()
      expect([...demand.frames.keys()].sort((a, b) => a - b)).toEqual([...scattered.slice(0, 5), vpnY, vpnY + 1])
      expect([demand.isWritable(vpnY), demand.isWritable(vpnX)]).toEqual([true, false])
      expect([wordOf(demand, vpnY), wordOf(demand, scattered[4])]).toEqual([10, scattered[4] - vpnX])
      expect(demand.takeChanged()).toHaveLength(7)
      // They go for others as all do.
      await bring(demand, { read: scattered.slice(5, 10) })
      for (const vpn of scattered.slice(5, 10)) expect(wordOf(demand, vpn)).toBe(vpn - vpnX)
    })
    expect([counters.deviceFaults, found.resident]).toEqual([5, 7])
    expect(await machine.load(Y)).toBe(10)
  })

  it('go without a copy, and are found unchanged when they come again', async () => {
    await start(8, false)
    await machine.alloc(vpnX, 120, (i) => i)
    const { counters } = await launch({ read: 120 }, async (demand) => {
      for (let round = 0; round < 2; round++) {
        for (let i = 0; i < 24; i += 8) {
          const part = scattered.slice(i, i + 8)
          await bring(demand, { read: part })
          for (const vpn of part) expect(wordOf(demand, vpn)).toBe(vpn - vpnX)
          machine.check()
        }
      }
    })
    expect(counters.pagesDuplicated).toBe(48)
    expect(counters.bytesDeviceToHost).toMatchObject({ eviction: 0, fault: 0 })
  })

  it('stay while they are used, and are not asked for again', async () => {
    await start(8, false)
    await machine.alloc(vpnX, 120, (i) => i)
    await machine.alloc(vpnY, 4, (i) => i)
    const { counters, thrashing } = await launch({ read: 120, write: 4 }, async (demand) => {
      // Whoever needs a page of x needs those of y too, and misses what is not there.
      const hot = [vpnY, vpnY + 2]
      for (let i = 0; i < 120; i += 4) {
        await bring(demand, { read: upTo(4, vpnX + i), write: hot.filter((vpn) => !demand.frames.has(vpn)) })
      }
    })
    // When they were new, and once when they had been pushed out.
    expect(counters.deviceFaults).toBeLessThanOrEqual(120 + 2 * 2)
    expect(thrashing.map(({ refaults }) => refaults)).toEqual(thrashing.length === 0 ? [] : [2])
  })
})

describe('a durable launch', () => {
  it('is safe from the loss of the device, with what came along', async () => {
    await start(64)
    await machine.alloc(vpnY, 20, (i) => i)
    await launch({ write: 20, durable: true }, async (demand) => {
      await bring(demand, { write: [vpnY] })
      for (let i = 0; i < 16; i++) store(demand, vpnY + i, 100 + i)
    })
    ;(machine.device as MemoryDevice).lose('it is a test')
    expect(await machine.loadAll(Y, 16)).toEqual(upTo(16, 100))
  })
})

describe('random demands', () => {
  it('find their pages with the newest contents, whatever came along and whatever had to go', async () => {
    const page = fc.integer({ min: 0, max: 47 })
    const round = fc.record({
      read: fc.uniqueArray(page, { maxLength: 6 }),
      write: fc.uniqueArray(page, { maxLength: 5 }),
    })
    const seen = { prefetched: 0, evicted: 0, refaults: 0 }
    await fc.assert(
      fc.asyncProperty(
        fc.array(round, { minLength: 1, maxLength: 12 }),
        fc.integer({ min: 11, max: 70 }),
        async (rounds, room) => {
          await start(room)
          await machine.alloc(vpnX, 48, (i) => i, 'x')
          await machine.alloc(vpnY, 48, (i) => 1000 + i, 'y')
          const y = upTo(48, 1000)
          const receipt = await launch({ read: 48, write: 48 }, async (demand) => {
            for (const [k, { read, write }] of rounds.entries()) {
              const before = new Set(demand.frames.keys())
              const gone = await bring(demand, { read: read.map((i) => vpnX + i), write: write.map((i) => vpnY + i) })
              expect(demand.frames.size).toBeLessThanOrEqual(room)
              expect(gone.every((vpn) => before.has(vpn) && !demand.frames.has(vpn))).toBe(true)
              for (const i of read) expect(wordOf(demand, vpnX + i)).toBe(i)
              for (const i of write)
                expect([demand.isWritable(vpnY + i), wordOf(demand, vpnY + i)]).toEqual([true, y[i]])
              // All that is there can be used, also what came along.
              for (const vpn of demand.frames.keys()) {
                if (vpn < vpnY) expect(wordOf(demand, vpn)).toBe(vpn - vpnX)
                else if ((vpn + k) % 3 === 0) {
                  y[vpn - vpnY] = 5000 + 100 * k + (vpn - vpnY)
                  store(demand, vpn, y[vpn - vpnY])
                }
              }
              machine.check()
            }
          })
          expect(await machine.loadAll(Y, 48)).toEqual(y)
          seen.prefetched += receipt.counters.bytesHostToDevice.prefetch
          seen.evicted += receipt.counters.pagesMigrated.eviction
          seen.refaults += receipt.thrashing.reduce((sum, { refaults }) => sum + refaults, 0)
          machine.check()
          await machine.close()
        },
      ),
      { numRuns: 60 },
    )
    expect(Object.values(seen).every((count) => count > 0)).toBe(true)
    await start(16)
  })
})
