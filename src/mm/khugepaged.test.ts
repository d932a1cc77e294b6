import { afterEach, describe, expect, test } from 'vitest'
import { HugeFixture } from '../../test/helpers/huge-fixture.ts'
import { MADV_COLLAPSE, MADV_DONTNEED, MADV_NOHUGEPAGE, MADV_PAGEOUT, PROT_READ } from '../uapi/mman.ts'

let fixture = new HugeFixture()

/** A machine that makes no huge pages by itself, with some small pages in the first 2 MiB. */
function bootSmall(...args: ConstructorParameters<typeof HugeFixture>): HugeFixture {
  fixture = new HugeFixture({ thp: 'never', ...args[0] }, args[1])
  fixture.mmap(0, 1024)
  fixture.store(3, 1)
  fixture.store(300, 2)
  fixture.load(301)
  fixture.events()
  return fixture
}

afterEach(() => fixture.finish())

describe('MADV_COLLAPSE', () => {
  test('makes a huge page of small ones, holes and zero pages, whatever the THP mode (MN-75)', () => {
    const f = bootSmall()
    f.madvise(0, 512, MADV_COLLAPSE)
    expect([f.pte(), f.attr()]).toEqual(['P*512 t*512', '7*512 .*512'])
    expect(f.events()).toEqual(['CLEAR 0-512'])
    expect([f.load(2), f.load(3), f.load(300), f.load(301)]).toEqual([0, 1, 2, 0])
    expect([f.nused(), f.process.mm.rss[1], f.sys.lru.size]).toEqual([512, 512, 1])
  })

  test('names no mapping in its event', () => {
    const f = bootSmall()
    let vma: unknown
    const invalidate = f.watcher.sub.ops.invalidate
    f.watcher.sub.ops.invalidate = (sub, range, seq) => {
      vma = range.vma
      return invalidate(sub, range, seq)
    }
    f.madvise(0, 512, MADV_COLLAPSE)
    expect(vma).toBeNull()
  })

  test('copies pages that are shared after fork; the other process keeps them', () => {
    const f = bootSmall()
    const child = f.fork()
    f.store(4, 3) // one writable page is needed
    f.madvise(0, 512, MADV_COLLAPSE)
    expect([f.pte(), f.attr()]).toEqual(['P*512 t*512', '7*512 .*512'])
    expect(f.pte(child)).toBe('-*3 r -*296 r z -*210 t*512')
    f.store(300, 9)
    expect([f.load(300, child), f.attr(child)]).toEqual([2, '.*3 5 .*296 5 .*723'])
  })

  test('brings pages back from swap first', () => {
    const f = bootSmall({ swap: '1 MiB' })
    f.madvise(300, 1, MADV_PAGEOUT)
    f.madvise(0, 512, MADV_COLLAPSE)
    expect(f.pte()).toBe('P*512 t*512')
    expect(f.load(300)).toBe(2)
    expect(f.sys.swap?.nfree).toBe(256)
  })

  test('gathers the rest of a huge page that was split', () => {
    fixture = new HugeFixture()
    const f = fixture
    f.mmap(0, 512)
    f.store(300, 2)
    f.madvise(8, 8, MADV_DONTNEED)
    expect(f.pte()).toBe('w*8 -*8 w*496 _*512')
    f.madvise(0, 512, MADV_COLLAPSE)
    expect([f.pte(), f.load(300), f.nused()]).toEqual(['P*512 _*512', 2, 512])
  })

  test('of a block that is huge already changes nothing', () => {
    const f = bootSmall()
    f.madvise(0, 512, MADV_COLLAPSE)
    f.events()
    f.madvise(0, 512, MADV_COLLAPSE)
    expect([f.pte(), f.events()]).toEqual(['P*512 t*512', []])
  })

  test('collapses what it can and reports the block that it could not', () => {
    const f = bootSmall()
    expect(() => f.madvise(0, 1024, MADV_COLLAPSE)).toThrow('EINVAL')
    expect(f.pte()).toBe('P*512 t*512')
  })

  test('refuses a block without a writable page', () => {
    const f = bootSmall()
    f.mprotect(0, 512, PROT_READ)
    f.events()
    expect(() => f.madvise(0, 512, MADV_COLLAPSE)).toThrow('EINVAL')
    expect(f.events()).toEqual([])
  })

  test('refuses a block with a page in use', () => {
    const f = bootSmall()
    const pinned = f.pin(3, 1, true)
    f.events()
    expect(() => f.madvise(0, 512, MADV_COLLAPSE)).toThrow('EAGAIN')
    expect([f.pte(), f.events()]).toEqual(['-*3 w -*296 w z -*210 t*512', []])
    f.unpin(pinned)
  })

  test('refuses mappings that want no huge pages, never had a page, or are not anonymous', () => {
    const f = bootSmall()
    const file = f.machine.createFile('file', 512)
    f.madvise(0, 512, MADV_NOHUGEPAGE)
    expect(() => f.madvise(0, 512, MADV_COLLAPSE)).toThrow('EINVAL')
    f.mmap(0, 512)
    expect(() => f.madvise(0, 512, MADV_COLLAPSE)).toThrow('EINVAL')
    f.step(() => f.process.mmap({ addr: f.addr(0), length: 512 * 4096, fixed: true, file, shared: true }))
    f.store(0, 1)
    expect(() => f.madvise(0, 512, MADV_COLLAPSE)).toThrow('EINVAL')
    file.truncate(0)
  })

  test('of less than 2 MiB is wrong inside a block, and nothing at its border', () => {
    const f = bootSmall()
    expect(() => f.madvise(1, 510, MADV_COLLAPSE)).toThrow('EINVAL')
    f.madvise(500, 24, MADV_COLLAPSE)
    expect(f.pte()).toBe('-*3 w -*296 w z -*210 t*512')
  })

  test('without 2 MiB in one piece is ENOMEM', () => {
    const f = bootSmall({ memory: '2 MiB' })
    expect(() => f.madvise(0, 512, MADV_COLLAPSE)).toThrow('ENOMEM')
    expect(f.load(300)).toBe(2)
  })
})
