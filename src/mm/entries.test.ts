// What an entry of each kind counts for (spec T-1 to T-36): references and mappings of its page, RSS, and what the page
// knows. The validator holds the sums after every step; here are the single statements.

import { describe, expect, it } from 'vitest'
import { MmFixture } from '../../test/helpers/mm-fixture.ts'
import { PAGE_SIZE } from '../base/addr.ts'
import { AssertionError } from '../base/assert.ts'
import { ENODEV } from '../base/errno.ts'
import { MADV_HWPOISON, MADV_PAGEOUT, PROT_NONE, PROT_READ, PROT_WRITE } from '../uapi/mman.ts'
import { AnonVma } from './anon-vma.ts'
import { makeDeviceExclusiveRange } from './exclusive.ts'
import { insertPfnMixed } from './insert.ts'
import { MM_ANONPAGES, MM_FILEPAGES, MM_SHMEMPAGES, MM_SWAPENTS, Mm, mmget, mmgetNotZero } from './mm.ts'
import { mmput } from './mmap.ts'
import {
  PG_ANON,
  PG_ANON_EXCLUSIVE,
  PG_DIRTY,
  PG_HWPOISON,
  PG_LOCKED,
  PG_LRU,
  PG_SWAPBACKED,
  PG_SWAPCACHE,
  PG_UPTODATE,
} from './page.ts'
import { putPage, unlockPage } from './page-alloc.ts'
import {
  PTE_DIRTY,
  PTE_EXCLUSIVE,
  PTE_KIND_MARKER,
  PTE_KIND_MIGRATION,
  PTE_KIND_SWAPIN_ERROR,
  PTE_PRESENT,
  PTE_PROTNONE,
  PTE_SPECIAL,
  PTE_WRITE,
  PTE_YOUNG,
  pteKind,
} from './pte.ts'
import { rmapWalk, tryToMigrate } from './rmap-walk.ts'
import { isCowMapping, VM_IO, VM_MIXEDMAP, VM_PFNMAP, VM_SPECIAL } from './vm-flags.ts'

/** Anonymous, file, shmem, swap. */
function rss({ mm }: MmFixture): number[] {
  return [mm.rss[MM_ANONPAGES], mm.rss[MM_FILEPAGES], mm.rss[MM_SHMEMPAGES], mm.rss[MM_SWAPENTS]]
}

describe('an address space (T-1)', () => {
  it('is alive while it has users, and exists while it has subscriptions', () => {
    const fixture = new MmFixture()
    const { mm } = fixture
    fixture.mmap(0, 1)
    fixture.store(0)
    expect([mm.users, mm.count, mmgetNotZero(mm), mm.users]).toEqual([1, 2, true, 2])
    mmget(mm)
    fixture.exit(fixture.process)
    expect([mm.users, fixture.sys.mms.has(mm), fixture.nused]).toEqual([2, true, 1])
    expect([mmput(mm), mm.users, fixture.nused]).toEqual([0, 1, 1])
    fixture.log.take()
    expect([mmput(mm), mm.users, fixture.nused]).toEqual([0, 0, 0])
    expect(fixture.log.take()).toEqual(['RELEASE all of none', 'UNMAP all of 0-1'])
    expect([mmgetNotZero(mm), mmput(mm), mm.users, fixture.sys.mms.has(mm)]).toEqual([false, -ENODEV, 0, false])
    expect(() => mmget(mm)).toThrow(AssertionError)
    expect(mm.count).toBe(2) // the subscription of the log stays
  })
})

