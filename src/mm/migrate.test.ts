// Moving pages within system memory: who is told, what the entries become and come back as, and what keeps a page in place.

import { describe, expect, it } from 'vitest'
import { MmFixture } from '../../test/helpers/mm-fixture.ts'
import { PAGE_SIZE, PMD_SIZE } from '../base/addr.ts'
import { EACCES, EAGAIN, EBUSY, EFAULT, EINVAL, ENOENT, ENOMEM } from '../base/errno.ts'
import { Machine } from '../machine/machine.ts'
import { PROT_NONE, PROT_READ } from '../uapi/mman.ts'
import { remapPfnRange } from './insert.ts'
import { migratePage, movePages } from './migrate.ts'
import { allocKernelPage, getPage, putPage, unlockPage } from './page-alloc.ts'
import { addToSwapCache } from './swap.ts'
import { validateSystem } from './validate.ts'

/** movePages() of pages of the fixture: statuses, and the events that it raised. */
function move(fixture: MmFixture, page: number, npages: number, all = false): { status: number[]; events: string[] } {
  let status: number[] = []
  const events = fixture.eventsOf(() => {
    status = [...fixture.step(() => fixture.process.movePages(fixture.addr(page), npages, { all }))]
  })
  return { status, events }
}

describe('movePages()', () => {
  it('raises CLEAR over each page, and leaves entry and contents as they were, in another frame (CP-73, MN-72)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 3)
    fixture.store(0, 3, 10)
    fixture.mprotect(1, 1, PROT_READ)
    fixture.mprotect(2, 1, PROT_NONE)
    const before = [0, 1, 2].map((page) => fixture.pfn(page))
    const flags = [0, 1, 2].map((page) => fixture.flags(page))
    expect(move(fixture, 0, 3)).toEqual({
      status: [0, 0, 0],
      events: ['CLEAR 0-1 of 0-1', 'CLEAR 1-2 of 1-2', 'CLEAR 2-3 of 2-3'],
    })
    expect([fixture.pte(0, 3), fixture.attr(0, 3), fixture.counts(0)]).toEqual(['wrn', '777', '1/1'])
    expect([0, 1, 2].map((page) => fixture.flags(page))).toEqual(flags)
    expect([0, 1, 2].some((page) => before.includes(fixture.pfn(page)) && fixture.pfn(page) === before[page])).toBe(
      false,
    )
    expect([fixture.load(0, 2), fixture.nused]).toEqual([[10, 11], 3])
    fixture.finish()
  })

  it('moves shared pages only if asked to, and then in every process, with an event in each (MN-72)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1)
    fixture.store(0, 1, 10)
    const child = fixture.fork()
    const log = fixture.logOf(child)
    expect(move(fixture, 0, 1)).toEqual({ status: [-EACCES], events: [] })
    expect(move(fixture, 0, 1, true)).toEqual({ status: [0], events: ['CLEAR 0-1 of 0-1'] })
    expect(log.take()).toEqual(['CLEAR 0-1 of 0-1'])
    expect([fixture.pte(0, 1), fixture.pte(0, 1, child), fixture.attr(0, 1)]).toEqual(['r', 'r', '1'])
    expect([fixture.pfn(0) === fixture.pfn(0, child), fixture.counts(0), fixture.load(0, 1, child)]).toEqual([
      true,
      '2/2',
      [10],
    ])
    fixture.finish()
  })

  it('moves pages of files with their place in the page cache', () => {
    const fixture = new MmFixture({ faultAroundPages: 1 })
    const file = fixture.machine.createFile('data', 2)
    fixture.mmap(0, 2, { file, shared: true })
    fixture.mmap(4, 2, { file })
    fixture.store(0, 2, 10)
    fixture.load(4)
    const before = fixture.pfn(0)
    const { status, events } = move(fixture, 0, 2, true)
    expect([status, events]).toEqual([
      [0, 0],
      ['CLEAR 0-1 of 0-2', 'CLEAR 4-5 of 4-6', 'CLEAR 1-2 of 0-2'],
    ])
    expect([fixture.pfn(0) === before, fixture.pfn(4) === fixture.pfn(0), file.getPage(0)]).toEqual([
      false,
      true,
      fixture.pfn(0),
    ])
    expect([fixture.load(0, 2), fixture.load(4), fixture.counts(0)]).toEqual([[10, 11], [10], '3/2'])
    fixture.finish(1)
  })

  it('moves pages that are in the swap cache too', () => {
    const fixture = new MmFixture({ swap: '64 KiB' })
    fixture.mmap(0, 1)
    fixture.store(0, 1, 10)
    const { sys } = fixture
    if (sys.swap === null) throw new Error('there is swap')
    addToSwapCache(sys, sys.swap, fixture.pfn(0), sys.swap.alloc(fixture.pfn(0)))
    const before = fixture.pfn(0)
    expect([move(fixture, 0, 1).status, fixture.pfn(0) === before, fixture.load(0)]).toEqual([[0], false, [10]])
    expect([[...sys.swap.cache].map(([, pfn]) => pfn), fixture.counts(0)]).toEqual([[fixture.pfn(0)], '2/1'])
    fixture.finish()
  })

  it('says of each page why it stays', () => {
    const fixture = new MmFixture()
    fixture.mmap(1, 5)
    fixture.load(2) // zero page
    fixture.store(3, 3)
    fixture.migrateToDev(0, 3, 1)
    fixture.migrateToDev(2, 4, 1)
    fixture.mmap(8, 1)
    fixture.step(() => remapPfnRange(fixture.vma(8), fixture.addr(8), 777, 1))
    expect(move(fixture, 0, 9)).toEqual({
      status: [-EFAULT, -ENOENT, -EFAULT, -ENOENT, -ENOENT, 0, -EFAULT, -EFAULT, -EFAULT],
      events: ['CLEAR 5-6 of 1-6'],
    })
    expect(fixture.pte(0, 9)).toBe('_-zDGw__S')
    fixture.finish()
  })

  it('-EBUSY for a page that is pinned or held: its entry comes back as it was', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 3)
    fixture.store(0, 3, 10)
    const unpin = fixture.pin(0, 1)
    fixture.hold(fixture.pfn(1))
    const before = [0, 1, 2].map((page) => fixture.pfn(page))
    const { status, events } = move(fixture, 0, 3)
    expect(status).toEqual([-EBUSY, -EBUSY, 0])
    expect(events).toEqual(['CLEAR 0-1 of 0-3', 'CLEAR 1-2 of 0-3', 'CLEAR 2-3 of 0-3'])
    expect([fixture.pfn(0), fixture.pfn(1)]).toEqual(before.slice(0, 2))
    expect([fixture.pte(0, 3), fixture.attr(0, 3)]).toEqual(['www', 'f77'])
    unpin()
    fixture.hold(fixture.pfn(1), -1)
    expect(move(fixture, 0, 2).status).toEqual([0, 0])
    fixture.finish()
  })

  it('-EBUSY for a page that is off the LRU, -EAGAIN for one that is locked, without an event', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 2)
    fixture.store(0, 2)
    fixture.sys.lru.remove(fixture.pfn(0))
    fixture.sys.pages.trylock(fixture.pfn(1))
    expect(move(fixture, 0, 2)).toEqual({ status: [-EBUSY, -EAGAIN], events: [] })
    fixture.sys.lru.add(fixture.pfn(0))
    unlockPage(fixture.sys, fixture.pfn(1))
    expect(move(fixture, 0, 2).status).toEqual([0, 0])
    fixture.finish()
  })

  it('-ENOMEM without a free frame', () => {
    const fixture = new MmFixture({ memory: '64 KiB' })
    fixture.mmap(0, 1)
    fixture.store(0, 1, 10)
    for (let pfn = allocKernelPage(fixture.sys); pfn >= 0; pfn = allocKernelPage(fixture.sys)) fixture.held.set(pfn, 1)
    expect(move(fixture, 0, 1)).toEqual({ status: [-ENOMEM], events: [] })
    expect([fixture.load(0), fixture.counts(0)]).toEqual([[10], '1/1'])
    for (const pfn of fixture.held.keys()) putPage(fixture.sys, pfn)
    fixture.held.clear()
    fixture.finish()
  })

  it('refuses what is no range of pages', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1)
    const status = new Int32Array(1)
    for (const [start, npages] of [
      [fixture.addr(0) + 1, 1],
      [-PAGE_SIZE, 1],
      [Number.NaN, 1],
      [fixture.addr(0), -1],
      [fixture.addr(0), 0.5],
      [fixture.addr(0), 2],
      [fixture.addr(0), Number.POSITIVE_INFINITY],
    ]) {
      expect(movePages(fixture.mm, start, npages, status)).toBe(-EINVAL)
    }
    fixture.finish()
  })
})

