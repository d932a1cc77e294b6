// Results that come along with their launch, on all hardware; and what is remembered about who asked for results.

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { DriverMachine, ON_HARDWARES, skipWithout, whyNot } from '../../../test/helpers/driver-machine.ts'
import { PAGE_SIZE } from '../../base/addr.ts'
import { ReadBacks } from './read-backs.ts'

const pages = (addr: number, npages: number) => ({ start: addr, end: addr + npages * PAGE_SIZE })

describe('ReadBacks', () => {
  it('counts the launches in a row after which somebody asked for part of what they wrote', () => {
    const readBacks = new ReadBacks()
    const launch = (): number => readBacks.written(0x1000, 0x3000, 2).nasked
    expect(launch()).toBe(0)
    readBacks.asked(0x2000, 0x9000)
    readBacks.asked(0x1000, 0x3000)
    expect(launch()).toBe(1)
    readBacks.asked(0x3000, 0x9000)
    readBacks.asked(0, 0x1000)
    expect(launch()).toBe(0)
    readBacks.asked(0, 0x1001)
    expect(launch()).toBe(1)
    expect(readBacks.written(0x1000, 0x4000, 3).nasked).toBe(0)
  })

  it('forgets what was written the longest time ago', () => {
    const readBacks = new ReadBacks()
    const write = (i: number): number => readBacks.written(i * PAGE_SIZE, (i + 1) * PAGE_SIZE, 1).nasked
    for (let i = 0; i <= 64; i++) write(i)
    readBacks.asked(0, 65 * PAGE_SIZE)
    expect([write(64), write(1), write(0)]).toEqual([1, 1, 0])
  })
})

describe.each(ON_HARDWARES)('results of launches on a $hardware device', (setup) => {
  let machine: DriverMachine

  beforeEach(async (test) => {
    skipWithout(setup, test)
    machine = await DriverMachine.open(setup, {})
  })

  afterEach(async () => {
    if (whyNot(setup) !== null) return
    machine.check()
    await machine.close()
  })

  it('come along once they were asked for twice in a row, and no more after nobody wanted them', async () => {
    const { handle } = machine
    const y = await machine.alloc(1, 2, (i) => i)
    /** Bytes that come with a launch, and with the question for its results. */
    const round = async (value: number, isWanted: boolean): Promise<number[]> => {
      const { counters } = await handle.run({ write: [pages(y, 2)] }, (memory) => memory.store32(y, value))
      machine.check()
      const ahead = counters.bytesDeviceToHost.prefetch
      if (!isWanted) return [ahead, 0]
      const back = await handle.bringBack(pages(y, 2))
      expect(await machine.loadAll(y, 2)).toEqual([value, 1])
      return [ahead, back.bytesDeviceToHost.user]
    }
    expect(await round(10, true)).toEqual([0, PAGE_SIZE])
    expect(await round(11, true)).toEqual([0, PAGE_SIZE])
    expect(await round(12, true)).toEqual([PAGE_SIZE, 0])
    expect(await round(13, false)).toEqual([PAGE_SIZE, 0])
    expect(await round(14, true)).toEqual([0, PAGE_SIZE])
  })

  it('may be written again before anybody asks for them', async () => {
    const { handle } = machine
    const y = await machine.alloc(1, 1, () => 0)
    const add = () => handle.run({ write: [pages(y, 1)] }, (memory) => memory.store32(y, memory.load32(y) + 1))
    for (let i = 1; i <= 4; i++) {
      await add()
      if (i > 2) await add()
      machine.check()
      await handle.bringBack(pages(y, 1))
    }
    expect(await machine.loadAll(y, 1)).toEqual([6])
  })
})
