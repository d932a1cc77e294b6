// Pages that others have too: children after a fork, files, pins of other drivers; and address spaces that end.

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
import { accessPage } from '../../machine/page-fault.ts'
import { forkMm } from '../../mm/fork.ts'
import { pinUserPages, unpinUserPage } from '../../mm/gup.ts'
import { Mm } from '../../mm/mm.ts'
import { mmMmap, mmput } from '../../mm/mmap.ts'
import { ShmemFile } from '../../mm/shmem.ts'
import { MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE } from '../../uapi/mman.ts'
import { touchPages } from '../edge.ts'
import type { Kernel } from '../memory/memory-device.ts'

let machine: DriverMachine

const pages = (addr: number, npages: number) => ({ start: addr, end: addr + npages * PAGE_SIZE })
const at = (addr: number, page: number) => addr + page * PAGE_SIZE
const RW = PROT_READ | PROT_WRITE

/** First word of a page of another address space, after as many faults as it takes. */
async function word(mm: Mm, addr: number, value?: number): Promise<number> {
  expect(await touchPages(mm, addr, addr + 1, value !== undefined)).toBe(0)
  const pfn = accessPage(mm, addr, value !== undefined)
  const bytes = machine.mmu.bytes(pfn)
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, 1)
  if (value !== undefined) words[0] = value
  return words[0]
}

function fork(): Mm {
  const child = forkMm(machine.mm)
  if (typeof child === 'number') throw new Error(`fork returned ${child}`)
  return child
}

async function start(setup: Setup, options: DriverMachineOptions = {}): Promise<void> {
  machine = await DriverMachine.open(setup, options)
}

