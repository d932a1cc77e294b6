// The second half of setup: what was collected is isolated, unmapped elsewhere, and looked at once more (spec MG-35 to MG-42).

import { describe, expect, it } from 'vitest'
import { MigrateFixture, type Migration } from '../../test/helpers/migrate-fixture.ts'
import { TestDevice } from '../../test/helpers/test-device.ts'
import { MEMORY_DEVICE_COHERENT } from './memremap.ts'
import { MIGRATE_VMA_SELECT_DEVICE_COHERENT, MIGRATE_VMA_SELECT_DEVICE_PRIVATE } from './migrate-device.ts'
import { PG_LOCKED, PG_LRU } from './page.ts'
import { addToSwapCache } from './swap.ts'

const PRIVATE = MIGRATE_VMA_SELECT_DEVICE_PRIVATE
const COHERENT = MIGRATE_VMA_SELECT_DEVICE_COHERENT

/** What a page that fails is left with: its counts, entry and standing. */
function standing(f: MigrateFixture, page: number): string {
  const flags = f.pageFlags(page)
  const words = [f.pte(page, 1), f.attr(page, 1), f.counts(page)]
  if ((flags & PG_LOCKED) !== 0) words.push('locked')
  if ((flags & PG_LRU) !== 0) words.push('LRU')
  return words.join(' ')
}

/** Puts the page behind an entry in the swap cache, as reclaim does before it unmaps. Returns what takes it out again. */
function inSwapCache(f: MigrateFixture, page: number): () => void {
  const { sys } = f
  const pfn = f.pfn(page)
  const slot = sys.swap?.alloc(pfn) ?? -1
  if (sys.swap !== null) addToSwapCache(sys, sys.swap, pfn, slot)
  f.validate()
  return () => {
    sys.swap?.cache.delete(slot)
    sys.pages.flags[pfn] &= ~(1 << 6) // PG_SWAPCACHE
    sys.swap?.free(slot)
    sys.pages.refcount[pfn]--
    f.validate()
  }
}

