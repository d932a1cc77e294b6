// Device memory by the numbers of the specification (section 6): what memremap takes, what a device page is from the moment it
// is handed out until its driver has it back.

import { describe, expect, it } from 'vitest'
import { MmFixture } from '../../test/helpers/mm-fixture.ts'
import { AssertionError } from '../base/assert.ts'
import { EBUSY, EINVAL, ENOMEM } from '../base/errno.ts'
import { MADV_HWPOISON } from '../uapi/mman.ts'
import {
  DevPagemap,
  type DevPagemapRequest,
  isDeviceCoherentPage,
  isDevicePrivatePage,
  isZoneDevicePage,
  MEMORY_DEVICE_COHERENT,
  MEMORY_DEVICE_FS_DAX,
  MEMORY_DEVICE_GENERIC,
  MEMORY_DEVICE_PCI_P2PDMA,
  MEMORY_DEVICE_PRIVATE,
  memremapPages,
  memunmapPages,
  pagemapOf,
  zoneDevicePageInit,
} from './memremap.ts'
import { MM_ANONPAGES } from './mm.ts'
import { PG_ALLOCATED, PG_ANON, PG_ANON_EXCLUSIVE, PG_LOCKED } from './page.ts'
import { putPage, unlockPage } from './page-alloc.ts'
import type { System } from './system.ts'

/** Memory of `npages` pages whose driver writes down what it gets back. */
function addMemory(sys: System, npages = 4, type = MEMORY_DEVICE_PRIVATE, owner: unknown = {}) {
  const freed: number[] = []
  const ops = { pageFree: (pfn: number) => freed.push(pfn), migrateToRam: () => 0 }
  const pagemap = memremapPages(sys, { type, npages, owner, ops })
  if (!(pagemap instanceof DevPagemap)) throw new Error(`memremapPages returned ${pagemap}`)
  return { pagemap, freed }
}

describe('memremapPages()', () => {
  it('adds frames above all others, of the kind that was asked for (DM-1, DM-2)', () => {
    expect([
      MEMORY_DEVICE_PRIVATE,
      MEMORY_DEVICE_COHERENT,
      MEMORY_DEVICE_FS_DAX,
      MEMORY_DEVICE_GENERIC,
      MEMORY_DEVICE_PCI_P2PDMA,
    ]).toEqual([1, 2, 3, 4, 5])
    const { sys } = new MmFixture()
    const first = addMemory(sys).pagemap
    const second = addMemory(sys, 2, MEMORY_DEVICE_COHERENT).pagemap
    expect(first.pfn).toBeGreaterThanOrEqual(sys.mmu.nframes)
    expect(second.pfn).toBeGreaterThanOrEqual(first.pfn + 4)
    expect([pagemapOf(sys, first.pfn + 3), pagemapOf(sys, second.pfn), pagemapOf(sys, 0)]).toEqual([
      first,
      second,
      null,
    ])
    const kinds = (pfn: number) => [
      isZoneDevicePage(sys, pfn),
      isDevicePrivatePage(sys, pfn),
      isDeviceCoherentPage(sys, pfn),
    ]
    expect([kinds(0), kinds(first.pfn), kinds(second.pfn)]).toEqual([
      [false, false, false],
      [true, true, false],
      [true, false, true],
    ])
  })

  const good: DevPagemapRequest = {
    type: MEMORY_DEVICE_PRIVATE,
    npages: 4,
    owner: {},
    ops: { pageFree: () => {}, migrateToRam: () => 0 },
  }
  const bad: [string, Partial<DevPagemapRequest>][] = [
    ['no pages', { npages: 0 }],
    ['a negative number of pages', { npages: -1 }],
    ['half a page', { npages: 0.5 }],
    ['NaN pages', { npages: Number.NaN }],
    ['endless pages', { npages: Number.POSITIVE_INFINITY }],
    ['a type that does not exist', { type: 0 }],
    ['a type that does not exist', { type: 6 }],
    ['a type that is no number', { type: Number.NaN }],
    ['private memory without migrateToRam', { ops: { pageFree: () => {} } }],
    ['private memory without pageFree', { ops: { migrateToRam: () => 0 } }],
    ['private memory without an owner', { owner: null }],
    ['private memory of undefined', { owner: undefined }],
    ['coherent memory without pageFree', { type: MEMORY_DEVICE_COHERENT, ops: { migrateToRam: () => 0 } }],
    ['coherent memory without an owner', { type: MEMORY_DEVICE_COHERENT, owner: null }],
  ]
  it.each(bad)('refuses %s: -EINVAL (DM-3)', (_what, change) => {
    const { sys } = new MmFixture()
    const before = [sys.pagemaps.length, sys.pages.nframes]
    expect(memremapPages(sys, { ...good, ...change })).toBe(-EINVAL)
    expect([sys.pagemaps.length, sys.pages.nframes]).toEqual(before)
  })

  it('refuses more frames than can be numbered: -ENOMEM', () => {
    const { sys } = new MmFixture()
    const before = [sys.pagemaps.length, sys.pages.nframes]
    for (const npages of [2 ** 31, 2 ** 40, Number.MAX_SAFE_INTEGER]) {
      expect(memremapPages(sys, { ...good, npages })).toBe(-ENOMEM)
    }
    expect([sys.pagemaps.length, sys.pages.nframes]).toEqual(before)
  })

  it('several may share an owner, which is compared and nothing else (DM-4)', () => {
    const { sys } = new MmFixture()
    const owner = Symbol('owner')
    const [a, b] = [addMemory(sys, 1, MEMORY_DEVICE_PRIVATE, owner), addMemory(sys, 1, MEMORY_DEVICE_COHERENT, owner)]
    expect([a.pagemap.owner, b.pagemap.owner, a.pagemap.id === b.pagemap.id]).toEqual([owner, owner, false])
  })

  it('of a type that HMM does not migrate to needs no callbacks (DM-2)', () => {
    const { sys } = new MmFixture()
    for (const type of [MEMORY_DEVICE_FS_DAX, MEMORY_DEVICE_GENERIC, MEMORY_DEVICE_PCI_P2PDMA]) {
      expect(memremapPages(sys, { type, npages: 1, owner: null, ops: {} })).toBeInstanceOf(DevPagemap)
    }
  })
})