describe('a mapping', () => {
  it('is anonymous without operations; shared anonymous memory has a file (T-3)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1)
    fixture.mmap(2, 1, { shared: true })
    fixture.mmap(4, 1, { file: fixture.machine.createFile('data', 1) })
    expect([0, 2, 4].map((page) => fixture.vma(page).isAnonymous)).toEqual([true, false, false])
    fixture.finish(1)
  })

  it('copies on write if it is private, whether it can be written now or not (T-4)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1, { prot: PROT_READ })
    fixture.mmap(2, 1, { shared: true })
    expect([0, 2].map((page) => isCowMapping(fixture.vma(page).flags))).toEqual([true, false])
    fixture.finish()
  })

  it('is special with raw frames, I/O or mixed contents (T-2)', () => {
    expect(VM_SPECIAL & (VM_IO | VM_PFNMAP | VM_MIXEDMAP)).toBe(VM_IO | VM_PFNMAP | VM_MIXEDMAP)
    const fixture = new MmFixture()
    fixture.mmap(0, 1)
    fixture.step(() => insertPfnMixed(fixture.vma(0), fixture.addr(0), 777))
    expect(fixture.vma(0).flags & VM_SPECIAL).toBe(VM_MIXEDMAP)
    fixture.finish()
  })

  it('has holes without a mapping, and empty entries with and without a table (T-5)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 2)
    fixture.mmap(512, 1)
    fixture.store(0)
    expect([fixture.pte(0, 3), fixture.pte(512, 1)]).toEqual(['w-_', 't'])
    fixture.finish()
  })

  it('that is private makes entries writable by a write alone (T-6)', () => {
    const fixture = new MmFixture({ faultAroundPages: 1 })
    const file = fixture.machine.createFile('data', 2)
    fixture.mmap(0, 2, { file })
    fixture.mmap(4, 2, { file, shared: true })
    fixture.load(0)
    fixture.load(4)
    expect([fixture.pte(0, 1), fixture.pte(4, 1)]).toEqual(['r', 'w'])
    fixture.finish(1)
  })

  it('gets an AnonVma with its first anonymous page, not with a zero page (T-7)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 2)
    fixture.load(0)
    expect(fixture.vma(0).anonVma).toBe(null)
    fixture.store(1)
    expect(fixture.vma(0).anonVma).toBeInstanceOf(AnonVma)
    fixture.finish()
  })
})

