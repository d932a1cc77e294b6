// The first step of a migration: which ranges can migrate at all, and what is collected of each entry (spec MG-20 to MG-34).

import { describe, expect, it } from 'vitest'
import { MigrateFixture, Migration } from '../../test/helpers/migrate-fixture.ts'
import { TestDevice } from '../../test/helpers/test-device.ts'
import { PAGE_SIZE } from '../base/addr.ts'
import { EINVAL } from '../base/errno.ts'
import { MADV_HWPOISON, MADV_PAGEOUT, PROT_NONE, PROT_READ } from '../uapi/mman.ts'
import { MEMORY_DEVICE_COHERENT } from './memremap.ts'
import {
  MIGRATE_PFN_MIGRATE,
  MIGRATE_PFN_PIN,
  MIGRATE_VMA_SELECT_DEVICE_COHERENT,
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  MIGRATE_VMA_SELECT_SYSTEM,
  makeMigrateVma,
  migratePfn,
  migrateVmaSetup,
} from './migrate-device.ts'
import { PG_LOCKED, PG_LRU } from './page.ts'
import { PTE_DIRTY, PTE_EXCLUSIVE, PTE_KIND_MARKER, PTE_KIND_MIGRATION, PTE_WRITE, PTE_YOUNG } from './pte.ts'
import { VM_HUGETLB, VM_IO, VM_MIXEDMAP, VM_PFNMAP } from './vm-flags.ts'

const SYSTEM = MIGRATE_VMA_SELECT_SYSTEM
const PRIVATE = MIGRATE_VMA_SELECT_DEVICE_PRIVATE
const COHERENT = MIGRATE_VMA_SELECT_DEVICE_COHERENT
const ALL = SYSTEM | PRIVATE | COHERENT

/** Begins a migration, gives up at once, and tells what was collected. */
function collected(f: MigrateFixture, page: number, npages: number, flags = SYSTEM, owner: unknown = f.gpu): string {
  const migration = f.begin(page, npages, { flags, owner })
  const { src } = migration
  migration.finish()
  return src
}

