// Scenarios beside the kernel's own tests, with the results that Linux 6.1 gave: spec TS-40 to TS-54. Each watches an arena
// through an interval notifier and makes the calls of a driver itself.

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Addr, PAGE_SIZE, type Pfn, pteIndex } from '../../src/base/addr.ts'
import { EAGAIN, EFAULT } from '../../src/base/errno.ts'
import type { DmirrorHandle } from '../../src/devices/dmirror/index.ts'
import type { Process } from '../../src/machine/process.ts'
import { makeDeviceExclusiveRange } from '../../src/mm/exclusive.ts'
import {
  MIGRATE_PFN_MIGRATE,
  MIGRATE_PFN_VALID,
  MIGRATE_PFN_WRITE,
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  MIGRATE_VMA_SELECT_SYSTEM,
  type MigrateVma,
  makeMigrateVma,
  migratePfn,
  migrateVmaFinalize,
  migrateVmaPages,
  migrateVmaSetup,
} from '../../src/mm/migrate-device.ts'
import {
  MMU_NOTIFY_CLEAR,
  type MmuIntervalNotifier,
  MmuNotifierRange,
  mmuIntervalNotifierInsert,
  mmuIntervalNotifierRemove,
  mmuIntervalReadBegin,
  mmuIntervalSetSeq,
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from '../../src/mm/mmu-notifier.ts'
import { allocPage, getPage, putPage, unlockPage } from '../../src/mm/page-alloc.ts'
import { PROT_NONE, PROT_READ } from '../../src/uapi/mman.ts'
import { DmirrorFixture } from '../helpers/dmirror-fixture.ts'
import { F, FW, W, Watcher } from '../helpers/watcher.ts'

/** First address of the arena: a border of every level of the page table. */
const BASE: Addr = 0x1000_0000_0000
const VALID = MIGRATE_PFN_VALID
const MIGRATE = MIGRATE_PFN_MIGRATE
const WRITE = MIGRATE_PFN_WRITE

let f: DmirrorFixture
let dev0: DmirrorHandle
let watcher: Watcher

beforeEach(() => {
  f = new DmirrorFixture({ memory: '8 MiB', chunkPages: 64 })
  dev0 = f.open(0)
  watcher = watch(f.process)
})

afterEach(() => {
  f.finish()
})

describe('range faults', () => {
  it('TS-40: a snapshot of unpopulated pages is all 0 and faults nothing', () => {
    map(0, 8)
    expect(watcher.fault(0, 8)).toBe('ok: 0 0 0 0 0 0 0 0')
    expect(f.pte(addr(0), 8)).toBe('tttttttt')
  })

  it('TS-40: of a mapping without read permission, or of no mapping, it is all ERROR', () => {
    map(0, 4, PROT_NONE)
    expect(watcher.fault(0, 8)).toBe('ok: E E E E E E E E')
  })

  it('TS-41: one page of an untouched mapping asks for a fault, and all of them get one', () => {
    map(0, 8)
    expect(watcher.fault(0, 8, { mask: F, pages: { 3: F } })).toBe('ok: Vz Vz Vz Vz Vz Vz Vz Vz')
    expect(watcher.takeEvents()).toEqual([])
  })

  it('TS-42: one page of an untouched mapping asks for a write fault, and all of them get one', () => {
    map(0, 8)
    expect(watcher.fault(0, 8, { default: F, mask: W, pages: { 3: W } })).toBe('ok: VW VW VW VW VW VW VW VW')
    expect(watcher.takeEvents()).toEqual([])
  })

  it('TS-43: where there is a table, faulting begins at the page that asks for it', () => {
    map(0, 8)
    f.load(addr(0), 1)
    expect(watcher.fault(0, 8, { mask: FW, pages: { 3: FW } })).toBe('ok: Vz 0 0 VW VW VW VW VW')
  })

  it('TS-44: a write fault over zero pages invalidates its own range, so the call has to be made again', () => {
    map(0, 8)
    for (let i = 0; i < 8; i++) f.load(addr(i), 1)
    expect(watcher.fault(0, 8, { default: FW })).toBe('EBUSY: u u u u u u u u')
    expect(watcher.takeEvents()).toEqual([0, 1, 2, 3, 4, 5, 6, 7].map((i) => `CLEAR ${i}-${i + 1}`))
    expect(watcher.fault(0, 8, { default: FW })).toBe('ok: VW VW VW VW VW VW VW VW')
    expect(watcher.takeEvents()).toEqual([])
  })

  it('TS-45: pages shared with a living child are copied, which invalidates; with a dead one they are reused', () => {
    map(0, 2)
    storeEach(0, 2)
    const first = f.fork()
    watcher.takeEvents()
    expect(watcher.fault(0, 2, { default: FW })).toBe('EBUSY: u u')
    expect(watcher.takeEvents()).toEqual(['CLEAR 0-1', 'CLEAR 1-2'])
    expect(watcher.fault(0, 2, { default: FW })).toBe('ok: VW VW')
    f.exit(first)

    const second = f.fork()
    f.exit(second)
    watcher.takeEvents()
    expect(watcher.fault(0, 2, { default: FW })).toBe('ok: VW VW')
    expect(watcher.takeEvents()).toEqual([])
  })

  it('TS-46: a read-only mapping behind a writable one stops a write request with EPERM', () => {
    map(0, 2)
    map(2, 2, PROT_READ)
    expect(watcher.fault(0, 4, { default: FW })).toBe('EPERM: VW VW u u')
  })

  it('TS-47: an own device page that fork made read-only satisfies a write request as it is', () => {
    map(0, 1)
    storeEach(0, 1)
    f.migrateToDev(dev0, addr(0), 1)
    f.exit(f.fork())
    watcher.takeEvents()
    expect(f.pte(addr(0), 1)).toBe('d')
    expect(watcher.fault(0, 1, { default: FW, owner: dev0Owner() })).toBe('ok: V')
    expect(watcher.takeEvents()).toEqual([])
    expect(watcher.fault(0, 1, { default: FW })).toBe('EBUSY: u')
    expect(watcher.takeEvents()).toEqual(['MIGRATE 0-1 by hmm_dmirror0'])
    expect(watcher.fault(0, 1, { default: FW })).toBe('ok: VW')
    expect(f.pte(addr(0), 1)).toBe('w')
  })

  it('TS-47: while the child lives the page comes back for both, and is copied after that (MG-94)', () => {
    map(0, 1)
    storeEach(0, 1)
    f.migrateToDev(dev0, addr(0), 1)
    const child = f.fork()
    watcher.takeEvents()
    expect(watcher.fault(0, 1, { default: FW })).toBe('EBUSY: u')
    expect(watcher.takeEvents()).toEqual(['MIGRATE 0-1 by hmm_dmirror0', 'CLEAR 0-1'])
    expect(f.pte(addr(0), 1, child)).toBe('r')
    expect(watcher.fault(0, 1, { default: FW })).toBe('EBUSY: u')
    expect(watcher.takeEvents()).toEqual(['CLEAR 0-1'])
    expect(watcher.fault(0, 1, { default: FW })).toBe('ok: VW')
    f.exit(child)
  })
})

describe('migration', () => {
  it('TS-48: a system page with an extra reference does not migrate, and keeps its entry', () => {
    map(0, 1)
    storeEach(0, 1)
    const pfn = entryPfn(0)
    getPage(f.machine.sys, pfn)
    const args = setup(0, 1, MIGRATE_VMA_SELECT_SYSTEM)
    expect([args.src[0], args.cpages]).toEqual([0n, 0])
    migrateVmaPages(args)
    finish(args)
    expect([f.pte(addr(0), 1), f.process.dumpAttr(addr(0), 1)]).toEqual(['w', '7'])
    expect(entryPfn(0)).toBe(pfn)
    putPage(f.machine.sys, pfn)
  })

  it('TS-48: a device page with one extra reference passes setup and fails in the pages step', () => {
    map(0, 1)
    storeEach(0, 1)
    f.migrateToDev(dev0, addr(0), 1)
    const pfn = entryPfn(0)
    getPage(f.machine.sys, pfn)
    const args = setup(0, 1, MIGRATE_VMA_SELECT_DEVICE_PRIVATE)
    expect(args.src[0]).toBe(migratePfn(pfn, VALID | MIGRATE | WRITE))
    giveSystemPage(args, 0)
    migrateVmaPages(args)
    expect(args.src[0]).toBe(migratePfn(pfn, VALID | WRITE))
    finish(args)
    expect([f.pte(addr(0), 1), entryPfn(0)]).toEqual(['D', pfn])
    putPage(f.machine.sys, pfn)
  })

  it('TS-48: a device page with two extra references fails in setup', () => {
    map(0, 1)
    storeEach(0, 1)
    f.migrateToDev(dev0, addr(0), 1)
    const pfn = entryPfn(0)
    getPage(f.machine.sys, pfn)
    getPage(f.machine.sys, pfn)
    const args = setup(0, 1, MIGRATE_VMA_SELECT_DEVICE_PRIVATE)
    expect([args.src[0], args.cpages]).toEqual([0n, 0])
    finish(args)
    expect(f.pte(addr(0), 1)).toBe('D')
    putPage(f.machine.sys, pfn, 2)
  })

  it('TS-49: a page that the driver gives no destination loses MIGRATE and is restored', () => {
    map(0, 2)
    storeEach(0, 2)
    const pfns = [entryPfn(0), entryPfn(1)]
    const args = setup(0, 2, MIGRATE_VMA_SELECT_SYSTEM)
    expect(Array.from(args.src)).toEqual(pfns.map((pfn) => migratePfn(pfn, VALID | MIGRATE | WRITE)))
    migrateVmaPages(args)
    expect(Array.from(args.src)).toEqual(pfns.map((pfn) => migratePfn(pfn, VALID | WRITE)))
    finish(args)
    expect(f.pte(addr(0), 2)).toBe('ww')
    expect([entryPfn(0), entryPfn(1)]).toEqual(pfns)
  })

  it('TS-50: without a selection only holes are collected', () => {
    map(0, 4)
    storeEach(0, 1)
    f.load(addr(1), 1)
    f.store(addr(2), new Uint32Array([2]))
    f.migrateToDev(dev0, addr(2), 1)
    const args = setup(0, 4, 0)
    expect([Array.from(args.src), args.cpages]).toEqual([[0n, 0n, 0n, BigInt(MIGRATE)], 1])
    migrateVmaPages(args)
    finish(args)
    expect(f.pte(addr(0), 4)).toBe('wzD-')
  })

  it('TS-51: holes and zero pages cost a second event, from the first of them to the end', () => {
    map(0, 4)
    storeEach(0, 1)
    f.load(addr(2), 1)
    watcher.takeEvents()
    expect(f.migrateToDev(dev0, addr(0), 4).cpages).toBe(4)
    expect(watcher.takeEvents()).toEqual(['MIGRATE 0-4 by hmm_dmirror0', 'MIGRATE 1-4 by hmm_dmirror0'])
    expect(f.pte(addr(0), 4)).toBe('DDDD')
  })

  it('TS-51: a page shared with a child is unmapped in both, which each of them hears', () => {
    map(0, 1)
    storeEach(0, 1)
    const child = f.fork()
    const childWatcher = watch(child)
    watcher.takeEvents()
    f.migrateToDev(dev0, addr(0), 1)
    expect(watcher.takeEvents()).toEqual(['MIGRATE 0-1 by hmm_dmirror0', 'CLEAR 0-1'])
    expect(childWatcher.takeEvents()).toEqual(['CLEAR 0-1'])
    expect([f.pte(addr(0), 1), f.pte(addr(0), 1, child)]).toEqual(['d', 'd'])
    f.exit(child)
  })
})

describe('TS-52: subscriptions that come and go while an invalidation runs', () => {
  it('one that is inserted while seq is odd is deferred: no events, and no read section before the end', () => {
    const range = startEvent(0, 1)
    expect(subscriptions().invalidateSeq % 2).toBe(1)
    const heard: number[] = []
    const sub = insert(heard)
    expect(sub.invalidateSeq).toBe(subscriptions().invalidateSeq)
    expect(mmuIntervalReadBegin(sub)).toBe(-EAGAIN)
    const second = startEvent(0, 1)
    expect(heard).toEqual([]) // not in the tree yet
    mmuNotifierInvalidateRangeEnd(second)
    mmuNotifierInvalidateRangeEnd(range)
    expect(mmuIntervalReadBegin(sub)).toBe(sub.invalidateSeq)
    mmuNotifierInvalidateRangeEnd(startEvent(0, 1))
    expect(heard).toHaveLength(1)
    expect(mmuIntervalNotifierRemove(sub)).toBe(0)
  })

  it('one that is inserted while seq is even counts as being invalidated until the running event ends', () => {
    f.close(dev0) // it mirrors everything, and this event must overlap nothing
    const range = startEvent(100, 1)
    expect(subscriptions().invalidateSeq % 2).toBe(0)
    const heard: number[] = []
    const sub = insert(heard)
    expect(subscriptions().invalidateSeq % 2).toBe(1)
    expect([mmuIntervalReadBegin(sub), heard]).toEqual([-EAGAIN, []])
    mmuNotifierInvalidateRangeEnd(range)
    expect(mmuIntervalReadBegin(sub)).toBe(sub.invalidateSeq)
    expect(mmuIntervalNotifierRemove(sub)).toBe(0)
  })

  it('one that is removed while seq is odd is called until the event ends, and not after it', () => {
    const heard: number[] = []
    const sub = insert(heard)
    const range = startEvent(0, 1)
    expect(mmuIntervalNotifierRemove(sub)).toBe(-EAGAIN)
    let woken = 0
    subscriptions().wait.add(() => woken++)
    mmuNotifierInvalidateRangeEnd(range)
    expect(woken).toBe(1)
    mmuNotifierInvalidateRangeEnd(startEvent(0, 1))
    expect(heard).toHaveLength(1)
  })

  it('one that is removed while still deferred goes at once', () => {
    const range = startEvent(0, 1)
    const heard: number[] = []
    const sub = insert(heard)
    expect(mmuIntervalNotifierRemove(sub)).toBe(0)
    mmuNotifierInvalidateRangeEnd(range)
    mmuNotifierInvalidateRangeEnd(startEvent(0, 1))
    expect(heard).toEqual([])
  })
})

describe('exclusive access', () => {
  it('TS-53: fork gives a device-exclusive page back to the CPU without an event of its own', () => {
    map(0, 1)
    storeEach(0, 1)
    f.exclusive(dev0, addr(0), 1)
    expect(f.pte(addr(0), 1)).toBe('X')
    watcher.takeEvents()
    const child = f.fork()
    expect([f.pte(addr(0), 1), f.pte(addr(0), 1, child)]).toEqual(['r', 'r'])
    expect(watcher.takeEvents()).toEqual(['PROTECTION_PAGE 0-1'])
    f.exit(child)
  })

  it('TS-54: over a read-only mapping it is refused', () => {
    map(0, 2, PROT_READ)
    expect(takeExclusive(0, 2)).toEqual([-EFAULT, []])
  })

  it('TS-54: a hole behind the first page ends it there', () => {
    map(0, 1)
    const [npages, pfns] = takeExclusive(0, 3)
    expect([npages, pfns]).toEqual([1, [entryPfn(0)]])
    expect(f.pte(addr(0), 3)).toBe('X__')
  })
})

function addr(page: number): Addr {
  return BASE + page * PAGE_SIZE
}

function map(page: number, npages: number, prot?: number): void {
  f.mmap({ npages, addr: addr(page), fixed: true, ...(prot === undefined ? {} : { prot }) })
}

/** The CPU writes to `npages` pages. */
function storeEach(page: number, npages: number): void {
  for (let i = page; i < page + npages; i++) f.store(addr(i), new Uint32Array([i]))
}

function watch(process: Process): Watcher {
  return new Watcher(process.mm, BASE, 16, (owner) => f.devices.find((device) => device === owner)?.name ?? '?')
}

function dev0Owner(): unknown {
  return f.devices[0]
}

/** Frame that the entry of a page names. */
function entryPfn(page: number): Pfn {
  const table = f.process.mm.pageTable.findPte(addr(page))
  return table === null ? -1 : table.words[2 * pteIndex(addr(page))]
}

/** migrateVmaSetup for dev0 under the lock, which `finish` releases. */
function setup(page: number, npages: number, flags: number): MigrateVma {
  const { mm } = f.process
  expect(mm.mmapLock.tryRead()).toBe(true)
  const args = makeMigrateVma(mm.vmaLookup(addr(page)), addr(page), addr(page + npages), dev0Owner(), flags)
  f.midway = true
  expect(f.step(() => migrateVmaSetup(args))).toBe(0)
  return args
}

function finish(args: MigrateVma): void {
  f.step(() => migrateVmaFinalize(args))
  f.process.mm.mmapLock.unlockRead()
}

function giveSystemPage(args: MigrateVma, i: number): void {
  const { sys } = f.machine
  const pfn = allocPage(f.process.mm, args.start + i * PAGE_SIZE)
  expect(sys.pages.trylock(pfn)).toBe(true)
  args.dst[i] = migratePfn(pfn)
}

/** makeDeviceExclusiveRange; the pages are let go at once. */
function takeExclusive(page: number, npages: number): [number, Pfn[]] {
  const { mm } = f.process
  const pages: Pfn[] = []
  expect(mm.mmapLock.tryRead()).toBe(true)
  f.midway = true
  const ret = f.step(() => makeDeviceExclusiveRange(mm, addr(page), addr(page + npages), pages, null))
  f.midway = false
  mm.mmapLock.unlockRead()
  const found = pages.filter((pfn) => pfn >= 0)
  for (const pfn of found) {
    unlockPage(mm.sys, pfn)
    putPage(mm.sys, pfn)
  }
  return [ret, found]
}

function subscriptions(): NonNullable<DmirrorFixture['process']['mm']['subscriptions']> {
  const { subscriptions } = f.process.mm
  if (subscriptions === null) throw new Error('a notifier is inserted')
  return subscriptions
}

/** Begins a CLEAR over pages of the arena. */
function startEvent(page: number, npages: number): MmuNotifierRange {
  const range = new MmuNotifierRange(MMU_NOTIFY_CLEAR, null, f.process.mm, addr(page), addr(page + npages))
  expect(mmuNotifierInvalidateRangeStart(range)).toBe(0)
  return range
}

/** A further subscription over the arena that writes down the sequence numbers it is called with. */
function insert(heard: number[]): MmuIntervalNotifier {
  const sub = mmuIntervalNotifierInsert(f.process.mm, BASE, 16 * PAGE_SIZE, {
    invalidate(self, _range, curSeq) {
      mmuIntervalSetSeq(self, curSeq)
      heard.push(curSeq)
      return true
    },
  })
  if (typeof sub === 'number') throw new Error(`insert returned ${sub}`)
  return sub
}