describe('a device page', () => {
  it('is free with no reference, handed out locked with one, and comes back when the last goes (DM-5, DM-6)', () => {
    const { sys } = new MmFixture()
    const { pagemap, freed } = addMemory(sys)
    const { pfn } = pagemap
    expect([sys.pages.refcount[pfn], sys.pages.flags[pfn], pagemap.live]).toEqual([0, 0, 0])
    zoneDevicePageInit(sys, pfn)
    expect([sys.pages.refcount[pfn], sys.pages.flags[pfn], pagemap.live]).toEqual([1, PG_ALLOCATED | PG_LOCKED, 1])
    unlockPage(sys, pfn)
    putPage(sys, pfn)
    expect([freed, sys.pages.refcount[pfn], sys.pages.flags[pfn], pagemap.live]).toEqual([[pfn], 0, 0, 0])
  })

  it('is handed out once, and only by its own device', () => {
    const { sys } = new MmFixture()
    const { pfn } = addMemory(sys).pagemap
    zoneDevicePageInit(sys, pfn)
    expect(() => zoneDevicePageInit(sys, pfn)).toThrow(AssertionError)
    expect(() => zoneDevicePageInit(sys, 0)).toThrow(AssertionError)
  })

  it('comes back clean of mapping and exclusivity, before its driver may use it again (DM-6)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1)
    fixture.store(0)
    fixture.migrateToDev(0, 0, 1)
    const pfn = fixture.pfn(0)
    const { pages } = fixture.sys
    expect(pages.flags[pfn] & (PG_ANON | PG_ANON_EXCLUSIVE)).toBe(PG_ANON | PG_ANON_EXCLUSIVE)
    const { ops } = fixture.sys.pagemaps[pages.pagemap[pfn]] as DevPagemap
    const seen: number[] = []
    const pageFree = ops.pageFree as (pfn: number) => void
    ops.pageFree = (freed) => {
      seen.push(freed, pages.flags[freed] & (PG_ANON | PG_ANON_EXCLUSIVE), pages.mapping[freed])
      pageFree(freed)
    }
    fixture.munmap(0, 1)
    expect(seen).toEqual([pfn, 0, 0])
    fixture.finish()
  })

  it('goes back whenever the last reference does: unmapped, process gone, migrated away, written by the CPU (DM-6)', () => {
    const fixture = new MmFixture()
    const used = () => fixture.device(0).npagesUsed
    fixture.mmap(0, 4)
    fixture.store(0, 4)
    fixture.migrateToDev(0, 0, 4)
    expect(used()).toBe(4)
    fixture.munmap(0, 1)
    expect(used()).toBe(3)
    fixture.migrateToSys(0, 1, 1)
    expect(used()).toBe(2)
    fixture.store(2)
    expect(used()).toBe(1)
    const child = fixture.fork()
    fixture.munmap(3, 1)
    expect(used()).toBe(1) // the child has it
    fixture.exit(child)
    expect(used()).toBe(0)
    fixture.finish()
  })

  it('of private memory is mapped by device entries alone, of coherent memory by ordinary ones (DM-8)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 2)
    fixture.store(0, 2, 10)
    fixture.migrateToDev(0, 0, 1)
    fixture.migrateToDev(2, 1, 1)
    expect(fixture.pte(0, 2)).toBe('DG')
    expect(fixture.eventsOf(() => expect(fixture.load(1)).toEqual([11]))).toEqual([]) // no fault
    expect([fixture.pte(0, 2), fixture.load(0), fixture.pte(0, 2)]).toEqual(['DG', [10], 'wG'])
    fixture.finish()
  })

  it('counts as anonymous memory of each process that maps it (DM-9)', () => {
    const fixture = new MmFixture()
    const rss = (process = fixture.process) => process.mm.rss[MM_ANONPAGES]
    fixture.mmap(0, 4)
    fixture.store(0)
    fixture.load(1)
    expect(rss()).toBe(1)
    fixture.migrateToDev(0, 0, 1)
    expect(rss()).toBe(1) // moved
    fixture.migrateToDev(0, 1, 2)
    expect(rss()).toBe(3) // a zero page and a hole became memory
    expect(rss(fixture.fork())).toBe(3)
    fixture.finish()
  })

  it('carries whatever its driver keeps for it, while it is in use (DM-15)', () => {
    const fixture = new MmFixture()
    const { zoneDeviceData } = fixture.sys.pages
    fixture.mmap(0, 1)
    fixture.store(0)
    fixture.migrateToDev(0, 0, 1)
    const pfn = fixture.pfn(0)
    expect(zoneDeviceData.get(pfn)).toBe(fixture.dev(0).mirror)
    fixture.load(0)
    expect(zoneDeviceData.has(pfn)).toBe(false)
    fixture.finish()
  })

  it('that breaks is refused: -ENXIO, and no process notices (DM-14)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1)
    fixture.store(0, 1, 10)
    fixture.migrateToDev(2, 0, 1)
    const poison = () => fixture.madvise(0, 1, MADV_HWPOISON)
    expect(() => fixture.eventsOf(poison)).toThrow(expect.objectContaining({ code: 'ENXIO', syscall: 'madvise' }))
    expect([fixture.pte(0, 1), fixture.counts(0), fixture.load(0)]).toEqual(['G', '1/1', [10]])
    fixture.finish()
  })
})

describe('memunmapPages()', () => {
  it('is -EBUSY until every page is back; the driver evicts first (DM-12)', () => {
    const { sys } = new MmFixture()
    const { pagemap } = addMemory(sys)
    zoneDevicePageInit(sys, pagemap.pfn)
    unlockPage(sys, pagemap.pfn)
    expect([memunmapPages(sys, pagemap), pagemapOf(sys, pagemap.pfn)]).toEqual([-EBUSY, pagemap])
    putPage(sys, pagemap.pfn)
    expect([memunmapPages(sys, pagemap), pagemapOf(sys, pagemap.pfn), isZoneDevicePage(sys, pagemap.pfn)]).toEqual([
      0,
      null,
      false,
    ])
  })

  it('takes memory away once, and only from the machine that has it', () => {
    const { sys } = new MmFixture()
    const { pagemap } = addMemory(sys)
    expect(memunmapPages(new MmFixture().sys, pagemap)).toBe(-EINVAL)
    expect([memunmapPages(sys, pagemap), memunmapPages(sys, pagemap)]).toEqual([0, -EINVAL])
  })
})
