// What a launch does to pages, on every backend without hardware: where they are, what is copied, and what the CPU sees.

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  DriverMachine,
  type DriverMachineOptions,
  SETUPS,
  type Setup,
  skipWithout,
  whyNot,
} from '../../../test/helpers/driver-machine.ts'
import { PAGE_SIZE } from '../../base/addr.ts'
import { MmError } from '../../base/errno.ts'
import type { TouchCounters } from '../../hmm/policy.ts'
import { mmMadvise } from '../../mm/madvise.ts'
import { DEFAULT_POLICY } from '../../policies/index.ts'
import { sumByCause } from '../../trace/index.ts'
import { MADV_DONTNEED } from '../../uapi/mman.ts'
import { whenUnclaimed } from '../claims.ts'
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

/** Adds `n` to the first word of some pages. */
const add = (n: number, ...addrs: number[]): Kernel => {
  return (memory) => {
    for (const addr of addrs) memory.store32(addr, memory.load32(addr) + n)
  }
}

/** A kernel that does one thing, waits until it is told to go on, and does another. */
function pausing(first: Kernel, second: Kernel): { kernel: Kernel; goOn: () => void; hasBegun: () => boolean } {
  let goOn = (): void => {}
  let begun = false
  const pause = new Promise<void>((resolve) => {
    goOn = resolve
  })
  const kernel: Kernel = async (...args) => {
    begun = true
    await first(...args)
    await pause
    await second(...args)
  }
  return { kernel, goOn, hasBegun: () => begun }
}

