// Duplicates of many pages at a time: what is decided for a run must hold for each of its pages.

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { DriverMachine, ON_HARDWARES, skipWithout, whyNot } from '../../../test/helpers/driver-machine.ts'
import { PAGE_SIZE } from '../../base/addr.ts'
import { pinUserPages, unpinUserPage } from '../../mm/gup.ts'
import { Block } from './block.ts'
import { spansOf } from './read-duplicates.ts'

let machine: DriverMachine

const pages = (addr: number, npages: number) => ({ start: addr, end: addr + npages * PAGE_SIZE })
const at = (addr: number, page: number) => addr + page * PAGE_SIZE

describe.each(ON_HARDWARES)('duplicates on a $hardware device', (setup) => {
  beforeEach(async (test) => {
    skipWithout(setup, test)
    machine = await DriverMachine.open(setup, { nframes: 4096, devices: [{ memory: 1600 * PAGE_SIZE }] })
  })

  afterEach(async () => {
    if (whyNot(setup) !== null) return
    machine.check()
    await machine.close()
  })

  /** What the device reads in some pages. */
  async function seen(addr: number, npages: number, which: readonly number[]): Promise<number[]> {
    const found: number[] = []
    await machine.handles[0].run({ read: [pages(addr, npages)] }, (memory) => {
      for (const page of which) found.push(memory.load32(at(addr, page)))
    })
    return found
  }

  it('come for several blocks of 2 MiB at once, with one event for all of them', async () => {
    const x = await machine.alloc(500, 1100, (i) => i + 1)
    const which = [0, 11, 12, 523, 524, 1035, 1036, 1099]
    expect(await seen(x, 1100, which)).toEqual(which.map((i) => i + 1))
    const events = machine.events.filter(({ kind }) => kind === 'duplication')
    expect(events).toMatchObject([{ start: x, end: at(x, 1100), npages: 1100 }])
  })

  it('of pages that nobody has written are all zeroes, and so are not those beside them', async () => {
    const x = machine.map(500, 600)
    for (const page of [0, 3, 4, 598]) await machine.store(at(x, page), page + 1)
    expect(await seen(x, 600, [0, 1, 2, 3, 4, 5, 597, 598, 599])).toEqual([1, 0, 0, 4, 5, 0, 0, 599, 0])
  })

  it('end after a launch where a page in the middle of a run is pinned, and for that page alone', async () => {
    const { mm, sys } = machine
    const x = await machine.alloc(500, 600, (i) => i)
    const pinned: number[] = []
    expect(pinUserPages(mm, at(x, 300), 1, { write: true }, pinned)).toBe(1)
    expect(await seen(x, 600, [299, 300, 301])).toEqual([299, 300, 301])
    const bytes = machine.mmu.bytes(pinned[0])
    new Uint32Array(bytes.buffer, bytes.byteOffset, 1)[0] = 77
    await machine.store(at(x, 301), 78)
    machine.events.length = 0
    expect(await seen(x, 600, [299, 300, 301])).toEqual([299, 77, 78])
    const copied = machine.events.flatMap((event) => (event.kind === 'duplication' ? [event.npages] : []))
    expect(copied.reduce((sum, npages) => sum + npages, 0)).toBe(2)
    unpinUserPage(sys, pinned[0])
  })
})

describe.each(ON_HARDWARES)('a range that is on a $hardware device as a whole', (setup) => {
  it('moves when another range of the launch needs to lie around it', async (test) => {
    skipWithout(setup, test)
    machine = await DriverMachine.open(setup, { devices: [{ memory: 100 * PAGE_SIZE }] })
    // In this order, 30 pages each; the run of 45 has no place beside the one in the middle.
    const [p, a, q] = [
      await machine.alloc(1, 30, (i) => i),
      await machine.alloc(40, 30, (i) => 100 + i),
      machine.map(80, 30),
    ]
    for (const addr of [p, a, q]) await machine.handle.run({ read: [pages(addr, 30)], inOnePiece: true }, () => {})
    const c = await machine.alloc(120, 45, (i) => 1000 + i)
    const seen: number[] = []
    await machine.handle.run({ read: [pages(a, 30), pages(c, 45)], inOnePiece: true }, (memory) => {
      for (const addr of [a, at(a, 29), c, at(c, 44)]) seen.push(memory.load32(addr))
    })
    expect(seen).toEqual([100, 129, 1000, 1044])
    await machine.close()
  })
})

describe('spansOf()', () => {
  const block = (vpn: number, first: number, npages: number) => new Block(1, null as never, vpn, first, npages, 0)

  it('joins blocks that lie side by side in both memories', () => {
    const blocks = [block(10, 0, 5), block(15, 5, 512), block(527, 600, 3), block(531, 603, 1)]
    expect(spansOf(blocks, 1024)).toEqual([
      { vpn: 10, first: 0, npages: 517 },
      { vpn: 527, first: 600, npages: 3 },
      { vpn: 531, first: 603, npages: 1 },
    ])
  })

  it('joins no more than is asked for', () => {
    const blocks = Array.from({ length: 5 }, (_, i) => block(512 * i, 512 * i, 512))
    const sizes = spansOf(blocks, 1100).map(({ npages }) => npages)
    expect(sizes).toEqual([1024, 1024, 512])
  })
})
