// mremap by the numbers of the specification (CP-60 to CP-62).

import { describe, expect, it } from 'vitest'
import { MmFixture } from '../../test/helpers/mm-fixture.ts'
import { PAGE_SIZE } from '../base/addr.ts'
import { MADV_PAGEOUT, PROT_READ } from '../uapi/mman.ts'
import { mmMremap } from './mremap.ts'
import { PTE_KIND_MARKER, PTE_SOFT_DIRTY } from './pte.ts'

describe('mremap that moves (CP-60)', () => {
  it('takes entries of every kind along as they are, with their pages and counters', () => {
    const fixture = new MmFixture({ swap: '64 KiB' })
    fixture.mmap(0, 7)
    fixture.store(0)
    fixture.load(1)
    fixture.store(3, 3, 10)
    fixture.migrateToDev(0, 3, 1)
    fixture.exclusive(1, 4, 1)
    fixture.madvise(5, 1, MADV_PAGEOUT)
    fixture.setEntry(6, PTE_KIND_MARKER)
    const state = (page: number) =>
      [0, 1, 2, 3, 4, 5, 6].map((i) => [fixture.flags(page + i) & ~PTE_SOFT_DIRTY, fixture.pfn(page + i)])
    const before = [state(0), [...fixture.mm.rss], fixture.counts(0), fixture.counts(3), fixture.counts(4)]
    expect(fixture.pte(0, 7)).toBe('wz-DXs*')
    fixture.mremap(0, 7, 600)
    expect([state(600), [...fixture.mm.rss], fixture.counts(600), fixture.counts(603), fixture.counts(604)]).toEqual(
      before,
    )
    expect([fixture.pte(0, 7), fixture.pte(600, 7)]).toEqual(['_______', 'wz-DXs*'])
    fixture.setEntry(606, 0)
    fixture.finish()
  })

  it('takes a migration along, which ends at the new place', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1)
    fixture.store(0, 1, 10)
    const end = fixture.beginMigration(0)
    expect(fixture.step(() => mmMremap(fixture.mm, fixture.addr(0), PAGE_SIZE, PAGE_SIZE, 3, fixture.addr(20)))).toBe(
      fixture.addr(20),
    )
    expect(fixture.pte(20, 1)).toBe('M')
    end()
    expect([fixture.pte(20, 1), fixture.load(20)]).toEqual(['w', [10]])
    fixture.finish()
  })

  it('moves whole tables and single entries alike', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1024)
    for (const page of [0, 511, 512, 1023]) fixture.store(page, 1, page)
    fixture.mremap(0, 1024, 2048)
    expect([2048, 2559, 2560, 3071].map((page) => fixture.load(page)[0])).toEqual([0, 511, 512, 1023])
    fixture.mremap(2048, 1024, 4097)
    expect([4097, 4608, 4609, 5120].map((page) => fixture.load(page)[0])).toEqual([0, 511, 512, 1023])
    fixture.finish()
  })

  it('may leave the rest of the mapping where it is', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 3)
    fixture.store(0, 3, 10)
    fixture.mremap(1, 1, 20)
    expect([fixture.pte(0, 3), fixture.pte(20, 1), fixture.load(20), fixture.load(2)]).toEqual(['w_w', 'w', [11], [12]])
    fixture.finish()
  })
})

describe('mremap that resizes (CP-61)', () => {
  const resize = (fixture: MmFixture, from: number, to: number, mayMove = false) =>
    fixture.step(() => fixture.process.mremap(fixture.addr(0), from * PAGE_SIZE, to * PAGE_SIZE, { mayMove }))

  it('grows in place where there is room, and elsewhere if it may', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 2)
    fixture.store(0, 2, 10)
    expect([resize(fixture, 2, 4), fixture.pte(0, 4)]).toEqual([fixture.addr(0), 'ww--'])
    fixture.mmap(4, 1, { prot: PROT_READ })
    expect(() => resize(fixture, 4, 5)).toThrow(expect.objectContaining({ code: 'ENOMEM', syscall: 'mremap' }))
    const moved = resize(fixture, 4, 5, true)
    expect([moved === fixture.addr(0), fixture.pte(0, 4), fixture.process.load32(moved + PAGE_SIZE)]).toEqual([
      false,
      '____',
      11,
    ])
    fixture.finish()
  })

  it('shrinks, and unmaps the tail', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 4)
    fixture.store(0, 4)
    expect([resize(fixture, 4, 1), fixture.pte(0, 4), fixture.nused]).toEqual([fixture.addr(0), 'w___', 1])
    fixture.finish()
  })
})

describe('after a move (CP-62)', () => {
  it('faults, devices and reclaim find the pages at the new place', () => {
    const fixture = new MmFixture({ swap: '64 KiB' })
    fixture.mmap(0, 3)
    fixture.store(0, 3, 10)
    fixture.migrateToDev(0, 0, 1)
    fixture.exclusive(0, 1, 1)
    fixture.mremap(0, 3, 20)
    expect([fixture.load(20, 2), fixture.pte(20, 3)]).toEqual([[10, 11], 'www'])
    fixture.madvise(20, 3, MADV_PAGEOUT)
    expect([fixture.pte(20, 3), fixture.load(20, 3)]).toEqual(['sss', [10, 11, 12]])
    fixture.migrateToDev(0, 20, 3)
    expect(fixture.eventsOf(() => fixture.step(() => fixture.device(0).evictAll())).sort()).toEqual([
      'CLEAR 20-21 of 20-23',
      'CLEAR 21-22 of 20-23',
      'CLEAR 22-23 of 20-23',
    ])
    expect(fixture.load(20, 3)).toEqual([10, 11, 12])
    fixture.finish()
  })
})
