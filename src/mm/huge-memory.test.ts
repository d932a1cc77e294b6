import { afterEach, describe, expect, test } from 'vitest'
import { HugeFixture } from '../../test/helpers/huge-fixture.ts'
import { MADV_HUGEPAGE, MADV_NOHUGEPAGE, PROT_READ } from '../uapi/mman.ts'
import { PTE_DIRTY, PTE_YOUNG } from './pte.ts'

let fixture = new HugeFixture()

function boot(...args: ConstructorParameters<typeof HugeFixture>): HugeFixture {
  fixture = new HugeFixture(...args)
  return fixture
}

afterEach(() => fixture.finish())

describe('a fault on an empty block', () => {
  test('of a read maps the huge zero page (CP-2)', () => {
    const f = boot()
    f.mmap(0, 512)
    expect(f.load(5)).toBe(0)
    expect([f.pte(), f.attr(), f.pagemap()]).toEqual(['Z*512 _*512', '.*1024', '5*512 .*512'])
    expect(f.events()).toEqual([])
    expect(f.process.mm.rss[1]).toBe(0)
  })

  test('of a write maps a compound page: writable, dirty, exclusive, zero but for the store (CP-3)', () => {
    const f = boot()
    f.mmap(0, 512)
    f.store(5, 7)
    expect([f.pte(), f.attr(), f.pagemap()]).toEqual(['P*512 _*512', '7*512 .*512', '9*512 .*512'])
    expect(f.huge(0).flags & (PTE_DIRTY | PTE_YOUNG)).toBe(PTE_DIRTY | PTE_YOUNG)
    expect([4, 5, 6].map((page) => f.load(page))).toEqual([0, 7, 0])
    expect(f.process.mm.rss[1]).toBe(512)
    expect(f.sys.lru.size).toBe(1)
    expect(f.events()).toEqual([])
  })

  test('is small where the mapping does not cover the 2 MiB', () => {
    const f = boot()
    f.mmap(100, 700)
    f.store(100, 1)
    f.load(512)
    expect(f.pte()).toBe('_*100 w -*411 z -*287 _*224')
  })

  test('is small in a block that has a table', () => {
    const f = boot()
    f.mmap(0, 300)
    f.store(0, 1)
    f.mmap(300, 212)
    f.store(400, 1)
    expect(f.pte()).toBe('w -*399 w -*111 _*512')
  })

  test('is small in file memory', () => {
    const f = boot()
    const file = f.machine.createFile('file', 512)
    f.step(() => f.process.mmap({ addr: f.addr(0), length: 512 * 4096, fixed: true, file }))
    f.store(3, 1)
    expect(f.pte()).toBe('-*3 w -*508 _*512')
    file.truncate(0)
  })

  test('makes an AnonVma also for a read, so that fork copies the mapping', () => {
    const f = boot()
    f.mmap(0, 512)
    f.load(0)
    expect(f.vma(0).anonVma).not.toBeNull()
    const child = f.fork()
    expect(f.pte(child)).toBe('Z*512 _*512')
    expect(f.events()).toEqual(['PROTECTION_PAGE 0-512'])
  })

  test('falls back to a small page when there are no 2 MiB in one piece', () => {
    const f = boot({ memory: '5 MiB' })
    f.mmap(0, 1024)
    f.store(0, 1)
    f.store(512, 2)
    expect(f.pte()).toBe('P*512 w -*511')
  })
})

describe('who gets huge pages', () => {
  test("with 'madvise' only mappings that were advised", () => {
    const f = boot({ thp: 'madvise' })
    f.mmap(0, 1024)
    f.madvise(512, 512, MADV_HUGEPAGE)
    f.store(0, 1)
    f.store(512, 1)
    expect(f.pte()).toBe('w -*511 P*512')
  })

  test("with 'always' all but mappings that were advised against it", () => {
    const f = boot()
    f.mmap(0, 1024)
    f.madvise(512, 512, MADV_NOHUGEPAGE)
    f.store(0, 1)
    f.store(512, 1)
    expect(f.pte()).toBe('P*512 w -*511')
  })

  test("with 'never' nobody", () => {
    const f = boot({ thp: 'never' })
    f.mmap(0, 512)
    f.madvise(0, 512, MADV_HUGEPAGE)
    f.store(0, 1)
    expect(f.pte()).toBe('w -*511 _*512')
  })
})

