// Files in memory: how long they exist, and that nothing of them is left afterwards.

import { describe, expect, it } from 'vitest'
import { MmFixture } from '../../test/helpers/mm-fixture.ts'
import { PAGE_SIZE } from '../base/addr.ts'
import { EBADF, EINVAL } from '../base/errno.ts'
import { MADV_HWPOISON, MADV_PAGEOUT, MADV_REMOVE, PROT_READ } from '../uapi/mman.ts'
import { AddressSpace } from './address-space.ts'
import { MIGRATE_VMA_SELECT_SYSTEM, makeMigrateVma, migrateVmaFinalize, migrateVmaSetup } from './migrate-device.ts'
import { ShmemFile } from './shmem.ts'

function caches(fixture: MmFixture): AddressSpace[] {
  return [...fixture.sys.mappings.values()].filter((mapping) => mapping instanceof AddressSpace)
}

describe('shared anonymous memory', () => {
  it('goes with its last mapping: pages, swap slots, page cache', () => {
    const fixture = new MmFixture({ swap: '1 MiB' })
    fixture.mmap(0, 8, { shared: true })
    fixture.store(0, 8)
    fixture.madvise(4, 4, MADV_PAGEOUT)
    expect([caches(fixture)[0].pages.size, caches(fixture)[0].swapped.size, fixture.nused]).toEqual([4, 4, 4])
    fixture.munmap(0, 8)
    expect([caches(fixture), fixture.nused]).toEqual([[], 0])
    fixture.finish()
  })

  it('is kept by a child, whoever of the two unmaps it first', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 4, { shared: true })
    const child = fixture.fork()
    fixture.store(0, 4, 10, child)
    fixture.munmap(0, 4)
    expect(fixture.load(0, 4, child)).toEqual([10, 11, 12, 13])
    fixture.exit(child)
    expect([caches(fixture), fixture.nused]).toEqual([[], 0])
    fixture.finish()
  })

  it('is kept by each part that it is split into, moved to or merged from', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 9, { shared: true })
    fixture.store(0, 9, 10)
    fixture.mprotect(3, 3, PROT_READ)
    fixture.mremap(6, 3, 20)
    fixture.munmap(0, 3)
    expect(fixture.load(3, 3)).toEqual([13, 14, 15])
    fixture.munmap(3, 3)
    fixture.mprotect(20, 1, PROT_READ)
    fixture.mprotect(21, 2, PROT_READ) // merges again
    expect([caches(fixture).length, fixture.load(20, 3)]).toEqual([1, [16, 17, 18]])
    fixture.munmap(20, 3)
    expect([caches(fixture), fixture.nused]).toEqual([[], 0])
    fixture.finish()
  })

  it('goes when something else is mapped over it', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 2, { shared: true })
    fixture.store(0, 2)
    fixture.mmap(0, 2, { shared: true })
    expect([caches(fixture).length, fixture.nused, fixture.load(0, 2)]).toEqual([1, 0, [0, 0]])
    fixture.finish()
  })

  it('leaves a pinned page to its pin, and a broken one out of use', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 2, { shared: true })
    fixture.store(0, 2)
    const unpin = fixture.pin(0, 1)
    fixture.held.set(fixture.pfn(1), 1) // memory failure keeps the frame
    fixture.madvise(1, 1, MADV_HWPOISON)
    fixture.munmap(0, 2)
    expect([caches(fixture), fixture.nused]).toEqual([[], 2])
    unpin()
    expect(fixture.nused).toBe(1)
    fixture.finish()
  })

  it('may go while a page of it is being migrated', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1, { shared: true })
    fixture.store(0)
    const pfn = fixture.pfn(0)
    const args = makeMigrateVma(fixture.vma(0), fixture.addr(0), fixture.addr(1), null, MIGRATE_VMA_SELECT_SYSTEM)
    fixture.mm.mmapLock.tryRead()
    expect([migrateVmaSetup(args), args.cpages]).toEqual([0, 1])
    fixture.mm.mmapLock.unlockRead() // a driver has to hold it to the end (MG-9); this one does not
    fixture.held.set(pfn, 1)
    fixture.munmap(0, 1)
    expect([caches(fixture), fixture.countsOf(pfn)]).toEqual([[], '1/0'])
    migrateVmaFinalize(args)
    fixture.held.delete(pfn)
    fixture.validate()
    expect(fixture.nused).toBe(0)
    fixture.finish()
  })
})