describe('the unmap step of migrateVmaSetup()', () => {
  it('counts holes and zero pages without looking further (MG-35, MG-42)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 4)
    f.load(1)
    f.store(2)
    f.hold(f.pfn(2))
    const migration = f.begin(0, 4)
    expect([migration.src, migration.args.cpages]).toEqual(['M M 0 M', 3])
    migration.finish()
    f.hold(f.pfn(2), -1)
    f.finish()
  })

  it('isolates system pages: off the LRU, with one reference (MG-36)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 1)
    f.store(0)
    const pfn = f.pfn(0)
    expect(standing(f, 0)).toBe('w 7 1/1 LRU')
    const migration = f.begin(0, 1)
    expect([f.countsOf(pfn), f.sys.pages.flags[pfn] & (PG_LRU | PG_LOCKED)]).toEqual(['1/0', PG_LOCKED])
    migration.finish()
    expect(standing(f, 0)).toBe('w 7 1/1 LRU')
    f.finish()
  })

  it('a page that somebody else has isolated stays (MG-36)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 2)
    f.store(0, 2)
    const pfn = f.pfn(0)
    expect(f.sys.lru.isolate(pfn)).toBe(true)
    f.held.set(pfn, 1)
    const migration = f.begin(0, 2)
    expect([migration.src, migration.args.cpages, standing(f, 0)]).toEqual(['0 VMW', 1, 'w 7 2/1'])
    migration.finish()
    f.sys.lru.add(pfn)
    f.hold(pfn, -1)
    f.finish()
  })

  it('unmaps other mappings, in every address space, each with a CLEAR of its own (MG-37)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 2)
    f.store(0, 2)
    const child = f.fork()
    const grandchild = f.fork(child)
    f.store(1, 1, 9, child) // page 1 of the child is its own now
    const logs = [f.process, child, grandchild].map((process) => f.logOf(process))
    for (const log of logs) log.take()
    const migration = f.begin(0, 2)
    expect(logs.map((log) => log.take())).toEqual([
      ['MIGRATE 0-2 of 0-2 by dev0', 'CLEAR 0-1 of 0-2', 'CLEAR 1-2 of 0-2'],
      // The child may map page 1 as far as rmap knows, so it is told, and keeps its copy (T-36).
      ['CLEAR 0-1 of 0-2', 'CLEAR 1-2 of 0-2'],
      ['CLEAR 0-1 of 0-2', 'CLEAR 1-2 of 0-2'],
    ])
    expect([f.pte(0, 2), f.pte(0, 2, child), f.pte(0, 2, grandchild)]).toEqual(['mm', 'mw', 'mm'])
    expect(migration.src).toBe('VM VM')
    migration.finish()
    expect([f.pte(0, 2), f.pte(0, 2, child), f.pte(0, 2, grandchild)]).toEqual(['rr', 'rw', 'rr'])
    f.exit(grandchild)
    f.exit(child)
    f.finish()
  })

  it('unmaps other mappings of device pages likewise (MG-37)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 1)
    f.store(0)
    f.toDevice(0, 1)
    const child = f.fork()
    const migration = f.begin(0, 1, { flags: PRIVATE })
    expect([migration.src, f.pte(0, 1), f.pte(0, 1, child)]).toEqual(['VM', 'm', 'm'])
    migration.finish()
    expect([f.pte(0, 1), f.pte(0, 1, child), f.counts(0)]).toEqual(['d', 'd', '2/2'])
    f.exit(child)
    f.munmap(0, 1)
    f.finish()
  })

  it('a page that cannot be unmapped elsewhere stays, and is as before (MG-38, MG-41)', () => {
    const f = new MigrateFixture()
    const file = f.machine.createFile('file', 1)
    f.mmap(0, 1, { file, shared: true })
    f.store(0)
    const child = f.fork()
    f.load(0, 1, child)
    f.hold(f.pfn(0))
    const migration = f.begin(0, 1)
    expect([migration.src, standing(f, 0), f.pte(0, 1, child)]).toEqual(['0', 'w 0 4/2 LRU', 'w'])
    migration.finish()
    f.hold(f.pfn(0), -1)
    f.exit(child)
    f.finish(1)
  })
})