describe.each(ON_HARDWARES)('sharing with a $hardware device', (setup) => {
  beforeEach(async (test) => {
    skipWithout(setup, test)
    await start(setup, { devices: [{}, {}] })
  })

  afterEach(async () => {
    if (whyNot(setup) !== null) return
    machine.check()
    await machine.close()
  })

  describe('fork', () => {
    it('a page on the device belongs to both; a launch of the parent writes a copy of its own', async () => {
      const { handle, device } = machine
      const y = await machine.alloc(1, 2, () => 1)
      const addOne: Kernel = (memory) => memory.store32(y, memory.load32(y) + 1)
      await handle.run({ write: [pages(y, 2)] }, addOne)
      const child = fork()
      machine.check()
      expect([machine.pages(y, 2), device.npagesUsed]).toEqual(['dd', 2])
      await handle.run({ write: [pages(y, 2)] }, addOne)
      machine.check()
      expect([await word(child, y), await machine.load(y)]).toEqual([2, 3])
      expect(mmput(child)).toBe(0)
    })

    it('a child touches a page of its parent that is on the device', async () => {
      const { handle } = machine
      const y = await machine.alloc(1, 4, (i) => i)
      await handle.run({ write: [pages(y, 4)] }, (memory) => memory.store32(at(y, 1), 50))
      const child = fork()
      expect(await word(child, at(y, 1), 60)).toBe(60)
      machine.check()
      // Only the page that was touched: the parent's device knows nothing of the child.
      expect(machine.pages(y, 4)).toBe('drdd')
      expect(await machine.loadAll(y, 4)).toEqual([0, 50, 2, 3])
      expect(mmput(child)).toBe(0)
    })

    it('pages of a parent that is gone are evicted for the child', async () => {
      const { handle, device } = machine
      const y = await machine.alloc(1, 2, () => 1)
      await handle.run({ write: [pages(y, 2)] }, (memory) => memory.store32(y, 2))
      const child = fork()
      await handle.close()
      // Closing brought them back; now they go out once more, through the child's own handle.
      const own = machine.openOn(device, child)
      if (typeof own === 'number') throw new Error(`open returned ${own}`)
      await own.run({ write: [pages(y, 2)] }, (memory) => memory.store32(at(y, 1), memory.load32(y) + 5))
      const grandchild = forkMm(child)
      if (typeof grandchild === 'number') throw new Error(`fork returned ${grandchild}`)
      expect(mmput(child)).toBe(0)
      machine.check()
      expect(device.npagesUsed).toBe(2)
      await device.evictAll()
      machine.check()
      expect([device.npagesUsed, await word(grandchild, at(y, 1)), await machine.load(at(y, 1))]).toEqual([0, 7, 1])
      expect(mmput(grandchild)).toBe(0)
    })
  })

  describe('files', () => {
    it('what others may change unnoticed is copied for each launch anew', async () => {
      const { handle, sys, mm } = machine
      const file = new ShmemFile(sys, 'file', 2)
      const other = new Mm(sys)
      const x = 8 * PAGE_SIZE
      expect(mmMmap(mm, x, 2 * PAGE_SIZE, PROT_READ, MAP_SHARED | MAP_FIXED, file)).toBe(x)
      expect(mmMmap(other, x, 2 * PAGE_SIZE, RW, MAP_SHARED | MAP_FIXED, file)).toBe(x)
      const seen: number[] = []
      const read: Kernel = (memory) => void seen.push(memory.load32(x))
      await word(other, x, 5)
      await handle.run({ read: [pages(x, 2)] }, read)
      machine.check()
      await word(other, x, 6)
      const { pages: found } = await handle.run({ read: [pages(x, 2)] }, read)
      expect([seen, found.duplicated]).toEqual([[5, 6], 2])
      // A read range that should move stays a copy.
      await handle.run({ read: [pages(x, 2)], placement: 'migrate' }, read)
      expect(seen).toEqual([5, 6, 6])
      expect(mmput(other)).toBe(0)
      await machine.munmap(x, 2)
      file.truncate(0)
    })

    it('a private mapping of a file is written as a copy of its own', async () => {
      const { handle, sys, mm } = machine
      const file = new ShmemFile(sys, 'file', 2)
      const x = 8 * PAGE_SIZE
      expect(mmMmap(mm, x, 2 * PAGE_SIZE, RW, MAP_PRIVATE | MAP_FIXED, file)).toBe(x)
      await handle.run({ write: [pages(x, 2)] }, (memory) => memory.store32(x, 9))
      expect(await machine.loadAll(x, 2)).toEqual([9, 0])
      const other = new Mm(sys)
      expect(mmMmap(other, x, 2 * PAGE_SIZE, RW, MAP_SHARED | MAP_FIXED, file)).toBe(x)
      expect(await word(other, x)).toBe(0)
      expect(mmput(other)).toBe(0)
      await machine.munmap(x, 2)
      file.truncate(0)
    })

    it('pages of a shared mapping do not move to a device, and the launch says where', async () => {
      const { handle, mm } = machine
      const x = 8 * PAGE_SIZE
      expect(mmMmap(mm, x, PAGE_SIZE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED)).toBe(x)
      const launch = handle.run({ write: [pages(x, 1)] }, () => {})
      await expect(launch).rejects.toThrow('EBUSY: busy, mem0 0x8000: the page does not move to the device')
      machine.check()
      await machine.munmap(x, 1)
    })
  })

  describe('pages that somebody else holds', () => {
    it('a page pinned for DMA does not move, and its copy is good for one launch', async () => {
      const { handle, mm, sys } = machine
      const y = await machine.alloc(1, 2, () => 1)
      const pinned: number[] = []
      expect(pinUserPages(mm, y, 1, { write: true }, pinned)).toBe(1)
      await expect(handle.run({ write: [pages(y, 2)] }, () => {})).rejects.toMatchObject({ code: 'EBUSY', addr: y })
      const seen: number[] = []
      const read: Kernel = (memory) => void seen.push(memory.load32(y))
      await handle.run({ read: [pages(y, 1)] }, read)
      const bytes = machine.mmu.bytes(pinned[0])
      new Uint32Array(bytes.buffer, bytes.byteOffset, 1)[0] = 77
      await handle.run({ read: [pages(y, 1)] }, read)
      expect(seen).toEqual([1, 77])
      unpinUserPage(sys, pinned[0])
      await handle.run({ write: [pages(y, 2)] }, (memory) => memory.store32(y, memory.load32(y) + 1))
      expect(await machine.load(y)).toBe(78)
    })
  })

  describe('the end of an address space', () => {
    it('takes its pages on the device along, and its handle', async () => {
      const { device, sys } = machine
      const mm = new Mm(sys)
      const handle = machine.openOn(device, mm)
      if (typeof handle === 'number') throw new Error(`open returned ${handle}`)
      const y = 8 * PAGE_SIZE
      expect(mmMmap(mm, y, 2 * PAGE_SIZE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED)).toBe(y)
      await word(mm, y, 3)
      await handle.run({ read: [pages(y, 1)], write: [pages(at(y, 1), 1)] }, () => {})
      expect(device.npagesUsed).toBe(1)
      expect(mmput(mm)).toBe(0)
      machine.check()
      expect([device.npagesUsed, device.parts.pool.nfree]).toEqual([0, 64])
      await expect(handle.run({}, () => {})).rejects.toMatchObject({ code: 'ENODEV' })
      expect(await handle.close()).toBe(0)
    })

    it('waits for a launch in progress', async () => {
      const { device, sys } = machine
      const mm = new Mm(sys)
      const handle = machine.openOn(device, mm)
      if (typeof handle === 'number') throw new Error(`open returned ${handle}`)
      const y = 8 * PAGE_SIZE
      expect(mmMmap(mm, y, PAGE_SIZE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED)).toBe(y)
      let goOn = (): void => {}
      const kernel = (): Promise<void> =>
        new Promise((resolve) => {
          goOn = resolve
        })
      const launch = handle.run({ write: [pages(y, 1)] }, kernel)
      await machine.settle()
      expect(mmput(mm)).toBe(0)
      machine.check()
      expect([mm.users, device.npagesUsed]).toEqual([1, 1])
      goOn()
      await launch
      await machine.settle()
      expect([mm.users, device.npagesUsed]).toEqual([0, 0])
    })
  })
})
