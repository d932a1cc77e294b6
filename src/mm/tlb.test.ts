// A real MMU may dirty a page at any moment. So the CPU loses a page first, then its dirty bit is read, and only then a byte is
// copied and the event ends: on every path. A store that comes at the last moment is not lost. What frames are asked for says
// for which address.

import { describe, expect, it } from 'vitest'
import { TlbMachine } from '../../test/helpers/tlb-machine.ts'
import { PAGE_SIZE } from '../base/addr.ts'
import { MADV_COLLAPSE, MADV_DONTNEED, MADV_FREE, MREMAP_FIXED, MREMAP_MAYMOVE, PROT_READ } from '../uapi/mman.ts'
import { makeDeviceExclusiveRange } from './exclusive.ts'
import { forkMm } from './fork.ts'
import { mmMadvise } from './madvise.ts'
import { memoryFailure } from './memory-failure.ts'
import { MEMORY_DEVICE_COHERENT, MEMORY_DEVICE_PRIVATE, memremapPages, zoneDevicePageInit } from './memremap.ts'
import {
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  MIGRATE_VMA_SELECT_SYSTEM,
  type MigrateVma,
  makeMigrateVma,
  migrateDeviceFinalize,
  migrateDevicePages,
  migrateDeviceRange,
  migratePfn,
  migratePfnToPfn,
  migrateVmaFinalize,
  migrateVmaPages,
  migrateVmaSetup,
} from './migrate-device.ts'
import type { Mm } from './mm.ts'
import { mmMunmap, mmput } from './mmap.ts'
import { mmMprotect } from './mprotect.ts'
import { mmMremap } from './mremap.ts'
import { PG_DIRTY } from './page.ts'
import { allocEvictionPage, getPage, putPage, unlockPage } from './page-alloc.ts'
import { PTE_DIRTY } from './pte.ts'
import { ShmemFile } from './shmem.ts'

/** Three written pages, and the last moment is used. */
function written(options: ConstructorParameters<typeof TlbMachine>[0] = {}): TlbMachine {
  const m = new TlbMachine(options)
  m.map(0, 3)
  for (const page of [0, 1, 2]) m.store(page, page)
  m.storeAtTheLastMoment(99)
  return m
}

function forked(m: TlbMachine): Mm {
  const child = forkMm(m.mm)
  if (typeof child === 'number') throw new Error(`fork: ${child}`)
  m.listen(child)
  return child
}

/** Setup under the lock, which stays held. */
function setup(m: TlbMachine, page: number, npages: number, flags: number, owner: unknown = 'driver'): MigrateVma {
  const [start, end] = [m.addr(page), m.addr(page + npages)]
  const args = makeMigrateVma(m.mm.vmaLookup(start), start, end, owner, flags)
  m.mm.mmapLock.tryRead()
  expect(migrateVmaSetup(args)).toBe(0)
  return args
}

