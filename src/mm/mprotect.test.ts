// mprotect by the numbers of the specification (CP-40 to CP-47): what becomes of an entry of each kind.

import { describe, expect, it } from 'vitest'
import { MmFixture } from '../../test/helpers/mm-fixture.ts'
import { PAGE_SIZE } from '../base/addr.ts'
import { MADV_HWPOISON, MADV_PAGEOUT, PROT_NONE, PROT_READ, PROT_WRITE } from '../uapi/mman.ts'
import { mmMprotect } from './mprotect.ts'
import { PTE_DIRTY, PTE_EXCLUSIVE, PTE_WRITE, PTE_YOUNG } from './pte.ts'

const RW = PROT_READ | PROT_WRITE

describe('mprotect', () => {
  it('with the flags that are there changes nothing (CP-40)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 2)
    fixture.store(0, 2)
    const before = [fixture.pte(0, 2), fixture.process.maps()]
    fixture.mprotect(0, 1, RW)
    expect([fixture.pte(0, 2), fixture.process.maps()]).toEqual(before)
    fixture.finish()
  })

  it('splits mappings, and merges them again when they agree (CP-40)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 4)
    fixture.store(0, 4)
    fixture.mprotect(1, 2, PROT_READ)
    expect(fixture.mm.vmas.length).toBe(3)
    fixture.mprotect(1, 2, RW)
    expect(fixture.mm.vmas.length).toBe(1)
    fixture.finish()
  })

  it('to nothing keeps page and access bits; to reading takes write permission (CP-41)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 2)
    fixture.store(0, 2)
    const bits = PTE_DIRTY | PTE_YOUNG
    const pfns = [fixture.pfn(0), fixture.pfn(1)]
    fixture.mprotect(0, 1, PROT_NONE)
    fixture.mprotect(1, 1, PROT_READ)
    expect([fixture.pte(0, 2), fixture.pfn(0), fixture.pfn(1)]).toEqual(['nr', ...pfns])
    expect([fixture.flags(0) & bits, fixture.flags(1) & bits]).toEqual([bits, bits])
    fixture.finish()
  })

  it('to writing makes a private page writable at once if it is dirty, anonymous and exclusive (CP-41)', () => {
    const fixture = new MmFixture({ faultAroundPages: 1 })
    const file = fixture.machine.createFile('data', 1)
    fixture.mmap(0, 3)
    fixture.store(0, 3)
    fixture.setEntry(1, fixture.flags(1) & ~PTE_DIRTY, fixture.pfn(1))
    fixture.mmap(4, 1, { file })
    fixture.load(4)
    fixture.fork()
    fixture.store(0, 2)
    fixture.setEntry(1, fixture.flags(1) & ~PTE_DIRTY, fixture.pfn(1))
    fixture.mprotect(0, 3, PROT_READ)
    fixture.mprotect(4, 1, PROT_READ)
    fixture.mprotect(0, 3, RW)
    fixture.mprotect(4, 1, RW)
    expect([fixture.pte(0, 3), fixture.pte(4, 1)]).toEqual(['wrr', 'r']) // clean; shared; of a file
    fixture.store(0, 3)
    expect(fixture.pte(0, 3)).toBe('www')
    fixture.finish(1)
  })

  it('to writing makes shared pages writable at once (CP-41)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 2, { shared: true })
    fixture.store(0)
    fixture.load(1)
    fixture.mprotect(0, 2, PROT_NONE)
    expect(fixture.pte(0, 2)).toBe('nn')
    fixture.mprotect(0, 2, RW)
    expect(fixture.pte(0, 2)).toBe('ww')
    fixture.finish()
  })

  it('leaves the zero page read-only (CP-42)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1)
    fixture.load(0)
    for (const [prot, entry] of [
      [PROT_NONE, 'q'],
      [PROT_READ, 'z'],
      [RW, 'z'],
    ] as const) {
      fixture.mprotect(0, 1, prot)
      expect(fixture.pte(0, 1)).toBe(entry)
    }
    fixture.finish()
  })

  it.each([
    ['NONE', PROT_NONE],
    ['READ', PROT_READ],
    ['EXEC and writing', RW | 4],
  ])('to %s makes entries of devices readable, even if they may be written (CP-43)', (_name, prot) => {
    const fixture = new MmFixture()
    fixture.mmap(0, 2)
    fixture.store(0, 2, 10)
    fixture.migrateToDev(0, 0, 1)
    fixture.exclusive(1, 1, 1)
    fixture.mprotect(0, 2, prot)
    expect(fixture.pte(0, 2)).toBe('dx')
    fixture.mprotect(0, 2, RW)
    expect(fixture.pte(0, 2)).toBe('dx') // never upgraded
    fixture.store(0, 2, 20)
    expect([fixture.pte(0, 2), fixture.load(0, 2)]).toEqual(['ww', [20, 21]])
    fixture.finish()
  })

  it('makes a migration readable: exclusive for an anonymous page, plain for one of a file (CP-44)', () => {
    const fixture = new MmFixture()
    const file = fixture.machine.createFile('data', 1)
    fixture.mmap(0, 1)
    fixture.store(0, 1, 10)
    fixture.mmap(2, 1, { file, shared: true })
    fixture.store(2)
    const ends = [fixture.beginMigration(0), fixture.beginMigration(2)]
    for (const page of [0, 2]) {
      expect(fixture.step(() => mmMprotect(fixture.mm, fixture.addr(page), PAGE_SIZE, RW | 4))).toBe(0)
    }
    expect([fixture.pte(0, 3), fixture.flags(0) & PTE_EXCLUSIVE, fixture.flags(2) & PTE_EXCLUSIVE]).toEqual([
      'm_m',
      PTE_EXCLUSIVE,
      0,
    ])
    for (const end of ends) end()
    expect([fixture.pte(0, 3), fixture.attr(0, 1)]).toEqual(['r_r', '7']) // although writing is allowed
    fixture.finish(1)
  })

  it('leaves swap, poison and empty entries as they are (CP-45)', () => {
    const fixture = new MmFixture({ swap: '64 KiB' })
    fixture.mmap(0, 3)
    fixture.store(0, 2)
    fixture.held.set(fixture.pfn(1), 1)
    fixture.madvise(1, 1, MADV_HWPOISON)
    fixture.madvise(0, 1, MADV_PAGEOUT)
    const before = [0, 1, 2].map((page) => [fixture.flags(page), fixture.pfn(page)])
    fixture.mprotect(0, 3, PROT_READ)
    expect([0, 1, 2].map((page) => [fixture.flags(page), fixture.pfn(page)])).toEqual(before)
    expect(fixture.flags(0) & PTE_WRITE).toBe(0)
    fixture.finish()
  })

  it('of memory without tables is silent, and devices have nothing there (CP-47)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1024)
    fixture.store(0)
    expect(fixture.eventsOf(() => fixture.mprotect(512, 512, PROT_READ))).toEqual([])
    fixture.finish()
  })

  it('cannot give what the mapping may never have: EACCES; over a hole: ENOMEM, what is before is done', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 2)
    fixture.store(0, 2)
    expect(() => fixture.mprotect(0, 3, PROT_READ)).toThrow(expect.objectContaining({ code: 'ENOMEM' }))
    expect(fixture.pte(0, 3)).toBe('rr_')
    fixture.vma(0).flags &= ~0x20 // VM_MAYWRITE, as a file opened for reading has it
    expect(() => fixture.mprotect(0, 1, RW)).toThrow(expect.objectContaining({ code: 'EACCES' }))
    expect(fixture.pte(0, 2)).toBe('rr')
    fixture.finish()
  })
})