describe.each(SETUPS)('the driver of a $hardware device on the $backend backend', (setup) => {
  beforeEach((test) => skipWithout(setup, test))
  afterEach(() => end(setup))

  it('works on copies of what it reads and on the pages that it writes', async () => {
    const { handle, device } = await start(setup)
    const x = await machine.alloc(1, 4, (i) => i + 1)
    const y = await machine.alloc(8, 4, (i) => 10 * i)
    machine.check()
    const receipt = await handle.run({ read: [pages(x, 4)], write: [pages(y, 4)] }, (memory) => {
      for (let i = 0; i < 4; i++) memory.store32(at(y, i), memory.load32(at(y, i)) + memory.load32(at(x, i)))
    })
    machine.check()
    expect(receipt).toMatchObject({ mode: 'direct', pages: { resident: 0, duplicated: 4, pinned: 4, migrated: 0 } })
    expect([machine.pages(x, 4), machine.pages(y, 4), device.npagesUsed]).toEqual(['rrrr', 'DDDD', 4])
    expect(await machine.loadAll(y, 4)).toEqual([1, 12, 23, 34])
  })

  it('finds on the device what earlier launches left there, and copies nothing again', async () => {
    const { handle } = await start(setup)
    const x = await machine.alloc(1, 4, () => 1)
    const y = await machine.alloc(8, 4, () => 0)
    const request = { read: [pages(x, 4)], write: [pages(y, 4)] }
    await handle.run(request, add(1, y))
    const { pages: found, counters } = await handle.run(request, add(1, y))
    expect(found).toEqual({ resident: 8, duplicated: 0, pinned: 0, migrated: 0 })
    expect([sumByCause(counters.bytesHostToDevice), sumByCause(counters.bytesDeviceToHost)]).toEqual([0, 0])
    expect(await machine.load(y)).toBe(2)
  })

  it('copies back only what the device has written', async () => {
    const { handle, device } = await start(setup)
    const y = await machine.alloc(1, 8, (i) => i)
    await handle.run({ write: [pages(y, 8)] }, add(100, at(y, 2), at(y, 5)))
    const counters = await handle.bringBack(pages(y, 8))
    expect([counters.pagesMigrated.user, counters.bytesDeviceToHost.user]).toEqual([8, 2 * PAGE_SIZE])
    expect(await machine.loadAll(y, 8)).toEqual([0, 1, 102, 3, 4, 105, 6, 7])
    expect(device.npagesUsed).toBe(0)
  })

  it('copies nothing back a second time: a page that was flushed or came back is clean again', async () => {
    const { handle } = await start(setup)
    const y = await machine.alloc(1, 2, () => 7)
    for (let round = 0; round < 3; round++) {
      await handle.run({ write: [pages(y, 2)] }, () => {})
      const { bytesDeviceToHost, pagesMigrated } = await handle.bringBack(pages(y, 2))
      expect([sumByCause(bytesDeviceToHost), pagesMigrated.user]).toEqual([0, 2])
      // The CPU makes them dirty in its own sense, which is none of the device's business.
      await machine.store(y, 8 + round)
    }
  })

  it('lets the CPU read beside a duplicate, and copies only the pages again that the CPU has written', async () => {
    const { handle, device } = await start(setup)
    const x = await machine.alloc(1, 6, (i) => i)
    const sum: number[] = []
    const kernel: Kernel = (memory) => {
      let total = 0
      for (let i = 0; i < 6; i++) total += memory.load32(at(x, i))
      sum.push(total)
    }
    await handle.run({ read: [pages(x, 6)] }, kernel)
    expect([await machine.load(at(x, 3)), machine.pages(x, 6), device.npagesUsed]).toEqual([3, 'rrrrrr', 0])
    await machine.store(at(x, 3), 1000)
    machine.check()
    expect(device.counters.duplicatesInvalidated).toBe(1)
    const { pages: found, counters } = await handle.run({ read: [pages(x, 6)] }, kernel)
    expect(found).toMatchObject({ resident: 5, duplicated: 1 })
    expect(counters.bytesHostToDevice.fault).toBe(PAGE_SIZE)
    expect(sum).toEqual([15, 1012])
  })

  it('writes a page that it has read before, and reads one that it has written', async () => {
    const { handle } = await start(setup)
    const x = await machine.alloc(1, 2, () => 5)
    const range = pages(x, 2)
    const seen: number[] = []
    const read: Kernel = (memory) => void seen.push(memory.load32(x))
    await handle.run({ read: [range] }, read)
    await handle.run({ write: [range] }, add(1, x))
    await handle.run({ read: [range] }, read)
    expect([seen, machine.pages(x, 2)]).toEqual([[5, 6], 'DD'])
    // In one launch both names of the page are the same page.
    await handle.run({ read: [range], write: [pages(x, 1)] }, (memory) => {
      memory.store32(x, 9)
      seen.push(memory.load32(x))
    })
    expect([seen.at(-1), await machine.load(x)]).toEqual([9, 9])
  })

  it('takes memory that nobody has touched without a copy, and gives back what was not written without one', async () => {
    const { handle, mmu } = await start(setup)
    const y = machine.map(1, 4)
    const { nfree } = mmu
    const { pages: found, counters } = await handle.run({ write: [pages(y, 4)] }, add(3, y))
    expect([found.migrated, sumByCause(counters.bytesHostToDevice), nfree - mmu.nfree]).toEqual([4, 0, 0])
    const back = await handle.bringBack(pages(y, 4))
    expect([back.pagesMigrated.user, sumByCause(back.bytesDeviceToHost)]).toEqual([4, PAGE_SIZE])
    expect(await machine.loadAll(y, 4)).toEqual([3, 0, 0, 0])
  })

  it('keeps the system frame of a page that is pinned, and frees that of one that migrates', async () => {
    const { handle, mmu } = await start(setup)
    const y = await machine.alloc(1, 4, (i) => i)
    const { nfree } = mmu
    const range = pages(y, 4)
    const pinned = await handle.run({ write: [range], placement: 'pin' }, () => {})
    expect([pinned.pages.pinned, mmu.nfree - nfree]).toEqual([4, 0])
    await handle.bringBack(range)
    const migrated = await handle.run({ write: [range], placement: 'migrate' }, () => {})
    expect([migrated.pages.migrated, mmu.nfree - nfree]).toEqual([4, 4])
    const { bytesDeviceToHost } = await handle.bringBack(range)
    expect([bytesDeviceToHost.user, mmu.nfree]).toEqual([4 * PAGE_SIZE, nfree])
    expect(await machine.loadAll(y, 4)).toEqual([0, 1, 2, 3])
  })

  it('a read range can move too, where the policy finds memory too scarce for two copies', async () => {
    const { handle } = await start(setup)
    const x = await machine.alloc(1, 3, (i) => i)
    const seen: number[] = []
    const { pages: found } = await handle.run({ read: [pages(x, 3)], placement: 'migrate' }, (memory) => {
      for (let i = 0; i < 3; i++) seen.push(memory.load32(at(x, i)))
    })
    expect([found.migrated, seen, machine.pages(x, 3)]).toEqual([3, [0, 1, 2], 'DDD'])
    expect(await machine.loadAll(x, 3)).toEqual([0, 1, 2])
  })

  // ---- the CPU during a launch ----

  it('makes a touch of a written page wait for the end of the launch, and shows it the result', async () => {
    const { handle } = await start(setup)
    const y = await machine.alloc(1, 2, () => 1)
    const { kernel, goOn } = pausing(add(1, y), add(1, y))
    const launch = handle.run({ write: [pages(y, 2)] }, kernel)
    const early = machine.load(y)
    await machine.settle()
    machine.check()
    let seen = -1
    const late = machine.load(y).then((value) => {
      seen = value
    })
    const stored = machine.store(at(y, 1), 50)
    await machine.settle()
    expect(seen).toBe(-1)
    goOn()
    await Promise.all([launch, late, stored])
    expect([[1, 3].includes(await early), seen, await machine.load(at(y, 1))]).toEqual([true, 3, 50])
  })

  it('does not make anybody wait for a page that it only reads; the launch goes on with what it has', async () => {
    const { handle } = await start(setup)
    const x = await machine.alloc(1, 2, () => 5)
    const y = await machine.alloc(4, 1, () => 0)
    await handle.run({ write: [pages(at(x, 1), 1)] }, add(1, at(x, 1)))
    const sum: Kernel = (memory) => memory.store32(y, memory.load32(y) + memory.load32(x) + memory.load32(at(x, 1)))
    const { kernel, goOn } = pausing(sum, sum)
    const launch = handle.run({ read: [pages(x, 2)], write: [pages(y, 1)] }, kernel)
    await machine.settle()
    await machine.store(x, 100)
    // Only the device has this one: it comes back while the launch reads it.
    await machine.store(at(x, 1), 200)
    machine.check()
    goOn()
    await launch
    expect(await machine.load(y)).toBe(22)
    expect(await machine.loadAll(x, 2)).toEqual([100, 200])
  })

  it('a touch brings neighbours along, but none that a launch may write', async () => {
    const { handle } = await start(setup)
    const y = await machine.alloc(1, 6, () => 0)
    await handle.run({ write: [pages(y, 6)] }, add(1, ...[0, 1, 2, 3, 4, 5].map((i) => at(y, i))))
    const { kernel, goOn } = pausing(add(1, at(y, 2)), add(1, at(y, 2)))
    const launch = handle.run({ write: [pages(at(y, 2), 1)] }, kernel)
    await machine.settle()
    expect(await machine.load(at(y, 4))).toBe(1)
    expect(machine.pages(y, 6)).toMatch(/^DDD[rw]{3}$/i)
    machine.check()
    goOn()
    await launch
    expect(await machine.loadAll(y, 6)).toEqual([1, 1, 3, 1, 1, 1])
  })

  it('brings back more and more with touches that follow one another', async () => {
    const { handle, device } = await start(setup, { devices: [{ policy: { ...DEFAULT_POLICY, moveWindow: -1 } }] })
    const y = await machine.alloc(0, 48, (i) => i)
    await handle.run({ write: [pages(y, 48)] }, () => {})
    expect(await machine.loadAll(y, 48)).toEqual(Array.from({ length: 48 }, (_, i) => i))
    const { fault, prefetch } = device.counters.pagesMigrated
    // 16 pages and then the 32 behind them: two touches for 48 pages.
    expect([fault, prefetch]).toEqual([48 + 2, 46])
  })

  describe('reading ahead', () => {
    /** The first touch brings two pages, every further one of a walk brings four ahead. */
    const touch = ({ isSequential }: TouchCounters) => ({
      npages: 2,
      nahead: isSequential ? 4 : 0,
      isThrashing: false,
      delay: 0,
    })

    async function walked(npages: number, options: DriverMachineOptions = {}) {
      const { handle, device } = await start(setup, { devices: [{ policy: { ...DEFAULT_POLICY, touch } }], ...options })
      const y = await machine.alloc(0, npages, (i) => i)
      await handle.run({ write: [pages(y, npages)], placement: 'migrate' }, add(1, at(y, 5)))
      const walk = async (from: number, to: number): Promise<string> => {
        for (let i = from; i < to; i++) expect(await machine.load(at(y, i))).toBe(i === 5 ? 6 : i)
        await machine.settle()
        machine.check()
        return machine.pages(y, npages).toLowerCase()
      }
      return { y, handle, device, walk }
    }

    it('brings pages that a walk has not reached, and leaves the first of them behind', async () => {
      const { device, walk } = await walked(16)
      expect(await walk(0, 2)).toBe('wwdddddddddddddd')
      expect(await walk(2, 4)).toBe('wwwwdwwwdddddddd')
      expect(await walk(4, 5)).toBe('wwwwwwwwdwwwdddd')
      const before = device.counters.pagesMigrated.fault
      expect(await walk(5, 8)).toBe('wwwwwwwwdwwwdddd')
      expect(device.counters.pagesMigrated.fault).toBe(before)
      expect(await walk(8, 16)).toBe('w'.repeat(16))
      expect(device.counters.pagesMigrated).toMatchObject({ fault: 16 + 5 })
    })

    it('stops where a touch jumps', async () => {
      const { walk } = await walked(16)
      await walk(0, 3)
      expect(await walk(12, 13)).toBe('wwwwdwwwddddwwdd')
      expect(await walk(4, 5)).toBe('wwwwwwwwddddwwdd')
    })

    it('takes nothing that a launch has claimed', async () => {
      const { y, handle, walk } = await walked(16)
      const { kernel, goOn } = pausing(add(1, at(y, 10)), () => {})
      const launch = handle.run({ write: [pages(at(y, 6), 6)] }, kernel)
      await machine.settle()
      expect(await walk(0, 4)).toBe('wwwwdddddddddddd')
      goOn()
      await launch
    })

    it('leaves the last frames of memory to others', async () => {
      const { walk } = await walked(16, { memoryPages: 32, reservePages: 8 })
      await machine.alloc(100, machine.sys.nfree - 8, (i) => i)
      expect(await walk(0, 4)).toBe('wwwwdddddddddddd')
    })
  })

  it('a kernel that fails ends the launch; what it wrote is written, and the pages are free', async () => {
    const { handle } = await start(setup)
    const y = await machine.alloc(1, 2, () => 1)
    const failing: Kernel = (memory) => {
      memory.store32(y, 7)
      throw new Error('no such thing')
    }
    await expect(handle.run({ write: [pages(y, 2)] }, failing)).rejects.toThrow('no such thing')
    machine.check()
    expect(await machine.loadAll(y, 2)).toEqual([7, 1])
  })

  // ---- room ----

  it('evicts the block that was not used for the longest time, and copies only what is dirty', async () => {
    const { handle, device } = await start(setup, { devices: [{ memory: 12 * PAGE_SIZE }] })
    const [a, b, c] = [
      await machine.alloc(1, 4, () => 1),
      await machine.alloc(6, 4, () => 2),
      await machine.alloc(11, 4, () => 3),
    ]
    await handle.run({ write: [pages(a, 4)] }, add(1, a))
    await handle.run({ write: [pages(b, 4)] }, add(1, b))
    await handle.run({ read: [pages(c, 4)] }, () => {})
    await handle.run({ write: [pages(a, 4)] }, () => {})
    const d = await machine.alloc(16, 4, () => 4)
    const { counters } = await handle.run({ write: [pages(d, 4)] }, add(1, d))
    machine.check()
    expect([machine.pages(a, 4), machine.pages(b, 4), machine.pages(d, 4)]).toEqual([
      'DDDD',
      expect.stringMatching(/^w{4}$/i),
      'DDDD',
    ])
    expect([counters.pagesMigrated.eviction, counters.bytesDeviceToHost.eviction]).toEqual([4, PAGE_SIZE])
    // The next to go are duplicates: nothing to copy, nothing moves.
    const e = await machine.alloc(21, 4, () => 5)
    const next = await handle.run({ read: [pages(e, 4)] }, () => {})
    expect([next.counters.pagesMigrated.eviction, next.counters.bytesDeviceToHost.eviction]).toEqual([0, 0])
    expect([machine.pages(a, 4), device.counters.duplicatesInvalidated]).toEqual(['DDDD', 4])
    expect(await machine.loadAll(b, 4)).toEqual([3, 2, 2, 2])
  })

  it('a launch that needs more than the device has says how much, and changes nothing', async () => {
    const { handle, device } = await start(setup, { devices: [{ memory: 8 * PAGE_SIZE }] })
    const y = await machine.alloc(1, 9, (i) => i)
    const launch = handle.run({ name: 'huge', write: [pages(y, 9)], read: [pages(y, 4)] }, () => {})
    await expect(launch).rejects.toThrow('ENOMEM: out of memory, huge: needs 9 pages at once, mem0 has 8')
    expect([device.npagesUsed, machine.pages(y, 9)]).toEqual([0, expect.stringMatching(/^w{9}$/i)])
  })

  it('works in pieces where the free frames lie apart', async () => {
    const { handle } = await start(setup, { devices: [{ memory: 8 * PAGE_SIZE }] })
    const y = await machine.alloc(1, 8, (i) => i)
    await handle.run({ write: [pages(y, 8)] }, () => {})
    for (const i of [1, 3, 5]) await handle.bringBack(pages(at(y, i), 1))
    const z = await machine.alloc(16, 3, (i) => 10 * i)
    const receipt = await handle.run({ write: [pages(z, 3)] }, (memory) => {
      const bytes: number[] = []
      for (const piece of memory.pieces(pages(z, 3), 'write')) {
        bytes.push(piece.bytes.length)
        piece.bytes[0]++
      }
      expect(bytes).toEqual([PAGE_SIZE, PAGE_SIZE, PAGE_SIZE])
      expect(() => memory.bytes(pages(z, 3))).toThrow(RangeError)
    })
    expect(receipt).toMatchObject({ mode: 'paged', why: 'the range at 0x10000 lies in 3 pieces' })
    expect(await machine.loadAll(z, 3)).toEqual([1, 11, 21])
    expect(await machine.loadAll(y, 8)).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
  })

  it('prefetches what there is room for, and says what not', async () => {
    const { handle, device } = await start(setup, { nframes: 1024, devices: [{ memory: 8 * PAGE_SIZE }] })
    const y = await machine.alloc(508, 12, (i) => i) // the first four pages are the end of a block
    const receipt = await handle.prefetch(pages(y, 12), 'write')
    expect(receipt).toMatchObject({ nskipped: 8, pages: { pinned: 4 } })
    expect(receipt.counters.pagesMigrated).toMatchObject({ prefetch: 4, fault: 0 })
    expect(device.npagesUsed).toBe(4)
    const { pages: found } = await handle.run({ write: [pages(y, 4)] }, () => {})
    expect(found.resident).toBe(4)
  })

  // ---- mappings that change ----

  it('a free takes effect after the launches that were handed in before it', async () => {
    const { handle } = await start(setup)
    const y = await machine.alloc(1, 3, () => 1)
    let seen = 0
    const { kernel, goOn } = pausing(add(1, y), (memory) => {
      seen = memory.load32(y)
    })
    const launch = handle.run({ write: [pages(y, 3)] }, kernel)
    const freed = whenUnclaimed(machine.mm, pages(y, 3)).then(() => machine.munmap(y, 3))
    await machine.settle()
    expect(machine.pages(y, 3)).toBe('DDD')
    goOn()
    await Promise.all([launch, freed])
    expect([seen, machine.pages(y, 3)]).toEqual([2, '___'])
    expect(machine.device.npagesUsed).toBe(0)
  })

  it('a munmap in the middle of a launch harms nobody: the launch keeps its frames to the end', async () => {
    const { handle, device, mmu } = await start(setup)
    const y = await machine.alloc(1, 3, () => 1)
    const { nfree } = mmu
    const { kernel, goOn } = pausing(add(1, y), add(1, y))
    const launch = handle.run({ write: [pages(y, 3)] }, kernel)
    await machine.settle()
    await machine.munmap(y, 3)
    machine.check()
    expect([device.npagesUsed, mmu.nfree - nfree]).toEqual([0, 3])
    // Another one cannot get the frames yet, and finds its own.
    const z = await machine.alloc(1, 2, () => 40)
    expect(await machine.loadAll(z, 2)).toEqual([40, 40])
    goOn()
    await launch
    machine.check()
    expect(device.parts.pool.nfree).toBe(64)
    expect(await machine.loadAll(z, 2)).toEqual([40, 40])
  })

  it('pages that are dropped on the device are fresh afterwards, and their frames free', async () => {
    const { handle, device } = await start(setup)
    const y = await machine.alloc(1, 3, () => 1)
    await handle.run({ write: [pages(y, 3)] }, add(1, y))
    expect(mmMadvise(machine.mm, y, 2 * PAGE_SIZE, MADV_DONTNEED)).toBe(0)
    machine.check()
    expect([device.npagesUsed, device.parts.pool.npinned]).toEqual([1, 1])
    expect(await machine.loadAll(y, 3)).toEqual([0, 0, 1])
  })

  it('refuses ranges without a mapping, by address', async () => {
    const { handle } = await start(setup)
    const y = await machine.alloc(1, 2, () => 1)
    const launch = handle.run({ name: 'wide', write: [pages(y, 3)] }, () => {})
    await expect(launch).rejects.toThrow('EFAULT: bad address, wide 0x3000: no mapping')
    await expect(handle.run({ read: [pages(at(y, 40), 1)] }, () => {})).rejects.toThrow(MmError)
    expect(await machine.loadAll(y, 2)).toEqual([1, 1])
  })

  // ---- two devices ----

  it('hands a page from one device to the other, through system memory', async () => {
    const { handles, devices } = await start(setup, { devices: [{}, {}] })
    const y = await machine.alloc(1, 2, () => 1)
    const range = pages(y, 2)
    for (let round = 0; round < 3; round++) {
      await handles[0].run({ write: [range] }, add(1, y))
      await handles[1].run({ write: [range] }, add(10, y))
      machine.check()
      expect([machine.pages(y, 2), devices[0].npagesUsed, devices[1].npagesUsed]).toEqual(['EE', 0, 2])
    }
    expect(await machine.loadAll(y, 2)).toEqual([34, 1])
  })

  it('keeps a duplicate on each of two devices, and ends both with one store', async () => {
    const { handles, devices } = await start(setup, { devices: [{}, {}] })
    const x = await machine.alloc(1, 2, () => 1)
    const seen: number[] = []
    const read: Kernel = (memory) => void seen.push(memory.load32(x))
    for (const handle of handles) await handle.run({ read: [pages(x, 2)] }, read)
    machine.check()
    await machine.store(x, 2)
    expect(devices.map(({ counters }) => counters.duplicatesInvalidated)).toEqual([1, 1])
    for (const handle of handles) await handle.run({ read: [pages(x, 2)] }, read)
    expect(seen).toEqual([1, 1, 2, 2])
  })

  it('runs launches that share data in order, on two devices, and others side by side', async () => {
    const { handles } = await start(setup, { devices: [{}, {}] })
    const [x, y] = [await machine.alloc(1, 1, () => 1), await machine.alloc(3, 1, () => 1)]
    const { kernel, goOn } = pausing(add(1, x), add(1, x))
    const order: string[] = []
    const note = (name: string) => () => void order.push(name)
    const first = handles[0].run({ write: [pages(x, 1)] }, kernel).then(note('first'))
    const second = handles[1].run({ write: [pages(y, 1)] }, add(1, y)).then(note('second'))
    const third = handles[1].run({ write: [pages(x, 1)] }, (memory) => memory.store32(x, memory.load32(x) * 10))
    await machine.settle()
    expect(order).toEqual(['second'])
    goOn()
    await Promise.all([first, second, third])
    expect([order, await machine.load(x), await machine.load(y)]).toEqual([['second', 'first'], 30, 2])
  })
})