describe('the CPU loses the page first, then all else', () => {
  it('munmap', () => {
    const m = written()
    const journal = m.journalOf(() => mmMunmap(m.mm, m.addr(0), 2 * PAGE_SIZE))
    expect(journal).toEqual(['UNMAP 0-2', 'unmap 0-2', 'end'])
    expect([m.tryStore(0, 1), m.tryStore(2, 1)]).toEqual([false, true])
  })

  it('munmap of a page of a file: the dirty bit goes to the page', () => {
    const m = new TlbMachine()
    const file = new ShmemFile(m.sys, 'file', 1)
    m.map(0, 1, { file, shared: true })
    m.load(0)
    m.store(0, 5)
    const pfn = m.pfn(0)
    m.sys.pages.clearDirty(pfn)
    m.storeAtTheLastMoment(99)
    mmMunmap(m.mm, m.addr(0), PAGE_SIZE)
    expect([m.sys.pages.flags[pfn] & PG_DIRTY, m.mmu.peek(pfn).getUint32(0, true)]).toEqual([PG_DIRTY, 99])
  })

  it('exit: every translation is gone before the backend forgets the address space', () => {
    const m = written()
    m.take()
    mmput(m.mm)
    const journal = m.take()
    expect(journal.slice(0, 2)).toEqual(['RELEASE all', 'end'])
    expect(journal.slice(2)).toEqual(['UNMAP all', 'unmap 0-3', 'end'])
  })

  it('mprotect', () => {
    const m = written()
    const journal = m.journalOf(() => mmMprotect(m.mm, m.addr(0), PAGE_SIZE, PROT_READ))
    expect(journal).toEqual(['PROTECTION_VMA 0-1', 'unmap 0-1', 'end'])
    expect([m.flags(0) & PTE_DIRTY, m.tryStore(0, 1), m.load(0)]).toEqual([PTE_DIRTY, false, 99])
  })

  it('fork: what was stored before is in both, and nothing after that is in the other', () => {
    const m = written()
    let child: Mm | null = null
    const journal = m.journalOf(() => {
      child = forked(m)
    })
    expect(journal).toEqual(['PROTECTION_PAGE 0-3', 'unmap 0-3', 'end'])
    const other = child as unknown as Mm
    m.mmu.lastStore = null
    m.store(0, 7)
    m.store(1, 8, other)
    expect([m.load(0), m.load(0, other), m.load(1), m.load(1, other), m.load(2)]).toEqual([7, 99, 99, 8, 99])
  })

  it('a copy on write: the CPU has lost the page when it is copied', () => {
    const m = written()
    const child = forked(m)
    m.load(0)
    m.mmu.lastStore = null
    const journal = m.journalOf(() => m.store(0, 7))
    expect(journal).toEqual(['CLEAR 0-1', 'unmap 0-1', 'copy', 'install 0-1 rw', 'end'])
    expect([m.load(0), m.load(0, child)]).toEqual([7, 99])
  })

  it('a write to the zero page', () => {
    const m = new TlbMachine()
    m.map(0, 1)
    m.load(0)
    const journal = m.journalOf(() => m.store(0, 7))
    expect(journal).toEqual(['CLEAR 0-1', 'unmap 0-1', 'install 0-1 rw', 'end'])
  })

  it('a migration: dirty is known before the driver copies', () => {
    const m = written()
    const { pages } = m.sys
    for (const page of [0, 1]) pages.clearDirty(m.pfn(page))
    let args: MigrateVma | null = null
    const journal = m.journalOf(() => {
      args = setup(m, 0, 2, MIGRATE_VMA_SELECT_SYSTEM)
      for (const entry of args.src) m.held.set(migratePfnToPfn(entry), 1)
    })
    expect(journal).toEqual(['MIGRATE 0-2', 'unmap 0-2', 'end'])
    const { src, dst } = args as unknown as MigrateVma
    const sources = Array.from(src, migratePfnToPfn)
    expect(sources.map((pfn) => pages.flags[pfn] & PG_DIRTY)).toEqual([PG_DIRTY, PG_DIRTY])
    const target = allocEvictionPage(m.mm, m.addr(0))
    pages.trylock(target)
    m.mmu.copyFrame(target, sources[0]) // stops if the CPU could still write
    dst[0] = migratePfn(target)
    migrateVmaPages(args as unknown as MigrateVma)
    migrateVmaFinalize(args as unknown as MigrateVma)
    m.mm.mmapLock.unlockRead()
    m.held.clear()
    m.check()
    expect([m.load(0), m.load(1), m.load(2)]).toEqual([99, 99, 2])
  })

  it('a migration of a page with other mappings', () => {
    const m = written()
    m.mmu.lastStore = null
    const child = forked(m)
    for (const page of [0, 1]) m.load(page, child)
    m.load(0)
    const journal = m.journalOf(() => {
      const args = setup(m, 0, 1, MIGRATE_VMA_SELECT_SYSTEM)
      m.held.set(migratePfnToPfn(args.src[0]), 1)
    })
    // One CLEAR for each mapping that may have the page. `end` belongs to the address space that has heard one.
    expect(journal.filter((line) => line !== 'end')).toEqual([
      'MIGRATE 0-1',
      'unmap 0-1',
      'CLEAR 0-1',
      'unmap 0-1',
      'CLEAR 0-1',
      'unmap 0-1',
    ])
  })

  it('an eviction of coherent memory', () => {
    const m = written()
    const owner = {}
    const ops = { pageFree: () => {} }
    const pagemap = memremapPages(m.sys, { type: MEMORY_DEVICE_COHERENT, npages: 1, ops, owner })
    if (typeof pagemap === 'number') throw new Error('memremap')
    const args = setup(m, 0, 1, MIGRATE_VMA_SELECT_SYSTEM)
    zoneDevicePageInit(m.sys, pagemap.pfn)
    m.mmu.copyFrame(pagemap.pfn, migratePfnToPfn(args.src[0]))
    args.dst[0] = migratePfn(pagemap.pfn)
    migrateVmaPages(args)
    migrateVmaFinalize(args)
    m.mm.mmapLock.unlockRead()
    m.storeAtTheLastMoment(77)
    m.store(0, 5)
    const [src, dst] = [new BigUint64Array(1), new BigUint64Array(1)]
    m.held.set(pagemap.pfn, 1)
    const journal = m.journalOf(() => migrateDeviceRange(m.sys, src, pagemap.pfn, 1))
    m.held.clear()
    expect(journal).toEqual(['CLEAR 0-1', 'unmap 0-1', 'end'])
    const target = allocEvictionPage(m.mm, m.addr(0))
    m.sys.pages.trylock(target)
    m.mmu.copyFrame(target, pagemap.pfn)
    dst[0] = migratePfn(target)
    migrateDevicePages(m.sys, src, dst, 1)
    migrateDeviceFinalize(m.sys, src, dst, 1)
    m.check()
    expect([m.load(0), m.pfn(0)]).toEqual([77, target])
  })

  it('swapping out: the store that came last is what is written', () => {
    const m = written({ swapPages: 16 })
    const journal = m.journalOf(() => m.sys.reclaim(1))
    expect(journal).toEqual(['CLEAR 0-1', 'unmap 0-1', 'end', 'bytes'])
    m.mmu.lastStore = null
    expect([m.load(0), m.load(1)]).toEqual([99, 1])
  })

  it('exclusive access of a device', () => {
    const m = written()
    const { pages } = m.sys
    const pfn = m.pfn(0)
    pages.clearDirty(pfn)
    m.mm.mmapLock.tryRead()
    const journal = m.journalOf(() => {
      const out: number[] = []
      makeDeviceExclusiveRange(m.mm, m.addr(0), m.addr(1), out, 'driver')
      unlockPage(m.sys, pfn)
      putPage(m.sys, pfn)
    })
    m.mm.mmapLock.unlockRead()
    expect(journal).toEqual(['EXCLUSIVE 0-1', 'unmap 0-1', 'end'])
    expect([m.tryStore(0, 1), pages.flags[pfn] & PG_DIRTY, m.load(0)]).toEqual([false, PG_DIRTY, 99])
  })

  it('moving a mapping', () => {
    const m = written()
    const journal = m.journalOf(() => {
      expect(mmMremap(m.mm, m.addr(0), PAGE_SIZE, PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, m.addr(8))).toBe(m.addr(8))
    })
    expect(journal).toEqual(['UNMAP 0-1', 'unmap 0-1', 'end', 'UNMAP 0-1', 'unmap 0-1', 'end'])
    expect([m.tryStore(0, 1), m.flags(8) & PTE_DIRTY, m.load(8)]).toEqual([false, PTE_DIRTY, 99])
  })

  it('advice: DONTNEED, FREE', () => {
    const m = written()
    expect(m.journalOf(() => mmMadvise(m.mm, m.addr(0), PAGE_SIZE, MADV_DONTNEED))).toEqual([
      'CLEAR 0-1',
      'unmap 0-1',
      'end',
    ])
    expect(m.journalOf(() => mmMadvise(m.mm, m.addr(1), PAGE_SIZE, MADV_FREE))).toEqual([
      'CLEAR 1-2',
      'unmap 1-2',
      'end',
    ])
    // A store after the advice is seen, although the entry was cleaned while it was writable.
    m.mmu.lastStore = null
    m.store(1, 5)
    expect(m.flags(1) & PTE_DIRTY).toBe(PTE_DIRTY)
  })

  it('a file that shrinks', () => {
    const m = new TlbMachine()
    const file = new ShmemFile(m.sys, 'file', 2)
    m.map(0, 2, { file, shared: true })
    for (const page of [0, 1]) m.store(page, page)
    expect(m.journalOf(() => file.truncate(1)).slice(0, 3)).toEqual(['CLEAR 1-2', 'unmap 1-2', 'end'])
    expect([m.tryStore(0, 1), m.tryStore(1, 1)]).toEqual([true, false])
  })

  it('broken memory', () => {
    const m = written()
    const pfn = m.pfn(0)
    getPage(m.sys, pfn)
    m.held.set(pfn, 1)
    expect(m.journalOf(() => expect(memoryFailure(m.sys, pfn)).toBe(0))).toEqual(['CLEAR 0-1', 'unmap 0-1', 'end'])
  })
})

