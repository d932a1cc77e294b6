// Launches: arguments, time, giving up, and durable ones.

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  DriverMachine,
  type DriverMachineOptions,
  ON_HARDWARES,
  type Setup,
  skipUntimed,
  skipWithout,
  whyNot,
} from '../../../test/helpers/driver-machine.ts'
import { PAGE_SIZE } from '../../base/addr.ts'
import { MmError } from '../../base/errno.ts'
import { mmMprotect } from '../../mm/mprotect.ts'
import { sumByCause } from '../../trace/index.ts'
import { PROT_READ } from '../../uapi/mman.ts'
import { type Kernel, MemoryDevice } from '../memory/memory-device.ts'
import { formatReceipt } from './index.ts'

let machine: DriverMachine

const pages = (addr: number, npages: number) => ({ start: addr, end: addr + npages * PAGE_SIZE })
const at = (addr: number, page: number) => addr + page * PAGE_SIZE
const NOTHING: Kernel = () => {}

/** A kernel that takes its time on the clock of the machine. */
function taking(us: number, then: Kernel = NOTHING): Kernel {
  return (...args) =>
    new Promise((resolve, reject) => {
      machine.clock.callAt(machine.clock.now() + us, () => {
        try {
          resolve(then(...args))
        } catch (error) {
          reject(error)
        }
      })
    })
}

async function start(setup: Setup, options: DriverMachineOptions = {}): Promise<void> {
  machine = await DriverMachine.open(setup, options)
}

