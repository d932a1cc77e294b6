// Soft-dirty bits: what clearing them raises and changes, and that no write afterwards goes unnoticed.

import { describe, expect, it } from 'vitest'
import { MmFixture } from '../../test/helpers/mm-fixture.ts'
import { MADV_DONTNEED, MADV_FREE, MADV_PAGEOUT, PROT_NONE, PROT_READ, PROT_WRITE } from '../uapi/mman.ts'
import { remapPfnRange } from './insert.ts'
import { PTE_WRITE } from './pte.ts'

const RW = PROT_READ | PROT_WRITE

function clear(fixture: MmFixture): string[] {
  return fixture.eventsOf(() => fixture.step(() => fixture.process.clearSoftDirty()))
}

function softDirty(fixture: MmFixture, npages: number, process = fixture.process): string {
  return process.dumpSoftDirty(fixture.addr(0), npages)
}

describe('clearSoftDirty()', () => {
  it('write-protects everything under one SOFT_DIRTY event over everything (MN-77, CP-78)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 3)
    fixture.mmap(600, 1)
    fixture.store(0, 2)
    fixture.store(600)
    expect([fixture.pte(0, 3), softDirty(fixture, 4)]).toEqual(['ww-', '111.'])
    expect(clear(fixture)).toEqual(['SOFT_DIRTY all of none'])
    expect([fixture.pte(0, 3), fixture.pte(600, 1), softDirty(fixture, 3)]).toEqual(['rr-', 'r', '...'])
    fixture.finish()
  })

  it('raises the event without any mapping too', () => {
    const fixture = new MmFixture()
    expect(clear(fixture)).toEqual(['SOFT_DIRTY all of none'])
    fixture.finish()
  })

  it('the next write is a fault without an event or a copy, and shows', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 3)
    fixture.store(0, 3)
    clear(fixture)
    const pfn = fixture.pfn(1)
    expect(fixture.eventsOf(() => fixture.store(1, 1, 7))).toEqual([])
    expect([fixture.pte(0, 3), softDirty(fixture, 3), fixture.pfn(1)]).toEqual(['rwr', '.1.', pfn])
    fixture.load(0, 3)
    expect(softDirty(fixture, 3)).toBe('.1.')
    fixture.finish()
  })

  it('a first touch afterwards shows if it writes', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 3)
    clear(fixture)
    fixture.load(0)
    fixture.store(1)
    expect([fixture.pte(0, 3), softDirty(fixture, 3)]).toEqual(['zw-', '.1.'])
    fixture.store(0) // the zero page is replaced
    expect(softDirty(fixture, 3)).toBe('11.')
    fixture.finish()
  })

  it('a mapping that is new or has grown counts as written as a whole', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 2)
    fixture.store(0, 2)
    clear(fixture)
    fixture.mmap(4, 1)
    expect(softDirty(fixture, 5)).toBe('....1')
    fixture.mmap(2, 1) // merges with the one before
    expect([fixture.process.maps().split('\n').length - 1, softDirty(fixture, 5)]).toEqual([2, '111.1'])
    fixture.finish()
  })

  it('writes through a shared mapping are noticed, and only after clearing', () => {
    const fixture = new MmFixture({ faultAroundPages: 1 })
    fixture.mmap(0, 3, { shared: true })
    fixture.load(0)
    expect(fixture.pte(0, 3)).toBe('w--')
    clear(fixture)
    fixture.load(1)
    expect([fixture.pte(0, 3), softDirty(fixture, 3)]).toEqual(['rr-', '...'])
    fixture.store(0, 3)
    expect([fixture.pte(0, 3), softDirty(fixture, 3)]).toEqual(['www', '111'])
    fixture.finish()
  })

  it('mprotect does not give the permission back before the write was noticed (CP-41)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 2)
    fixture.store(0, 2)
    fixture.mmap(4, 2, { shared: true })
    fixture.store(4, 2)
    clear(fixture)
    fixture.store(0)
    fixture.store(4)
    for (const prot of [PROT_READ, PROT_NONE]) {
      for (const page of [0, 4]) {
        fixture.mprotect(page, 2, prot)
        fixture.mprotect(page, 2, RW)
        expect(fixture.pte(page, 2)).toBe('wr')
      }
    }
    expect(softDirty(fixture, 6)).toBe('1...1.')
    fixture.finish()
  })

  it('a page that may be pinned keeps permission and bit: it can be written at any time', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 2)
    fixture.store(0, 2)
    const unpin = fixture.pin(0, 1)
    clear(fixture)
    expect([fixture.pte(0, 2), softDirty(fixture, 2)]).toEqual(['wr', '1.'])
    unpin()
    clear(fixture)
    expect([fixture.pte(0, 2), softDirty(fixture, 2)]).toEqual(['rr', '..'])
    fixture.finish()
  })

  it('a pin of a shared mapping does not count', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1, { shared: true })
    fixture.store(0)
    const unpin = fixture.pin(0, 1)
    clear(fixture)
    expect([fixture.pte(0, 1), softDirty(fixture, 1)]).toEqual(['r', '.'])
    unpin()
    fixture.finish()
  })

  it('leaves raw frames alone', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1)
    fixture.step(() => remapPfnRange(fixture.vma(0), fixture.addr(0), 777, 1))
    const flags = fixture.flags(0)
    clear(fixture)
    expect(fixture.flags(0)).toBe(flags)
    fixture.finish()
  })
})