describe('a write to a read-only huge entry', () => {
  test('takes an exclusive page over as a whole, without an event', () => {
    const f = boot()
    f.mmap(0, 512)
    f.store(0, 1)
    f.mprotect(0, 512, PROT_READ)
    f.mprotect(0, 512, PROT_READ | 2)
    expect(f.pte()).toBe('p*512 _*512')
    f.events()
    f.store(9, 2)
    expect([f.pte(), f.attr()]).toEqual(['P*512 _*512', '7*512 .*512'])
    expect(f.events()).toEqual([])
  })

  test('takes a page over that no other process shares any more', () => {
    const f = boot()
    f.mmap(0, 512)
    f.store(0, 1)
    f.exit(f.fork())
    expect([f.pte(), f.attr()]).toEqual(['p*512 _*512', '5*512 .*512'])
    f.events()
    f.store(9, 2)
    expect([f.pte(), f.attr()]).toEqual(['P*512 _*512', '7*512 .*512'])
    expect(f.events()).toEqual([])
  })

  test('splits the entry of a shared page and copies one small page', () => {
    const f = boot()
    f.mmap(0, 512)
    f.store(9, 1)
    f.store(10, 2)
    const child = f.fork()
    f.events()
    f.store(9, 3)
    expect(f.pte()).toBe('r*9 w r*502 _*512')
    expect(f.attr()).toBe('1*9 7 1*502 .*512')
    expect(f.pte(child)).toBe('p*512 _*512')
    expect(f.events()).toEqual(['CLEAR 0-512', 'CLEAR 9-10'])
    expect([f.load(9), f.load(10), f.load(9, child)]).toEqual([3, 2, 1])
  })

  test('copies a page of a split huge page even if the other process gave that page up', () => {
    const f = boot()
    f.mmap(0, 512)
    f.store(9, 1)
    const child = f.fork()
    f.step(() => child.munmap(f.addr(9), 4096))
    f.events()
    f.store(9, 3)
    expect(f.events()).toEqual(['CLEAR 0-512', 'CLEAR 9-10'])
  })

  test('splits the huge zero page and fills one page', () => {
    const f = boot()
    f.mmap(0, 512)
    f.load(0)
    f.store(9, 1)
    expect(f.pte()).toBe('z*9 w z*502 _*512')
    expect(f.events()).toEqual(['CLEAR 0-512', 'CLEAR 9-10'])
    expect(f.load(8)).toBe(0)
  })
})

describe('pins', () => {
  test('of a huge page are counted exactly, and every page of it is pinned', () => {
    const f = boot()
    f.mmap(0, 512)
    const pinned = f.pin(3, 2, true)
    const { pfn } = f.huge(0)
    expect(pinned.pfns).toEqual([pfn + 3, pfn + 4])
    expect(f.sys.pages.getCompound(pfn).pincount).toBe(2)
    expect(f.attr()).toBe('f*512 .*512')
    f.unpin(pinned)
    expect(f.attr()).toBe('7*512 .*512')
  })

  test('for reading make a shared huge page exclusive first, by a copy of the page', () => {
    const f = boot()
    f.mmap(0, 512)
    f.store(3, 1)
    f.fork()
    const pinned = f.pin(3, 1, false)
    expect(f.pte()).toBe('r*512 _*512')
    expect(f.attr()).toBe('1*3 f 1*508 .*512')
    expect(f.load(3)).toBe(1)
    f.unpin(pinned)
  })

  test('for reading take the huge zero page as it is', () => {
    const f = boot()
    f.mmap(0, 512)
    const pinned = f.pin(3, 1, false)
    expect(pinned.pfns).toEqual([f.sys.hugeZeroPfn + 3])
    expect(f.pte()).toBe('Z*512 _*512')
    f.unpin(pinned)
  })
})
