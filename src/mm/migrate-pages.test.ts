// The second step of a migration: identities move to the destinations, holes are filled (spec MG-50 to MG-58).

import { describe, expect, it } from 'vitest'
import { MigrateFixture } from '../../test/helpers/migrate-fixture.ts'
import { TestDevice } from '../../test/helpers/test-device.ts'
import { MADV_FREE, PROT_READ } from '../uapi/mman.ts'
import { MEMORY_DEVICE_COHERENT, MEMORY_DEVICE_GENERIC } from './memremap.ts'
import {
  MIGRATE_PFN_LOCKED,
  MIGRATE_PFN_UNPIN,
  MIGRATE_PFN_WRITE,
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  unpinMigratedPage,
} from './migrate-device.ts'
import { MM_ANONPAGES } from './mm.ts'
import { GUP_PIN_COUNTING_BIAS, PG_ANON, PG_DIRTY, PG_LRU, PG_SWAPBACKED, PG_UPTODATE } from './page.ts'
import { allocKernelPage, putPage } from './page-alloc.ts'
import { PTE_DIRTY, PTE_YOUNG } from './pte.ts'
import { addToSwapCache, deleteFromSwapCache } from './swap.ts'

const PRIVATE = MIGRATE_VMA_SELECT_DEVICE_PRIVATE