describe('an entry', () => {
  it('that is empty holds nothing (T-10)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 2)
    fixture.store(0)
    expect([fixture.flags(1), fixture.pfn(1), rss(fixture)]).toEqual([0, 0, [1, 0, 0, 0]])
    fixture.finish()
  })

  it('that is present has one reference and one mapping, with dirty and young bits (T-11, T-12)', () => {
    const fixture = new MmFixture({ faultAroundPages: 1 })
    const file = fixture.machine.createFile('data', 1)
    fixture.mmap(0, 1)
    fixture.store(0)
    expect(fixture.flags(0) & (PTE_PRESENT | PTE_WRITE | PTE_DIRTY | PTE_YOUNG)).toBe(
      PTE_PRESENT | PTE_WRITE | PTE_DIRTY | PTE_YOUNG,
    )
    fixture.mmap(2, 1, { file })
    fixture.load(2)
    expect(fixture.flags(2) & (PTE_PRESENT | PTE_WRITE | PTE_DIRTY | PTE_YOUNG)).toBe(PTE_PRESENT | PTE_YOUNG)
    expect([fixture.counts(0), fixture.counts(2), rss(fixture)]).toEqual(['1/1', '2/1', [1, 0, 1, 0]]) // T-31: the cache holds one
    fixture.finish(1)
  })

  it('of the zero page counts for nothing (T-13, T-35)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 2)
    fixture.load(0, 2)
    const { zeroPfn, pages } = fixture.sys
    expect([fixture.pfn(0), fixture.pfn(1)]).toEqual([zeroPfn, zeroPfn])
    expect(fixture.flags(0) & (PTE_PRESENT | PTE_SPECIAL | PTE_WRITE)).toBe(PTE_PRESENT | PTE_SPECIAL)
    expect([fixture.countsOf(zeroPfn), pages.mapping[zeroPfn], rss(fixture)]).toEqual(['1/0', 0, [0, 0, 0, 0]])
    fixture.finish()
  })

  it('without access is present, and counts like any other (T-14)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1)
    fixture.store(0)
    const pfn = fixture.pfn(0)
    fixture.mprotect(0, 1, PROT_NONE)
    expect(fixture.flags(0) & (PTE_PRESENT | PTE_PROTNONE)).toBe(PTE_PRESENT | PTE_PROTNONE)
    expect([fixture.pfn(0), fixture.counts(0), rss(fixture)]).toEqual([pfn, '1/1', [1, 0, 0, 0]])
    fixture.finish()
  })

  it('of swap counts for its slot, and remembers that it is the only one (T-15)', () => {
    const fixture = new MmFixture({ swap: '1 MiB' })
    fixture.mmap(0, 1)
    fixture.store(0)
    fixture.madvise(0, 1, MADV_PAGEOUT)
    expect([fixture.flags(0) & PTE_EXCLUSIVE, fixture.sys.swap?.counts[fixture.pfn(0)], rss(fixture)]).toEqual([
      PTE_EXCLUSIVE,
      1,
      [0, 0, 0, 1],
    ])
    fixture.finish()
  })

  it('of a migration holds no reference and no mapping, and still counts as resident (T-16)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1)
    fixture.store(0)
    const pfn = fixture.pfn(0)
    const end = fixture.beginMigration(0)
    expect([fixture.pte(0, 1), fixture.countsOf(pfn), rss(fixture)]).toEqual(['M', '1/0', [1, 0, 0, 0]]) // the collector's
    end()
    expect([fixture.pte(0, 1), fixture.counts(0)]).toEqual(['w', '1/1'])
    fixture.finish()
  })

  it('of private device memory has one reference and one mapping, and counts as anonymous (T-17, DM-9)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 2)
    fixture.store(0)
    fixture.migrateToDev(0, 0, 2)
    expect([fixture.pte(0, 2), fixture.counts(0), fixture.counts(1), rss(fixture)]).toEqual([
      'DD',
      '1/1',
      '1/1',
      [2, 0, 0, 0],
    ])
    fixture.finish()
  })

  it('of exclusive access keeps the reference and drops the mapping (T-18, T-26, MG-112)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1)
    fixture.store(0)
    const pfn = fixture.pfn(0)
    const found: number[] = []
    fixture.mm.mmapLock.tryRead()
    expect(makeDeviceExclusiveRange(fixture.mm, fixture.addr(0), fixture.addr(1), found, fixture)).toBe(1)
    fixture.mm.mmapLock.unlockRead()
    expect([found, fixture.countsOf(pfn), fixture.sys.pages.isLocked(pfn)]).toEqual([[pfn], '2/0', true])
    unlockPage(fixture.sys, pfn)
    putPage(fixture.sys, pfn)
    fixture.validate()
    expect([fixture.pte(0, 1), fixture.countsOf(pfn), rss(fixture)]).toEqual(['X', '1/0', [1, 0, 0, 0]])
    fixture.load(0)
    expect(fixture.counts(0)).toBe('1/1')
    fixture.finish()
  })

  it('of poison counts for nothing (T-19)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1)
    fixture.store(0)
    const pfn = fixture.pfn(0)
    fixture.held.set(pfn, 1) // memory failure keeps the frame
    fixture.madvise(0, 1, MADV_HWPOISON)
    expect([fixture.pte(0, 1), fixture.countsOf(pfn), rss(fixture)]).toEqual(['h', '1/0', [0, 0, 0, 0]])
    expect(fixture.sys.pages.flags[pfn] & PG_HWPOISON).toBe(PG_HWPOISON)
    fixture.finish()
  })

  it('that was lost in swap, or is a marker, names no page (T-20, T-21)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 2)
    fixture.setEntry(0, PTE_KIND_SWAPIN_ERROR)
    fixture.setEntry(1, PTE_KIND_MARKER)
    fixture.validate()
    expect([fixture.pte(0, 2), rss(fixture)]).toEqual(['!*', [0, 0, 0, 0]])
    expect(() => fixture.load(0)).toThrow(expect.objectContaining({ signal: 'SIGBUS' })) // CP-11
    fixture.munmap(0, 2)
    fixture.finish()
  })

  it('of a raw frame has no page (T-22)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1)
    fixture.step(() => insertPfnMixed(fixture.vma(0), fixture.addr(0), 777))
    expect([fixture.pte(0, 1), fixture.countsOf(777), rss(fixture)]).toEqual(['S', '0/0', [0, 0, 0, 0]])
    fixture.finish()
  })

  it('of 2 MiB counts once for the page and 512 times for RSS (T-23, T-24)', () => {
    const fixture = new MmFixture({ thp: 'always' })
    const { sys } = fixture
    fixture.mmap(0, 512)
    fixture.store(0)
    const head = fixture.mm.pageTable.findPmd(fixture.addr(0))?.hugePfn(0) ?? -1
    expect([sys.pages.refcount[head], sys.pages.getCompound(head).mapcount, rss(fixture)]).toEqual([
      1,
      1,
      [512, 0, 0, 0],
    ])
    sys.lru.isolate(head)
    sys.pages.trylock(head)
    tryToMigrate(sys, head)
    fixture.held.set(head, 1)
    fixture.validate()
    expect([fixture.pte(0, 1), sys.pages.getCompound(head).mapcount, rss(fixture)]).toEqual(['M', 0, [512, 0, 0, 0]])
    fixture.munmap(0, 512)
    unlockPage(sys, head)
    putPage(sys, head)
    fixture.held.clear()
    expect(rss(fixture)).toEqual([0, 0, 0, 0])
    fixture.finish()
  })
})

