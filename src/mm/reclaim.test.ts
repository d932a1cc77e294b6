// Reclaim, and what it must leave alone (CP-70 to CP-72, CP-79). Huge pages are in huge-madvise.test.ts.

import { describe, expect, it } from 'vitest'
import { MmFixture } from '../../test/helpers/mm-fixture.ts'
import { PAGE_SIZE } from '../base/addr.ts'
import { MADV_PAGEOUT } from '../uapi/mman.ts'
import { MM_ANONPAGES, MM_SHMEMPAGES, MM_SWAPENTS } from './mm.ts'
import { PG_DIRTY, PG_LRU } from './page.ts'
import { PTE_EXCLUSIVE } from './pte.ts'

describe('swapping an anonymous page out (CP-70)', () => {
  it('makes a swap entry of every mapping of it, exclusive if the page was', () => {
    const fixture = new MmFixture({ swap: '64 KiB' })
    fixture.mmap(0, 2)
    fixture.store(0, 2, 10)
    const child = fixture.fork()
    fixture.store(0, 1, 20)
    fixture.store(0, 1, 30, child)
    const log = fixture.logOf(child)
    const events = fixture.eventsOf(() => fixture.step(() => fixture.sys.reclaim(10)))
    expect([events.sort(), log.take().sort()]).toEqual([
      ['CLEAR 0-1 of 0-2', 'CLEAR 1-2 of 0-2'],
      ['CLEAR 0-1 of 0-2', 'CLEAR 1-2 of 0-2'],
    ])
    expect([fixture.pte(0, 2), fixture.pte(0, 2, child)]).toEqual(['ss', 'ss'])
    expect([0, 1].map((page) => fixture.flags(page) & PTE_EXCLUSIVE)).toEqual([PTE_EXCLUSIVE, 0])
    expect([fixture.mm.rss[MM_ANONPAGES], fixture.mm.rss[MM_SWAPENTS], fixture.nused]).toEqual([0, 2, 0])
    expect([fixture.load(0, 2), fixture.load(0, 2, child)]).toEqual([
      [20, 11],
      [30, 11],
    ])
    fixture.finish()
  })

  it('fails where there is no swap, or it is full: the page stays', () => {
    const without = new MmFixture()
    without.mmap(0, 1)
    without.store(0)
    without.madvise(0, 1, MADV_PAGEOUT)
    expect(without.pte(0, 1)).toBe('w')
    without.finish()
    const small = new MmFixture({ swap: 2 * PAGE_SIZE })
    small.mmap(0, 3)
    small.store(0, 3, 10)
    small.madvise(0, 3, MADV_PAGEOUT)
    expect([small.pte(0, 3), small.load(0, 3)]).toEqual(['ssw', [10, 11, 12]])
    small.finish()
  })
})

describe('reclaim leaves alone (CP-71)', () => {
  it('device memory; pages in exclusive use, although they are on the LRU; pinned and locked ones', () => {
    const fixture = new MmFixture({ swap: '64 KiB' })
    fixture.mmap(0, 6)
    fixture.store(0, 6, 10)
    fixture.migrateToDev(0, 0, 1)
    fixture.migrateToDev(2, 1, 1)
    fixture.exclusive(1, 2, 1)
    const unpin = fixture.pin(3, 1)
    fixture.step(() => fixture.process.mlock(fixture.addr(4), PAGE_SIZE))
    const exclusive = fixture.pfn(2)
    expect([fixture.sys.pages.flags[exclusive] & PG_LRU, fixture.countsOf(exclusive)]).toEqual([PG_LRU, '1/0'])
    for (let i = 0; i < 4; i++) fixture.step(() => fixture.sys.reclaim(100))
    expect(fixture.pte(0, 6)).toBe('DGXwws')
    expect(fixture.load(0, 6)).toEqual([10, 11, 12, 13, 14, 15])
    unpin()
    fixture.finish()
  })
})

describe('reclaiming a page of a file (CP-72)', () => {
  it('empties every entry; what was written through them is not lost', () => {
    const fixture = new MmFixture({ swap: '64 KiB', faultAroundPages: 1 })
    const file = fixture.machine.createFile('data', 2)
    fixture.mmap(0, 2, { file, shared: true })
    fixture.mmap(4, 2, { file })
    fixture.load(0)
    fixture.sys.pages.clearDirty(fixture.pfn(0))
    fixture.process.store32(fixture.addr(0), 10)
    fixture.load(4)
    fixture.step(() => fixture.sys.reclaim(10))
    expect([fixture.pte(0, 2), fixture.pte(4, 2), fixture.mm.rss[MM_SHMEMPAGES]]).toEqual(['--', '--', 0])
    expect([file.mapping.pages.size, file.mapping.swapped.size]).toEqual([0, 1])
    expect([fixture.load(4), fixture.load(0)]).toEqual([[10], [10]])
    expect(fixture.sys.pages.flags[fixture.pfn(0)] & PG_DIRTY).toBe(PG_DIRTY)
    fixture.finish(1)
  })
})

describe('mlock (CP-79)', () => {
  it('faults pages in, also from devices, and keeps them; munlock does nothing to them', () => {
    const fixture = new MmFixture({ swap: '64 KiB' })
    fixture.mmap(0, 4)
    fixture.store(0, 3, 10)
    fixture.migrateToDev(0, 0, 1)
    fixture.exclusive(0, 1, 1)
    fixture.madvise(2, 1, MADV_PAGEOUT)
    fixture.step(() => fixture.process.mlock(fixture.addr(0), 4 * PAGE_SIZE))
    expect([fixture.pte(0, 4), fixture.device(0).npagesUsed]).toEqual(['wwww', 0])
    fixture.step(() => fixture.sys.reclaim(10))
    expect(fixture.pte(0, 4)).toBe('wwww')
    fixture.step(() => fixture.process.munlock(fixture.addr(0), 4 * PAGE_SIZE))
    expect(fixture.pte(0, 4)).toBe('wwww')
    fixture.step(() => fixture.sys.reclaim(10))
    expect([fixture.pte(0, 4), fixture.load(0, 4)]).toEqual(['ssss', [10, 11, 12, 0]])
    fixture.finish()
  })
})