describe('huge pages', () => {
  function huge(): TlbMachine {
    const m = new TlbMachine({ thp: 'always', splitEvents: false })
    m.map(0, 512)
    m.store(3, 3)
    expect(m.take()).toEqual(['install 0-512 rw'])
    m.storeAtTheLastMoment(99)
    return m
  }

  it('taking an entry apart', () => {
    const m = huge()
    const journal = m.journalOf(() => mmMprotect(m.mm, m.addr(0), PAGE_SIZE, PROT_READ))
    // The mapping is split first, and its entry with it.
    const split = ['CLEAR 0-512', 'unmap 0-512', 'end']
    expect(journal).toEqual([...split, 'PROTECTION_VMA 0-1', 'unmap 0-1', 'end'])
    expect([m.load(0), m.load(3), m.flags(3) & PTE_DIRTY]).toEqual([99, 99, PTE_DIRTY])
  })

  it('taking a page apart, and putting pages together', () => {
    const m = huge()
    const args = setup(m, 3, 1, MIGRATE_VMA_SELECT_SYSTEM)
    migrateVmaPages(args)
    migrateVmaFinalize(args)
    m.mm.mmapLock.unlockRead()
    m.check()
    m.mmu.lastStore = null
    expect([m.load(3), m.load(4)]).toEqual([99, 99])
    m.store(3, 5)
    m.storeAtTheLastMoment(98)
    const journal = m.journalOf(() => {
      expect(mmMadvise(m.mm, m.addr(0), 512 * PAGE_SIZE, MADV_COLLAPSE)).toBe(0)
    })
    expect(journal.slice(0, 3)).toEqual(['CLEAR 0-512', 'unmap 0-512', 'end'])
    expect([journal.filter((line) => line === 'copy').length, journal.at(-1)]).toEqual([512, 'install 0-512 rw'])
    m.mmu.lastStore = null
    // The load before has handed page 4 to the CPU again, with what its entry allows.
    expect([m.load(3), m.load(4)]).toEqual([98, 98])
  })
})