describe('the kind of a migration entry (T-25)', () => {
  it('is writable, readable and exclusive, or readable', () => {
    const fixture = new MmFixture({ faultAroundPages: 1 })
    const file = fixture.machine.createFile('data', 1)
    fixture.mmap(0, 3)
    fixture.store(2)
    fixture.fork()
    fixture.store(0, 2)
    fixture.mprotect(1, 1, PROT_READ)
    fixture.mprotect(1, 1, PROT_READ | PROT_WRITE)
    fixture.sys.pages.clearDirty(fixture.pfn(1))
    fixture.setEntry(1, fixture.flags(1) & ~PTE_WRITE, fixture.pfn(1)) // exclusive all the same
    fixture.mmap(4, 1, { file })
    fixture.load(4)
    const ends = [0, 1, 2, 4].map((page) => fixture.beginMigration(page))
    const kinds = [0, 1, 2, 4].map((page) => fixture.flags(page) & (PTE_WRITE | PTE_EXCLUSIVE))
    expect([0, 1, 2, 4].map((page) => pteKind(fixture.flags(page)))).toEqual(new Array(4).fill(PTE_KIND_MIGRATION))
    expect(kinds).toEqual([PTE_WRITE, PTE_EXCLUSIVE, 0, 0])
    for (const end of ends) end()
    expect([fixture.pte(0, 5), fixture.attr(0, 3)]).toEqual(['wrr_r', '771'])
    fixture.finish(1)
  })
})

