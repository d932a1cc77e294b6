// Pages that a device takes without moving them: MIGRATE_PFN_PIN and UNPIN (spec PN-1 to PN-14, VR-45). The seed's words: the
// driver "effectively becomes the owner of the page and needs to pass it in when remapping and unpinning".

import { describe, expect, it } from 'vitest'
import { MigrateFixture, PINNED_IN_PLACE } from '../../test/helpers/migrate-fixture.ts'
import { PinDevice, pinned } from '../../test/helpers/pin-device.ts'
import type { Pfn } from '../base/addr.ts'
import { AccessSignal, WouldWait } from '../machine/index.ts'
import { MADV_DONTNEED, MADV_FREE, MADV_PAGEOUT, PROT_READ } from '../uapi/mman.ts'
import {
  MIGRATE_PFN_UNPIN,
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  MIGRATE_VMA_SELECT_SYSTEM,
  unpinMigratedPage,
} from './migrate-device.ts'
import { PG_DIRTY, PG_LOCKED, PG_LRU } from './page.ts'
import { allocKernelPage, getPage, putPage } from './page-alloc.ts'
import { addToSwapCache, deleteFromSwapCache } from './swap.ts'

const PRIVATE = MIGRATE_VMA_SELECT_DEVICE_PRIVATE

/** Counts of a frame, and whether it is on the LRU, locked, or counts as pinned for DMA. */
function standing(f: MigrateFixture, pfn: Pfn): string {
  const flags = f.sys.pages.flags[pfn]
  const words = [f.countsOf(pfn)]
  if ((flags & PG_LRU) !== 0) words.push('LRU')
  if ((flags & PG_LOCKED) !== 0) words.push('locked')
  if (f.sys.pages.maybeDmaPinned(pfn)) words.push('pinned')
  return words.join(' ')
}

/** A process with written pages, and a device that pins. */
function setUp(npages: number): { f: MigrateFixture; device: PinDevice } {
  const f = new MigrateFixture()
  const device = new PinDevice(f)
  f.mmap(0, npages)
  f.store(0, npages, 100)
  return { f, device }
}

describe('PN-12: the test of the series', () => {
  it.each([1, 8])('%i pages: the CPU reads all of them, each once by a fault, and the data never moved', (n) => {
    const f = new MigrateFixture()
    const device = new PinDevice(f)
    f.mmap(0, n)
    f.store(0, n, 100)
    const frames = Array.from({ length: n }, (_, i) => f.pfn(i))
    const migration = f.args(0, n, { pin: true, owner: device.memory.owner })
    expect(migration.src.every((entry) => entry === 0x10n)).toBe(true)

    expect(pinned(device.pin(0, n))).toBe('P'.repeat(n))
    expect(f.pte(0, n)).toBe('E'.repeat(n))
    const copies: number[] = []
    const { mmu } = f.machine
    const { copyFrame } = mmu
    mmu.copyFrame = (dst, src) => {
      copies.push(src)
      copyFrame.call(mmu, dst, src)
    }
    for (let i = 0; i < n; i++) device.store(i, device.load(i) + 1000)

    expect(f.load(0, n)).toEqual(frames.map((_, i) => 1100 + i))
    expect([device.nfaults, copies.length]).toEqual([n, 0])
    expect(Array.from({ length: n }, (_, i) => f.pfn(i))).toEqual(frames)
    expect([f.pte(0, n), device.memory.nused, device.originals.size]).toEqual(['w'.repeat(n), 0, 0])
    expect(f.load(0, n)).toEqual(frames.map((_, i) => 1100 + i))
    expect(device.nfaults).toBe(n)
    f.finish()
  })
})