describe('what the CPU gets', () => {
  it('an entry when a fault completes, for writing only what may be written', () => {
    const m = new TlbMachine()
    m.map(0, 2)
    expect(m.journalOf(() => m.load(0))).toEqual(['install 0-1'])
    expect(m.journalOf(() => m.store(1, 1))).toEqual(['install 1-2 rw'])
    expect([m.tryStore(0, 1), m.tryStore(1, 1)]).toEqual([false, true])
  })

  it('nothing of a migration that comes back before it asks', () => {
    const m = written()
    m.mmu.lastStore = null
    const args = setup(m, 0, 3, MIGRATE_VMA_SELECT_SYSTEM)
    migrateVmaPages(args)
    m.take()
    migrateVmaFinalize(args)
    m.mm.mmapLock.unlockRead()
    m.check()
    expect([m.take(), m.tryStore(0, 1), m.load(0)]).toEqual([[], false, 0])
  })

  it('what a migration looked at and does not take, again at once', () => {
    const m = written()
    m.mmu.lastStore = null
    const pfn = m.pfn(1)
    m.sys.pages.trylock(pfn)
    const journal = m.journalOf(() => {
      const args = setup(m, 0, 3, MIGRATE_VMA_SELECT_SYSTEM)
      for (const entry of args.src) if (entry !== 0n) m.held.set(migratePfnToPfn(entry), 1)
    })
    expect(journal).toEqual(['MIGRATE 0-3', 'unmap 0-3', 'install 1-2 rw', 'end'])
    expect([m.tryStore(0, 1), m.tryStore(1, 1)]).toEqual([false, true])
  })

  it('nothing is taken from it by a migration that does not select system memory', () => {
    const m = written()
    m.mmu.lastStore = null
    const pagemap = memremapPages(m.sys, {
      type: MEMORY_DEVICE_PRIVATE,
      npages: 1,
      owner: 'driver',
      ops: { pageFree: () => {}, migrateToRam: () => 0 },
    })
    expect(typeof pagemap).toBe('object')
    const journal = m.journalOf(() => setup(m, 0, 3, MIGRATE_VMA_SELECT_DEVICE_PRIVATE))
    expect(journal).toEqual(['MIGRATE 0-3', 'end'])
    expect([m.tryStore(0, 1), m.tryStore(1, 1), m.tryStore(2, 1)]).toEqual([true, true, true])
  })
})

