// The matrix of outcomes (spec CP-80 to CP-93): what each operation makes of an entry of each kind. One row is one
// operation; the columns are the five kinds that matter to devices.

import { describe, expect, it } from 'vitest'
import { MmFixture } from '../../test/helpers/mm-fixture.ts'
import { F, FW, Watcher } from '../../test/helpers/watcher.ts'
import { PAGE_SIZE } from '../base/addr.ts'
import { WouldWait } from '../machine/signals.ts'
import { MADV_DONTNEED, PROT_NONE, PROT_READ, PROT_WRITE } from '../uapi/mman.ts'
import { makeDeviceExclusiveRange } from './exclusive.ts'
import { forkMm } from './fork.ts'
import { mmMadvise } from './madvise.ts'
import {
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  MIGRATE_VMA_SELECT_SYSTEM,
  makeMigrateVma,
  migrateVmaFinalize,
  migrateVmaSetup,
} from './migrate-device.ts'
import { Mm } from './mm.ts'
import { mmMunmap, mmput } from './mmap.ts'
import { mmMprotect } from './mprotect.ts'
import { mmMremap } from './mremap.ts'
import { putPage, unlockPage } from './page-alloc.ts'
import { PTE_DIRTY, PTE_EXCLUSIVE } from './pte.ts'

const RW = PROT_READ | PROT_WRITE

/** The columns, one page each. */
const PRESENT = 0
const ZERO = 1
const DEVICE = 2
const EXCLUSIVE = 3
const MIGRATING = 4
const COLUMNS = [PRESENT, ZERO, DEVICE, EXCLUSIVE, MIGRATING]

class Row {
  readonly fixture = new MmFixture()
  private readonly endMigration: () => void

  /** Present rw anonymous, zero page, device-private rw, device-exclusive rw, migration entry of a writable page. */
  constructor() {
    const { fixture } = this
    fixture.mmap(0, 5)
    for (const page of [PRESENT, DEVICE, EXCLUSIVE, MIGRATING]) fixture.store(page, 1, 10 + page)
    fixture.load(ZERO)
    fixture.migrateToDev(0, DEVICE, 1)
    fixture.exclusive(0, EXCLUSIVE, 1)
    this.endMigration = fixture.beginMigration(MIGRATING)
    expect(fixture.pte(0, 5)).toBe('wzDXM')
  }

  get entries(): string {
    return this.fixture.pte(0, 5)
  }

  isDirty(page: number): boolean {
    return (this.fixture.flags(page) & PTE_DIRTY) !== 0
  }

  /** Ends the migration and everything: nothing may be left. */
  finish(): void {
    this.endMigration()
    this.fixture.finish()
  }
}