describe('PN-13: what holds', () => {
  it('(a) after PIN the original has its isolation reference and the pin, no mapping, and is off the LRU (PN-7)', () => {
    const { f, device } = setUp(2)
    const originals = [f.pfn(0), f.pfn(1)]
    expect(originals.map((pfn) => standing(f, pfn))).toEqual(['1/1 LRU', '1/1 LRU'])
    device.pin(0, 2)
    expect(originals.map((pfn) => standing(f, pfn))).toEqual(['1025/0 pinned', '1025/0 pinned'])
    expect([f.counts(0), f.attr(0, 2), [...device.originals.values()]]).toEqual(['1/1', '77', originals])
    f.munmap(0, 2)
    f.finish()
  })

  it('(b) after UNPIN it has its mappings alone, is on the LRU and not pinned (PN-9)', () => {
    const { f, device } = setUp(1)
    const original = f.pfn(0)
    device.pin(0, 1)
    f.load(0)
    expect([f.pfn(0), standing(f, original), f.pte(0, 1), f.attr(0, 1)]).toEqual([original, '1/1 LRU', 'w', '7'])
    f.store(0) // exclusive: no copy
    expect(f.pfn(0)).toBe(original)
    f.finish()
  })

  it('(c) PIN on a hole, an empty entry or a page pinned for DMA changes nothing', () => {
    const { f, device } = setUp(3)
    const unpin = f.pin(0, 1)
    f.madvise(1, 1, MADV_DONTNEED)
    const before = [f.flags(0), f.pfn(0), f.counts(0)]
    expect([pinned(device.pin(0, 3)), f.pte(0, 3)]).toEqual(['--P', 'w-E'])
    expect([f.flags(0), f.pfn(0), f.counts(0)]).toEqual(before)
    unpin()
    f.munmap(2, 1)
    f.finish()
  })
})

describe('setup with PIN', () => {
  it('selects no empty entry, with or without a table, and counts none (PN-2, VR-45)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 514)
    f.store(0)
    const migration = f.begin(510, 4, { pin: true })
    expect([migration.src, migration.args.cpages]).toEqual(['P P P P', 0])
    migration.finish()
    f.finish()
  })

  it('makes an ordinary migration of a zero page: PIN is gone (PN-2)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 1)
    f.load(0)
    const migration = f.begin(0, 1, { pin: true })
    expect([migration.src, migration.args.cpages]).toEqual(['M', 1])
    const target = migration.giveDevice(0)
    migration.pages()
    expect(migration.args.src[0]).toBe(2n)
    migration.finalize()
    expect([f.pte(0, 1), f.countsOf(target)]).toEqual(['D', '1/1'])
    f.munmap(0, 1)
    f.finish()
  })

  it('does not mind references (PN-3), which the page keeps all the way', () => {
    const { f, device } = setUp(1)
    const original = f.pfn(0)
    f.hold(original, 2)
    expect(pinned(device.pin(0, 1))).toBe('P')
    expect(standing(f, original)).toBe('1027/0 pinned')
    expect(f.load(0)).toEqual([100])
    expect(standing(f, original)).toBe('3/1 LRU')
    f.hold(original, -2)
    f.finish()
  })

  it('minds the page lock and who has isolated the page (PN-3)', () => {
    const { f, device } = setUp(2)
    const pfns = [f.pfn(0), f.pfn(1)]
    f.lock(pfns[0])
    f.sys.lru.isolate(pfns[1])
    f.held.set(pfns[1], 1)
    expect([pinned(device.pin(0, 2)), f.pte(0, 2)]).toEqual(['--', 'ww'])
    f.unlock(pfns[0])
    f.sys.lru.add(pfns[1])
    f.hold(pfns[1], -1)
    expect(pinned(device.pin(0, 2))).toBe('PP')
    f.munmap(0, 2)
    f.finish()
  })

  it('takes no pin of a page that is still mapped elsewhere (PN-4, VR-45)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 1)
    f.store(0)
    const child = f.fork()
    const pfn = f.pfn(0)
    // rmap cannot unmap it from the child, as the page is marked exclusive and pinned while the CLEAR is raised there.
    f.logOf(child).answer = () => {
      f.sys.pages.flags[pfn] |= 1 << 7 // PG_ANON_EXCLUSIVE
      f.sys.pages.refcount[pfn] += 1024
      return true
    }
    const open = f.beginUnchecked(f.args(0, 1, { pin: true }))
    f.logOf(child).answer = () => true
    f.sys.pages.refcount[pfn] -= 1024
    f.sys.pages.flags[pfn] &= ~(1 << 7)
    expect([open.src, open.args.cpages, standing(f, pfn), f.pte(0, 1), f.pte(0, 1, child)]).toEqual([
      '0',
      0,
      '2/2 LRU',
      'r',
      'r',
    ])
    open.finish()
    f.exit(child)
    f.finish()
  })

  it('takes no pin of a page that may be pinned for DMA by somebody else (PN-4)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 1, { shared: true }) // not anonymous, so collection does not look
    f.store(0)
    const unpin = f.pin(0, 1)
    const migration = f.begin(0, 1, { pin: true })
    expect([migration.src, migration.args.cpages, f.pte(0, 1), f.counts(0)]).toEqual(['0', 0, 'w', '1026/1'])
    migration.finish()
    unpin()
    f.finish()
  })

  it('an entry that loses MIGRATE is restored, and src is 0: not even PIN is left (PN-5)', () => {
    const { f } = setUp(2)
    const pfn = f.pfn(0)
    f.sys.lru.isolate(pfn)
    f.held.set(pfn, 1)
    const migration = f.begin(0, 2, { pin: true })
    expect([migration.src, migration.args.src[0], migration.args.cpages]).toEqual(['0 VMWP', 0n, 1])
    migration.finalize()
    f.sys.lru.add(pfn)
    f.hold(pfn, -1)
    expect([f.pte(0, 2), f.attr(0, 2), standing(f, f.pfn(1))]).toEqual(['ww', '77', '1/1 LRU'])
    f.finish()
  })

  it('means nothing for a device page, which migrates and is freed as ever', () => {
    const { f } = setUp(2)
    f.toDevice(0, 1)
    const migration = f.begin(0, 2, { flags: MIGRATE_VMA_SELECT_SYSTEM | PRIVATE, pin: true })
    expect(migration.src).toBe('VMW VMWP')
    migration.giveSystem(0)
    migration.finish()
    expect([f.pte(0, 2), f.gpu.nused, standing(f, f.pfn(1))]).toEqual(['ww', 0, '1/1 LRU'])
    f.finish()
  })
})