describe('the frame allocator is told what a frame is for', () => {
  /** What an operation allocates. */
  function allocated(m: TlbMachine, operation: () => unknown): string[] {
    m.mmu.allocations.length = 0
    operation()
    return m.mmu.allocations.splice(0)
  }

  it('a fault, a copy, a page from swap, a page that comes back: the address', () => {
    const m = new TlbMachine({ swapPages: 16 })
    m.map(0, 8)
    expect(allocated(m, () => m.store(2, 1))).toEqual(['space 1 page 2'])
    m.load(3)
    expect(allocated(m, () => m.store(3, 1))).toEqual(['space 1 page 3'])
    const child = forked(m)
    expect(allocated(m, () => m.store(2, 2, child))).toEqual([`space ${child.space} page 2`])
    mmput(child)
    m.sys.reclaim(8)
    expect(allocated(m, () => m.load(2))).toEqual(['space 1 page 2'])
    expect(allocated(m, () => allocEvictionPage(m.mm, m.addr(7)))).toEqual(['space 1 page 7'])
  })

  it('a private copy of a file: the address; a page of the file: nobody', () => {
    const m = new TlbMachine()
    const file = new ShmemFile(m.sys, 'file', 2)
    m.map(0, 2, { file })
    expect(allocated(m, () => m.store(1, 1))).toEqual(['space 1 page 1', 'nobody'])
  })

  it('a copy of a pinned page in fork: the address in the child', () => {
    const m = new TlbMachine()
    m.map(0, 1)
    m.store(0, 1)
    const pfn = m.pfn(0)
    m.sys.pages.refcount[pfn] += 1024 // FOLL_PIN
    m.mm.hasPinned = true
    expect(allocated(m, () => forked(m))).toEqual(['space 2 page 0'])
    m.sys.pages.refcount[pfn] -= 1024
    m.check()
  })

  it('a huge page: where it begins', () => {
    const m = new TlbMachine({ thp: 'always' })
    m.map(0, 512)
    expect(allocated(m, () => m.store(7, 1))).toEqual(['space 1 page 0 order 9'])
  })
})
