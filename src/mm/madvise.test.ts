// madvise by the numbers of the specification (CP-30 to CP-32) for small pages; huge ones are in huge-madvise.test.ts.

import { describe, expect, it } from 'vitest'
import { MmFixture } from '../../test/helpers/mm-fixture.ts'
import {
  MADV_COLD,
  MADV_DONTFORK,
  MADV_DONTNEED,
  MADV_FREE,
  MADV_HWPOISON,
  MADV_PAGEOUT,
  MADV_POPULATE_READ,
  MADV_POPULATE_WRITE,
  MADV_RANDOM,
  MADV_REMOVE,
  MADV_WILLNEED,
  PROT_NONE,
  PROT_READ,
} from '../uapi/mman.ts'
import { PG_SWAPBACKED } from './page.ts'
import { PTE_DIRTY, PTE_KIND_SWAPIN_ERROR, PTE_YOUNG } from './pte.ts'

describe('MADV_DONTNEED (CP-30)', () => {
  it('drops what is there, also on a device: private memory reads as zero, a file as it is', () => {
    const fixture = new MmFixture({ swap: '64 KiB' })
    const file = fixture.machine.createFile('data', 2)
    file.writePage(0, new Uint8Array([5]))
    fixture.mmap(0, 4)
    fixture.store(0, 4, 10)
    fixture.migrateToDev(0, 1, 1)
    fixture.exclusive(1, 2, 1)
    fixture.madvise(3, 1, MADV_PAGEOUT)
    fixture.mmap(8, 2, { file })
    fixture.mmap(12, 2, { file, shared: true })
    fixture.store(8, 1, 20)
    fixture.store(13, 1, 30)
    for (const [page, npages] of [
      [0, 4],
      [8, 2],
      [12, 2],
    ]) {
      fixture.madvise(page, npages, MADV_DONTNEED)
    }
    expect([fixture.pte(0, 4), fixture.pte(8, 2), fixture.pte(12, 2)]).toEqual(['----', '--', '--'])
    expect([fixture.device(0).npagesUsed, fixture.sys.swap?.nfree, [...fixture.mm.rss]]).toEqual([0, 16, [0, 0, 0, 0]])
    expect([fixture.load(0, 4), fixture.load(8), fixture.load(12, 2)]).toEqual([[0, 0, 0, 0], [5], [5, 30]])
    fixture.finish(1)
  })

  it('of a locked mapping, or of raw frames, is EINVAL', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1)
    fixture.process.mlock(fixture.addr(0), 4096)
    expect(() => fixture.madvise(0, 1, MADV_DONTNEED)).toThrow(expect.objectContaining({ code: 'EINVAL' }))
    expect(fixture.pte(0, 1)).toBe('w')
    fixture.finish()
  })
})

describe('MADV_FREE (CP-31)', () => {
  it('makes present pages clean and lazily freeable, drops swap and lost entries, and leaves devices alone', () => {
    const fixture = new MmFixture({ swap: '64 KiB' })
    fixture.mmap(0, 6)
    fixture.store(0, 4, 10)
    fixture.migrateToDev(0, 1, 1)
    fixture.exclusive(1, 2, 1)
    fixture.madvise(3, 1, MADV_PAGEOUT)
    fixture.setEntry(4, PTE_KIND_SWAPIN_ERROR)
    fixture.store(5)
    const poisoned = fixture.pfn(5)
    fixture.held.set(poisoned, 1)
    fixture.madvise(5, 1, MADV_HWPOISON)
    fixture.madvise(0, 6, MADV_FREE)
    expect([fixture.pte(0, 6), fixture.flags(0) & (PTE_DIRTY | PTE_YOUNG)]).toEqual(['wDX---', 0])
    expect(fixture.sys.pages.flags[fixture.pfn(0)] & PG_SWAPBACKED).toBe(0)
    expect([fixture.sys.swap?.nfree, fixture.load(0, 4)]).toEqual([16, [10, 11, 12, 0]])
    fixture.finish()
  })

  it('the data goes when memory is short, unless it was written again', () => {
    const fixture = new MmFixture({ swap: '64 KiB' })
    fixture.mmap(0, 2)
    fixture.store(0, 2, 10)
    fixture.madvise(0, 2, MADV_FREE)
    fixture.store(1, 1, 20)
    fixture.step(() => fixture.sys.reclaim(10))
    fixture.step(() => fixture.sys.reclaim(10))
    expect([fixture.pte(0, 1), fixture.load(0, 2)]).toEqual(['-', [0, 20]])
    fixture.finish()
  })

  it('leaves a migration alone', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 2)
    fixture.store(0, 2, 10)
    const end = fixture.beginMigration(0)
    fixture.madvise(0, 2, MADV_FREE)
    expect(fixture.pte(0, 2)).toBe('Mw')
    end()
    expect(fixture.load(0, 2)).toEqual([10, 11])
    fixture.finish()
  })

  it('of a file or a shared mapping is EINVAL', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1, { shared: true })
    expect(() => fixture.madvise(0, 1, MADV_FREE)).toThrow(expect.objectContaining({ code: 'EINVAL' }))
    fixture.finish()
  })
})