describe('pages and finalize with PIN', () => {
  it('move the identity and not the data; the source keeps that (PN-6)', () => {
    const { f } = setUp(1)
    const original = f.pfn(0)
    const { pages, mmu } = f.sys
    const index = pages.index[original]
    const migration = f.begin(0, 1, { pin: true })
    const target = f.gpu.take()
    migration.give(0, target)
    migration.pages()
    expect([pages.index[target], pages.mapping[target] !== 0, pages.isAnon(target)]).toEqual([index, true, true])
    expect([migration.src, new Uint32Array(mmu.bytes(original).slice().buffer)[0]]).toEqual(['VMWP', 100])
    migration.finalize()
    expect([f.countsOf(target), standing(f, original)]).toEqual(['1/1', '1025/0 pinned'])
    f.munmap(0, 1)
    f.inPlace.clear()
    f.step(() => unpinMigratedPage(f.sys, original))
    f.finish()
  })

  it('fail for a page of a file or in the swap cache, and the pin goes (PN-6)', () => {
    const f = new MigrateFixture({ swap: '1 MiB' })
    const device = new PinDevice(f)
    f.mmap(0, 1, { shared: true })
    f.mmap(1, 1)
    f.store(0, 2)
    const { swap } = f.sys
    const cached = f.pfn(1)
    if (swap !== null) addToSwapCache(f.sys, swap, cached, swap.alloc(cached))
    expect(pinned(device.pin(0, 1)) + pinned(device.pin(1, 1))).toBe('--')
    expect([f.pte(0, 2), standing(f, f.pfn(0)), standing(f, cached)]).toEqual(['ww', '2/1 LRU', '2/1 LRU'])
    expect(device.memory.nused).toBe(0)
    deleteFromSwapCache(f.sys, cached)
    f.finish()
  })

  it('leave no pin behind for an entry that the driver declines', () => {
    const { f } = setUp(2)
    const original = f.pfn(1)
    const migration = f.begin(0, 2, { pin: true })
    migration.give(0, f.gpu.take())
    migration.pages()
    expect([migration.src, standing(f, original)]).toEqual(['VMWP VW', '1/0 locked'])
    migration.finalize()
    expect([f.pte(0, 2), standing(f, original)]).toEqual(['Dw', '1/1 LRU'])
    const [left] = f.inPlace
    f.munmap(0, 2)
    f.inPlace.clear()
    unpinMigratedPage(f.sys, left)
    f.finish()
  })

  it('nor for a migration that the driver gives up after setup', () => {
    const { f } = setUp(2)
    const migration = f.begin(0, 2, { pin: true })
    expect(standing(f, migration.source(0))).toBe('1025/0 locked pinned')
    migration.finalize()
    expect([f.pte(0, 2), f.attr(0, 2), f.inPlace.size]).toEqual(['ww', '77', 0])
    f.finish()
  })

  it('a page that arrives there as the last mapping goes is freed with its original', () => {
    const { f, device } = setUp(1)
    const child = f.fork()
    f.store(0) // the page belongs to the child alone now
    const original = f.pfn(0, child)
    const migration = f.begin(0, 1, { pin: true, process: child, owner: device.memory.owner })
    const target = device.memory.take()
    migration.give(0, target)
    migration.pages()
    device.originals.set(target, original)
    child.mm.mmapLock.unlockRead() // the child does not wait, as it should
    f.inPlace.add(original)
    f.open.delete(migration)
    child.exit()
    child.mm.mmapLock.tryRead()
    migration.finalize()
    f.inPlace.clear()
    expect([f.sys.pages.refcount[original], device.memory.nused, device.originals.size]).toEqual([0, 0, 0])
    f.finish()
  })
})