describe('migrateVmaPages(), entries with a page', () => {
  it('declines what has no destination: MIGRATE goes, the rest stays (MG-50, MG-58)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 4)
    f.store(0, 3)
    f.exit(f.fork()) // takes write permission
    f.store(0)
    f.store(2)
    const migration = f.begin(0, 4)
    expect(migration.src).toBe('VMW VM VMW M')
    migration.giveDevice(2)
    migration.pages()
    expect(migration.src).toBe('VW V VMW 0')
    migration.finalize()
    expect(f.pte(0, 4)).toBe('wrD-')
    f.munmap(0, 4)
    f.finish()
  })

  it('leaves entries that setup has given up alone, whatever the driver gives (MG-51)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 2, { shared: true })
    f.store(0)
    f.hold(f.pfn(0))
    const migration = f.begin(0, 2)
    expect(migration.src).toBe('0 0')
    migration.giveDevice(0)
    migration.giveDevice(1)
    expect(f.eventsOf(() => migration.pages())).toEqual([])
    expect(migration.src).toBe('0 0')
    migration.finalize()
    expect([f.pte(0, 2), f.gpu.freed.length]).toEqual(['w-', 2])
    f.hold(f.pfn(0), -1)
    f.finish()
  })

  it('does not give pages of files to a device (MG-52)', () => {
    const f = new MigrateFixture()
    const file = f.machine.createFile('file', 1)
    const coherent = new TestDevice(f.sys, 1, { type: MEMORY_DEVICE_COHERENT })
    f.mmap(0, 1, { file })
    f.mmap(1, 1, { file, shared: true })
    f.mmap(2, 1, { shared: true })
    f.load(0)
    f.store(1, 2)
    for (const page of [0, 1, 2]) {
      const flags = page === 0 ? '' : 'W'
      for (const device of [f.gpu, coherent]) {
        const migration = f.begin(page, 1)
        expect(migration.src).toBe(`VM${flags}`)
        migration.giveDevice(0, device)
        migration.pages()
        expect(migration.src).toBe(`V${flags}`)
        migration.finalize()
      }
    }
    expect(f.pte(0, 3)).toBe('rww')
    f.finish(1)
  })

  it('does not give pages in the swap cache to a device (MG-52)', () => {
    const f = new MigrateFixture({ swap: '1 MiB' })
    const { swap } = f.sys
    f.mmap(0, 1)
    f.store(0)
    const pfn = f.pfn(0)
    if (swap !== null) addToSwapCache(f.sys, swap, pfn, swap.alloc(pfn))
    const migration = f.begin(0, 1)
    migration.giveDevice(0)
    migration.pages()
    expect(migration.src).toBe('VW')
    migration.finalize()
    expect([f.pte(0, 1), f.pfn(0)]).toEqual(['w', pfn])
    deleteFromSwapCache(f.sys, pfn)
    f.finish()
  })

  it('knows private and coherent memory as destinations, and no other of a device (MG-52)', () => {
    const f = new MigrateFixture()
    const generic = new TestDevice(f.sys, 1, { type: MEMORY_DEVICE_GENERIC })
    f.mmap(0, 1)
    f.store(0)
    const migration = f.begin(0, 1)
    migration.give(0, generic.take())
    migration.pages()
    expect(migration.src).toBe('VW')
    migration.finalize()
    expect([f.pte(0, 1), generic.nused]).toEqual(['w', 0])
    f.finish()
  })

  it('moves pages of files and of the swap cache to other system pages', () => {
    const f = new MigrateFixture({ swap: '1 MiB' })
    const { swap } = f.sys
    const file = f.machine.createFile('file', 1)
    f.mmap(0, 1, { file, shared: true })
    f.mmap(1, 1)
    f.store(0, 2, 7)
    const slot = swap?.alloc(f.pfn(1)) ?? -1
    if (swap !== null) addToSwapCache(f.sys, swap, f.pfn(1), slot)
    const migrations = [f.begin(0, 1), f.begin(1, 1)]
    const targets = migrations.map((migration) => migration.giveSystem(0))
    for (const migration of migrations) migration.finish()
    expect([f.pfn(0), f.pfn(1)]).toEqual(targets)
    expect([file.mapping.pages.get(0), swap?.cache.get(slot)]).toEqual(targets)
    expect([f.load(0, 2), f.counts(0), f.counts(1)]).toEqual([[7, 8], '2/1', '2/1'])
    deleteFromSwapCache(f.sys, targets[1])
    f.finish(1)
  })

  it('wants no reference but its own, and that of the fault (MG-53)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 3)
    f.store(0, 3)
    f.toDevice(0, 3)
    f.hold(f.pfn(0))
    f.hold(f.pfn(1))
    const migration = f.begin(0, 3, { flags: PRIVATE, faultPage: f.pfn(1) })
    expect(migration.src).toBe('VMW VMW VMW') // a device page with one more passes setup (MG-40)
    for (const i of [0, 1, 2]) migration.giveSystem(i)
    migration.pages()
    expect(migration.src).toBe('VW VMW VMW')
    const [stays, moves] = [migration.source(0), migration.source(1)]
    migration.finalize()
    expect(f.pte(0, 3)).toBe('Dww')
    f.hold(stays, -1)
    f.held.set(moves, 0)
    f.step(() => putPage(f.sys, moves)) // the fault returns
    expect(f.gpu.nused).toBe(1)
    f.munmap(0, 3)
    f.finish()
  })

  it('gives a reference that came after setup its due: the page stays (MG-53)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 1)
    f.store(0)
    const migration = f.begin(0, 1)
    const pfn = migration.source(0)
    f.hold(pfn)
    migration.giveDevice(0)
    migration.pages()
    expect(migration.src).toBe('VW')
    migration.finalize()
    expect(f.pte(0, 1)).toBe('w')
    f.hold(pfn, -1)
    f.finish()
  })

  it('moves the identity and the flags; a source without a cache keeps its dirty flag (MG-54)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 2)
    f.store(0, 2)
    f.madvise(1, 1, MADV_FREE) // clean, and not swap-backed
    const migration = f.begin(0, 2)
    const { pages } = f.sys
    const sources = [migration.source(0), migration.source(1)]
    const targets = [migration.giveDevice(0), migration.giveDevice(1)]
    migration.pages()
    const kept = PG_SWAPBACKED | PG_UPTODATE | PG_DIRTY | PG_ANON
    expect(targets.map((pfn) => pages.flags[pfn] & kept)).toEqual([kept, PG_UPTODATE | PG_ANON])
    expect(targets.map((pfn) => pages.mapping[pfn])).toEqual(sources.map((pfn) => pages.mapping[pfn]))
    expect(targets.map((pfn) => pages.index[pfn])).toEqual(sources.map((pfn) => pages.index[pfn]))
    expect(pages.flags[sources[0]] & PG_DIRTY).toBe(PG_DIRTY)
    migration.finalize()
    f.munmap(0, 2)
    f.finish()
  })

  it('copies nothing: that is the task of the driver (MG-54)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 1)
    f.store(0, 1, 0x0101_0101)
    const migration = f.begin(0, 1)
    const target = allocKernelPage(f.sys)
    f.lock(target)
    f.machine.mmu.bytes(target).fill(2)
    migration.give(0, target)
    migration.finish()
    expect([f.pfn(0), f.load(0)]).toEqual([target, [0x0202_0202]])
    f.finish()
  })

  it('ignores WRITE and LOCKED in dst (MG-8, MG-14)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 2)
    f.store(0, 2)
    f.exit(f.fork()) // takes write permission
    f.store(0)
    const migration = f.begin(0, 2)
    migration.give(0, f.gpu.take(), MIGRATE_PFN_LOCKED)
    migration.give(1, f.gpu.take(), MIGRATE_PFN_LOCKED | MIGRATE_PFN_WRITE)
    migration.finish()
    expect(f.pte(0, 2)).toBe('Dd')
    f.munmap(0, 2)
    f.finish()
  })
})