describe('a page', () => {
  it('knows what it is (T-30)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1)
    fixture.mmap(2, 1, { shared: true })
    fixture.store(0)
    fixture.store(2)
    const { pages } = fixture.sys
    const of = (page: number) => pages.flags[fixture.pfn(page)]
    const anonymous = PG_ANON | PG_ANON_EXCLUSIVE
    expect(of(0) & (anonymous | PG_LRU | PG_UPTODATE | PG_SWAPBACKED | PG_LOCKED)).toBe(
      anonymous | PG_LRU | PG_UPTODATE | PG_SWAPBACKED,
    )
    expect(of(2) & (anonymous | PG_LRU | PG_UPTODATE | PG_SWAPBACKED)).toBe(PG_LRU | PG_UPTODATE | PG_SWAPBACKED)
    expect(of(2) & PG_DIRTY).toBe(PG_DIRTY)
    expect([pages.index[fixture.pfn(0)], pages.index[fixture.pfn(2)]]).toEqual([fixture.addr(0) / PAGE_SIZE, 0])
    expect(pages.pagemap[fixture.pfn(0)]).toBe(0)
    fixture.finish()
  })

  it('has one reference per mapping, cache and isolation; what is above is extra (T-31, T-33)', () => {
    const fixture = new MmFixture({ swap: '64 KiB' })
    fixture.mmap(0, 1, { shared: true })
    fixture.store(0)
    const child = fixture.fork()
    fixture.load(0, 1, child)
    const pfn = fixture.pfn(0)
    expect(fixture.countsOf(pfn)).toBe('3/2')
    expect([fixture.sys.lru.isolate(pfn), fixture.countsOf(pfn), fixture.sys.lru.isolate(pfn)]).toEqual([
      true,
      '4/2',
      false,
    ])
    expect(fixture.sys.pages.flags[pfn] & PG_LRU).toBe(0)
    fixture.sys.lru.add(pfn)
    putPage(fixture.sys, pfn)
    fixture.validate()
    expect(fixture.sys.pages.flags[pfn] & PG_SWAPCACHE).toBe(0)
    fixture.finish()
  })

  it('is exclusive from its first write until fork, and again when nobody else has it (T-32)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1)
    fixture.store(0)
    const exclusive = () => fixture.sys.pages.isAnonExclusive(fixture.pfn(0))
    expect(exclusive()).toBe(true)
    const child = fixture.fork()
    expect(exclusive()).toBe(false)
    fixture.exit(child)
    expect(exclusive()).toBe(false)
    fixture.store(0)
    expect(exclusive()).toBe(true)
    const pfn = fixture.pfn(0)
    const end = fixture.beginMigration(0)
    expect(fixture.sys.pages.isAnonExclusive(pfn)).toBe(false)
    end()
    expect(exclusive()).toBe(true)
    fixture.finish()
  })

  it('of a device is never on the LRU (T-34, DM-11)', () => {
    const fixture = new MmFixture({ swap: '1 MiB' })
    fixture.mmap(0, 2)
    fixture.store(0, 2)
    fixture.migrateToDev(0, 0, 1)
    fixture.migrateToDev(2, 1, 1)
    for (const page of [0, 1]) expect(fixture.sys.pages.flags[fixture.pfn(page)] & PG_LRU).toBe(0)
    fixture.madvise(0, 2, MADV_PAGEOUT)
    fixture.sys.reclaim(100)
    expect(fixture.pte(0, 2)).toBe('DG')
    fixture.finish()
  })

  it('is found in every mapping that may have it, with its address there (T-36)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 4)
    fixture.store(0, 4)
    const child = fixture.fork()
    fixture.store(1, 1, 2, child) // has a page of its own there now
    fixture.step(() => child.mremap(fixture.addr(0), PAGE_SIZE, PAGE_SIZE, { to: fixture.addr(20) }))
    const visits: [boolean, number][] = []
    const walk = (page: number) => {
      visits.length = 0
      rmapWalk(fixture.sys, fixture.pfn(page), false, (vma, addr) => {
        visits.push([vma.mm === fixture.mm, (addr - fixture.addr(0)) / PAGE_SIZE])
        return true
      })
      return visits
    }
    expect(walk(1)).toEqual([
      [true, 1],
      [false, 1],
    ])
    expect(walk(0)).toEqual([
      [true, 0],
      [false, 20],
    ])
    fixture.finish()
  })

  it('is not found by a walk that was told to stop', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1)
    fixture.store(0)
    fixture.fork()
    let visits = 0
    rmapWalk(fixture.sys, fixture.pfn(0), false, () => {
      visits++
      return false
    })
    expect(visits).toBe(1)
    fixture.finish()
  })
})

describe('a new address space', () => {
  it('is empty', () => {
    const fixture = new MmFixture()
    const mm = new Mm(fixture.sys)
    expect([mm.users, mm.count, mm.vmas, [...mm.rss]]).toEqual([1, 1, [], [0, 0, 0, 0]])
    expect(mmput(mm)).toBe(0)
    fixture.finish()
  })
})
