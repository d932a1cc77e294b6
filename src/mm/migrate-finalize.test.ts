// The third step of a migration: migration entries become mappings again (spec MG-60 to MG-63, MG-70 to MG-73), and with it
// what migrates at all (MG-80 to MG-89).

import { describe, expect, it } from 'vitest'
import { MigrateFixture } from '../../test/helpers/migrate-fixture.ts'
import { TestDevice } from '../../test/helpers/test-device.ts'
import { MADV_DONTNEED, MADV_PAGEOUT, PROT_NONE, PROT_READ } from '../uapi/mman.ts'
import { MEMORY_DEVICE_COHERENT } from './memremap.ts'
import { MIGRATE_VMA_SELECT_DEVICE_COHERENT, MIGRATE_VMA_SELECT_DEVICE_PRIVATE } from './migrate-device.ts'
import { MM_ANONPAGES } from './mm.ts'
import { PG_DIRTY, PG_LRU } from './page.ts'
import { PTE_DIRTY, PTE_KIND_MIGRATION, PTE_YOUNG, pteKind } from './pte.ts'

const PRIVATE = MIGRATE_VMA_SELECT_DEVICE_PRIVATE
const RW = 3

describe('migrateVmaFinalize()', () => {
  it('lets the destination of a hole go with the reference of the driver, used or not (MG-60)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 2)
    const migration = f.begin(0, 2)
    const [used, unused] = [migration.giveDevice(0), migration.giveDevice(1)]
    f.store(1) // the CPU was faster
    migration.pages()
    expect([f.countsOf(used), f.countsOf(unused)]).toEqual(['2/1', '1/0'])
    migration.finalize()
    expect([f.countsOf(used), f.sys.pages.isLocked(used), f.gpu.freed]).toEqual(['1/1', false, [unused]])
    f.munmap(0, 2)
    f.finish()
  })

  it('maps the source again where there is no destination, or where the pages step failed (MG-61)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 3)
    f.store(0, 3, 5)
    const pfns = [0, 1, 2].map((page) => f.pfn(page))
    const migration = f.begin(0, 3)
    const failed = migration.giveDevice(1)
    f.hold(pfns[1])
    const moved = migration.giveDevice(2)
    migration.finish()
    f.hold(pfns[1], -1)
    expect([f.pte(0, 3), f.pfn(0), f.pfn(1), f.pfn(2)]).toEqual(['wwD', pfns[0], pfns[1], moved])
    expect(f.gpu.freed).toEqual([failed])
    expect([0, 1].map((page) => `${f.counts(page)} ${f.pageFlags(page) & PG_LRU}`)).toEqual(
      Array(2).fill(`1/1 ${PG_LRU}`),
    )
    expect(f.load(0, 2)).toEqual([5, 6])
    f.munmap(0, 3)
    f.finish()
  })

  it('ends a migration whose pages step never ran, if dst is empty', () => {
    const f = new MigrateFixture()
    f.mmap(0, 3)
    f.store(0, 2)
    const migration = f.begin(0, 3)
    migration.finalize()
    expect([f.pte(0, 3), f.attr(0, 2), f.nused]).toEqual(['ww-', '77', 2])
    f.finish()
  })

  it('frees the source and leaves the target with its mappings as its only references (MG-62, MG-63)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 1)
    f.store(0)
    const child = f.fork()
    const migration = f.begin(0, 1)
    const target = migration.giveDevice(0)
    migration.pages()
    expect(f.nused).toBe(1)
    expect(f.eventsOf(() => migration.finalize())).toEqual([])
    expect([f.nused, f.countsOf(target), f.sys.pages.isLocked(target)]).toEqual([0, '2/2', false])
    f.exit(child)
    f.munmap(0, 1)
    f.finish()
  })

  it('puts a system target on the LRU (MG-62)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 1)
    f.store(0)
    f.toDevice(0, 1)
    const migration = f.begin(0, 1, { flags: PRIVATE })
    const target = migration.giveSystem(0)
    migration.finish()
    expect([f.pfn(0), f.counts(0), f.pageFlags(0) & PG_LRU, f.gpu.nused]).toEqual([target, '1/1', PG_LRU, 0])
    f.finish()
  })

  it('frees a source of the device (MG-62)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 2)
    f.store(0, 2)
    f.toDevice(0, 2)
    const sources = [f.pfn(0), f.pfn(1)]
    const migration = f.begin(0, 2, { flags: PRIVATE })
    migration.giveSystem(0)
    migration.giveSystem(1)
    migration.finish()
    expect(f.gpu.freed).toEqual(sources)
    f.finish()
  })
})