describe('operations on entries of each kind', () => {
  it('CPU read (CP-80)', () => {
    const row = new Row()
    const { fixture } = row
    expect(fixture.load(0, 4)).toEqual([10, 0, 12, 13])
    expect(() => fixture.load(MIGRATING)).toThrow(WouldWait)
    expect([row.entries, row.isDirty(DEVICE), row.isDirty(EXCLUSIVE)]).toEqual(['wzwwM', false, true])
    row.finish()
  })

  it('CPU write (CP-81)', () => {
    const row = new Row()
    const { fixture } = row
    const before = fixture.pfn(PRESENT)
    fixture.store(0, 4, 20)
    expect(() => fixture.store(MIGRATING)).toThrow(WouldWait)
    expect([row.entries, fixture.pfn(PRESENT), fixture.load(0, 4)]).toEqual(['wwwwM', before, [20, 21, 22, 23]])
    expect(COLUMNS.slice(0, 4).map((page) => row.isDirty(page))).toEqual([true, true, true, true])
    row.finish()
  })

  it('fork, in the parent (CP-82)', () => {
    const row = new Row()
    const { fixture } = row
    const child = fixture.step(() => forkMm(fixture.mm))
    if (!(child instanceof Mm)) throw new Error(`forkMm returned ${child}`)
    expect([row.entries, fixture.flags(MIGRATING) & PTE_EXCLUSIVE]).toEqual(['rzdrm', 0])
    expect(fixture.step(() => mmput(child))).toBe(0)
    row.finish()
  })

  it.each([
    ['NONE', PROT_NONE, 'nqdxm'],
    ['READ', PROT_READ, 'rzdxm'],
  ])('mprotect %s, and back to reading and writing (CP-83, CP-84, CP-85, CP-93)', (_name, prot, entries) => {
    const row = new Row()
    const { fixture } = row
    const change = (to: number) => fixture.step(() => mmMprotect(fixture.mm, fixture.addr(0), 5 * PAGE_SIZE, to))
    expect([change(prot), row.entries, fixture.flags(MIGRATING) & PTE_EXCLUSIVE]).toEqual([0, entries, PTE_EXCLUSIVE])
    expect([change(RW), row.entries]).toEqual([0, 'wzdxm'])
    fixture.load(0, 4)
    expect(row.entries).toBe('wzrrm') // readable ones come back read-only (CP-93)
    fixture.store(0, 4)
    expect(row.entries).toBe('wwwwm')
    row.finish()
  })

  it('munmap and DONTNEED (CP-86)', () => {
    const dropped = new Row()
    const { fixture } = dropped
    expect(fixture.step(() => mmMadvise(fixture.mm, fixture.addr(0), 5 * PAGE_SIZE, MADV_DONTNEED))).toBe(0)
    expect(dropped.entries).toBe('-----')
    dropped.finish()
    const unmapped = new Row()
    const { mm } = unmapped.fixture
    expect(unmapped.fixture.step(() => mmMunmap(mm, unmapped.fixture.addr(0), 5 * PAGE_SIZE))).toBe(0)
    expect([unmapped.entries, [...mm.rss]]).toEqual(['_____', [0, 0, 0, 0]])
    unmapped.finish()
  })

  it('mremap (CP-87)', () => {
    const row = new Row()
    const { fixture } = row
    const [from, to] = [fixture.addr(0), fixture.addr(20)]
    expect(fixture.step(() => mmMremap(fixture.mm, from, 5 * PAGE_SIZE, 5 * PAGE_SIZE, 3, to))).toBe(to)
    expect([row.entries, fixture.pte(20, 5)]).toEqual(['_____', 'wzDXM'])
    row.finish()
    expect(fixture.nused).toBe(0)
  })

  it('migration to a device (CP-88)', () => {
    const row = new Row()
    const { fixture } = row
    expect(fixture.step(() => fixture.dev(1).migrateToDev(fixture.addr(0), 5, null)).ret).not.toBe(0) // not all of them
    expect([row.entries, fixture.load(0, 2)]).toEqual(['EEDXM', [10, 0]])
    row.finish()
  })

  it('migration to system memory (CP-89)', () => {
    const row = new Row()
    const { fixture } = row
    const args = makeMigrateVma(
      fixture.vma(0),
      fixture.addr(0),
      fixture.addr(5),
      fixture.device(0),
      MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
    )
    expect([migrateVmaSetup(args), args.cpages, row.entries]).toEqual([0, 1, 'wzMXM'])
    migrateVmaFinalize(args)
    expect(row.entries).toBe('wzDXM')
    fixture.migrateToSys(0, 0, 5)
    expect([row.entries, row.isDirty(DEVICE)]).toEqual(['wzwXM', false])
    row.finish()
  })

  it('exclusive access (CP-90)', () => {
    const row = new Row()
    const { fixture } = row
    const owner = fixture.device(0)
    const take = (page: number, npages: number): number => {
      const found: number[] = []
      const ret = makeDeviceExclusiveRange(fixture.mm, fixture.addr(page), fixture.addr(page + npages), found, owner)
      for (const pfn of found) {
        unlockPage(fixture.sys, pfn)
        putPage(fixture.sys, pfn)
      }
      fixture.validate()
      return ret
    }
    expect(fixture.eventsOf(() => expect(take(0, 5)).toBe(4))).toEqual([
      'CLEAR 1-2 of 0-5', // the zero page gets a page
      'MIGRATE 2-3 of 0-5 by dev0', // comes back
      'EXCLUSIVE 3-4 of 0-5 by nobody', // is taken back
      ...[0, 1, 2, 3].map((page) => `EXCLUSIVE ${page}-${page + 1} of 0-5 by dev0`),
    ])
    expect(row.entries).toBe('XXXXM') // the migration has to be waited for
    expect(take(4, 1)).toBeLessThan(0)
    expect(fixture.load(0, 4)).toEqual([10, 0, 12, 13])
    row.finish()
  })

  it('hmm snapshot (CP-91)', () => {
    const row = new Row()
    const { fixture } = row
    const watcher = new Watcher(fixture.mm, fixture.addr(0), 5)
    expect(watcher.fault(0, 5)).toBe('ok: VW Vz 0 0 0')
    expect(watcher.fault(0, 5, { owner: fixture.device(0) })).toBe('ok: VW Vz VW 0 0')
    expect(row.entries).toBe('wzDXM')
    row.finish()
  })

  it('hmm request to write (CP-92)', () => {
    const row = new Row()
    const { fixture } = row
    const watcher = new Watcher(fixture.mm, fixture.addr(0), 5)
    const owner = fixture.device(0)
    const settled = (page: number, request: object) => {
      let answer = watcher.fault(page, 1, request)
      if (answer.startsWith('EBUSY')) answer = watcher.fault(page, 1, request)
      return answer
    }
    expect(COLUMNS.map((page) => settled(page, { default: FW, owner }))).toEqual([
      'ok: VW',
      'ok: VW',
      'ok: VW',
      'ok: VW',
      'EAGAIN: u',
    ])
    expect(row.entries).toBe('wwDwM')
    expect([settled(DEVICE, { default: FW }), row.entries]).toEqual(['ok: VW', 'wwwwM'])
    expect(settled(ZERO, { default: F })).toBe('ok: VW')
    row.finish()
  })

  it('a migration of everything selects what can go', () => {
    const row = new Row()
    const { fixture } = row
    const args = makeMigrateVma(fixture.vma(0), fixture.addr(0), fixture.addr(5), null, MIGRATE_VMA_SELECT_SYSTEM)
    expect([migrateVmaSetup(args), args.cpages, row.entries]).toEqual([0, 2, 'MzDXM'])
    migrateVmaFinalize(args)
    expect(row.entries).toBe('wzDXM')
    row.finish()
  })
})
