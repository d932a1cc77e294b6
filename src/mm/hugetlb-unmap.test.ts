import { describe, expect, test } from 'vitest'
import { HugetlbFixture, huge, watch } from '../../test/helpers/hugetlb-fixture.ts'
import { PMD_SIZE } from '../base/addr.ts'
import { ACCESS_WOULD_WAIT } from '../machine/page-fault.ts'
import { PROT_READ, PROT_WRITE } from '../uapi/mman.ts'
import { getPage, putPage, unlockPage } from './page-alloc.ts'
import { removeMigrationPtes, tryToMigrate } from './rmap-walk.ts'

/** Locks the page behind huge page 0 and turns its mappings into migration entries. */
function migrate(f: HugetlbFixture): { head: number; restore: () => void } {
  const { sys } = f.machine
  const head = f.head(0)
  getPage(sys, head)
  f.held.set(head, 1)
  expect(sys.pages.trylock(head)).toBe(true)
  tryToMigrate(sys, head)
  return {
    head,
    restore() {
      removeMigrationPtes(sys, head, head)
      unlockPage(sys, head)
      putPage(sys, head)
      f.held.delete(head)
    },
  }
}

describe('hugetlbTryToMigrateOne(), hugetlbRemoveMigrationEntry()', () => {
  test('a migrating page is waited for and comes back as it was', () => {
    const f = new HugetlbFixture(2)
    f.map(0, 1)
    f.process.store32(huge(0), 5)
    const watcher = watch(f.process)
    const { restore } = migrate(f)
    expect(watcher.takeEvents()).toEqual(['CLEAR 0-512'])
    expect(f.state(1)[0]).toBe('M')
    expect(f.process.tryLoad32(huge(0))).toBe(ACCESS_WOULD_WAIT)
    restore()
    expect(f.state(1)).toEqual(['P', '7', '9'])
    expect(f.process.load32(huge(0))).toBe(5)
    f.end()
  })

  test('a page that parent and child share comes back read-only and shared in both', () => {
    const f = new HugetlbFixture(2)
    f.map(0, 1)
    f.process.store32(huge(0), 5)
    const child = f.process.fork()
    const { restore } = migrate(f)
    expect([f.state(1)[0], f.state(1, child)[0]]).toEqual(['m', 'm'])
    restore()
    expect(f.state(1)).toEqual(['p', '1', '1'])
    expect(f.state(1, child)).toEqual(['p', '1', '1'])
    f.end()
  })

  test('fork while the page migrates makes both entries read-only', () => {
    const f = new HugetlbFixture(2)
    f.map(0, 1)
    f.process.store32(huge(0), 5)
    const { restore } = migrate(f)
    const child = f.process.fork()
    restore()
    expect(f.state(1)).toEqual(['p', '1', '1'])
    expect(f.state(1, child)).toEqual(['p', '1', '1'])
    f.end()
  })

  test('mprotect while the page migrates takes write permission and keeps it exclusive', () => {
    const f = new HugetlbFixture(2)
    f.map(0, 1)
    f.process.store32(huge(0), 5)
    const { restore } = migrate(f)
    f.process.mprotect(huge(0), PMD_SIZE, PROT_READ)
    f.process.mprotect(huge(0), PMD_SIZE, PROT_READ | PROT_WRITE)
    restore()
    expect(f.state(1)).toEqual(['p', '7', '9'])
    f.end()
  })

  test('a page of a file comes back writable in every mapping', () => {
    const f = new HugetlbFixture(2)
    f.map(0, 1, { shared: true })
    f.process.store32(huge(0), 5)
    const child = f.process.fork()
    child.load32(huge(0))
    const { restore } = migrate(f)
    expect([f.state(1)[0], f.state(1, child)[0]]).toEqual(['M', 'M'])
    restore()
    expect(f.state(1)).toEqual(['P', '0', '5'])
    expect(f.state(1, child)).toEqual(['P', '0', '5'])
    f.end()
  })

  test('a pinned page stays', () => {
    const f = new HugetlbFixture(2)
    f.map(0, 1)
    f.process.pin(huge(0), 1, { write: true })
    f.held.set(f.head(0), 2)
    const { sys } = f.machine
    getPage(sys, f.head(0))
    sys.pages.trylock(f.head(0))
    tryToMigrate(sys, f.head(0))
    expect(f.state(1)).toEqual(['P', 'f', '9'])
    unlockPage(sys, f.head(0))
    putPage(sys, f.head(0))
    f.process.unpinAll()
    f.end()
  })

  test('a zap drops the migration entry, and the page goes when its migration ends', () => {
    const f = new HugetlbFixture(2)
    f.map(0, 1)
    f.process.store32(huge(0), 5)
    const { restore } = migrate(f)
    f.process.munmap(huge(0), PMD_SIZE)
    expect(f.pool.nfree).toBe(1)
    restore()
    expect(f.pool.nfree).toBe(2)
    f.end()
  })
})