describe('UNPIN', () => {
  it('waits if the original is locked (PN-8)', () => {
    const { f, device } = setUp(1)
    const original = f.pfn(0)
    device.pin(0, 1)
    f.lock(original)
    expect(() => f.load(0)).toThrow(WouldWait)
    let woken = 0
    f.sys.waitFor?.add(() => woken++)
    expect([f.pte(0, 1), f.counts(0)]).toEqual(['E', '1/1'])
    f.unlock(original)
    expect([woken, f.load(0), device.nfaults]).toEqual([1, [100], 2])
    f.finish()
  })

  it('that is declined leaves everything as it was: the driver still owns the original', () => {
    const { f, device } = setUp(1)
    const original = f.pfn(0)
    device.pin(0, 1)
    const devicePage = f.pfn(0)
    f.hold(devicePage) // passes setup and fails in the pages step (MG-40, instead of PN-10)
    expect(() => f.load(0)).toThrow(AccessSignal)
    expect([standing(f, original), standing(f, devicePage), f.pte(0, 1)]).toEqual(['1025/0 pinned', '2/1', 'E'])
    expect([device.originals.get(devicePage), f.inPlace.has(original)]).toEqual([original, true])
    f.hold(devicePage, -1)
    expect([f.load(0), standing(f, original)]).toEqual([[100], '1/1 LRU'])
    f.finish()
  })

  it('that the driver takes back before pages likewise', () => {
    const { f, device } = setUp(1)
    const original = f.pfn(0)
    device.pin(0, 1)
    device.stopUsing(0)
    const migration = f.begin(0, 1, { flags: PRIVATE, owner: device.memory.owner })
    f.lock(original)
    migration.give(0, original, MIGRATE_PFN_UNPIN)
    f.hold(migration.source(0))
    migration.pages()
    expect(migration.src).toBe('VW')
    migration.finalize()
    f.hold(f.pfn(0), -1)
    expect([standing(f, original), f.pte(0, 1)]).toEqual(['1025/0 pinned', 'E'])
    f.munmap(0, 1)
    f.finish()
  })

  it('the bit means nothing on a device page as destination, declined or not', () => {
    const { f } = setUp(2)
    const migration = f.begin(0, 2)
    const pfns = [f.gpu.take(), f.gpu.take()]
    for (const i of [0, 1]) migration.give(i, pfns[i], MIGRATE_PFN_UNPIN)
    f.hold(migration.source(1)) // declined in the pages step
    migration.finish()
    f.hold(f.pfn(1), -1)
    expect([f.pte(0, 2), f.countsOf(pfns[0]), f.gpu.freed]).toEqual(['Dw', '1/1', [pfns[1]]])
    f.munmap(0, 2)
    f.finish()
  })

  it('of a page that is not pinned is a mistake of the driver, and told', () => {
    const { f } = setUp(1)
    f.toDevice(0, 1)
    const migration = f.begin(0, 1, { flags: PRIVATE })
    const pfn = allocKernelPage(f.sys)
    f.lock(pfn)
    migration.give(0, pfn, MIGRATE_PFN_UNPIN)
    expect(() => migration.pages()).toThrow(`frame ${pfn} is pinned in place`)
    expect(() => unpinMigratedPage(f.sys, pfn)).toThrow(`frame ${pfn} is pinned in place`)
  })
})

