// Duplicates that the CPU writes between launches, where nobody hears of the stores: the next launch finds what was stored, and what need
// not move stays where it is.

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { DriverMachine, PASSING, skipWithout, whyNot } from '../../../test/helpers/driver-machine.ts'
import { PAGE_SIZE } from '../../base/addr.ts'
import { UPLOAD_PAGES_MAX } from './hardware.ts'
import type { LaunchReceipt } from './receipt.ts'

const NPAGES = 600

let machine: DriverMachine
let x: number

const at = (page: number) => x + page * PAGE_SIZE
const all = () => ({ start: x, end: at(NPAGES) })

describe.each(PASSING)('duplicates that were written, on a $hardware device', (setup) => {
  beforeEach(async (test) => {
    skipWithout(setup, test)
    const memory = 1600 * PAGE_SIZE
    machine = await DriverMachine.open(setup, { nframes: 4096, devices: [{ memory }, { memory }] })
    x = await machine.alloc(500, NPAGES, (i) => i)
  })

  afterEach(async () => {
    if (whyNot(setup) !== null) return
    machine.check()
    await machine.close()
  })

  /** What a device reads in some pages, in a launch on all of them. */
  async function launch(which: readonly number[], device = 0): Promise<{ seen: number[]; receipt: LaunchReceipt }> {
    const seen: number[] = []
    const receipt = await machine.handles[device].run({ read: [all()] }, (memory) => {
      for (const page of which) seen.push(memory.load32(at(page)))
    })
    return { seen, receipt }
  }

  const frameOf = (page: number) => machine.handle.space.duplicates.find(at(page) / PAGE_SIZE)
  const kinds = () => machine.events.map(({ kind }) => kind)

  it('are copied to the frames in which they are', async () => {
    await launch([])
    const written = [0, 3, 4, 511, 512, NPAGES - 1]
    const frames = written.map(frameOf)
    for (const page of written) await machine.store(at(page), 1000 + page)
    machine.events.length = 0
    const { seen, receipt } = await launch([...written, 1, 5, 510])
    expect(seen).toEqual([1000, 1003, 1004, 1511, 1512, 1000 + NPAGES - 1, 1, 5, 510])
    expect(written.map(frameOf)).toEqual(frames)
    expect(receipt.pages).toMatchObject({ resident: NPAGES - written.length, duplicated: written.length })
    expect(receipt.counters.bytesHostToDevice.fault).toBe(written.length * PAGE_SIZE)
    expect(receipt.counters.deviceFaults).toBe(0)
    expect(kinds()).toEqual(expect.arrayContaining(['duplicate-invalidated', 'duplication', 'transfer', 'launch']))
    expect(kinds()).not.toContain('device-fault')
  })

  it('are found again in the launch after that, and only what was written since travels', async () => {
    await launch([])
    for (const round of [1, 2, 3]) {
      await machine.store(at(7), 100 * round)
      const { seen, receipt } = await launch([7, 8])
      expect([seen, receipt.pages.duplicated]).toEqual([[100 * round, 8], 1])
    }
    expect((await launch([7])).receipt.pages).toMatchObject({ resident: NPAGES, duplicated: 0 })
  })

  it('are dropped by every other device, which sees the stores too', async () => {
    await launch([], 0)
    await launch([], 1)
    await machine.store(at(20), 77)
    expect((await launch([20], 0)).seen).toEqual([77])
    expect(machine.handles[1].space.duplicates.find(at(20) / PAGE_SIZE)).toBe(-1)
    const { seen, receipt } = await launch([19, 20], 1)
    expect([seen, receipt.pages.duplicated]).toEqual([[19, 77], 1])
    await machine.store(at(20), 78)
    expect((await launch([20], 1)).seen).toEqual([78])
    expect((await launch([20], 0)).seen).toEqual([78])
  })

  it('of which another device alone has copies are not renewed', async () => {
    await launch([], 0)
    await machine.store(at(30), 1)
    const read = [{ start: at(100), end: at(110) }]
    await machine.handles[1].run({ read: [all()] }, () => {})
    await machine.store(at(105), 2)
    await machine.handles[1].run({ read }, (memory) => expect(memory.load32(at(105))).toBe(2))
    expect((await launch([30, 105], 0)).seen).toEqual([1, 2])
  })

  it.each([1, NPAGES])('that were old when a prefetch of %i pages copied them are not used later', async (npages) => {
    const range = { start: x, end: at(npages) }
    await machine.handles[0].prefetch(range, 'read')
    await machine.store(at(0), 1)
    // A prefetch does not ask for stores; it hears of this one when it protects the page.
    await machine.handles[1].prefetch(range, 'read')
    machine.check()
    await machine.store(at(0), 2)
    await machine.handles[1].run({ read: [range] }, (memory) => expect(memory.load32(at(0))).toBe(2))
    await machine.handles[0].run({ read: [range] }, (memory) => expect(memory.load32(at(0))).toBe(2))
  })

  it('that the launch writes become its own', async () => {
    await launch([])
    await machine.store(at(40), 400)
    await machine.store(at(41), 410)
    const write = [{ start: at(40), end: at(41) }]
    await machine.handle.run({ read: [all()], write }, (memory) => {
      memory.store32(at(40), memory.load32(at(40)) + memory.load32(at(41)))
    })
    expect(await machine.load(at(40))).toBe(810)
    expect((await launch([40, 41])).seen).toEqual([810, 410])
  })

  it('are found by launches in slices as well', async () => {
    await launch([])
    for (const page of [10, 400]) await machine.store(at(page), 5 * page)
    const seen: number[] = []
    const slices = [{ read: [{ start: x, end: at(300) }] }, { read: [{ start: at(300), end: at(NPAGES) }] }]
    await machine.handle.run({ read: [all()], slices: () => slices }, (memory, slice) => {
      seen.push(memory.load32(at(slice === slices[0] ? 10 : 400)))
    })
    expect(seen).toEqual([50, 2000])
  })
})

describe.each(PASSING)('very many duplicates that were written, on a $hardware device', (setup) => {
  it('are renewed as far as one upload goes, and the others come in the usual way', async (test) => {
    skipWithout(setup, test)
    const npages = UPLOAD_PAGES_MAX + 100
    machine = await DriverMachine.open(setup, { nframes: 4096, devices: [{ memory: 3000 * PAGE_SIZE }] })
    x = await machine.alloc(500, npages, (i) => i)
    const range = { start: x, end: at(npages) }
    await machine.handle.run({ read: [range] }, () => {})
    for (let i = 0; i < npages; i++) await machine.store(at(i), 2 * i)
    machine.events.length = 0
    const which = [0, 1, UPLOAD_PAGES_MAX - 1, UPLOAD_PAGES_MAX, npages - 1]
    const seen: number[] = []
    const receipt = await machine.handle.run({ read: [range] }, (memory) => {
      for (const page of which) seen.push(memory.load32(at(page)))
    })
    expect(seen).toEqual(which.map((i) => 2 * i))
    expect(receipt.pages).toMatchObject({ resident: 0, duplicated: npages })
    const faults = machine.events.flatMap((event) => (event.kind === 'device-fault' ? [event.nfaults] : []))
    expect(faults.reduce((sum, n) => sum + n, 0)).toBeLessThan(npages)
    machine.check()
    await machine.close()
  })
})
