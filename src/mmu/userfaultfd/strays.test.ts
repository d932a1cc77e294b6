// Touches of pages that nobody has. The program finds zeroes, and what it leaves there is in nobody's way.

import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest'
import { findLiveMachine, LiveFixture, type LiveMachine } from '../../../test/helpers/live-fixture.ts'
import { ProgramThread } from '../../../test/helpers/program-thread.ts'
import { PAGE_SIZE } from '../../base/addr.ts'

const SPACE = 1
const NFRAMES = 8192
/** Strays that are kept. */
const STRAYS_MAX = 4096

const found = await findLiveMachine()
const machine = typeof found === 'string' ? null : found
if (machine === null) test('strays', (test) => test.skip(String(found)))

const page = (vpn: number) => vpn * PAGE_SIZE

describe.skipIf(machine === null)('strays', () => {
  const thread = new ProgramThread()
  let live: LiveFixture

  const mapStray = (addr: number): void => {
    live.mmu.addStray(addr)
    live.mmu.mapStray(addr)
  }

  beforeEach(() => {
    live = new LiveFixture(machine as LiveMachine, machine!.support.tracking, NFRAMES, thread)
    live.mmu.attach()
    live.onFault = ({ addr }) => mapStray(addr)
  })
  afterEach(() => live.close())
  afterAll(() => thread.end())

  test('read as zeroes, also where somebody has left something', () => {
    live.mmu.allocFrame(SPACE, page(3), 0)
    live.poke(page(3), 77)
    live.mmu.freeFrame(3, 0)
    expect([live.load(page(3)), live.load(page(4))]).toEqual([0, 0])
    live.store(page(4), 5)
    expect([live.load(page(4)), live.faults.length]).toEqual([5, 2])
  })

  test('leave nothing to whoever gets the page', () => {
    live.store(page(5), 5)
    live.mmu.dropStrays(page(4), 3)
    expect(live.mmu.allocFrame(SPACE, page(5), 0)).toBe(5)
    live.mmu.clearFrame(5)
    live.onFault = ({ addr }) => live.mmu.install(SPACE, addr, addr / PAGE_SIZE, 1, true)
    expect([live.load(page(5)), live.faults.length]).toEqual([0, 2])
    live.store(page(5), 6)
    const dirty = new Uint8Array(1)
    live.mmu.unmap(SPACE, page(5), 1, dirty)
    expect([dirty[0], live.peek(page(5))]).toEqual([1, 6])
  })

  test('are few: the oldest go, and their memory with them', () => {
    for (let vpn = 0; vpn < STRAYS_MAX + 1024; vpn++) mapStray(page(vpn))
    live.mmu.frames.trim()
    expect(live.mmu.frames.nbacked).toBe(STRAYS_MAX)
    live.store(page(2000), 9)
    expect([live.load(page(2000)), live.load(page(0)), live.faults.length]).toEqual([9, 0, 1])
  })

  test('are counted for those who have to know', () => {
    const counts: number[] = []
    const { kernel, support } = machine as LiveMachine
    live.close()
    live = new LiveFixture({ kernel, support }, support.tracking, NFRAMES, thread, (count) => counts.push(count))
    live.mmu.attach()
    mapStray(page(1))
    mapStray(page(2))
    live.mmu.dropStrays(page(0), 2)
    live.mmu.dropStrays(page(2), 1)
    expect(counts).toEqual([1, 2, 1, 0])
  })
})