describe('migrateVmaSetup(), the range', () => {
  it('counts pages before it rounds, so an offset makes no difference (MG-2, MG-20)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 4)
    f.store(0, 4)
    const args = f.args(1, 2)
    args.start++
    args.end++
    f.mm.mmapLock.tryRead()
    expect(migrateVmaSetup(args)).toBe(0)
    expect([args.start, args.end, args.npages, args.cpages]).toEqual([f.addr(1), f.addr(3), 2, 2])
    f.open.add(new Migration(f, args, f.mm))
    f.validate()
    expect(f.pte(0, 4)).toBe('wMMw')
    for (const migration of f.open) migration.finish()
    expect(f.pte(0, 4)).toBe('wwww')
    f.finish()
  })

  it('refuses less than a page, also where rounding would make one of it (MG-20)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 2)
    const args = f.args(0, 1)
    for (const [start, end] of [
      [0, 0],
      [0, PAGE_SIZE - 1],
      [1, PAGE_SIZE],
      [PAGE_SIZE, 0],
    ]) {
      args.start = f.addr(0) + start
      args.end = f.addr(0) + end
      expect(f.setup(args)).toBe(-EINVAL)
    }
    f.finish()
  })

  it('refuses an unaligned range that covers more pages than the arrays have', () => {
    const f = new MigrateFixture()
    f.mmap(0, 2)
    f.store(0, 2)
    const args = f.args(0, 1)
    args.start = f.addr(0) + 2048
    args.end = f.addr(2) + 1 // 1.5 pages long, and on two of them
    expect(f.setup(args)).toBe(-EINVAL)
    expect(f.pte(0, 2)).toBe('ww')
    args.src = new BigUint64Array(2)
    args.dst = new BigUint64Array(2)
    args.start = f.addr(0) + 2048
    args.end = f.addr(2) + 1
    expect(f.setup(args)).toBe(0)
    expect([args.npages, f.pte(0, 2)]).toEqual([2, 'ww'])
    f.finish()
  })

  it('refuses what is not one range of one mapping (MG-21)', () => {
    const f = new MigrateFixture()
    f.mmap(1, 2)
    f.mmap(3, 2, { prot: PROT_READ })
    f.store(1, 2)
    const setup = (page: number, npages: number) => {
      const args = f.args(1, 1)
      args.start = f.addr(page)
      args.end = f.addr(page + npages)
      args.src = new BigUint64Array(8)
      args.dst = new BigUint64Array(8)
      return f.setup(args)
    }
    expect([setup(0, 1), setup(0, 2), setup(2, 2), setup(3, 1), setup(5, 1)]).toEqual(Array(5).fill(-EINVAL))
    expect([setup(1, 2), setup(1, 1), setup(2, 1)]).toEqual([0, 0, 0])
    const args = f.args(1, 1)
    args.vma = null
    expect(f.setup(args)).toBe(-EINVAL)
    f.finish()
  })

  it('refuses numbers that are no addresses', () => {
    const f = new MigrateFixture()
    f.mmap(0, 2)
    f.store(0, 2)
    for (const [start, end] of [
      [Number.NaN, f.addr(1)],
      [f.addr(0), Number.NaN],
      [f.addr(0), Number.POSITIVE_INFINITY],
      [Number.NEGATIVE_INFINITY, f.addr(1)],
      [-PAGE_SIZE, f.addr(1)],
    ]) {
      const args = f.args(0, 2)
      args.start = start
      args.end = end
      expect(f.setup(args)).toBe(-EINVAL)
    }
    expect(f.pte(0, 2)).toBe('ww')
    f.finish()
  })

  it('refuses arrays that are too short (MG-21)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 2)
    f.store(0, 2)
    for (const array of ['src', 'dst'] as const) {
      const args = f.args(0, 2)
      args[array] = new BigUint64Array(1)
      expect(f.setup(args)).toBe(-EINVAL)
    }
    expect(f.pte(0, 2)).toBe('ww')
    f.finish()
  })

  it.each([
    ['hugetlb', VM_HUGETLB],
    ['memory-mapped I/O', VM_IO],
    ['raw frames', VM_PFNMAP],
    ['mixed', VM_MIXEDMAP],
  ])('refuses a mapping of the kind: %s (MG-21, MG-89)', (_, flag) => {
    const f = new MigrateFixture()
    f.mmap(0, 1)
    const vma = f.vma(0)
    vma.flags |= flag
    const args = f.args(0, 1)
    f.mm.mmapLock.tryRead()
    expect(migrateVmaSetup(args)).toBe(-EINVAL)
    f.mm.mmapLock.unlockRead()
    vma.flags &= ~flag
    f.finish()
  })

  it('refuses a fault page that is no device page (MG-5, MG-21)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 2)
    f.store(0, 2)
    f.toDevice(0, 1)
    expect(f.setup(f.args(0, 2, { faultPage: f.pfn(1) }))).toBe(-EINVAL)
    expect(f.setup(f.args(0, 2, { faultPage: 2 ** 31 }))).toBe(-EINVAL)
    expect(f.setup(f.args(0, 2, { faultPage: f.pfn(0) }))).toBe(0)
    f.munmap(0, 2)
    f.finish()
  })

  it('is 0 also if nothing can migrate (MG-22)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 2, { shared: true })
    const migration = f.begin(0, 2)
    expect([migration.src, migration.args.cpages, migration.args.npages]).toEqual(['0 0', 0, 2])
    migration.finish()
    f.finish()
  })

  it('wants mmapLock held (MG-9)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 1)
    expect(() => migrateVmaSetup(f.args(0, 1))).toThrow('the mmapLock is not held')
    f.finish()
  })

  it('clears src and dst, but for PIN in src (MG-23, PN-1)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 3, { shared: true })
    const args = f.args(0, 3)
    args.src.fill(2n ** 64n - 1n)
    args.dst.fill(2n ** 64n - 1n)
    f.mm.mmapLock.tryRead()
    expect(migrateVmaSetup(args)).toBe(0)
    f.mm.mmapLock.unlockRead()
    expect([...args.src, ...args.dst]).toEqual([...Array(3).fill(BigInt(MIGRATE_PFN_PIN)), 0n, 0n, 0n])
    f.finish()
  })

  it('tells everybody who mirrors the range, once, with the owner (MG-4, MG-23)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 4)
    f.store(1, 2)
    let migration: Migration | undefined
    const events = f.eventsOf(() => {
      migration = f.begin(0, 3)
    })
    expect(events).toEqual(['MIGRATE 0-3 of 0-4 by dev0'])
    expect(f.eventsOf(() => migration?.finish())).toEqual([])
    f.finish()
  })
})

