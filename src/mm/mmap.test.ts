// mmap, munmap and the end of an address space by the numbers of the specification (CP-20 to CP-23): what becomes of an entry
// of each kind, and of what it holds.

import { describe, expect, it } from 'vitest'
import { MmFixture } from '../../test/helpers/mm-fixture.ts'
import { PAGE_SIZE, TASK_SIZE } from '../base/addr.ts'
import { EFAULT, EINVAL } from '../base/errno.ts'
import { MADV_HWPOISON, MADV_PAGEOUT, PROT_READ } from '../uapi/mman.ts'
import { mmMunmap } from './mmap.ts'
import { mmuIntervalNotifierInsert, mmuIntervalReadBegin } from './mmu-notifier.ts'
import { PG_DIRTY } from './page.ts'
import { PTE_KIND_SWAPIN_ERROR } from './pte.ts'

describe('munmap (CP-20)', () => {
  it('drops entries of every kind, with all that they hold', () => {
    const fixture = new MmFixture({ swap: '64 KiB' })
    fixture.mmap(0, 8)
    fixture.store(0)
    fixture.load(1)
    fixture.store(3, 3)
    fixture.migrateToDev(0, 3, 1)
    fixture.exclusive(1, 4, 1)
    fixture.madvise(5, 1, MADV_PAGEOUT)
    fixture.store(6)
    const poisoned = fixture.pfn(6)
    fixture.held.set(poisoned, 1) // memory failure keeps the frame
    fixture.madvise(6, 1, MADV_HWPOISON)
    fixture.setEntry(7, PTE_KIND_SWAPIN_ERROR)
    expect([fixture.pte(0, 8), [...fixture.mm.rss]]).toEqual(['wz-DXsh!', [0, 3, 1, 0]])
    fixture.munmap(0, 8)
    expect([fixture.pte(0, 8), [...fixture.mm.rss], fixture.device(0).npagesUsed]).toEqual([
      '________',
      [0, 0, 0, 0],
      0,
    ])
    expect([fixture.sys.swap?.nfree, fixture.nused, fixture.countsOf(poisoned)]).toEqual([16, 1, '1/0'])
    fixture.finish()
  })

  it('keeps what was written to a file: the dirty bit goes to the page', () => {
    const fixture = new MmFixture({ faultAroundPages: 1 })
    const file = fixture.machine.createFile('data', 1)
    fixture.mmap(0, 1, { file, shared: true })
    fixture.load(0)
    const pfn = fixture.pfn(0)
    fixture.sys.pages.clearDirty(pfn)
    fixture.process.store32(fixture.addr(0), 7) // no fault: the entry is writable
    expect(fixture.sys.pages.flags[pfn] & PG_DIRTY).toBe(0)
    fixture.munmap(0, 1)
    expect([fixture.sys.pages.flags[pfn] & PG_DIRTY, fixture.countsOf(pfn)]).toEqual([PG_DIRTY, '1/0'])
    fixture.finish(1)
  })

  it('of a page that is migrating drops the entry; the end of the migration frees the page', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1)
    fixture.store(0)
    const pfn = fixture.pfn(0)
    const end = fixture.beginMigration(0)
    expect(fixture.step(() => mmMunmap(fixture.mm, fixture.addr(0), PAGE_SIZE))).toBe(0)
    expect([fixture.pte(0, 1), [...fixture.mm.rss], fixture.countsOf(pfn)]).toEqual(['_', [0, 0, 0, 0], '1/0'])
    end()
    expect([fixture.countsOf(pfn), fixture.nused]).toEqual(['0/0', 0])
    fixture.finish()
  })

  it('leaves the parts around it, and their page tables', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1024)
    fixture.store(0)
    fixture.store(600)
    fixture.munmap(1, 511)
    expect([fixture.pte(0, 2), fixture.pte(512, 1), fixture.pte(600, 1)]).toEqual(['w_', '-', 'w'])
    fixture.munmap(512, 512)
    fixture.mmap(512, 512)
    expect([fixture.pte(0, 1), fixture.pte(600, 1)]).toEqual(['w', 't'])
    fixture.finish()
  })

  it('of nothing succeeds without a trace (CP-21)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1)
    const maps = fixture.process.maps()
    expect(fixture.eventsOf(() => fixture.munmap(4, 100))).toEqual([])
    expect(fixture.process.maps()).toBe(maps)
    fixture.finish()
  })
})

describe('mmap', () => {
  it('without a place maps as high as there is room, and grows a neighbour that agrees in everything', () => {
    const fixture = new MmFixture()
    const first = fixture.process.mmap({ length: PAGE_SIZE })
    const second = fixture.process.mmap({ length: PAGE_SIZE })
    expect([second, fixture.mm.vmas.length]).toEqual([first - PAGE_SIZE, 1])
    const third = fixture.process.mmap({ length: PAGE_SIZE, prot: PROT_READ })
    expect([third, fixture.mm.vmas.length]).toEqual([second - PAGE_SIZE, 2])
    expect(first + PAGE_SIZE).toBeLessThanOrEqual(TASK_SIZE)
    fixture.finish()
  })

  it('with `populate` faults everything in', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 4)
    fixture.step(() => fixture.process.mlock(fixture.addr(0), 4 * PAGE_SIZE))
    expect(fixture.pte(0, 4)).toBe('wwww')
    fixture.finish()
  })
})

describe('the end of a process (CP-22)', () => {
  it('leaves subscriptions in place: reading goes on, faulting does not (CP-23)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1)
    fixture.store(0)
    const handle = fixture.dev(0)
    const seq = mmuIntervalReadBegin(fixture.log.sub)
    fixture.exit(fixture.process)
    expect(mmuIntervalReadBegin(fixture.log.sub)).toBeGreaterThan(seq)
    const buffer = new Uint8Array(PAGE_SIZE)
    expect(handle.read(fixture.addr(0), 1, buffer).ret).toBe(-EFAULT)
    expect(handle.migrateToDev(fixture.addr(0), 1, buffer).ret).toBe(-EINVAL)
    expect(handle.exclusive(fixture.addr(0), 1, buffer).ret).toBe(-EINVAL)
    expect(mmuIntervalNotifierInsert(fixture.mm, 0, PAGE_SIZE, { invalidate: () => true })).toBe(-EINVAL)
    expect(handle.close()).toBe(0)
  })

  it('frees device memory and what a device has to itself', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 2)
    fixture.store(0, 2)
    fixture.migrateToDev(0, 0, 1)
    fixture.exclusive(0, 1, 1)
    fixture.exit(fixture.process)
    expect([fixture.device(0).npagesUsed, fixture.nused, [...fixture.mm.rss]]).toEqual([0, 0, [0, 0, 0, 0]])
  })
})
