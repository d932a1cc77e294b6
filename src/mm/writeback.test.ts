// Cleaning pages for writeback: who is told, and that a store afterwards makes the page dirty again.

import { describe, expect, it } from 'vitest'
import { MmFixture } from '../../test/helpers/mm-fixture.ts'
import { AssertionError } from '../base/assert.ts'
import { PG_DIRTY } from './page.ts'
import { unlockPage } from './page-alloc.ts'
import { PTE_DIRTY } from './pte.ts'
import type { ShmemFile } from './shmem.ts'
import { clearPageDirtyForIo, pageMkclean } from './writeback.ts'

/** A file of 4 pages, mapped shared at 0 and 10, and privately at 20. */
function makeFixture(): { fixture: MmFixture; file: ShmemFile } {
  const fixture = new MmFixture({ faultAroundPages: 1 })
  const file = fixture.machine.createFile('data', 4)
  fixture.mmap(0, 4, { file, shared: true })
  fixture.mmap(10, 4, { file, shared: true })
  fixture.mmap(20, 4, { file })
  return { fixture, file }
}

function locked<T>(fixture: MmFixture, pfn: number, operation: () => T): T {
  expect(fixture.sys.pages.trylock(pfn)).toBe(true)
  const result = operation()
  unlockPage(fixture.sys, pfn)
  fixture.validate()
  return result
}

describe('pageMkclean()', () => {
  it('raises PROTECTION_PAGE over the page for each shared mapping of it, in every process (MN-73)', () => {
    const { fixture, file } = makeFixture()
    fixture.store(1, 1, 7)
    fixture.load(11)
    fixture.load(21)
    const child = fixture.fork()
    const log = fixture.logOf(child)
    const page = file.getPage(1)
    let ncleaned = 0
    const events = fixture.eventsOf(() => {
      ncleaned = locked(fixture, page, () => pageMkclean(fixture.sys, page))
    })
    expect(events).toEqual(['PROTECTION_PAGE 1-2 of 0-4', 'PROTECTION_PAGE 11-12 of 10-14'])
    expect(log.take()).toEqual(['PROTECTION_PAGE 1-2 of 0-4', 'PROTECTION_PAGE 11-12 of 10-14'])
    expect([ncleaned, fixture.pte(1, 1), fixture.pte(11, 1), fixture.pte(21, 1)]).toEqual([2, 'r', 'r', 'r'])
    fixture.finish(1)
  })

  it('raises the event also where the page is not mapped, and does nothing to it', () => {
    const { fixture, file } = makeFixture()
    fixture.store(11)
    const page = file.getPage(1)
    const events = fixture.eventsOf(() => {
      expect(locked(fixture, page, () => pageMkclean(fixture.sys, page))).toBe(1)
      expect(locked(fixture, page, () => pageMkclean(fixture.sys, page))).toBe(0) // clean and read-only already
    })
    expect(events).toEqual([
      'PROTECTION_PAGE 1-2 of 0-4',
      'PROTECTION_PAGE 11-12 of 10-14',
      'PROTECTION_PAGE 1-2 of 0-4',
      'PROTECTION_PAGE 11-12 of 10-14',
    ])
    expect(fixture.pte(1, 1)).toBe('-')
    fixture.finish(1)
  })

  it('of a page that nobody maps, or an anonymous one, does nothing', () => {
    const { fixture, file } = makeFixture()
    fixture.store(20)
    const page = file.getPage(1)
    const events = fixture.eventsOf(() => {
      expect(locked(fixture, page, () => pageMkclean(fixture.sys, page))).toBe(0)
      const copy = fixture.pfn(20)
      expect(locked(fixture, copy, () => pageMkclean(fixture.sys, copy))).toBe(0)
    })
    expect([events, fixture.pte(20, 1)]).toEqual([[], 'w'])
    fixture.finish(1)
  })

  it('wants the page locked', () => {
    const { fixture, file } = makeFixture()
    expect(() => pageMkclean(fixture.sys, file.getPage(1))).toThrow(AssertionError)
    fixture.finish(1)
  })
})

describe('clearPageDirtyForIo()', () => {
  it('lets a file be kept up to date page by page, whoever writes to it', () => {
    const { fixture, file } = makeFixture()
    const { sys, machine } = fixture
    const stored = new Map<number, number>()
    /** Writes what is dirty, and says which pages that were. */
    const sync = () => {
      const written: number[] = []
      for (const [pgoff, pfn] of file.mapping.pages) {
        if (!locked(fixture, pfn, () => clearPageDirtyForIo(sys, pfn))) continue
        written.push(pgoff)
        stored.set(pgoff, machine.mmu.bytes(pfn)[0])
      }
      return written.sort()
    }
    fixture.store(0, 2, 10)
    expect([sync(), stored.get(0), stored.get(1)]).toEqual([[0, 1], 10, 11])
    expect(sync()).toEqual([])
    expect([fixture.flags(0) & PTE_DIRTY, sys.pages.flags[file.getPage(0)] & PG_DIRTY]).toEqual([0, 0])
    expect(fixture.eventsOf(() => fixture.store(0, 1, 20))).toEqual([]) // a fault, no event (CP-9)
    fixture.store(13, 1, 30)
    fixture.load(12)
    fixture.store(21, 1, 99) // a private copy
    expect(sync()).toEqual([0, 2, 3]) // page 2 is writable in a mapping: it may have been written
    expect([stored.get(0), stored.get(1), stored.get(2), stored.get(3)]).toEqual([20, 11, 0, 30])
    expect(sync()).toEqual([])
    expect(file.writePage(1, new Uint8Array([40]))).toBe(0)
    expect([sync(), stored.get(1)]).toEqual([[1], 40])
    fixture.finish(1)
  })
})
