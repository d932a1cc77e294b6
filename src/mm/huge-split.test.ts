import { afterEach, describe, expect, test } from 'vitest'
import { HugeFixture } from '../../test/helpers/huge-fixture.ts'
import { EBUSY } from '../base/errno.ts'
import { accessOutcome } from '../machine/page-fault.ts'
import { MADV_DONTNEED, MADV_HWPOISON } from '../uapi/mman.ts'
import { canSplitPage, splitHugePage } from './huge-split.ts'
import { PG_DIRTY, PG_HEAD, PG_LRU, PG_SWAPBACKED, PG_TAIL, PG_UPTODATE } from './page.ts'
import { getPage, putPage, unlockPage } from './page-alloc.ts'

let fixture = new HugeFixture()

/** A machine with one written huge page in pages 0 to 511. */
function bootWritten(): HugeFixture {
  fixture = new HugeFixture()
  fixture.mmap(0, 512)
  fixture.store(0, 1)
  fixture.store(300, 2)
  fixture.events()
  return fixture
}

/** Splits the page around a frame as a caller does that holds nothing yet. */
function split(f: HugeFixture, pfn: number): number {
  return f.step(() => {
    getPage(f.sys, pfn)
    expect(f.sys.pages.trylock(pfn)).toBe(true)
    const result = splitHugePage(f.sys, pfn)
    unlockPage(f.sys, pfn)
    putPage(f.sys, pfn)
    return result
  })
}

afterEach(() => fixture.finish())

