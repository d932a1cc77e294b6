// Launches that are cut into slices, ranges that have to lie in one piece, and programs that hang.

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  DriverMachine,
  type DriverMachineOptions,
  ON_HARDWARES,
  type Setup,
  skipWithout,
  whyNot,
} from '../../../test/helpers/driver-machine.ts'
import { PAGE_SIZE } from '../../base/addr.ts'
import { sumByCause } from '../../trace/index.ts'
import type { Kernel } from '../memory/memory-device.ts'
import type { DeviceLimits, LaunchSlice } from './index.ts'

let machine: DriverMachine

const pages = (addr: number, npages: number) => ({ start: addr, end: addr + npages * PAGE_SIZE })
const at = (addr: number, page: number) => addr + page * PAGE_SIZE
const NOTHING: Kernel = () => {}

/** Adds `n` to the first word of some pages. */
const add = (n: number, ...addrs: number[]): Kernel => {
  return (memory) => {
    for (const addr of addrs) memory.store32(addr, memory.load32(addr) + n)
  }
}

describe.each(ON_HARDWARES)('on a $hardware device', (setup: Setup) => {
  async function start(options: DriverMachineOptions = {}): Promise<DriverMachine> {
    machine = await DriverMachine.open(setup, options)
    return machine
  }

  beforeEach((test) => skipWithout(setup, test))

  afterEach(async () => {
    if (whyNot(setup) !== null) return
    machine.check()
    await machine.close()
  })

  describe('a launch in slices', () => {
    const NPAGES = 24

    /** One slice for each `n` pages. */
    const sliced = (addr: number, n: number) => (): LaunchSlice[] =>
      Array.from({ length: NPAGES / n }, (_, i) => ({ write: [pages(at(addr, i * n), n)] }))

    it('works on more than the device has, one part after the other', async () => {
      const { handle, device } = await start({ devices: [{ memory: 8 * PAGE_SIZE }] })
      const y = await machine.alloc(1, NPAGES, (i) => i)
      const seen: number[] = []
      let limits: DeviceLimits | undefined
      const slices = (given: DeviceLimits) => {
        limits = given
        return sliced(y, 4)()
      }
      const receipt = await handle.run({ write: [pages(y, NPAGES)], slices }, (memory, { write = [] }, index) => {
        seen.push(index)
        for (let addr = write[0].start; addr < write[0].end; addr += PAGE_SIZE) {
          memory.store32(addr, memory.load32(addr) + 100)
        }
        expect(() => memory.load32(index === 0 ? at(y, NPAGES - 1) : y)).toThrow('is not declared at all by the launch')
      })
      expect(receipt).toMatchObject({ nslices: 6, mode: 'direct', pages: { pinned: NPAGES } })
      expect([seen, limits]).toMatchObject([[0, 1, 2, 3, 4, 5], { npages: 8, bankPages: 8 }])
      expect(device.npagesUsed).toBeLessThanOrEqual(8)
      expect(await machine.loadAll(y, NPAGES)).toEqual(Array.from({ length: NPAGES }, (_, i) => i + 100))
    })

    it('is one launch to everybody else: what it wrote is seen when all of it is done', async () => {
      const { handle } = await start()
      const y = await machine.alloc(1, NPAGES, () => 1)
      let goOn = (): void => {}
      const pause = new Promise<void>((resolve) => {
        goOn = resolve
      })
      const launch = handle.run({ write: [pages(y, NPAGES)], slices: sliced(y, 12) }, async (memory, slice, index) => {
        if (index === 1) await pause
        await add(1, slice.write?.[0].start ?? 0)(memory, slice, index)
      })
      const later = handle.run({ write: [pages(y, 1)] }, add(10, y))
      await machine.settle()
      // The first part is done, and its pages are not held for it any more.
      let seen = 0
      const load = machine.load(y).then((value) => {
        seen = value
      })
      await machine.settle()
      machine.check()
      expect([seen, machine.pages(y, 2)]).toEqual([0, 'DD'])
      goOn()
      await Promise.all([launch, later, load])
      expect([[2, 12].includes(seen), await machine.load(y), await machine.load(at(y, 12))]).toEqual([true, 12, 2])
    })

    it('does not begin where a part is not in what it declared, or cannot be planned', async () => {
      const { handle } = await start()
      const y = await machine.alloc(1, 4, () => 1)
      const run = (slices: () => LaunchSlice[]) => handle.run({ name: 'cut', read: [pages(y, 4)], slices }, NOTHING)
      await expect(run(() => [{ read: [pages(at(y, 3), 2)] }])).rejects.toThrow(
        'cut: slice 0 uses ranges that the launch does not declare',
      )
      await expect(run(() => [{ read: [pages(y, 4)] }, { write: [pages(y, 1)] }])).rejects.toThrow('cut: slice 1')
      const failing = (): LaunchSlice[] => {
        throw new RangeError('no such plan')
      }
      await expect(run(failing)).rejects.toThrow('no such plan')
      expect(machine.events).toEqual([])
    })

    it('gives up between two parts', async () => {
      const { handle } = await start()
      const y = await machine.alloc(1, NPAGES, () => 1)
      const controller = new AbortController()
      const { signal } = controller
      const launch = handle.run({ write: [pages(y, NPAGES)], signal, slices: sliced(y, 4) }, (memory, slice, index) => {
        if (index === 2) controller.abort(new Error('enough'))
        memory.store32(slice.write?.[0].start ?? 0, 2)
      })
      await expect(launch).rejects.toThrow('enough')
      const first = await machine.loadAll(y, NPAGES)
      expect(first.filter((_, i) => i % 4 === 0)).toEqual([2, 2, 2, 1, 1, 1])
    })

    it('is safe in system memory part by part if it is durable', async () => {
      const { handle, device } = await start({ devices: [{ memory: 8 * PAGE_SIZE }] })
      const y = await machine.alloc(1, NPAGES, () => 1)
      const request = { write: [pages(y, NPAGES)], slices: sliced(y, 4), durable: true }
      await handle.run(request, (memory, slice) => memory.store32(slice.write?.[0].start ?? 0, 2))
      expect(device.lose('pulled out')).toEqual([])
      expect((await machine.loadAll(y, NPAGES)).filter((value) => value === 2)).toHaveLength(6)
    })
  })

  describe('ranges in one piece', () => {
    it('join what lies apart without a way through system memory, and forget no store', async () => {
      const { handle, device } = await start({ devices: [{ memory: 32 * PAGE_SIZE }] })
      const y = await machine.alloc(1, 8, (i) => i)
      const x = await machine.alloc(16, 2, () => 5)
      await handle.run({ write: [pages(y, 3)] }, add(10, at(y, 1)))
      await handle.run({ read: [pages(x, 2)] }, NOTHING)
      await handle.run({ write: [pages(at(y, 5), 3)] }, add(10, at(y, 6)))
      const range = pages(y, 8)
      const apart = await handle.run({ write: [range] }, (memory) => {
        expect([...memory.pieces(range)].length).toBeGreaterThan(1)
      })
      expect(apart.mode).toBe('paged')
      const receipt = await handle.run({ write: [range], inOnePiece: true }, (memory) => {
        expect(memory.bytes(range).length).toBe(8 * PAGE_SIZE)
        memory.store32(at(y, 7), memory.load32(at(y, 7)) + 10)
      })
      machine.check()
      expect(receipt).toMatchObject({ mode: 'direct', pages: { resident: 8 } })
      expect(sumByCause(receipt.counters.bytesDeviceToDevice)).toBe(8 * PAGE_SIZE)
      expect(sumByCause(receipt.counters.bytesHostToDevice)).toBe(0)
      expect([machine.pages(y, 8), device.npagesUsed]).toEqual(['DDDDDDDD', 8])
      const back = await handle.bringBack(range)
      // Three pages were written, whatever became of them since.
      expect([back.bytesDeviceToHost.user, back.pagesMigrated.user]).toEqual([3 * PAGE_SIZE, 8])
      expect(await machine.loadAll(y, 8)).toEqual([0, 11, 2, 3, 4, 5, 16, 17])
    })

    it('join duplicates, pages of the device and pages that are not there yet', async () => {
      const { handle } = await start({ devices: [{ memory: 32 * PAGE_SIZE }] })
      const x = await machine.alloc(1, 9, (i) => i)
      await handle.run({ read: [pages(x, 3)] }, NOTHING)
      await handle.run({ write: [pages(at(x, 4), 2)] }, add(10, at(x, 4)))
      const seen: number[] = []
      const { pages: found, counters } = await handle.run({ read: [pages(x, 9)], inOnePiece: true }, (memory) => {
        expect(memory.bytes(pages(x, 9)).length).toBe(9 * PAGE_SIZE)
        for (let i = 0; i < 9; i++) seen.push(memory.load32(at(x, i)))
      })
      machine.check()
      expect(seen).toEqual([0, 1, 2, 3, 14, 5, 6, 7, 8])
      expect([found, sumByCause(counters.bytesDeviceToDevice)]).toMatchObject([
        { resident: 5, duplicated: 4 },
        5 * PAGE_SIZE,
      ])
      expect(machine.pages(x, 9)).toBe('rrrrDDrrr')
      // It stays in one piece.
      const again = await handle.run({ read: [pages(x, 9)], inOnePiece: true }, NOTHING)
      expect([again.pages.resident, sumByCause(again.counters.bytesDeviceToDevice)]).toEqual([9, 0])
    })

    it('join what begins in the second page of a range that would have to begin before the device', async () => {
      const { handle } = await start({ devices: [{ memory: 16 * PAGE_SIZE }] })
      const x = await machine.alloc(1, 6, (i) => i)
      await handle.run({ write: [pages(at(x, 1), 1)] }, NOTHING)
      await handle.run({ write: [pages(at(x, 4), 2)] }, NOTHING)
      const { mode } = await handle.run({ write: [pages(x, 6)], inOnePiece: true }, add(10, x))
      machine.check()
      expect([mode, machine.pages(x, 6)]).toEqual(['direct', 'DDDDDD'])
      expect(await machine.loadAll(x, 6)).toEqual([10, 1, 2, 3, 4, 5])
    })

    it('come anew page by page where many small parts of them were changed', async () => {
      const { handle } = await start({ devices: [{ memory: 64 * PAGE_SIZE }] })
      const x = await machine.alloc(1, 40, (i) => i)
      const sum = async () => {
        let total = 0
        const receipt = await handle.run({ read: [pages(x, 40)], inOnePiece: true }, (memory) => {
          for (let i = 0; i < 40; i++) total += memory.load32(at(x, i))
        })
        machine.check()
        return { total, receipt }
      }
      expect((await sum()).total).toBe(780)
      for (let i = 0; i < 40; i += 3) await machine.store(at(x, i), 100 + i)
      const { total, receipt } = await sum()
      expect([total, receipt.mode]).toEqual([780 + 14 * 100, 'direct'])
      expect(receipt.pages).toMatchObject({ resident: 26, duplicated: 14 })
      expect(receipt.counters.bytesHostToDevice.fault).toBe(14 * PAGE_SIZE)
      expect((await sum()).receipt.pages).toMatchObject({ resident: 40, duplicated: 0 })
    })

    it('stay where they are when some of their pages come anew, also on a device that is full', async () => {
      const { handle, device } = await start({ devices: [{ memory: 16 * PAGE_SIZE }] })
      const [x, y] = [await machine.alloc(1, 8, (i) => i), await machine.alloc(16, 8, (i) => i)]
      const request = { read: [pages(x, 8)], write: [pages(y, 8)], inOnePiece: true }
      await handle.run(request, add(1, y))
      for (const i of [2, 3, 6]) await machine.store(at(x, i), 100 + i)
      await handle.bringBack(pages(at(y, 5), 2))
      await machine.store(at(y, 5), 50)
      const seen: number[] = []
      const { pages: found, counters } = await handle.run(request, (memory) => {
        for (let i = 0; i < 8; i++) seen.push(memory.load32(at(x, i)), memory.load32(at(y, i)))
      })
      machine.check()
      expect(seen).toEqual([0, 1, 1, 1, 102, 2, 103, 3, 4, 4, 5, 50, 106, 6, 7, 7])
      expect(found).toEqual({ resident: 11, duplicated: 3, pinned: 2, migrated: 0 })
      const { bytesHostToDevice, bytesDeviceToDevice, bytesDeviceToHost } = counters
      expect([bytesHostToDevice, bytesDeviceToDevice, bytesDeviceToHost].map(sumByCause)).toEqual([5 * PAGE_SIZE, 0, 0])
      expect(device.parts.pool.nfree).toBe(0)
    })

    it('that share a page are one piece together', async () => {
      const { handle } = await start()
      const y = await machine.alloc(1, 3, (i) => i)
      const first = { start: y, end: at(y, 1) + 8 }
      const second = { start: at(y, 1) + 12, end: at(y, 3) }
      await handle.run({ read: [first], write: [second], inOnePiece: true }, (memory) => {
        expect(memory.bytes(first).byteOffset + PAGE_SIZE + 12).toBe(memory.bytes(second).byteOffset)
        expect(() => memory.store32(at(y, 1), 1)).toThrow('is not declared for writing')
        memory.store32(at(y, 1) + 12, memory.load32(at(y, 1)) + 1)
      })
      expect(await machine.load(at(y, 1) + 12)).toBe(2)
    })

    it('find a place where free frames lie between those of the launch itself', async () => {
      const { handle, device } = await start({ devices: [{ memory: 12 * PAGE_SIZE }] })
      const [a, b, c] = [
        await machine.alloc(1, 4, (i) => i),
        await machine.alloc(8, 4, (i) => i),
        await machine.alloc(16, 6, (i) => i),
      ]
      await handle.run({ write: [pages(a, 4)] }, add(1, a))
      await handle.run({ write: [pages(b, 4)] }, add(1, b))
      await handle.bringBack(pages(a, 4))
      // Frames 0 to 3 and 8 to 11 are free, and 4 to 7 are in use by the launch.
      const request = { write: [pages(b, 4), pages(c, 6)], inOnePiece: true }
      const receipt = await handle.run(request, add(1, b, c))
      machine.check()
      expect([receipt.mode, device.npagesUsed]).toEqual(['direct', 10])
      expect([await machine.load(b), await machine.load(c), await machine.load(at(c, 5))]).toEqual([2, 1, 5])
    })

    it('are refused where no bank is as large', async () => {
      const { handle } = await start({ devices: [{ memory: 8 * PAGE_SIZE }] })
      const y = await machine.alloc(1, 9, () => 1)
      const launch = handle.run({ name: 'wide', write: [pages(y, 9)], inOnePiece: true }, NOTHING)
      await expect(launch).rejects.toThrow('ENOMEM: out of memory, wide: needs 9 pages at once, mem0 has 8')
    })
  })

  describe('a program that hangs', () => {
    it('loses the device when nothing has been done for as long as the deadline', async () => {
      const { handle, device, clock } = await start({ devices: [{ deadline: 5000 }] })
      const y = await machine.alloc(1, 2, () => 1, 'y')
      const launch = handle.run({ name: 'spin', write: [pages(y, 2)] }, (memory) => {
        memory.store32(y, 2)
        return new Promise(() => {})
      })
      const rejected = expect(launch).rejects.toMatchObject({
        code: 'DEVICE_LOST',
        message: expect.stringMatching(/^mem0 is lost: kernel "spin" made no progress for 5 ms;/),
      })
      await machine.settle()
      clock.advance(4999)
      expect(device.parts.failure).toBeNull()
      clock.advance(1)
      await rejected
      expect(device.lostRanges()).toMatchObject([{ name: 'y', start: y, end: at(y, 1) }])
      await machine.munmap(y, 2)
    })

    it('is nobody whom the hardware waits for where the program is patient', async () => {
      const { handle, device, clock } = await start({ devices: [{ deadline: 5000 }] })
      const y = await machine.alloc(1, 2, () => 1, 'y')
      const wait = () => new Promise<void>((resolve) => void clock.callAt(clock.now() + 50_000, resolve))
      await machine.finish(handle.run({ name: 'lend', write: [pages(y, 2)], isPatient: true }, wait))
      expect([clock.now(), device.parts.failure]).toEqual([50_000, null])
    })

    it('may take as long as it likes while it gets on', async () => {
      const { handle, clock } = await start({ devices: [{ deadline: 5000 }] })
      const y = await machine.alloc(1, 4, () => 1)
      const slices = () => [0, 1, 2, 3].map((i) => ({ write: [pages(at(y, i), 1)] }))
      const wait = () => new Promise<void>((resolve) => void clock.callAt(clock.now() + 4000, resolve))
      const receipt = await machine.finish(handle.run({ write: [pages(y, 4)], slices }, wait))
      expect(receipt.times.kernel).toBe(16_000)
      expect(clock.npending).toBe(0)
    })
  })
})