describe('PN-11: a device page that is freed without a fault', () => {
  it.each([
    ['munmap', (f: MigrateFixture) => f.munmap(0, 2)],
    ['MADV_DONTNEED', (f: MigrateFixture) => f.madvise(0, 2, MADV_DONTNEED)],
    ['exit', (f: MigrateFixture) => f.exit(f.process)],
    ['mmap over it', (f: MigrateFixture) => f.mmap(0, 2)],
  ])('by %s: pin and isolation reference go, and the original with them', (_, free) => {
    const { f, device } = setUp(2)
    device.pin(0, 2)
    expect(f.nused).toBe(2)
    free(f)
    expect([f.nused, device.memory.nused, device.originals.size, device.nfaults]).toEqual([0, 0, 0, 0])
    f.finish()
  })

  it('what somebody else holds goes back on the LRU', () => {
    const { f, device } = setUp(1)
    const original = f.pfn(0)
    f.hold(original)
    device.pin(0, 1)
    f.munmap(0, 1)
    expect(standing(f, original)).toBe('1/0 LRU')
    f.held.set(original, 0)
    f.step(() => putPage(f.sys, original))
    f.finish()
  })

  it('with one of two processes it stays, until the other ends too', () => {
    const { f, device } = setUp(1)
    const original = f.pfn(0)
    const child = f.fork()
    device.pin(0, 1)
    expect([f.pte(0, 1), f.pte(0, 1, child), standing(f, original)]).toEqual(['e', 'e', '1025/0 pinned'])
    f.munmap(0, 1)
    expect(standing(f, original)).toBe('1025/0 pinned')
    f.exit(child)
    expect([f.nused, device.memory.nused]).toEqual([0, 0])
    f.finish()
  })
})

