// fork by the numbers of the specification (CP-50 to CP-57): what becomes of an entry of each kind in parent and child.

import { describe, expect, it } from 'vitest'
import { MmFixture } from '../../test/helpers/mm-fixture.ts'
import { PAGE_SIZE } from '../base/addr.ts'
import { EAGAIN } from '../base/errno.ts'
import { WouldWait } from '../machine/signals.ts'
import { MADV_HWPOISON, MADV_PAGEOUT, PROT_NONE } from '../uapi/mman.ts'
import { forkMm } from './fork.ts'
import { insertPfnMixed } from './insert.ts'
import { MM_ANONPAGES, Mm } from './mm.ts'
import { mmput } from './mmap.ts'
import { unlockPage } from './page-alloc.ts'
import { PTE_EXCLUSIVE, PTE_KIND_SWAPIN_ERROR, PTE_YOUNG } from './pte.ts'

describe('fork', () => {
  it('copies mappings; of shared and untouched ones no entries, which the child faults in itself (CP-50)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 2, { shared: true })
    fixture.store(0, 2, 10)
    fixture.mmap(4, 2)
    fixture.load(4)
    const child = fixture.fork()
    expect([child.maps(), fixture.pte(0, 2, child), fixture.pte(4, 2, child)]).toEqual([
      fixture.process.maps(),
      'tt',
      'tt',
    ])
    expect(fixture.load(0, 2, child)).toEqual([10, 11])
    fixture.finish()
  })

  it('shares anonymous pages: not exclusive, read-only on both sides, old in the child (CP-51)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 2)
    fixture.store(0, 2)
    fixture.mprotect(1, 1, PROT_NONE)
    const child = fixture.fork()
    expect([fixture.pte(0, 2), fixture.pte(0, 2, child)]).toEqual(['rn', 'rn'])
    expect([fixture.counts(0), fixture.attr(0, 2), child.mm.rss[MM_ANONPAGES]]).toEqual(['2/2', '11', 2])
    expect([fixture.flags(0) & PTE_YOUNG, fixture.flags(0, child) & PTE_YOUNG]).toEqual([PTE_YOUNG, 0])
    fixture.finish()
  })

  it('copies a page that may be pinned at once; the parent keeps it writable (CP-51)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 2)
    fixture.store(0, 2, 10)
    const unpin = fixture.pin(0, 1)
    const child = fixture.fork()
    expect([fixture.pte(0, 2), fixture.pte(0, 2, child), fixture.attr(0, 2), fixture.attr(0, 2, child)]).toEqual([
      'wr',
      'wr',
      'f1',
      '71',
    ])
    fixture.store(0, 1, 20)
    expect(fixture.load(0, 2, child)).toEqual([10, 11])
    unpin()
    fixture.finish()
  })

  it('shares private device pages without moving data: readable on both sides (CP-52)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1)
    fixture.store(0, 1, 10)
    fixture.migrateToDev(0, 0, 1)
    const child = fixture.fork()
    expect([fixture.pte(0, 1), fixture.pte(0, 1, child), fixture.counts(0), fixture.attr(0, 1)]).toEqual([
      'd',
      'd',
      '2/2',
      '1',
    ])
    expect([child.mm.rss[MM_ANONPAGES], fixture.device(0).npagesUsed]).toEqual([1, 1])
    expect([fixture.load(0), fixture.load(0, 1, child)]).toEqual([[10], [10]])
    fixture.finish()
  })

  it('copies a migration, readable on both sides (CP-53)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 2)
    fixture.store(0, 2, 10)
    fixture.sys.pages.clearDirty(fixture.pfn(1))
    const end = fixture.beginMigration(0, 2)
    const child = forkMm(fixture.mm)
    if (!(child instanceof Mm)) throw new Error(`forkMm returned ${child}`)
    fixture.validate()
    expect([fixture.pte(0, 2), fixture.flags(0) & PTE_EXCLUSIVE, child.rss[MM_ANONPAGES]]).toEqual(['mm', 0, 2])
    end()
    expect([fixture.pte(0, 2), fixture.counts(0), fixture.attr(0, 2)]).toEqual(['rr', '2/2', '11'])
    expect(mmput(child)).toBe(0)
    fixture.validate()
    fixture.finish()
  })

  it('takes an exclusive page back first: present and read-only on both sides (CP-54, TS-53)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1)
    fixture.store(0, 1, 10)
    fixture.exclusive(0, 0, 1)
    let child = fixture.process
    expect(fixture.eventsOf(() => (child = fixture.fork()))).toEqual(['PROTECTION_PAGE 0-1 of 0-1'])
    expect([fixture.pte(0, 1), fixture.pte(0, 1, child), fixture.counts(0)]).toEqual(['r', 'r', '2/2'])
    expect(fixture.load(0, 1, child)).toEqual([10])
    fixture.finish()
  })

  it('waits while a device holds an exclusive page, and leaves no child (CP-54)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 2)
    fixture.store(0, 2, 10)
    fixture.exclusive(0, 1, 1)
    const pfn = fixture.pfn(1)
    fixture.hold(pfn)
    fixture.sys.pages.trylock(pfn)
    expect(() => fixture.fork()).toThrow(WouldWait)
    expect(fixture.step(() => forkMm(fixture.mm))).toBe(-EAGAIN)
    expect([fixture.pte(0, 2), fixture.sys.mms.size, fixture.countsOf(pfn)]).toEqual(['rX', 1, '2/0'])
    unlockPage(fixture.sys, pfn)
    fixture.letGo(pfn)
    expect(fixture.pte(0, 2, fixture.fork())).toBe('rr')
    fixture.finish()
  })

  it('shares swap: one user more, not exclusive any more (CP-55)', () => {
    const fixture = new MmFixture({ swap: '64 KiB' })
    fixture.mmap(0, 1)
    fixture.store(0, 1, 10)
    fixture.madvise(0, 1, MADV_PAGEOUT)
    const slot = fixture.pfn(0)
    const child = fixture.fork()
    expect([fixture.pte(0, 1, child), fixture.pfn(0, child), fixture.sys.swap?.counts[slot]]).toEqual(['s', slot, 2])
    expect([fixture.flags(0) & PTE_EXCLUSIVE, fixture.flags(0, child) & PTE_EXCLUSIVE]).toEqual([0, 0])
    fixture.exit(child)
    expect([fixture.load(0), fixture.sys.swap?.nfree]).toEqual([[10], 16])
    fixture.finish()
  })

  it('copies zero pages, raw frames, lost and broken pages as they are (CP-55)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 5)
    fixture.store(0)
    fixture.load(1)
    fixture.setEntry(2, PTE_KIND_SWAPIN_ERROR)
    fixture.store(3)
    fixture.held.set(fixture.pfn(3), 1)
    fixture.madvise(3, 1, MADV_HWPOISON)
    fixture.mmap(8, 1)
    fixture.step(() => insertPfnMixed(fixture.vma(8), fixture.addr(8), 777))
    const child = fixture.fork()
    expect([fixture.pte(0, 9), fixture.pte(0, 9, child)]).toEqual(['rz!h-___S', 'rz!h-___S'])
    fixture.finish()
  })

  it('after the child: a system page is taken over without an event, a device page stays readable (CP-56)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 2)
    fixture.store(0, 2, 10)
    fixture.migrateToDev(0, 1, 1)
    fixture.exit(fixture.fork())
    const pfn = fixture.pfn(0)
    expect(fixture.eventsOf(() => fixture.store(0))).toEqual([])
    expect([fixture.pfn(0), fixture.pte(0, 2), fixture.attr(1, 1)]).toEqual([pfn, 'wd', '5'])
    fixture.finish()
  })

  it('leaves an open device with the parent; the child opens its own (CP-57)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1)
    fixture.store(0, 1, 10)
    const handle = fixture.dev(0)
    const child = fixture.fork()
    fixture.store(0, 1, 20, child)
    const buffer = new Uint8Array(PAGE_SIZE)
    expect([handle.read(fixture.addr(0), 1, buffer).ret, buffer[0]]).toEqual([0, 10])
    expect([fixture.dev(0, child).read(fixture.addr(0), 1, buffer).ret, buffer[0]]).toEqual([0, 20])
    fixture.finish()
  })
})
