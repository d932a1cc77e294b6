// The OOM reaper: what it takes, what it leaves, and how a driver can make it come again.

import { describe, expect, it } from 'vitest'
import { MmFixture } from '../../test/helpers/mm-fixture.ts'
import { EAGAIN } from '../base/errno.ts'
import { AccessSignal } from '../machine/signals.ts'
import { MADV_PAGEOUT } from '../uapi/mman.ts'
import { remapPfnRange } from './insert.ts'
import {
  MIGRATE_VMA_SELECT_SYSTEM,
  makeMigrateVma,
  migratePfn,
  migrateVmaFinalize,
  migrateVmaPages,
  migrateVmaSetup,
} from './migrate-device.ts'
import { oomReapMm } from './oom-reaper.ts'
import { allocKernelPage } from './page-alloc.ts'

/** Private memory at 0 and 8, shared memory at 4, a private file at 12, raw frames at 16. */
function makeFixture(): MmFixture {
  const fixture = new MmFixture({ swap: '1 MiB' })
  const file = fixture.machine.createFile('data', 2)
  fixture.mmap(0, 2)
  fixture.mmap(4, 2, { shared: true })
  fixture.mmap(8, 2)
  fixture.mmap(12, 2, { file })
  fixture.mmap(16, 1)
  fixture.step(() => remapPfnRange(fixture.vma(16), fixture.addr(16), 777, 1))
  for (const page of [0, 4, 8, 12]) fixture.store(page, 2, page)
  return fixture
}

describe('oomReapMm()', () => {
  it('raises one UNMAP per private mapping, which a driver may refuse, and drops its pages (MN-36, MN-80)', () => {
    const fixture = makeFixture()
    expect(fixture.eventsOf(() => expect(fixture.step(() => oomReapMm(fixture.mm))).toBe(0))).toEqual([
      'UNMAP 0-2 of 0-2, may be refused',
      'UNMAP 8-10 of 8-10, may be refused',
      'UNMAP 12-14 of 12-14, may be refused',
    ])
    expect([0, 4, 8, 12, 16].map((page) => fixture.pte(page, 1))).toEqual(['-', 'w', '-', '-', 'S'])
    expect(fixture.load(4, 2)).toEqual([4, 5])
    fixture.finish(1)
  })

  it('a refusal leaves that mapping as it is, and is -EAGAIN in the end (MN-35)', () => {
    const fixture = makeFixture()
    fixture.log.answer = (range) => range.start !== fixture.addr(8)
    expect(fixture.step(() => oomReapMm(fixture.mm))).toBe(-EAGAIN)
    expect([0, 8, 12].map((page) => fixture.pte(page, 2))).toEqual(['--', 'ww', '--'])
    expect([fixture.mm.subscriptions?.activeInvalidateRanges, fixture.mm.mmapLock.isHeld]).toEqual([0, false])
    fixture.log.answer = () => true
    expect(fixture.step(() => oomReapMm(fixture.mm))).toBe(0)
    expect(fixture.pte(8, 2)).toBe('--')
    fixture.finish(1)
  })

  it('the test driver refuses while its lock is taken (TD-6)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 2)
    fixture.store(0, 2)
    const { mirror } = fixture.dev(0)
    mirror.lock.acquire()
    expect(fixture.step(() => oomReapMm(fixture.mm))).toBe(-EAGAIN)
    mirror.lock.release()
    expect([fixture.pte(0, 2), fixture.step(() => oomReapMm(fixture.mm)), fixture.pte(0, 2)]).toEqual(['ww', 0, '--'])
    fixture.finish()
  })

  it('frees memory on a device, in exclusive use and in swap', () => {
    const fixture = new MmFixture({ swap: '1 MiB' })
    fixture.mmap(0, 3)
    fixture.store(0, 3)
    fixture.migrateToDev(0, 0, 1)
    fixture.exclusive(1, 1, 1)
    fixture.madvise(2, 1, MADV_PAGEOUT)
    expect(fixture.pte(0, 3)).toBe('DXs')
    expect(fixture.step(() => oomReapMm(fixture.mm))).toBe(0)
    expect([fixture.pte(0, 3), fixture.device(0).npagesUsed, fixture.nused]).toEqual(['---', 0, 0])
    fixture.finish()
  })

  it('afterwards no fault puts zeroes where private data was: SIGBUS', () => {
    const fixture = makeFixture()
    oomReapMm(fixture.mm)
    const noPage = expect.objectContaining({ signal: 'SIGBUS', reason: 'no-page' })
    for (const page of [0, 12]) {
      expect(() => fixture.load(page)).toThrow(AccessSignal)
      expect(() => fixture.load(page)).toThrow(noPage)
      expect(() => fixture.store(page)).toThrow(noPage)
    }
    expect([fixture.pte(0, 2), fixture.pte(12, 2)]).toEqual(['--', '--'])
    fixture.finish(1)
  })

  it('nor a migration, nor a huge page (MG-56)', () => {
    const fixture = new MmFixture({ thp: 'always' })
    fixture.mmap(0, 512)
    oomReapMm(fixture.mm)
    expect(() => fixture.store(0)).toThrow(AccessSignal)
    const args = makeMigrateVma(fixture.vma(0), fixture.addr(0), fixture.addr(1), null, MIGRATE_VMA_SELECT_SYSTEM)
    fixture.mm.mmapLock.tryRead()
    expect([migrateVmaSetup(args), args.cpages]).toEqual([0, 1])
    const target = allocKernelPage(fixture.sys)
    fixture.sys.pages.trylock(target)
    args.dst[0] = migratePfn(target)
    migrateVmaPages(args)
    expect(args.src[0]).toBe(0n)
    migrateVmaFinalize(args)
    fixture.mm.mmapLock.unlockRead()
    expect([fixture.pte(0, 1), fixture.nused]).toEqual(['-', 0])
    fixture.finish()
  })

  it('while mappings are being changed it waits', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1)
    fixture.store(0)
    fixture.mm.mmapLock.tryWrite()
    expect([oomReapMm(fixture.mm), fixture.mm.isUnstable]).toEqual([-EAGAIN, false])
    expect(fixture.sys.waitFor).toBe(fixture.mm.mmapLock.released)
    fixture.mm.mmapLock.unlockWrite()
    expect([oomReapMm(fixture.mm), fixture.pte(0, 1)]).toEqual([0, '-'])
    fixture.finish()
  })
})