describe('migrateVmaSetup(), what is collected', () => {
  it('an empty entry of an anonymous mapping, whatever is selected, with and without a table (MG-7, MG-24)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 2)
    expect([collected(f, 0, 2), collected(f, 0, 2, 0)]).toEqual(['M M', 'M M'])
    f.store(1)
    expect([collected(f, 0, 2), collected(f, 0, 2, 0)]).toEqual(['M VMW', 'M 0'])
    expect(BigInt(MIGRATE_PFN_MIGRATE)).toBe(2n)
    f.finish()
  })

  it('no empty entry of any other mapping (MG-24)', () => {
    const f = new MigrateFixture()
    const file = f.machine.createFile('file', 4)
    f.mmap(0, 2, { file })
    f.mmap(2, 2, { shared: true })
    expect([collected(f, 0, 2, ALL), collected(f, 2, 2, ALL)]).toEqual(['0 0', '0 0'])
    f.store(0)
    f.store(2)
    expect([collected(f, 0, 2, ALL), collected(f, 2, 2, ALL)]).toEqual(['VMW 0', 'VMW 0'])
    f.finish(1)
  })

  it('a zero page as something to fill, if system memory is selected; its entry stays (MG-25)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 2)
    f.load(0, 2)
    const migration = f.begin(0, 2)
    expect([migration.src, migration.args.cpages, f.pte(0, 2)]).toEqual(['M M', 2, 'zz'])
    migration.finish()
    expect([collected(f, 0, 2, PRIVATE | COHERENT), f.pte(0, 2)]).toEqual(['0 0', 'zz'])
    f.finish()
  })

  it('a private device page of the owner, if such are selected (MG-3, MG-26)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 2)
    f.store(0, 2)
    f.toDevice(0, 2)
    f.mprotect(1, 1, PROT_READ)
    f.mprotect(1, 1, 3)
    expect(collected(f, 0, 2, PRIVATE)).toBe('VMW VM')
    expect(collected(f, 0, 2, SYSTEM | COHERENT)).toBe('0 0')
    expect(collected(f, 0, 2, PRIVATE, null)).toBe('0 0')
    expect(collected(f, 0, 2, PRIVATE, { ...f.gpu })).toBe('0 0')
    f.munmap(0, 2)
    f.finish()
  })

  it('a coherent device page of the owner, if such are selected (MG-28)', () => {
    const f = new MigrateFixture()
    const device = new TestDevice(f.sys, 1, { type: MEMORY_DEVICE_COHERENT })
    f.mmap(0, 1)
    f.store(0)
    f.toDevice(0, 1, device)
    expect(f.pte(0, 1)).toBe('E')
    expect([collected(f, 0, 1, COHERENT, device), collected(f, 0, 1, COHERENT)]).toEqual(['VMW', '0'])
    expect(collected(f, 0, 1, SYSTEM | PRIVATE, device)).toBe('0')
    f.munmap(0, 1)
    f.finish()
  })

  it('a system page, if such are selected, with what the entry allows (MG-28)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 3)
    f.store(0, 3)
    f.mprotect(1, 1, PROT_READ)
    f.mprotect(2, 1, PROT_NONE)
    expect([collected(f, 0, 1), collected(f, 1, 1), collected(f, 2, 1)]).toEqual(['VMW', 'VM', 'VM'])
    expect(collected(f, 0, 1, PRIVATE | COHERENT)).toBe('0')
    expect(f.pte(0, 3)).toBe('wrn')
    f.finish()
  })

  it('names the frame in src (MG-6, MG-7)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 1)
    f.store(0)
    const pfn = f.pfn(0)
    const migration = f.begin(0, 1)
    expect(migration.args.src[0]).toBe(migratePfn(pfn, 0xa))
    expect(migration.args.src[0]).toBe((BigInt(pfn) << 6n) | 0xbn)
    migration.finish()
    f.finish()
  })

  it('nothing that is swapped, migrating, exclusive to a device, poisoned or a marker (MG-27, MG-88)', () => {
    const f = new MigrateFixture({ swap: '1 MiB' })
    f.mmap(0, 6)
    f.store(0, 6)
    f.madvise(0, 1, MADV_PAGEOUT)
    f.exclusive(1, 1, 1)
    f.held.set(f.pfn(2), 1) // the reference of whoever declares it broken stays
    f.madvise(2, 1, MADV_HWPOISON)
    f.madvise(4, 1, 4) // MADV_DONTNEED: an empty entry for the marker
    const other = f.begin(3, 1)
    const pfn = f.pfn(4)
    f.setEntry(4, PTE_KIND_MARKER)
    const migration = f.begin(0, 6, { flags: ALL })
    expect(migration.src).toBe('0 0 0 0 0 VMW')
    expect(f.pte(0, 6)).toBe('sXhM*M')
    migration.finish()
    f.setEntry(4, 0, pfn)
    other.finish()
    expect(f.pte(0, 6)).toBe('sXhw-w')
    f.finish()
  })

  it('nothing without a mapping of its own, and nothing in a compound page that is mapped in small pieces (MG-29)', () => {
    const f = new MigrateFixture({ thp: 'always' })
    f.mmap(0, 512)
    f.store(0)
    f.mprotect(0, 1, PROT_READ) // splits the entry, not the page
    expect(f.sys.pages.isCompound(f.pfn(1))).toBe(true)
    expect([collected(f, 1, 2), f.pte(0, 3)]).toEqual(['0 0', 'rww'])
    const mapping = f.sys.pages.mapping[f.pfn(1)]
    expect(mapping).toBe(0) // a tail; the head says what it belongs to
    f.finish()
  })

  it('no page that somebody has locked (MG-31)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 2)
    f.store(0, 2)
    f.lock(f.pfn(0))
    expect([collected(f, 0, 2), f.pte(0, 2), f.counts(0)]).toEqual(['0 VMW', 'ww', '1/1'])
    f.unlock(f.pfn(0))
    expect(collected(f, 0, 2)).toBe('VMW VMW')
    f.finish()
  })

  it('no exclusive page that may be pinned for DMA (MG-32)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 2)
    f.store(0, 2)
    const unpin = f.pin(0, 1)
    expect([collected(f, 0, 2), f.pte(0, 2), f.attr(0, 2)]).toEqual(['0 VMW', 'ww', 'f7'])
    expect(f.pageFlags(0) & PG_LOCKED).toBe(0)
    unpin()
    f.finish()
  })

  it('leaves a migration entry that remembers permission, exclusivity, dirty and young (MG-32, MG-33, T-25)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 3)
    f.store(0, 3)
    f.mprotect(1, 1, PROT_READ)
    const child = f.fork()
    f.store(0, 2 - 1) // page 0 is exclusive again
    const migration = f.begin(0, 1)
    const shared = f.begin(2, 1)
    const both = PTE_DIRTY | PTE_YOUNG
    const mask = PTE_KIND_MIGRATION | PTE_WRITE | PTE_EXCLUSIVE | both
    expect(f.flags(0) & mask).toBe(PTE_KIND_MIGRATION | PTE_WRITE | both)
    expect(f.flags(2) & mask).toBe(PTE_KIND_MIGRATION | both)
    migration.finish()
    shared.finish()
    f.exit(child)
    f.mprotect(0, 1, PROT_READ)
    const readOnly = f.begin(0, 1)
    expect(f.flags(0) & mask).toBe(PTE_KIND_MIGRATION | PTE_EXCLUSIVE | both)
    readOnly.finish()
    expect([f.pte(0, 3), f.attr(0, 1)]).toEqual(['rrr', '7'])
    f.finish()
  })

  it('moves the dirty bit to the page, and takes mapcount and the reference of the entry (MG-33)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 1)
    f.store(0)
    const pfn = f.pfn(0)
    f.sys.pages.clearDirty(pfn)
    const migration = f.begin(0, 1)
    const { flags } = f.sys.pages
    expect([f.countsOf(pfn), flags[pfn] & (PG_LOCKED | PG_LRU), f.machine.sys.pages.isAnonExclusive(pfn)]).toEqual([
      '1/0',
      PG_LOCKED,
      false,
    ])
    expect((flags[pfn] & (1 << 3)) !== 0).toBe(true) // PG_DIRTY
    expect(f.mm.rss[1]).toBe(1) // still counted (T-16)
    migration.finish()
    f.finish()
  })

  it('collects present pages of files like others; the later steps refuse them (MG-34)', () => {
    const f = new MigrateFixture()
    const file = f.machine.createFile('file', 2)
    f.mmap(0, 1, { file, shared: true })
    f.mmap(1, 1, { shared: true })
    f.store(0, 2)
    const migration = f.begin(0, 1)
    const second = f.begin(1, 1)
    expect([migration.src, second.src]).toEqual(['VMW', 'VMW'])
    migration.finish()
    second.finish()
    expect(f.pte(0, 2)).toBe('ww')
    f.finish(1)
  })
})

