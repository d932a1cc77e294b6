// Reference counts of one page through whole migrations, state by state (spec MG-110 to MG-115): references / mappings.

import { expect, it } from 'vitest'
import { MigrateFixture } from '../../test/helpers/migrate-fixture.ts'
import type { Pfn } from '../base/addr.ts'
import { makeDeviceExclusiveRange } from './exclusive.ts'
import {
  MIGRATE_PFN_UNPIN,
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  makeMigrateVma,
  migrateVmaFinalize,
  migrateVmaPages,
  migrateVmaSetup,
} from './migrate-device.ts'
import { PG_ANON_EXCLUSIVE, PG_LOCKED, PG_LRU } from './page.ts'
import { putPage, unlockPage } from './page-alloc.ts'

/** Counts of a frame and its standing: L on the LRU, k locked, x exclusive. */
function state(f: MigrateFixture, pfn: Pfn): string {
  const flags = f.sys.pages.flags[pfn]
  const letter = (flag: number, text: string) => ((flags & flag) !== 0 ? text : '')
  const letters = letter(PG_LRU, 'L') + letter(PG_LOCKED, 'k') + letter(PG_ANON_EXCLUSIVE, 'x')
  return `${f.countsOf(pfn)} ${letters}`.trim()
}

it('MG-110: system to device', () => {
  const f = new MigrateFixture()
  f.mmap(0, 1)
  f.store(0)
  const source = f.pfn(0)
  expect(state(f, source)).toBe('1/1 Lx')
  const migration = f.begin(0, 1)
  expect([state(f, source), f.pte(0, 1), migration.args.src[0]]).toEqual(['1/0 k', 'M', (BigInt(source) << 6n) | 0xbn])
  const target = migration.giveDevice(0)
  expect(state(f, target)).toBe('1/0 k')
  migration.pages()
  expect([state(f, source), state(f, target)]).toEqual(['1/0 k', '1/0 k'])
  migration.finalize()
  expect([state(f, source), state(f, target), f.pte(0, 1)]).toEqual(['0/0', '1/1 x', 'D'])
  f.munmap(0, 1)
  f.finish()
})

it('MG-111: a hole to the device', () => {
  const f = new MigrateFixture()
  f.mmap(0, 1)
  const migration = f.begin(0, 1)
  expect(migration.args.src[0]).toBe(2n)
  const target = migration.giveDevice(0)
  migration.pages()
  expect([state(f, target), migration.args.src[0], f.pte(0, 1)]).toEqual(['2/1 kx', 2n, 'D'])
  migration.finalize()
  expect(state(f, target)).toBe('1/1 x')
  f.munmap(0, 1)
  f.finish()
})

it('MG-112: exclusive access', () => {
  const f = new MigrateFixture()
  f.mmap(0, 1)
  f.store(0)
  const pfn = f.pfn(0)
  const states: string[] = []
  const out: Pfn[] = []
  // The event comes after GUP and before the conversion.
  f.log.answer = (range) => {
    if (range.event === 7) states.push(state(f, pfn))
    return true
  }
  f.mm.mmapLock.tryRead()
  expect(makeDeviceExclusiveRange(f.mm, f.addr(0), f.addr(1), out, f.gpu)).toBe(1)
  f.mm.mmapLock.unlockRead()
  f.held.set(pfn, 1)
  f.validate()
  states.push(state(f, pfn))
  unlockPage(f.sys, pfn)
  f.held.clear()
  f.step(() => putPage(f.sys, pfn))
  states.push(state(f, pfn))
  f.log.answer = () => true
  f.load(0)
  states.push(state(f, pfn))
  expect(states).toEqual(['2/1 Lkx', '2/0 Lkx', '1/0 Lx', '1/1 Lx'])
  f.finish()
})

it('MG-113: a CPU fault on a device page', () => {
  const f = new MigrateFixture()
  f.mmap(0, 1)
  f.store(0)
  f.toDevice(0, 1)
  const source = f.pfn(0)
  let target = -1
  const states = [state(f, source)]
  const note = () => states.push(state(f, source))
  f.gpu.onFault = (vmf) => {
    note()
    const args = makeMigrateVma(vmf.vma, f.addr(0), f.addr(1), f.gpu, MIGRATE_VMA_SELECT_DEVICE_PRIVATE)
    args.faultPage = vmf.page
    migrateVmaSetup(args)
    note()
    target = f.wrap(args).giveSystem(0)
    migrateVmaPages(args)
    note()
    migrateVmaFinalize(args)
    note()
    return 0
  }
  f.load(0)
  note()
  // entry; the fault's reference; collected; moved; finalized; the fault is over
  expect(states).toEqual(['1/1 x', '2/1 x', '2/0 k', '2/0 k', '1/0', '0/0'])
  expect([state(f, target), f.gpu.freed]).toEqual(['1/1 Lx', [source]])
  f.finish()
})

it('MG-114: two mappings, to the device', () => {
  const f = new MigrateFixture()
  f.mmap(0, 1)
  f.store(0)
  const child = f.fork()
  const source = f.pfn(0)
  const states: string[] = [state(f, source)]
  // The CLEAR of the rmap walk comes after the first mapping was collected and the page isolated.
  f.log.answer = (range) => {
    if (range.event === 1) states.push(state(f, source))
    return true
  }
  const migration = f.begin(0, 1)
  f.log.answer = () => true
  states.push(state(f, source))
  expect(states).toEqual(['2/2 L', '2/1 k', '1/0 k'])
  expect([f.pte(0, 1), f.pte(0, 1, child)]).toEqual(['m', 'm'])
  const target = migration.giveDevice(0)
  migration.finish()
  expect([state(f, target), f.pte(0, 1), f.pte(0, 1, child)]).toEqual(['2/2', 'd', 'd'])
  f.exit(child)
  f.munmap(0, 1)
  f.finish()
})

it('MG-115: PIN, and UNPIN', () => {
  const f = new MigrateFixture()
  f.mmap(0, 1)
  f.store(0)
  const original = f.pfn(0)
  const there = f.begin(0, 1, { pin: true })
  expect(state(f, original)).toBe('1025/0 k')
  const device = f.gpu.take()
  there.give(0, device)
  there.finish()
  expect([state(f, original), state(f, device), f.pte(0, 1)]).toEqual(['1025/0', '1/1 x', 'D'])

  const back = f.begin(0, 1, { flags: MIGRATE_VMA_SELECT_DEVICE_PRIVATE })
  f.lock(original)
  back.give(0, original, MIGRATE_PFN_UNPIN)
  back.pages()
  expect([state(f, original), state(f, device)]).toEqual(['1025/0 k', '1/0 k'])
  f.inPlace.delete(original)
  back.finalize()
  expect([state(f, original), state(f, device), f.pfn(0), f.gpu.freed]).toEqual(['1/1 Lx', '0/0', original, [device]])
  f.finish()
})