describe('migrateVmaPages(), holes', () => {
  it('raises one MIGRATE from the first hole to the end, whatever comes of it (MG-55, MG-83)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 6)
    f.store(1)
    f.load(3)
    f.store(4)
    const migration = f.begin(0, 6)
    expect(migration.src).toBe('M VMW M M VMW M')
    for (const i of [1, 2, 3, 5]) migration.giveDevice(i) // entry 0 gets none
    expect(f.eventsOf(() => migration.pages())).toEqual(['MIGRATE 2-6 of 0-6 by dev0'])
    expect([migration.src, f.pte(0, 6)]).toEqual(['0 VMW M M VW M', '-MDDMD'])
    expect(f.eventsOf(() => migration.finalize())).toEqual([])
    expect(f.pte(0, 6)).toBe('-DDDwD')
    f.munmap(0, 6)
    f.finish()
  })

  it('the event ends after the last entry (MG-55)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 2)
    const migration = f.begin(0, 2)
    migration.giveDevice(0)
    migration.giveDevice(1)
    const { subscriptions } = f.mm
    const before = subscriptions?.invalidateSeq ?? 0
    migration.pages()
    expect([subscriptions?.invalidateSeq, subscriptions?.activeInvalidateRanges]).toEqual([before + 2, 0])
    migration.finalize()
    f.munmap(0, 2)
    f.finish()
  })

  it('enters private pages as device entries, as writable as the mapping (MG-57)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 1)
    f.mmap(1, 1, { prot: PROT_READ })
    for (const [page, letter] of [
      [0, 'D'],
      [1, 'd'],
    ] as const) {
      const migration = f.begin(page, 1)
      const pfn = migration.giveDevice(0)
      migration.pages()
      expect([migration.args.src[0], f.pte(page, 1), f.countsOf(pfn), f.attr(page, 1)]).toEqual([
        2n,
        letter,
        '2/1',
        '7',
      ])
      migration.finalize()
      expect(f.countsOf(pfn)).toBe('1/1')
    }
    expect(f.mm.rss[MM_ANONPAGES]).toBe(2)
    f.munmap(0, 2)
    f.finish()
  })

  it('enters coherent and system pages as present entries: dirty and writable if the mapping is (MG-57)', () => {
    const f = new MigrateFixture()
    const coherent = new TestDevice(f.sys, 1, { type: MEMORY_DEVICE_COHERENT })
    f.mmap(0, 2)
    f.mmap(2, 2, { prot: PROT_READ })
    for (const page of [0, 2]) {
      const migration = f.begin(page, 2)
      migration.giveDevice(0, coherent)
      migration.giveSystem(1)
      migration.finish()
    }
    expect(f.pte(0, 4)).toBe('Ewer')
    expect([0, 1, 2, 3].map((page) => f.flags(page) & (PTE_DIRTY | PTE_YOUNG))).toEqual([PTE_DIRTY, PTE_DIRTY, 0, 0])
    expect([0, 1, 2, 3].map((page) => f.pageFlags(page) & PG_LRU)).toEqual([0, PG_LRU, 0, PG_LRU])
    expect([0, 1, 2, 3].map((page) => f.counts(page))).toEqual(Array(4).fill('1/1'))
    expect(f.mm.rss[MM_ANONPAGES]).toBe(4)
    f.munmap(0, 4)
    f.finish()
  })

  it('replaces zero pages, which counts like filling a hole (MG-57)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 1)
    f.load(0)
    expect([f.pte(0, 1), f.mm.rss[MM_ANONPAGES]]).toEqual(['z', 0])
    const migration = f.begin(0, 1)
    migration.giveDevice(0)
    migration.finish()
    expect([f.pte(0, 1), f.mm.rss[MM_ANONPAGES]]).toEqual(['D', 1])
    f.munmap(0, 1)
    f.finish()
  })

  it('gives the mapping its AnonVma: from now on rmap finds the pages (MG-56, T-7)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 1)
    f.load(0)
    expect(f.vma(0).anonVma).toBeNull()
    const migration = f.begin(0, 1)
    migration.giveDevice(0)
    migration.finish()
    expect(f.vma(0).anonVma).not.toBeNull()
    f.munmap(0, 1)
    f.finish()
  })

  it('fails where something else is by now, and the destination goes (MG-56)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 3)
    f.load(2)
    const migration = f.begin(0, 3)
    expect(migration.src).toBe('M M M')
    for (const i of [0, 1, 2]) migration.giveDevice(i)
    // Nothing keeps the CPU from the empty entries meanwhile: they have no migration entries.
    f.store(0, 1, 42)
    f.load(1)
    expect(f.eventsOf(() => migration.pages())).toEqual(['MIGRATE 0-3 of 0-3 by dev0'])
    expect([migration.src, f.pte(0, 3)]).toEqual(['0 M M', 'wDD'])
    migration.finalize()
    expect([f.load(0), f.gpu.freed.length, f.gpu.nused]).toEqual([[42], 1, 2])
    f.munmap(0, 3)
    f.finish()
  })

  it('fails where a huge page is by now (MG-56)', () => {
    const f = new MigrateFixture({ thp: 'always' })
    f.mmap(0, 512)
    const migration = f.begin(0, 1)
    migration.giveDevice(0)
    f.store(5)
    expect(f.pte(0, 1)).toBe('P')
    migration.pages()
    expect(migration.src).toBe('0')
    migration.finalize()
    expect([f.pte(0, 1), f.gpu.nused]).toEqual(['P', 0])
    f.finish()
  })

  it('fails for device memory of another kind, and where the address space is being reaped (MG-56)', () => {
    const f = new MigrateFixture()
    const generic = new TestDevice(f.sys, 1, { type: MEMORY_DEVICE_GENERIC })
    f.mmap(0, 2)
    const migration = f.begin(0, 2)
    migration.give(0, generic.take())
    migration.pages()
    expect(migration.src).toBe('0 0')
    migration.finalize()
    const reaped = f.begin(1, 1)
    reaped.giveDevice(0)
    f.mm.isUnstable = true
    reaped.pages()
    f.mm.isUnstable = false
    expect(reaped.src).toBe('0')
    reaped.finalize()
    expect([f.pte(0, 2), generic.nused, f.gpu.nused]).toEqual(['--', 0, 0])
    f.finish()
  })

  it('takes no page that was left in place: such a page only comes back for its device page', () => {
    const f = new MigrateFixture()
    f.mmap(0, 1)
    const original = allocKernelPage(f.sys)
    f.sys.pages.refcount[original] += GUP_PIN_COUNTING_BIAS
    f.lock(original)
    f.inPlace.add(original)
    const migration = f.begin(0, 1)
    migration.give(0, original, MIGRATE_PFN_UNPIN)
    migration.pages()
    expect(migration.src).toBe('0')
    migration.finalize()
    expect([f.pte(0, 1), f.countsOf(original), f.sys.pages.isLocked(original)]).toEqual(['t', '1025/0', false])
    f.inPlace.clear()
    f.step(() => unpinMigratedPage(f.sys, original))
    f.finish()
  })
})