describe('migrateVmaSetup(), huge pages (MG-30)', () => {
  const CLEAR = 'CLEAR 0-512 of 0-512'

  it('takes a transparent huge page apart, which raises CLEAR inside the event', () => {
    const f = new MigrateFixture({ thp: 'always' })
    f.mmap(0, 512)
    f.store(0, 1, 7)
    expect(f.pte(0, 1)).toBe('P')
    let migration: Migration | undefined
    const events = f.eventsOf(() => {
      migration = f.begin(2, 3)
    })
    expect(events).toEqual(['MIGRATE 2-5 of 0-512 by dev0', CLEAR, CLEAR])
    expect([migration?.src, f.pte(0, 6)]).toEqual(['VMW VMW VMW', 'wwMMMw'])
    migration?.finish()
    expect([f.pte(0, 6), f.load(0)]).toEqual(['wwwwww', [7]])
    f.finish()
  })

  it('also if nothing is selected', () => {
    const f = new MigrateFixture({ thp: 'always' })
    f.mmap(0, 512)
    f.store(0)
    expect([collected(f, 0, 2, PRIVATE), f.pte(0, 2)]).toEqual(['0 0', 'ww'])
    f.finish()
  })

  it('splits the huge zero page into zero entries, and collects those', () => {
    const f = new MigrateFixture({ thp: 'always' })
    f.mmap(0, 512)
    f.load(0)
    expect(f.pte(0, 1)).toBe('Z')
    expect([collected(f, 510, 2), f.pte(509, 3)]).toEqual(['M M', 'zzz'])
    f.munmap(0, 512)
    expect(f.nused).toBe(512) // the huge zero page stays with the machine
  })

  it('leaves one alone that is locked or that somebody holds, with the entries of the block all 0', () => {
    const f = new MigrateFixture({ thp: 'always' })
    f.mmap(0, 514)
    f.store(0)
    f.store(512, 2)
    const head = f.pfn(0) // the slot has no table
    expect(head).toBe(0)
    const huge = f.sys.lru.last
    expect(f.sys.pages.isCompound(huge)).toBe(true)
    f.lock(huge)
    expect([collected(f, 510, 4), f.pte(510, 4)]).toEqual(['0 0 VMW VMW', 'PPww'])
    f.unlock(huge)
    f.hold(huge)
    expect(collected(f, 510, 4)).toBe('0 0 VMW VMW')
    expect(f.pte(510, 4)).toBe('PPww')
    f.hold(huge, -1)
    expect([collected(f, 510, 4), f.pte(510, 4)]).toEqual(['VMW VMW VMW VMW', 'wwww'])
    f.finish()
  })
})

describe('makeMigrateVma()', () => {
  it('makes arrays for the range, none for an empty one', () => {
    expect(makeMigrateVma(null, 0, 3 * PAGE_SIZE, null, 0).src.length).toBe(3)
    expect(makeMigrateVma(null, PAGE_SIZE, 0, null, 0).dst.length).toBe(0)
  })
})