describe('restoring migration entries', () => {
  it('in all address spaces that have one, and in those forked meanwhile (MG-70)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 1)
    f.store(0)
    const child = f.fork()
    const migration = f.begin(0, 1)
    const grandchild = f.fork(child) // the child's mappings are not held
    expect([f.pte(0, 1), f.pte(0, 1, child), f.pte(0, 1, grandchild)]).toEqual(['m', 'm', 'm'])
    const target = migration.giveDevice(0)
    migration.finish()
    for (const process of [f.process, child, grandchild]) expect(f.pte(0, 1, process)).toBe('d')
    expect(f.countsOf(target)).toBe('3/3')
    f.exit(child)
    f.exit(grandchild)
    f.munmap(0, 1)
    f.finish()
  })

  it('but not where the entry went away meanwhile', () => {
    const f = new MigrateFixture()
    f.mmap(0, 1)
    f.store(0)
    const [gone, unmapped, dropped] = [f.fork(), f.fork(), f.fork()]
    const migration = f.begin(0, 1)
    f.exit(gone)
    f.munmap(0, 1, unmapped)
    f.madvise(0, 1, MADV_DONTNEED, dropped)
    const target = migration.giveDevice(0)
    migration.finish()
    expect([f.pte(0, 1), f.pte(0, 1, unmapped), f.pte(0, 1, dropped), f.countsOf(target)]).toEqual([
      'd',
      '_',
      '-',
      '1/1',
    ])
    f.munmap(0, 1)
    f.finish()
  })

  it('with the protection that the mapping has by then, and never more than the entry had (MG-70)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 4)
    f.store(0, 4)
    f.toDevice(0, 4)
    const eviction = f.evict() // holds no mmapLock, so mappings may change
    f.mprotect(0, 1, PROT_READ)
    f.mprotect(1, 1, PROT_READ)
    f.mprotect(1, 1, RW)
    f.mprotect(2, 1, PROT_NONE)
    expect(f.pte(0, 4)).toBe('mmmM')
    for (const i of [0, 1, 2, 3]) eviction.giveSystem(i)
    eviction.finish()
    expect([f.pte(0, 4), f.attr(0, 4)]).toEqual(['rrnw', '7777'])
    f.store(1) // exclusive still, so without a copy
    f.finish()
  })

  it('as a device entry for a device page, by the same rule (MG-72)', () => {
    const f = new MigrateFixture()
    const other = new TestDevice(f.sys, 1)
    f.mmap(0, 2)
    f.store(0, 2)
    f.toDevice(0, 2)
    const eviction = f.evict()
    f.mprotect(1, 1, PROT_READ)
    for (const i of [0, 1]) eviction.giveDevice(i, other)
    eviction.finish()
    expect([f.pte(0, 2), f.counts(0), f.counts(1)]).toEqual(['Ee', '1/1', '1/1'])
    f.munmap(0, 2)
    f.finish()
  })

  it('exclusive unless the entry was plainly readable (MG-71)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 3)
    f.store(0, 3)
    const child = f.fork()
    f.store(0) // a page of its own: writable
    f.store(1)
    const before = f.attr(0, 3)
    f.toDevice(0, 3)
    expect([f.pte(0, 3), f.attr(0, 3)]).toEqual(['DDd', before])
    expect(before).toBe('771')
    f.exit(child)
    f.munmap(0, 3)
    f.finish()
  })

  it('young if the entry was, dirty if the entry was and the page is (MG-70)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 3)
    f.store(0, 3)
    f.sys.pages.setDirty(f.pfn(0))
    const migration = f.begin(0, 3)
    f.sys.pages.clearDirty(migration.source(1))
    migration.finish()
    const bits = [0, 1].map((page) => f.flags(page) & (PTE_DIRTY | PTE_YOUNG))
    expect(bits).toEqual([PTE_DIRTY | PTE_YOUNG, PTE_YOUNG])
    f.finish()
  })

  it('coming back from a device the entry is clean and old, and the page is dirty if it was before (MG-73)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 2)
    f.store(0, 1)
    const hole = f.begin(1, 1)
    hole.giveDevice(0)
    hole.finish()
    f.toDevice(0, 1)
    const migration = f.begin(0, 2, { flags: PRIVATE })
    for (const i of [0, 1]) migration.giveSystem(i)
    migration.finish()
    expect([f.pte(0, 2), f.attr(0, 2)]).toEqual(['ww', '77'])
    expect([0, 1].map((page) => f.flags(page) & (PTE_DIRTY | PTE_YOUNG))).toEqual([0, 0])
    expect([0, 1].map((page) => f.pageFlags(page) & PG_DIRTY)).toEqual([PG_DIRTY, 0])
    f.finish()
  })

  it('leaves no migration entry anywhere (INV-6), and the counters as they were', () => {
    const f = new MigrateFixture()
    f.mmap(0, 4)
    f.store(0, 4)
    const child = f.fork()
    const migration = f.begin(0, 4)
    migration.giveDevice(1)
    migration.giveDevice(3)
    migration.finish()
    for (const process of [f.process, child]) {
      expect([f.pte(0, 4, process), process.mm.rss[MM_ANONPAGES]]).toEqual(['rdrd', 4])
      for (let page = 0; page < 4; page++) expect(pteKind(f.flags(page, process))).not.toBe(PTE_KIND_MIGRATION)
    }
    f.exit(child)
    f.munmap(0, 4)
    f.finish()
  })
})