describe('splitHugePage()', () => {
  test('makes 512 small pages that are mapped as before', () => {
    const f = bootWritten()
    const { pfn } = f.huge(0)
    const { pages, lru } = f.sys
    expect(split(f, pfn)).toBe(0)
    expect([f.pte(), f.attr(), f.pagemap()]).toEqual(['w*512 _*512', '7*512 .*512', '9*512 .*512'])
    for (const i of [0, 1, 300, 511]) {
      expect(f.small(i).pfn).toBe(pfn + i)
      expect([pages.refcount[pfn + i], pages.mapcount[pfn + i], pages.index[pfn + i]]).toEqual([
        1,
        1,
        pages.index[pfn] + i,
      ])
      const wanted = PG_DIRTY | PG_LRU | PG_SWAPBACKED | PG_UPTODATE
      expect(pages.flags[pfn + i] & (wanted | PG_HEAD | PG_TAIL)).toBe(wanted)
    }
    expect(lru.size).toBe(512)
    expect(pages.compound.size).toBe(0)
    expect(f.load(300)).toBe(2)
    f.munmap(0, 100)
    expect(f.nused()).toBe(412)
  })

  test('raises CLEAR twice for each mapping that may map the page: for the entry and for the page', () => {
    const f = bootWritten()
    split(f, f.huge(0).pfn)
    expect(f.events()).toEqual(['CLEAR 0-512', 'CLEAR 0-512'])
  })

  test('raises the second CLEAR over the part of the page that each mapping covers', () => {
    const f = bootWritten()
    const { pfn } = f.huge(0)
    f.munmap(100, 10)
    f.mmap(512, 512)
    f.events()
    split(f, pfn)
    expect(f.events()).toEqual(['CLEAR 0-512', 'CLEAR 0-100', 'CLEAR 0-512', 'CLEAR 110-512'])
    expect(f.pte()).toBe('w*100 _*10 w*402 t*512')
  })

  test('frees the frames that nothing maps any more', () => {
    const f = bootWritten()
    const { pfn } = f.huge(0)
    f.madvise(100, 10, MADV_DONTNEED)
    expect(f.nused()).toBe(512)
    expect(split(f, pfn)).toBe(0)
    expect(f.nused()).toBe(502)
    expect(f.sys.lru.size).toBe(502)
  })

  test('splits a page that two processes map, one as a whole', () => {
    const f = bootWritten()
    const child = f.fork()
    const { pfn } = f.huge(0)
    f.madvise(100, 10, MADV_DONTNEED)
    expect(split(f, pfn)).toBe(0)
    expect(f.pte(child)).toBe('r*512 _*512')
    expect([f.attr(), f.attr(child)]).toEqual(['1*100 .*10 1*402 .*512', '1*100 5*10 1*402 .*512'])
    f.exit(child)
    // Small pages are taken over one by one.
    f.events()
    f.store(7, 3)
    expect(f.events()).toEqual([])
  })

  test('leaves lock and reference of the caller with the page that it named, also a tail', () => {
    const f = bootWritten()
    const { pfn } = f.huge(0)
    const { pages } = f.sys
    getPage(f.sys, pfn + 9)
    pages.trylock(pfn + 9)
    expect(splitHugePage(f.sys, pfn + 9)).toBe(0)
    expect([pages.isLocked(pfn), pages.isLocked(pfn + 9)]).toEqual([false, true])
    expect([pages.refcount[pfn], pages.refcount[pfn + 9]]).toEqual([1, 2])
    unlockPage(f.sys, pfn + 9)
    putPage(f.sys, pfn + 9)
    f.validate()
  })

  test('wakes who waits for the lock of the head', () => {
    const f = bootWritten()
    const { pfn } = f.huge(0)
    f.fork()
    getPage(f.sys, pfn + 9)
    f.sys.pages.trylock(pfn + 9)
    expect(accessOutcome(f.process.tryStore32(f.addr(0), 9))).toBe('would-wait')
    let woken = 0
    f.sys.waitFor?.add(() => woken++)
    expect(splitHugePage(f.sys, pfn + 9)).toBe(0)
    expect(woken).toBe(1)
    unlockPage(f.sys, pfn + 9)
    putPage(f.sys, pfn + 9)
    f.validate()
  })

  test('refuses a page that somebody else holds, without an event', () => {
    const f = bootWritten()
    const { pfn } = f.huge(0)
    const pinned = f.pin(4, 1, true)
    f.events()
    getPage(f.sys, pfn)
    expect(canSplitPage(f.sys, pfn)).toBe(false)
    putPage(f.sys, pfn)
    expect(split(f, pfn)).toBe(-EBUSY)
    expect([f.pte(), f.events()]).toEqual(['P*512 _*512', []])
    f.unpin(pinned)
  })

  test('refuses the huge zero page', () => {
    const f = bootWritten()
    f.mmap(512, 512)
    f.load(512)
    expect(split(f, f.sys.hugeZeroPfn)).toBe(-EBUSY)
    expect(f.pte()).toBe('P*512 Z*512')
  })

  test('keeps the order of the LRU: the small pages lie where the huge one lay', () => {
    const f = bootWritten()
    const { pfn } = f.huge(0)
    f.mmap(512, 1)
    f.store(512, 1)
    const warmest = f.sys.lru.first
    split(f, pfn)
    const { pages, lru } = f.sys
    expect(lru.first).toBe(warmest)
    expect(pages.lruNext[warmest]).toBe(pfn + 511)
    expect(lru.last).toBe(pfn)
  })
})

describe('MADV_HWPOISON', () => {
  test('splits the huge page and poisons one small page', () => {
    const f = bootWritten()
    const { pfn } = f.huge(0)
    f.process.madvise(f.addr(9), 4096, MADV_HWPOISON)
    expect(f.pte()).toBe('w*9 h w*502 _*512')
    expect(f.events()).toEqual(['CLEAR 0-512', 'CLEAR 0-512', 'CLEAR 9-10'])
    expect(() => f.process.load32(f.addr(9))).toThrow('SIGBUS')
    expect(f.process.load32(f.addr(300))).toBe(2)
    // The broken frame stays taken for good; the test gives it back.
    expect(f.sys.pages.refcount[pfn + 9]).toBe(1)
    putPage(f.sys, pfn + 9)
  })

  test('of a page that somebody else holds fails', () => {
    const f = bootWritten()
    const pinned = f.pin(4, 1, true)
    expect(() => f.process.madvise(f.addr(9), 4096, MADV_HWPOISON)).toThrow('EBUSY')
    expect(f.pte()).toBe('P*512 _*512')
    f.unpin(pinned)
  })
})