describe('movePages() of huge pages', () => {
  const NHUGE = PMD_SIZE / PAGE_SIZE

  it('moves a transparent huge page as a whole, through a migration entry of the whole (T-24)', () => {
    const machine = new Machine({ thp: 'always', memory: '16 MiB' })
    const process = machine.createProcess()
    const addr = process.mmap({ addr: PMD_SIZE, length: 2 * PMD_SIZE, fixed: true })
    process.store32(addr, 10)
    process.store32(addr + PMD_SIZE - 4, 20)
    const nfree = machine.mmu.nfree
    expect(new Set(process.movePages(addr, NHUGE))).toEqual(new Set([0]))
    validateSystem(machine.sys, { level: 'full', heldReferences: () => 0 })
    expect([process.dumpPte(addr, 1), machine.mmu.nfree]).toEqual(['P', nfree])
    expect([process.load32(addr), process.load32(addr + PMD_SIZE - 4)]).toEqual([10, 20])
    process.exit()
    expect(machine.mmu.nfree).toBe(machine.mmu.nframes - 1)
  })

  it('takes it apart if there is no room for a whole one', () => {
    const machine = new Machine({ thp: 'always', memory: 2 * PMD_SIZE })
    const process = machine.createProcess()
    const addr = process.mmap({ addr: PMD_SIZE, length: PMD_SIZE, fixed: true })
    process.store32(addr, 10)
    process.store32(addr + PMD_SIZE - 4, 20)
    const status = process.movePages(addr, NHUGE)
    validateSystem(machine.sys, { level: 'full', heldReferences: () => 0 })
    expect([process.dumpPte(addr, NHUGE), new Set(status)]).toEqual(['w'.repeat(NHUGE), new Set([0])])
    expect([process.load32(addr), process.load32(addr + PMD_SIZE - 4)]).toEqual([10, 20])
    process.exit()
    expect(machine.mmu.nfree).toBe(machine.mmu.nframes - 1)
  })

  it('moves a hugetlb page to another one of the pool that nobody was promised', () => {
    const machine = new Machine({ hugetlbPages: 3, memory: '16 MiB' })
    const process = machine.createProcess()
    const addr = process.mmap({ length: PMD_SIZE, hugetlb: true })
    process.store32(addr, 10)
    const { hugetlb } = machine.sys
    expect(new Set(process.movePages(addr, NHUGE))).toEqual(new Set([0]))
    validateSystem(machine.sys, { level: 'full', heldReferences: () => 0 })
    expect([process.load32(addr), process.dumpPte(addr, 1), hugetlb.nfree]).toEqual([10, 'P', 2])
    process.mmap({ length: 2 * PMD_SIZE, hugetlb: true }) // promises the rest
    expect(new Set(process.movePages(addr, NHUGE))).toEqual(new Set([-ENOMEM]))
    validateSystem(machine.sys, { level: 'full', heldReferences: () => 0 })
    expect([process.load32(addr), hugetlb.nfree, hugetlb.reserved]).toEqual([10, 2, 2])
    process.exit()
    expect([hugetlb.nfree, hugetlb.reserved]).toEqual([3, 0])
  })
})

describe('migratePage()', () => {
  it('moves a page that is mapped nowhere', () => {
    const fixture = new MmFixture()
    const file = fixture.machine.createFile('data', 1)
    expect(file.writePage(0, new Uint8Array([42]))).toBe(0)
    const page = file.getPage(0)
    fixture.sys.lru.isolate(page)
    expect(fixture.step(() => migratePage(fixture.sys, page, () => allocKernelPage(fixture.sys)))).toBe(0)
    expect([file.getPage(0) === page, fixture.machine.mmu.bytes(file.getPage(0))[0], fixture.nused]).toEqual([
      false,
      42,
      1,
    ])
    fixture.finish(1)
  })

  it('takes the reference over also if the page has been let go meanwhile', () => {
    const fixture = new MmFixture()
    const page = allocKernelPage(fixture.sys)
    getPage(fixture.sys, page)
    putPage(fixture.sys, page)
    expect(migratePage(fixture.sys, page, () => -1)).toBe(-ENOMEM)
    expect(fixture.nused).toBe(0)
    fixture.finish()
  })
})