describe('what migrates', () => {
  /** To the device, and what came of it; then back. */
  function roundTrip(f: MigrateFixture, page: number): string {
    const there = f.begin(page, 1)
    if (there.isMigrating(0)) there.giveDevice(0)
    there.finish()
    const onDevice = f.pte(page, 1)
    const back = f.begin(page, 1, { flags: PRIVATE })
    if (back.isMigrating(0) && back.source(0) >= 0) back.giveSystem(0)
    back.finish()
    return `${onDevice} ${f.pte(page, 1)}`
  }

  it('an anonymous page: there and back (MG-80)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 1)
    f.store(0, 1, 6)
    expect([roundTrip(f, 0), f.load(0)]).toEqual(['D w', [6]])
    f.finish()
  })

  it('an anonymous page with several mappings: all of them, read-only (MG-81)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 1)
    f.store(0, 1, 6)
    const child = f.fork()
    expect([roundTrip(f, 0), f.pte(0, 1, child)]).toEqual(['d r', 'r'])
    expect([f.load(0), f.load(0, 1, child), f.counts(0)]).toEqual([[6], [6], '2/2'])
    f.exit(child)
    f.finish()
  })

  it('a hole or a zero page of an anonymous mapping; on the way back a hole is something to skip (MG-82)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 3)
    f.load(1)
    expect([roundTrip(f, 0), roundTrip(f, 1)]).toEqual(['D w', 'D w'])
    const back = f.begin(2, 1, { flags: PRIVATE })
    expect([back.src, back.source(0)]).toEqual(['M', -1])
    back.giveSystem(0)
    back.finish()
    expect(f.pte(2, 1)).toBe('w')
    f.finish()
  })

  it('the private copy of a page of a file (MG-83); not the page of the file, nor a hole (MG-84)', () => {
    const f = new MigrateFixture()
    const file = f.machine.createFile('file', 3)
    f.mmap(0, 3, { file })
    f.store(0, 1, 6)
    f.load(1)
    expect([0, 1, 2].map((page) => roundTrip(f, page)).join(', ')).toBe('D w, r r, - -')
    expect(f.load(0)).toEqual([6])
    f.finish(1)
  })

  it('no page of a shared mapping (MG-85)', () => {
    const f = new MigrateFixture()
    const file = f.machine.createFile('file', 1)
    f.mmap(0, 1, { shared: true })
    f.mmap(1, 1, { file, shared: true })
    f.store(0, 2)
    expect([roundTrip(f, 0), roundTrip(f, 1)]).toEqual(['w w', 'w w'])
    f.finish(1)
  })

  it('no page that is held, pinned, locked, swapped or exclusive to a device (MG-86, MG-88)', () => {
    const f = new MigrateFixture({ swap: '1 MiB' })
    f.mmap(0, 5)
    f.store(0, 5)
    f.hold(f.pfn(0))
    const unpin = f.pin(1, 1)
    f.lock(f.pfn(2))
    f.madvise(3, 1, MADV_PAGEOUT)
    f.exclusive(1, 4, 1)
    expect([0, 1, 2, 3, 4].map((page) => roundTrip(f, page))).toEqual(['w w', 'w w', 'w w', 's s', 'X X'])
    f.hold(f.pfn(0), -1)
    unpin()
    f.unlock(f.pfn(2))
    f.finish()
  })

  it('no page of another owner, of either kind of memory (MG-87)', () => {
    const f = new MigrateFixture()
    const [other, coherent] = [
      new TestDevice(f.sys, 1),
      new TestDevice(f.sys, 2, { type: MEMORY_DEVICE_COHERENT }),
    ] as const
    f.mmap(0, 2)
    f.store(0, 2)
    f.toDevice(0, 1, other)
    f.toDevice(1, 1, coherent)
    const flags = 1 | PRIVATE | MIGRATE_VMA_SELECT_DEVICE_COHERENT
    const migration = f.begin(0, 2, { flags })
    expect(migration.src).toBe('0 0')
    migration.finish()
    expect(f.pte(0, 2)).toBe('EG')
    f.munmap(0, 2)
    f.finish()
  })

  it('memory of several devices that share an owner as of one (DM-4)', () => {
    const f = new MigrateFixture()
    const twin = new TestDevice(f.sys, 1, { owner: f.gpu.owner })
    f.mmap(0, 2)
    f.store(0, 2)
    f.toDevice(0, 1)
    const first = f.begin(1, 1)
    first.giveDevice(0, twin)
    first.finish()
    const migration = f.begin(0, 2, { flags: PRIVATE })
    expect(migration.src).toBe('VMW VMW')
    migration.finish()
    f.munmap(0, 2)
    f.finish()
  })
})
