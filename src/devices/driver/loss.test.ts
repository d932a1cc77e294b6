// A device that is gone: what goes on, what is lost and under which name, and what happens to work in progress.

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
import { mmMadvise } from '../../mm/madvise.ts'
import { MADV_DONTNEED } from '../../uapi/mman.ts'
import type { Kernel } from '../memory/memory-device.ts'
import { DeviceLostError } from './index.ts'

let machine: DriverMachine

const pages = (addr: number, npages: number) => ({ start: addr, end: addr + npages * PAGE_SIZE })
const at = (addr: number, page: number) => addr + page * PAGE_SIZE
const NOTHING: Kernel = () => {}

async function start(setup: Setup, options: DriverMachineOptions = {}): Promise<void> {
  machine = await DriverMachine.open(setup, options)
}

describe.each(ON_HARDWARES)('loss of a $hardware device', (setup) => {
  beforeEach(async (test) => {
    skipWithout(setup, test)
    await start(setup, {})
  })

  afterEach(async () => {
    if (whyNot(setup) !== null) return
    machine.check()
    // What is lost is discarded, as a program does in the end; then nothing is left of the device either.
    for (const { start, end } of machine.devices.flatMap((device) => device.lostRanges())) {
      expect(mmMadvise(machine.mm, start, end - start, MADV_DONTNEED)).toBe(0)
    }
    await machine.close()
  })

  describe('lose()', () => {
    it('names what only the device had; everything else goes on', async () => {
      const { handle, device } = machine
      const x = await machine.alloc(1, 4, (i) => i, 'x')
      const y = await machine.alloc(8, 6, (i) => i, 'y')
      const z = machine.map(16, 3, 'z')
      await handle.run({ read: [pages(x, 4)], write: [pages(y, 6), pages(z, 3)] }, (memory) => {
        for (const page of [1, 2, 5]) memory.store32(at(y, page), 100)
        memory.store32(z, 100)
      })
      const lost = device.lose('pulled out')
      machine.check()
      const where = (name: string, addr: number, npages: number) => ({ mm: machine.mm, name, ...pages(addr, npages) })
      expect(lost).toEqual([where('y', at(y, 1), 2), where('y', at(y, 5), 1), where('z', z, 1)])
      expect(await machine.loadAll(x, 4)).toEqual([0, 1, 2, 3])
      expect([await machine.load(y), await machine.load(at(y, 3)), await machine.load(at(z, 2))]).toEqual([0, 3, 0])
      for (const addr of [at(y, 1), at(y, 5), z]) {
        await expect(machine.load(addr)).rejects.toMatchObject({ code: 'EFAULT', addr })
        await expect(machine.store(addr, 1)).rejects.toMatchObject({ code: 'EFAULT' })
      }
      expect(device.lose('again')).toEqual(lost)
    })

    it('lost pages are lost until they are discarded', async () => {
      const { handle, device } = machine
      const y = await machine.alloc(1, 2, () => 1, 'y')
      await handle.run({ write: [pages(y, 2)], placement: 'migrate' }, NOTHING)
      device.lose('pulled out')
      expect(device.lostRanges()).toHaveLength(1)
      expect(mmMadvise(machine.mm, y, PAGE_SIZE, MADV_DONTNEED)).toBe(0)
      machine.check()
      expect(device.lostRanges()).toMatchObject([{ start: at(y, 1), end: at(y, 2) }])
      expect(await machine.load(y)).toBe(0)
    })

    it('fills lost pages where that is wanted', async () => {
      await machine.close()
      await start(setup, { devices: [{ onLost: 'fill' }] })
      const y = await machine.alloc(1, 2, () => 1, 'y')
      await machine.handle.run({ write: [pages(y, 2)] }, (memory) => memory.store32(y, 2))
      expect(machine.device.lose('pulled out')).toHaveLength(1)
      expect(await machine.loadAll(y, 2)).toEqual([0xffff_ffff, 1])
      await machine.store(y, 3)
      expect([await machine.load(y), machine.device.lostRanges()]).toEqual([3, []])
    })

    it('rejects the launch in progress, and all later ones, with the list', async () => {
      const { handle, device } = machine
      const y = await machine.alloc(1, 1, () => 1, 'y')
      let goOn: () => void = () => {}
      let late: unknown
      const launch = handle.run({ write: [pages(y, 1)] }, async (memory) => {
        memory.store32(y, 2)
        await new Promise<void>((resolve) => {
          goOn = resolve
        })
        try {
          memory.store32(y, 3)
        } catch (error) {
          late = error
        }
      })
      const waiting = handle.run({ read: [pages(y, 1)] }, NOTHING)
      const touch = machine.load(y)
      const all = Promise.allSettled([launch, waiting, touch])
      await machine.settle()
      device.lose('hung')
      const [first, second, third] = await all
      expect(first).toMatchObject({ status: 'rejected', reason: { code: 'DEVICE_LOST', device: 'mem0' } })
      expect(String((first as PromiseRejectedResult).reason)).toBe(
        'DeviceLostError: mem0 is lost: hung; lost: 1 page at 0x1000 of "y"',
      )
      expect(second).toMatchObject({ status: 'rejected', reason: expect.any(DeviceLostError) })
      // The touch came before the launch had taken the page, or found it lost.
      expect(third.status === 'fulfilled' ? third.value : third.reason).toSatisfy(
        (found: unknown) => found === 1 || (found as { code: string }).code === 'EFAULT',
      )
      goOn()
      await machine.settle()
      expect(late).toBeInstanceOf(RangeError)
      await expect(handle.run({}, NOTHING)).rejects.toBeInstanceOf(DeviceLostError)
      await expect(handle.prefetch(pages(y, 1), 'read')).rejects.toBeInstanceOf(DeviceLostError)
      await expect(handle.bringBack(pages(y, 1))).rejects.toBeInstanceOf(DeviceLostError)
      expect(machine.openOn(device, machine.mm)).toBe(-19)
    })

    it('pages on their way to the device stay where they are', async (test) => {
      skipUntimed(setup, test)
      await machine.close()
      await start(setup, { devices: [{ latency: 10 }] })
      const { handle, device } = machine
      const [x, y] = [await machine.alloc(1, 2, () => 5, 'x'), await machine.alloc(4, 2, () => 6, 'y')]
      const launch = handle.run({ read: [pages(x, 2)], write: [pages(y, 2)] }, NOTHING)
      const rejected = expect(launch).rejects.toBeInstanceOf(DeviceLostError)
      await machine.settle()
      expect(machine.pages(y, 2)).toBe('MM')
      expect(device.lose('pulled out')).toEqual([])
      await rejected
      machine.check()
      expect([await machine.loadAll(x, 2), await machine.loadAll(y, 2)]).toEqual([
        [5, 5],
        [6, 6],
      ])
    })

    it('pages on their way back are lost if they have to be copied', async (test) => {
      skipUntimed(setup, test)
      await machine.close()
      await start(setup, { devices: [{ latency: 10 }] })
      const { handle, device } = machine
      const y = await machine.alloc(1, 2, () => 6, 'y')
      await machine.finish(handle.run({ write: [pages(y, 2)] }, (memory) => memory.store32(y, 7)))
      const [first, second] = [machine.load(y), machine.load(at(y, 1))]
      const rejected = expect(first).rejects.toMatchObject({ code: 'EFAULT' })
      await machine.settle()
      expect(machine.pages(y, 2)).toBe('MM')
      expect(device.lose('pulled out')).toMatchObject([{ name: 'y', ...pages(y, 1) }])
      await rejected
      expect([await second, device.npagesUsed]).toEqual([6, 1])
    })

    it('a device that is lost makes another one that needs its pages fail by address', async () => {
      await machine.close()
      await start(setup, { devices: [{}, {}] })
      const { handles, devices } = machine
      const y = await machine.alloc(1, 3, () => 6, 'y')
      await handles[0].run({ write: [pages(y, 3)] }, (memory) => memory.store32(at(y, 1), 7))
      devices[0].lose('pulled out')
      await expect(handles[1].run({ write: [pages(y, 3)] }, NOTHING)).rejects.toMatchObject({ code: 'EFAULT', addr: y })
      machine.check()
      await handles[1].run({ write: [pages(y, 1), pages(at(y, 2), 1)] }, (memory) => memory.store32(y, 8))
      expect([await machine.load(y), await machine.load(at(y, 2))]).toEqual([8, 6])
    })
  })
})