describe('the soft-dirty bit', () => {
  it('is kept while the page is swapped, and a read brings it back', () => {
    const fixture = new MmFixture({ swap: '1 MiB' })
    fixture.mmap(0, 2)
    fixture.store(0, 2)
    clear(fixture)
    fixture.store(0)
    fixture.madvise(0, 2, MADV_PAGEOUT)
    expect([fixture.pte(0, 2), softDirty(fixture, 2)]).toEqual(['ss', '1.'])
    fixture.load(0, 2)
    expect([fixture.pte(0, 2), softDirty(fixture, 2)]).toEqual(['rr', '1.'])
    fixture.madvise(0, 2, MADV_PAGEOUT)
    clear(fixture)
    expect([fixture.pte(0, 2), softDirty(fixture, 2)]).toEqual(['ss', '..'])
    fixture.store(1)
    expect(softDirty(fixture, 2)).toBe('.1')
    fixture.finish()
  })

  it('is kept on a device and in exclusive use, both ways (MG-33)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 4)
    fixture.store(0, 4)
    clear(fixture)
    fixture.store(0)
    fixture.store(2)
    fixture.migrateToDev(0, 0, 2)
    fixture.exclusive(1, 2, 1)
    expect([fixture.pte(0, 4), softDirty(fixture, 4)]).toEqual(['DdXr', '1.1.'])
    fixture.load(0, 3)
    expect([fixture.pte(0, 4), softDirty(fixture, 4)]).toEqual(['wrwr', '1.1.'])
    fixture.finish()
  })

  it('is cleared in entries of pages on a device, whose permission stays', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1)
    fixture.store(0)
    fixture.migrateToDev(0, 0, 1)
    clear(fixture)
    expect([fixture.pte(0, 1), softDirty(fixture, 1), fixture.flags(0) & PTE_WRITE]).toEqual(['D', '.', PTE_WRITE])
    fixture.finish()
  })

  it('goes to a child as it is', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 2)
    fixture.store(0, 2)
    clear(fixture)
    fixture.store(1)
    const child = fixture.fork()
    expect([softDirty(fixture, 2), softDirty(fixture, 2, child)]).toEqual(['.1', '.1'])
    fixture.store(0, 1, 7, child)
    expect([softDirty(fixture, 2), softDirty(fixture, 2, child)]).toEqual(['.1', '11'])
    fixture.finish()
  })

  it('a page that mremap moves counts as written', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 2)
    fixture.store(0, 2)
    clear(fixture)
    fixture.mremap(0, 1, 4)
    expect([fixture.pte(0, 5), softDirty(fixture, 5)]).toEqual(['_r__r', '....1'])
    fixture.finish()
  })

  it('survives cleaning, not dropping', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 2)
    clear(fixture)
    fixture.store(0, 2)
    fixture.madvise(0, 1, MADV_FREE)
    fixture.madvise(1, 1, MADV_DONTNEED)
    expect([fixture.pte(0, 2), softDirty(fixture, 2)]).toEqual(['w-', '1.'])
    fixture.finish()
  })

  it('of a huge page stands for all of it, and is split with the entry', () => {
    const fixture = new MmFixture({ thp: 'always', memory: '32 MiB' })
    fixture.mmap(0, 1024)
    fixture.store(0)
    fixture.store(512)
    clear(fixture)
    expect([fixture.pte(0, 1), softDirty(fixture, 1024)]).toEqual(['p', '.'.repeat(1024)])
    fixture.store(3)
    expect([fixture.pte(3, 1), softDirty(fixture, 513)]).toEqual(['P', `${'1'.repeat(512)}.`])
    fixture.mprotect(0, 1, PROT_READ) // splits
    expect([fixture.pte(0, 2), softDirty(fixture, 2)]).toEqual(['rw', '11'])
    fixture.mremap(512, 512, 1024)
    expect([fixture.pte(1024, 1), fixture.process.dumpSoftDirty(fixture.addr(1024), 1)]).toEqual(['p', '1'])
    fixture.step(() => fixture.process.exit())
  })
})