describe.each(ON_HARDWARES)('launches on a $hardware device', (setup) => {
  beforeEach(async (test) => {
    skipWithout(setup, test)
    await start(setup, {})
  })

  afterEach(async () => {
    if (whyNot(setup) !== null) return
    machine.check()
    await machine.close()
  })

  describe('arguments', () => {
    it('of the device have to make sense', () => {
      const { sys } = machine
      const { policy } = machine.device.parts
      const make = (options: object) => () => new MemoryDevice(sys, { memory: '1 MiB', policy, ...options })
      expect(make({ memory: 0 })).toThrow(RangeError)
      expect(make({ memory: 5000 })).toThrow('memory of 5000 bytes, wanted a multiple of 4096')
      expect(make({ memory: '1 MB' })).toThrow(TypeError)
      expect(make({ latency: -1 })).toThrow(RangeError)
      expect(make({ latency: Number.NaN })).toThrow(RangeError)
      expect(make({ bandwidth: 0 })).toThrow(RangeError)
    })

    it('of a launch are ranges of the address space', async () => {
      const { handle } = machine
      const run = (read: readonly { start: number; end: number }[]) => handle.run({ read }, NOTHING)
      await expect(run([{ start: 8, end: 8 }])).rejects.toThrow(RangeError)
      await expect(run([{ start: -8, end: 8 }])).rejects.toThrow(RangeError)
      await expect(run([{ start: 0.5, end: 8 }])).rejects.toThrow(RangeError)
      await expect(run([{ start: 0, end: 2 ** 60 }])).rejects.toThrow(RangeError)
      await expect(run([{ start: '0' as unknown as number, end: 8 }])).rejects.toThrow(TypeError)
      await expect(handle.prefetch({ start: 8, end: 0 }, 'read')).rejects.toThrow(RangeError)
      await expect(handle.bringBack({ start: 8, end: 0 })).rejects.toThrow(RangeError)
    })

    it('a launch without ranges is a launch', async () => {
      const receipt = await machine.handle.run({}, NOTHING)
      expect(receipt).toMatchObject({ name: 'kernel', mode: 'direct', pages: { resident: 0 } })
    })

    it('ranges are of bytes: what lies beside them on a page is kept', async () => {
      const { handle } = machine
      const y = await machine.alloc(1, 2, () => 1)
      await machine.store(y + 4, 22)
      await handle.run({ write: [{ start: y + 100, end: y + PAGE_SIZE + 104 }] }, (memory) => {
        expect(() => memory.load32(y)).toThrow('[0x1000, 0x1004) is not declared at all by the launch')
        expect(() => memory.store32(y + PAGE_SIZE + 104, 1)).toThrow(RangeError)
        expect(() => memory.load32(y + 102)).toThrow('word at 0x1066, wanted a multiple of 4')
        expect(memory.bytes({ start: y + 100, end: y + PAGE_SIZE + 104 }).length).toBe(PAGE_SIZE + 4)
        memory.store32(y + 100, 33)
      })
      expect([await machine.load(y), await machine.load(y + 4), await machine.load(y + 100)]).toEqual([1, 22, 33])
    })

    it('a kernel cannot write what was declared for reading, nor go on after the end', async () => {
      const { handle } = machine
      const x = await machine.alloc(1, 1, () => 1)
      let leaked: () => number = () => 0
      await handle.run({ read: [pages(x, 1)] }, (memory) => {
        expect(() => memory.store32(x, 2)).toThrow('is not declared for writing by the launch')
        expect(() => [...memory.pieces(pages(x, 1), 'write')]).toThrow(RangeError)
        leaked = () => memory.load32(x)
      })
      expect(leaked).toThrow('after the end of the launch')
      expect(await machine.load(x)).toBe(1)
    })

    it('a mapping that cannot be written is refused for writing and good for reading', async () => {
      const { handle } = machine
      const x = await machine.alloc(1, 2, (i) => i + 1)
      expect(mmMprotect(machine.mm, x, PAGE_SIZE, PROT_READ)).toBe(0)
      const launch = handle.run({ name: 'bad', write: [pages(x, 2)] }, NOTHING)
      await expect(launch).rejects.toMatchObject({ code: 'EACCES', addr: x })
      let sum = 0
      await handle.run({ read: [pages(x, 2)] }, (memory) => {
        sum = memory.load32(x) + memory.load32(at(x, 1))
      })
      expect(sum).toBe(3)
    })

    it('a handle that is closed, and one of an address space that is gone, say so', async () => {
      const { handle, device } = machine
      expect(machine.openOn(device, machine.mm)).toBe(-22)
      expect(await handle.close()).toBe(0)
      expect(await handle.close()).toBe(0)
      await expect(handle.run({}, NOTHING)).rejects.toMatchObject({ code: 'ENODEV' })
      await expect(handle.prefetch({ start: 0, end: 1 }, 'read')).rejects.toThrow(MmError)
      const again = machine.openOn(device, machine.mm)
      if (typeof again === 'number') throw new Error(`open returned ${again}`)
      await again.run({}, NOTHING)
      machine.handles[0] = again
    })

    it('the device stays while it is used', async () => {
      expect(await machine.device.close()).toBe(-16)
    })
  })

  describe('time', () => {
    const MIB_PER_US = 1024 ** 2 // bytes per second: one byte takes about one microsecond

    it('copies take what the link needs, and the kernel begins when everything is there', async (test) => {
      skipUntimed(setup, test)
      await machine.close()
      await start(setup, { devices: [{ latency: 100, bandwidth: MIB_PER_US * 4096 }] }) // 4 KiB per microsecond and 48 576 ns
      const { handle, clock } = machine
      const perPage = (PAGE_SIZE / (MIB_PER_US * 4096)) * 1e6
      const x = await machine.alloc(1, 8, () => 1)
      let begunAt = -1
      const receipt = await machine.finish(
        handle.run({ read: [pages(x, 8)] }, () => {
          begunAt = clock.now()
        }),
      )
      expect(begunAt).toBeCloseTo(8 * perPage + 100)
      expect(receipt.times).toEqual({ queued: 0, service: begunAt, transfer: begunAt, kernel: 0, flush: 0 })
    })

    it('one launch after the other uses the device; what is queued is told', async () => {
      const { handle } = machine
      const y = await machine.alloc(1, 1, () => 1)
      const first = handle.run({ write: [pages(y, 1)] }, taking(30))
      const second = handle.run({ read: [pages(y, 1)] }, taking(5))
      const receipts = await machine.finish(Promise.all([first, second]))
      expect(receipts.map(({ times }) => [times.queued, times.kernel])).toEqual([
        [0, 30],
        [30, 5],
      ])
    })

    it('a touch comes back after its copy, and mmapLock is held for reading meanwhile', async (test) => {
      skipUntimed(setup, test)
      await machine.close()
      await start(setup, { devices: [{ latency: 10 }] })
      const { handle, mm, clock } = machine
      const y = await machine.alloc(1, 2, () => 1)
      await machine.finish(handle.run({ write: [pages(y, 2)] }, (memory) => memory.store32(y, 2)))
      const begunAt = clock.now()
      const load = machine.load(y)
      await machine.settle()
      machine.check()
      // The page beside it is clean, and comes along in the same migration.
      expect([machine.pages(y, 2), mm.mmapLock.readers]).toEqual(['MM', 1])
      expect(await machine.finish(load)).toBe(2)
      expect([clock.now() - begunAt, mm.mmapLock.readers]).toEqual([10, 0])
    })

    it('a receipt reads as one line', async () => {
      const { handle } = machine
      const y = await machine.alloc(1, 3, () => 1)
      await handle.run({ write: [pages(y, 1)] }, NOTHING)
      const receipt = await machine.finish(handle.run({ name: 'saxpy', write: [pages(y, 3)] }, taking(12)))
      expect(formatReceipt(receipt)).toBe(
        'saxpy on mem0: direct, pages: 1 resident, 2 pinned; 8 KiB up, 0 B down; 12 us',
      )
    })
  })

  describe('giving up', () => {
    const reason = new Error('enough')

    it('before the turn of a launch: it rejects at once, and those behind it go on', async () => {
      const { handle } = machine
      const y = await machine.alloc(1, 1, () => 1)
      const controller = new AbortController()
      const first = handle.run({ write: [pages(y, 1)] }, taking(30))
      let hasRun = false
      const second = handle.run({ write: [pages(y, 1)], signal: controller.signal }, () => {
        hasRun = true
      })
      const third = handle.run({ write: [pages(y, 1)] }, (memory) => memory.store32(y, 9))
      const rejected = expect(second).rejects.toBe(reason)
      await machine.settle()
      controller.abort(reason)
      await rejected
      expect(machine.clock.now()).toBe(0)
      await machine.finish(Promise.all([first, third]))
      expect([hasRun, await machine.load(y)]).toEqual([false, 9])
    })

    it('while pages are on their way: they arrive, and the kernel does not run', async (test) => {
      skipUntimed(setup, test)
      await machine.close()
      await start(setup, { devices: [{ latency: 10 }] })
      const { handle, device } = machine
      const [x, y] = [await machine.alloc(1, 2, () => 1), await machine.alloc(4, 2, () => 1)]
      const controller = new AbortController()
      let hasRun = false
      const launch = handle.run({ read: [pages(x, 2)], write: [pages(y, 2)], signal: controller.signal }, () => {
        hasRun = true
      })
      const rejected = expect(launch).rejects.toBe(reason)
      await machine.settle()
      controller.abort(reason)
      machine.check()
      await machine.finish(rejected)
      expect([hasRun, device.npagesUsed, await machine.finish(machine.load(y))]).toEqual([false, 2, 1])
    })

    it('while the kernel runs: it can look, and the launch rejects when it has returned', async () => {
      const { handle } = machine
      const y = await machine.alloc(1, 1, () => 1)
      const controller = new AbortController()
      const launch = handle.run({ write: [pages(y, 1)], signal: controller.signal }, (memory, ...rest) => {
        memory.store32(y, 5)
        return taking(20, ({ signal, store32 }) => {
          if (signal?.aborted !== true) store32.call(memory, y, 6)
        })(memory, ...rest)
      })
      const rejected = expect(launch).rejects.toBe(reason)
      await machine.settle()
      controller.abort(reason)
      await machine.finish(rejected)
      expect(await machine.load(y)).toBe(5)
    })

    it('before it is handed in', async () => {
      await expect(machine.handle.run({ signal: AbortSignal.abort(reason) }, NOTHING)).rejects.toBe(reason)
    })
  })

  describe('durable launches', () => {
    it('leave nothing on the device alone, and copy only what they wrote', async () => {
      const { handle, device } = machine
      const y = await machine.alloc(1, 4, () => 1)
      const receipt = await handle.run({ write: [pages(y, 4)], durable: true }, (memory) => memory.store32(at(y, 1), 2))
      expect([receipt.counters.bytesDeviceToHost.user, device.npagesUsed]).toEqual([PAGE_SIZE, 4])
      machine.check()
      expect(device.lose('pulled out')).toEqual([])
      expect(await machine.loadAll(y, 4)).toEqual([1, 2, 1, 1])
      expect(sumByCause(device.counters.bytesDeviceToHost)).toBe(PAGE_SIZE)
    })

    it('bring back what has no frame in system memory', async () => {
      const { handle, device } = machine
      const y = machine.map(1, 3)
      await handle.run({ write: [pages(y, 3)], durable: true }, (memory) => memory.store32(at(y, 1), 2))
      machine.check()
      // The two others came from nothing and are nothing still.
      expect([machine.pages(y, 3), device.npagesUsed]).toEqual(['DwD', 2])
      expect(await machine.loadAll(y, 3)).toEqual([0, 2, 0])
    })

    it('take the time of the copies, during which nobody gets the pages', async (test) => {
      skipUntimed(setup, test)
      await machine.close()
      await start(setup, { devices: [{ latency: 10 }] })
      const { handle } = machine
      const y = await machine.alloc(1, 2, () => 1)
      const launch = handle.run({ write: [pages(y, 2)], durable: true }, (memory) => memory.store32(y, 2))
      await machine.settle()
      machine.clock.step()
      await machine.settle()
      machine.check()
      let seen = 0
      void machine.load(y).then((value) => {
        seen = value
      })
      await machine.settle()
      expect([machine.pages(y, 2), seen]).toEqual(['DD', 0])
      const { times } = await machine.finish(launch)
      await machine.settle()
      expect([times.flush, seen, machine.clock.now()]).toEqual([10, 2, 20])
    })

    it('pages that are freed during the flush are gone after it', async (test) => {
      skipUntimed(setup, test)
      await machine.close()
      await start(setup, { devices: [{ latency: 10 }] })
      const { handle, device, mmu } = machine
      const y = await machine.alloc(1, 2, () => 1)
      const launch = handle.run({ write: [pages(y, 2)], durable: true }, (memory) => memory.store32(y, 2))
      await machine.settle()
      machine.clock.step()
      await machine.settle()
      const freed = machine.munmap(y, 2)
      await machine.settle()
      expect(machine.pages(y, 2)).toBe('DD')
      await machine.finish(Promise.all([launch, freed]))
      machine.check()
      expect([machine.pages(y, 2), device.npagesUsed, mmu.nfree]).toEqual(['__', 0, mmu.nframes - 1])
    })
  })
})