describe('pages in place, and everything else', () => {
  it('shared after fork: pinned for both, and back for both, read-only', () => {
    const { f, device } = setUp(2)
    const originals = [f.pfn(0), f.pfn(1)]
    const child = f.fork()
    expect(pinned(device.pin(0, 2))).toBe('PP')
    expect([f.pte(0, 2), f.pte(0, 2, child), f.counts(0)]).toEqual(['ee', 'ee', '2/2'])
    expect([f.load(1, 1, child), device.nfaults]).toEqual([[101], 1])
    expect([f.pte(0, 2), f.pte(0, 2, child), standing(f, originals[1])]).toEqual(['er', 'er', '2/2 LRU'])
    f.store(0, 1, 7, child) // back, then copied (MG-94)
    expect([f.load(0), f.load(0, 1, child), f.pfn(0)]).toEqual([[100], [7], originals[0]])
    f.exit(child)
    f.finish()
  })

  it('fork afterwards shares the device page; the device reads on after it looks again', () => {
    const { f, device } = setUp(1)
    const original = f.pfn(0)
    device.pin(0, 1)
    expect(device.load(0)).toBe(100)
    const child = f.fork()
    expect([device.has(0), f.pte(0, 1), f.pte(0, 1, child), standing(f, original)]).toEqual([
      false,
      'e',
      'e',
      '1025/0 pinned',
    ])
    f.store(0, 1, 5)
    expect([f.load(0), f.load(0, 1, child), f.counts(0, child), device.memory.nused]).toEqual([[5], [100], '1/1', 0])
    f.exit(child)
    f.finish()
  })

  it('of a transparent huge page: taken apart first', () => {
    const f = new MigrateFixture({ thp: 'always' })
    const device = new PinDevice(f)
    f.mmap(0, 512)
    f.store(0)
    expect([f.pte(0, 1), pinned(device.pin(1, 4))]).toEqual(['P', 'PPPP'])
    expect(f.pte(0, 6)).toBe('wEEEEw')
    expect([f.load(1, 4), f.pte(0, 6)]).toEqual([[0, 0, 0, 0], 'wwwwww'])
    f.finish()
  })

  it('of a private copy of a file: like other anonymous memory', () => {
    const f = new MigrateFixture()
    const device = new PinDevice(f)
    const file = f.machine.createFile('file', 2)
    f.mmap(0, 2, { file })
    f.store(0, 1, 8)
    f.load(1)
    expect([pinned(device.pin(0, 2)), f.pte(0, 2)]).toEqual(['P-', 'Er'])
    expect([f.load(0), f.pte(0, 2)]).toEqual([[8], 'wr'])
    f.finish(1)
  })

  it('neither swapped out, nor pinned twice, nor exclusive to somebody meanwhile', () => {
    const f = new MigrateFixture({ swap: '1 MiB' })
    const device = new PinDevice(f)
    f.mmap(0, 1)
    f.store(0, 1, 3)
    const original = f.pfn(0)
    device.pin(0, 1)
    f.madvise(0, 1, MADV_PAGEOUT)
    f.step(() => f.sys.reclaim(64))
    expect([f.pte(0, 1), pinned(device.pin(0, 1)), standing(f, original)]).toEqual(['E', '-', '1025/0 pinned'])
    f.exclusive(1, 0, 1) // brings it back first
    expect([f.pte(0, 1), device.nfaults, f.pfn(0), f.load(0)]).toEqual(['X', 1, original, [3]])
    f.madvise(0, 1, MADV_PAGEOUT)
    expect([f.pte(0, 1), f.load(0)]).toEqual(['s', [3]])
    f.finish()
  })

  it('mprotect and mremap move what the CPU has; the original follows when it comes back', () => {
    const { f, device } = setUp(3)
    const originals = [f.pfn(0), f.pfn(1)]
    device.pin(0, 2)
    f.mprotect(0, 1, PROT_READ)
    f.mremap(1, 1, 8)
    expect([f.pte(0, 3), f.pte(8, 1), device.has(0), device.has(1)]).toEqual(['e_w', 'E', false, false])
    expect([f.load(0), f.load(8), f.pte(0, 1), f.pte(8, 1)]).toEqual([[100], [101], 'r', 'w'])
    expect([f.pfn(0), f.pfn(8)]).toEqual(originals)
    f.finish()
  })

  it('GUP brings pages back, for DMA as for ptrace; a pin for DMA keeps them there', () => {
    const { f, device } = setUp(1)
    const original = f.pfn(0)
    device.pin(0, 1)
    const unpin = f.pin(0, 1)
    expect([f.pfn(0), device.nfaults, f.counts(0), pinned(device.pin(0, 1))]).toEqual([original, 1, '1025/1', '-'])
    unpin()
    expect(pinned(device.pin(0, 1))).toBe('P')
    f.munmap(0, 1)
    f.finish()
  })

  it('eviction by frame brings them back without a copy (MG-100)', () => {
    const { f, device } = setUp(4)
    const originals = [0, 1, 2, 3].map((page) => f.pfn(page))
    device.pin(0, 4)
    device.store(2, 55)
    f.lock(originals[3]) // this one cannot come
    expect([device.evict(), f.pte(0, 4)]).toEqual([3, 'wwwE'])
    f.unlock(originals[3])
    expect([device.evict(), f.pte(0, 4), f.load(0, 4)]).toEqual([1, 'wwww', [100, 101, 55, 103]])
    expect([0, 1, 2, 3].map((page) => f.pfn(page))).toEqual(originals)
    f.finish()
  })

  it('the page is dirty if the device page is: what the device wrote is not lost by MADV_FREE from before', () => {
    const f = new MigrateFixture({ swap: '1 MiB' })
    const device = new PinDevice(f)
    f.mmap(0, 2)
    f.store(0, 2, 3)
    f.madvise(0, 2, MADV_FREE)
    device.pin(0, 2)
    device.store(0, 77)
    f.sys.pages.setDirty(f.pfn(0)) // the driver says that it wrote
    expect([f.load(0, 2), f.pageFlags(0) & PG_DIRTY, f.pageFlags(1) & PG_DIRTY]).toEqual([[77, 4], PG_DIRTY, 0])
    f.step(() => f.sys.reclaim(64))
    f.step(() => f.sys.reclaim(64))
    expect(f.load(0)).toEqual([77])
    f.finish()
  })

  it('a page that did not come the first time may come the next (PN-14)', () => {
    const { f, device } = setUp(1)
    f.lock(f.pfn(0))
    const attempts: string[] = []
    for (let i = 0; i < 10 && attempts.at(-1) !== 'P'; i++) {
      attempts.push(pinned(device.pin(0, 1)))
      if (i === 2) f.unlock(f.pfn(0))
    }
    expect(attempts).toEqual(['-', '-', '-', 'P'])
    f.munmap(0, 1)
    f.finish()
  })

  it('goes round and round without a trace', () => {
    const { f, device } = setUp(4)
    const originals = [0, 1, 2, 3].map((page) => f.pfn(page))
    for (let round = 0; round < 5; round++) {
      expect(pinned(device.pin(0, 4))).toBe('PPPP')
      for (let i = 0; i < 4; i++) device.store(i, device.load(i) + 1)
      f.store(round % 4, 1, 1000 + round)
      if (round % 2 === 0) device.evict()
      else f.load(0, 4)
    }
    expect([0, 1, 2, 3].map((page) => f.pfn(page))).toEqual(originals)
    expect([f.counts(0), f.nused, PINNED_IN_PLACE]).toEqual(['1/1', 4, 1025])
    getPage(f.sys, originals[0])
    putPage(f.sys, originals[0])
    f.finish()
  })
})
