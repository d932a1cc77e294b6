import { afterEach, describe, expect, test } from 'vitest'
import { HugeFixture } from '../../test/helpers/huge-fixture.ts'
import { MADV_COLD, MADV_FREE, MADV_PAGEOUT } from '../uapi/mman.ts'
import { PG_DIRTY, PG_SWAPBACKED } from './page.ts'
import { PTE_DIRTY, PTE_YOUNG } from './pte.ts'

let fixture = new HugeFixture()

/** A machine with one written huge page in pages 0 to 511. */
function bootWritten(...args: ConstructorParameters<typeof HugeFixture>): HugeFixture {
  fixture = new HugeFixture(...args)
  fixture.mmap(0, 512)
  fixture.store(0, 1)
  fixture.store(300, 2)
  fixture.events()
  return fixture
}

afterEach(() => fixture.finish())

describe('MADV_FREE', () => {
  test('of a whole huge page makes it clean; reclaim drops it in one piece', () => {
    const f = bootWritten()
    const { pfn } = f.huge(0)
    f.madvise(0, 512, MADV_FREE)
    expect(f.huge(0).flags & (PTE_DIRTY | PTE_YOUNG)).toBe(0)
    expect(f.sys.pages.flags[pfn] & (PG_DIRTY | PG_SWAPBACKED)).toBe(0)
    expect(f.events()).toEqual(['CLEAR 0-512'])
    f.madvise(0, 512, MADV_PAGEOUT)
    expect([f.pte(), f.nused(), f.process.mm.rss[1]]).toEqual(['-*512 _*512', 0, 0])
    expect(f.events()).toEqual(['CLEAR 0-512', 'CLEAR 0-512'])
    expect(f.load(300)).toBe(0)
  })

  test('and a store afterwards keep the page', () => {
    const f = bootWritten()
    const { pfn } = f.huge(0)
    f.madvise(0, 512, MADV_FREE)
    f.store(9, 3)
    f.madvise(0, 512, MADV_PAGEOUT)
    expect(f.pte()).toBe('w*512 _*512')
    expect(f.sys.pages.flags[pfn] & PG_SWAPBACKED).toBe(PG_SWAPBACKED)
    expect([f.load(9), f.load(300)]).toEqual([3, 2])
  })

  test('of a part takes the page apart and frees the part', () => {
    const f = bootWritten()
    const { pfn } = f.huge(0)
    f.madvise(8, 8, MADV_FREE)
    expect(f.pte()).toBe('w*512 _*512')
    expect(f.events()).toEqual(['CLEAR 8-16', 'CLEAR 0-512', 'CLEAR 0-512'])
    const lazy = Array.from({ length: 512 }, (_, i) => (f.sys.pages.flags[pfn + i] & PG_SWAPBACKED) === 0)
    expect(lazy.indexOf(true)).toBe(8)
    expect(lazy.lastIndexOf(true)).toBe(15)
  })

  test('leaves a page alone that others map too', () => {
    const f = bootWritten()
    f.fork()
    f.madvise(0, 512, MADV_FREE)
    f.madvise(8, 8, MADV_FREE)
    expect(f.huge(0).flags & PTE_DIRTY).toBe(PTE_DIRTY)
    expect(f.load(300)).toBe(2)
  })

  test('takes the page apart also where it is mapped by small entries', () => {
    const f = bootWritten()
    f.munmap(511, 1)
    expect(f.sys.pages.compound.size).toBe(1)
    f.madvise(8, 8, MADV_FREE)
    expect(f.sys.pages.compound.size).toBe(0)
    expect(f.nused()).toBe(511)
  })
})

describe('MADV_PAGEOUT', () => {
  test('swaps a huge page out page by page, and back in', () => {
    const f = bootWritten({ swap: '4 MiB' })
    f.madvise(0, 512, MADV_PAGEOUT)
    expect([f.pte(), f.nused()]).toEqual(['s*512 _*512', 0])
    expect(f.load(300)).toBe(2)
    expect(f.pte()).toBe('s*300 r s*211 _*512')
  })

  test('of a part swaps the part', () => {
    const f = bootWritten({ swap: '4 MiB' })
    f.madvise(8, 8, MADV_PAGEOUT)
    expect(f.pte()).toBe('w*8 s*8 w*496 _*512')
    expect(f.events().slice(0, 3)).toEqual(['CLEAR 0-512', 'CLEAR 0-512', 'CLEAR 8-9'])
  })

  test('without swap takes the page apart and keeps it', () => {
    const f = bootWritten()
    f.madvise(0, 512, MADV_PAGEOUT)
    expect([f.pte(), f.sys.pages.compound.size, f.sys.lru.size]).toEqual(['w*512 _*512', 0, 512])
    expect(f.load(300)).toBe(2)
  })

  test('leaves pages alone that are pinned, shared, or the huge zero page', () => {
    const f = bootWritten({ swap: '4 MiB' })
    const pinned = f.pin(0, 1, true)
    f.mmap(512, 512)
    f.load(512)
    f.events()
    f.madvise(0, 1024, MADV_PAGEOUT)
    expect([f.pte(), f.events()]).toEqual(['P*512 Z*512', []])
    f.unpin(pinned)
    f.fork()
    f.events()
    f.madvise(0, 512, MADV_PAGEOUT)
    expect([f.pte(), f.events()]).toEqual(['p*512 Z*512', []])
  })
})

describe('MADV_COLD', () => {
  test('makes a huge page old and leaves it where it is', () => {
    const f = bootWritten({ swap: '4 MiB' })
    f.madvise(0, 512, MADV_COLD)
    expect(f.huge(0).flags & PTE_YOUNG).toBe(0)
    expect([f.pte(), f.events()]).toEqual(['P*512 _*512', []])
  })
})