describe('the reference check (MG-39, MG-40)', () => {
  const cases = [
    { name: 'a system page', references: 0, device: false, src: 'VMW' },
    { name: 'a system page that somebody holds', references: 1, device: false, src: '0' },
    { name: 'a device page', references: 0, device: true, src: 'VMW' },
    { name: 'a device page that somebody holds: one more is let pass', references: 1, device: true, src: 'VMW' },
    { name: 'a device page that two hold', references: 2, device: true, src: '0' },
  ]
  it.each(cases)('$name: $src', ({ references, device, src }) => {
    const f = new MigrateFixture()
    f.mmap(0, 1)
    f.store(0)
    if (device) f.toDevice(0, 1)
    const pfn = f.pfn(0)
    if (references > 0) f.hold(pfn, references)
    const migration = f.begin(0, 1, { flags: device ? PRIVATE : 1 })
    expect(migration.src).toBe(src)
    expect(f.pte(0, 1)).toBe(src === '0' ? (device ? 'D' : 'w') : 'M')
    migration.finish()
    if (references > 0) f.hold(pfn, -references)
    f.munmap(0, 1)
    f.finish()
  })

  it('lets the reference of the fault pass too, on the page of the fault alone', () => {
    const f = new MigrateFixture()
    f.mmap(0, 2)
    f.store(0, 2)
    f.toDevice(0, 2)
    const pfns = [f.pfn(0), f.pfn(1)]
    for (const pfn of pfns) f.hold(pfn, 2)
    const migration = f.begin(0, 2, { flags: PRIVATE, faultPage: pfns[0] })
    expect(migration.src).toBe('VMW 0')
    migration.finish()
    for (const pfn of pfns) f.hold(pfn, -2)
    f.munmap(0, 2)
    f.finish()
  })

  it('knows the reference of a page cache and of the swap cache', () => {
    const f = new MigrateFixture({ swap: '1 MiB' })
    const file = f.machine.createFile('file', 1)
    f.mmap(0, 1, { file, shared: true })
    f.mmap(1, 2)
    f.store(0, 3)
    const leave = [inSwapCache(f, 1), inSwapCache(f, 2)]
    f.hold(f.pfn(2))
    const migrations = [f.begin(0, 1), f.begin(1, 2)]
    expect(migrations.map(({ src }) => src)).toEqual(['VMW', 'VMW 0'])
    for (const migration of migrations) migration.finish()
    f.hold(f.pfn(2), -1)
    for (const take of leave) take()
    f.finish(1)
  })

  it('counts a coherent device page like a private one', () => {
    const f = new MigrateFixture()
    const device = new TestDevice(f.sys, 1, { type: MEMORY_DEVICE_COHERENT })
    f.mmap(0, 1)
    f.store(0)
    f.toDevice(0, 1, device)
    const results = [0, 1, 2].map((n) => {
      if (n > 0) f.hold(f.pfn(0), n)
      const migration = f.begin(0, 1, { flags: COHERENT, owner: device })
      const { src } = migration
      migration.finish()
      if (n > 0) f.hold(f.pfn(0), -n)
      return src
    })
    expect(results).toEqual(['VMW', 'VMW', '0'])
    f.munmap(0, 1)
    f.finish()
  })
})

describe('what fails is restored (MG-41)', () => {
  it('and is as it was: writable, exclusive, dirty, on the LRU', () => {
    const f = new MigrateFixture()
    f.mmap(0, 3)
    f.store(0, 3, 5)
    const pfns = [0, 1, 2].map((page) => f.pfn(page))
    const flags = [0, 1, 2].map((page) => f.flags(page))
    f.hold(pfns[0])
    f.hold(pfns[2])
    let migration: Migration | undefined
    // What fails raises no event of its own.
    expect(f.eventsOf(() => (migration = f.begin(0, 3)))).toEqual(['MIGRATE 0-3 of 0-3 by dev0'])
    expect([migration?.src, migration?.args.cpages, f.pte(0, 3)]).toEqual(['0 VMW 0', 1, 'wMw'])
    expect([standing(f, 0), standing(f, 2)]).toEqual(['w 7 2/1 LRU', 'w 7 2/1 LRU'])
    migration?.finish()
    expect([0, 1, 2].map((page) => f.pfn(page))).toEqual(pfns)
    expect([0, 1, 2].map((page) => f.flags(page))).toEqual(flags)
    for (const pfn of [pfns[0], pfns[2]]) f.hold(pfn, -1)
    expect(f.load(0, 3)).toEqual([5, 6, 7])
    f.finish()
  })

  it('with all mappings of a shared page, each of its own kind', () => {
    const f = new MigrateFixture()
    f.mmap(0, 1)
    f.store(0)
    const child = f.fork()
    f.hold(f.pfn(0))
    const migration = f.begin(0, 1)
    expect([migration.src, f.pte(0, 1), f.pte(0, 1, child), f.counts(0)]).toEqual(['0', 'r', 'r', '3/2'])
    migration.finish()
    f.hold(f.pfn(0), -1)
    f.exit(child)
    f.finish()
  })

  it('cpages is what is left (MG-42)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 5)
    f.store(0, 3)
    f.load(3)
    f.hold(f.pfn(1))
    const migration = f.begin(0, 5)
    expect([migration.src, migration.args.cpages]).toEqual(['VMW 0 VMW M M', 4])
    migration.finish()
    f.hold(f.pfn(1), -1)
    f.finish()
  })
})