describe('MADV_COLD, PAGEOUT and WILLNEED (CP-32)', () => {
  it('pass entries of devices by', () => {
    const fixture = new MmFixture({ swap: '64 KiB' })
    fixture.mmap(0, 4)
    fixture.store(0, 4, 10)
    fixture.migrateToDev(0, 0, 1)
    fixture.exclusive(1, 1, 1)
    fixture.migrateToDev(2, 2, 1)
    for (const advice of [MADV_COLD, MADV_WILLNEED]) fixture.madvise(0, 4, advice)
    expect([fixture.pte(0, 4), fixture.flags(3) & PTE_YOUNG]).toEqual(['DXGw', 0])
    fixture.madvise(0, 4, MADV_PAGEOUT)
    expect([fixture.pte(0, 4), fixture.load(0, 4)]).toEqual(['DXGs', [10, 11, 12, 13]])
    fixture.finish()
  })
})

describe('MADV_POPULATE_READ and WRITE', () => {
  it('fault pages in as an access would', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 4)
    fixture.madvise(0, 2, MADV_POPULATE_READ)
    fixture.madvise(1, 2, MADV_POPULATE_WRITE)
    expect(fixture.pte(0, 4)).toBe('zww-')
    fixture.finish()
  })

  it('are EINVAL where the access is not allowed, ENOMEM over a hole, EHWPOISON at a broken page', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1, { prot: PROT_READ })
    fixture.mmap(1, 1, { prot: PROT_NONE })
    fixture.mmap(3, 2)
    fixture.store(3, 2)
    fixture.held.set(fixture.pfn(4), 1)
    fixture.madvise(4, 1, MADV_HWPOISON)
    const code = (name: string) => expect.objectContaining({ code: name, syscall: 'madvise' })
    expect(() => fixture.madvise(0, 1, MADV_POPULATE_WRITE)).toThrow(code('EINVAL'))
    expect(() => fixture.madvise(1, 1, MADV_POPULATE_READ)).toThrow(code('EINVAL'))
    expect(() => fixture.madvise(2, 2, MADV_POPULATE_READ)).toThrow(code('ENOMEM'))
    expect(() => fixture.madvise(3, 2, MADV_POPULATE_WRITE)).toThrow(code('EHWPOISON'))
    fixture.finish()
  })
})

describe('other advice', () => {
  it('changes the mapping, which is split and merged for it', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 4)
    fixture.store(0, 4)
    fixture.madvise(1, 2, MADV_RANDOM)
    expect(fixture.mm.vmas.length).toBe(3)
    fixture.madvise(0, 4, 0) // MADV_NORMAL
    expect(fixture.mm.vmas.length).toBe(1)
    fixture.madvise(1, 1, MADV_DONTFORK)
    expect(fixture.pte(0, 4, fixture.fork())).toBe('r_rr')
    fixture.finish()
  })

  it('MADV_REMOVE is for shared writable files: EINVAL, EACCES', () => {
    const fixture = new MmFixture()
    const file = fixture.machine.createFile('data', 1)
    fixture.mmap(0, 1)
    fixture.mmap(2, 1, { file })
    fixture.mmap(4, 1, { file, shared: true, prot: PROT_READ })
    const code = (name: string) => expect.objectContaining({ code: name })
    expect(() => fixture.madvise(0, 1, MADV_REMOVE)).toThrow(code('EINVAL'))
    expect(() => fixture.madvise(2, 1, MADV_REMOVE)).toThrow(code('EACCES'))
    expect(() => fixture.madvise(4, 1, MADV_REMOVE)).toThrow(code('EACCES'))
    fixture.finish(1)
  })
})