describe('ShmemFile', () => {
  const word = new Uint8Array([42])

  /** Every call on a file that is gone. */
  function answersOf(file: ShmemFile): number[] {
    return [file.getPage(0), file.writePage(0, word), file.truncate(1), file.punchHole(0, 1)]
  }

  it('exists until it is closed, mapped or not', () => {
    const fixture = new MmFixture()
    const file = new ShmemFile(fixture.sys, 'data', 4)
    expect(file.writePage(1, word)).toBe(0)
    fixture.mmap(0, 4, { file, shared: true })
    fixture.munmap(0, 4)
    expect([fixture.nused, caches(fixture).length]).toEqual([1, 1])
    fixture.mmap(0, 4, { file })
    expect(fixture.load(1)).toEqual([42])
    fixture.munmap(0, 4)
    file.close()
    expect([fixture.nused, caches(fixture)]).toEqual([0, []])
    expect(answersOf(file)).toEqual([-EBADF, -EBADF, -EBADF, -EBADF])
    file.close()
    fixture.finish()
  })

  it('closed while it is mapped goes with the last mapping, and can be used until then', () => {
    const fixture = new MmFixture()
    const file = new ShmemFile(fixture.sys, 'data', 4)
    fixture.mmap(0, 4, { file, shared: true })
    fixture.store(0, 4, 10)
    const child = fixture.fork()
    file.close()
    expect([file.punchHole(1, 1), file.writePage(2, word)]).toEqual([0, 0])
    fixture.munmap(0, 4)
    expect(fixture.load(0, 4, child)).toEqual([10, 0, 42, 13])
    fixture.step(() => child.madvise(fixture.addr(0), PAGE_SIZE, MADV_REMOVE))
    expect(fixture.load(0, 1, child)).toEqual([0])
    fixture.exit(child)
    expect([fixture.nused, caches(fixture)]).toEqual([0, []])
    expect(answersOf(file)).toEqual([-EBADF, -EBADF, -EBADF, -EBADF])
    fixture.finish()
  })

  it('that is gone cannot be mapped', () => {
    const fixture = new MmFixture()
    const file = new ShmemFile(fixture.sys, 'data', 4)
    file.close()
    fixture.mmap(0, 4)
    const before = fixture.process.maps()
    expect(() => fixture.mmap(0, 4, { file })).toThrow(expect.objectContaining({ code: 'EBADF', syscall: 'mmap' }))
    expect(fixture.process.maps()).toBe(before)
    fixture.finish()
  })

  it('takes its swap slots along', () => {
    const fixture = new MmFixture({ swap: '1 MiB' })
    const file = new ShmemFile(fixture.sys, 'data', 4)
    fixture.mmap(0, 4, { file, shared: true })
    fixture.store(0, 4)
    fixture.madvise(0, 4, MADV_PAGEOUT)
    expect(fixture.sys.swap?.nfree).toBe(252)
    fixture.munmap(0, 4)
    fixture.step(() => file.close())
    expect(fixture.sys.swap?.nfree).toBe(256)
    fixture.finish()
  })

  it.each([[-1], [4], [0.5], [Number.NaN], [Number.POSITIVE_INFINITY]])(
    'has no page %d: -EINVAL, and none is made',
    (pgoff) => {
      const fixture = new MmFixture()
      const file = new ShmemFile(fixture.sys, 'data', 4)
      expect([file.getPage(pgoff), file.writePage(pgoff, word)]).toEqual([-EINVAL, -EINVAL])
      expect(file.mapping.pages.size).toBe(0)
      fixture.finish(1)
    },
  )

  it('writes within one page', () => {
    const fixture = new MmFixture()
    const file = new ShmemFile(fixture.sys, 'data', 4)
    for (const offset of [-1, PAGE_SIZE, Number.NaN, 0.5]) expect(file.writePage(0, word, offset)).toBe(-EINVAL)
    expect(file.mapping.pages.size).toBe(0)
    expect(file.writePage(0, word, PAGE_SIZE - 1)).toBe(0)
    fixture.finish(1)
  })
})
