// Eviction: pages leave a device by frame, whoever maps them and whatever holds the address spaces (spec MG-100 to MG-102).
// They get their frames from a reserve that nobody else may use.

import { describe, expect, it } from 'vitest'
import { MigrateFixture } from '../../test/helpers/migrate-fixture.ts'
import { TestDevice } from '../../test/helpers/test-device.ts'
import { PAGE_SIZE, type Pfn } from '../base/addr.ts'
import { EAGAIN, EBUSY, EINVAL } from '../base/errno.ts'
import { ExplicitMmu } from '../mmu/explicit/explicit-mmu.ts'
import { SimulatedMmu } from '../mmu/simulated/simulated-mmu.ts'
import { MAP_ANONYMOUS, MAP_FIXED, MAP_POPULATE, MAP_PRIVATE, PROT_READ } from '../uapi/mman.ts'
import { handleMmFault } from './fault.ts'
import { MEMORY_DEVICE_COHERENT } from './memremap.ts'
import {
  allocEvictionTarget,
  MIGRATE_VMA_SELECT_SYSTEM,
  makeMigrateVma,
  migrateDeviceCoherentPage,
  migrateDeviceFinalize,
  migrateDevicePages,
  migrateDeviceRange,
  migratePfn,
  migrateVmaFinalize,
  migrateVmaPages,
  migrateVmaSetup,
} from './migrate-device.ts'
import { Mm } from './mm.ts'
import { mmMmap, mmMunmap } from './mmap.ts'
import { allocCompoundPage, allocEvictionPage, allocKernelPage, allocPage, getPage, putPage } from './page-alloc.ts'
import { System } from './system.ts'
import { validateSystem } from './validate.ts'
import { FAULT_FLAG_WRITE, VM_FAULT_OOM, VM_FAULT_RETRY } from './vm-fault.ts'

const RW = 3
const page = (vpn: number) => vpn * PAGE_SIZE

describe('migrateDeviceRange() (MG-100)', () => {
  it('collects what is in use, whoever maps it, with a CLEAR for each mapping and no MIGRATE (MN-88)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 3)
    f.store(0, 3, 5)
    f.toDevice(0, 3)
    const child = f.fork()
    f.munmap(1, 1)
    f.munmap(1, 2, child)
    const logs = [f.log, f.logOf(child)]
    for (const log of logs) log.take()
    const eviction = f.evict()
    expect(logs.map((log) => log.take())).toEqual([['CLEAR 0-1 of 0-1', 'CLEAR 2-3 of 2-3'], ['CLEAR 0-1 of 0-1']])
    // Never WRITE; frames that are free are 0.
    expect(eviction.src).toBe(`VM 0 VM ${Array(13).fill('0').join(' ')}`)
    expect([f.pte(0, 3), f.pte(0, 3, child)]).toEqual(['m_m', 'm__'])
    for (const i of [0, 2]) eviction.giveSystem(i)
    eviction.finish()
    expect([f.pte(0, 3), f.pte(0, 3, child), f.gpu.nused]).toEqual(['r_r', 'r__', 0])
    expect([f.load(0), f.load(2), f.load(0, 1, child)]).toEqual([[5], [7], [5]])
    f.exit(child)
    f.finish()
  })

  it('skips pages that somebody has locked, and restores those that somebody holds', () => {
    const f = new MigrateFixture()
    f.mmap(0, 4)
    f.store(0, 4)
    f.toDevice(0, 4)
    const pfns = [0, 1, 2, 3].map((i) => f.pfn(i))
    f.lock(pfns[0])
    f.hold(pfns[1])
    f.hold(pfns[2], 2)
    const eviction = f.evict()
    expect([eviction.src.slice(0, 12), f.pte(0, 4)]).toEqual(['0 VM 0 VM 0 ', 'DMDM'])
    eviction.giveSystem(1)
    eviction.giveSystem(3)
    eviction.pages()
    expect(eviction.src.slice(0, 12)).toBe('0 V 0 VM 0 0') // the slack of one ends here (MG-40)
    eviction.finalize()
    expect(f.pte(0, 4)).toBe('DDDw')
    f.unlock(pfns[0])
    f.hold(pfns[1], -1)
    f.hold(pfns[2], -2)
    f.munmap(0, 4)
    f.finish()
  })

  it('evicts coherent memory as well', () => {
    const f = new MigrateFixture()
    const device = new TestDevice(f.sys, 1, { type: MEMORY_DEVICE_COHERENT })
    f.mmap(0, 1)
    f.store(0, 1, 9)
    f.toDevice(0, 1, device)
    const eviction = f.evict(device)
    const target = eviction.giveSystem(0)
    f.machine.mmu.copyFrame(target, eviction.source(0))
    eviction.finish()
    expect([f.pte(0, 1), f.load(0), device.nused]).toEqual(['w', [9], 0])
    f.finish()
  })

  it('needs no lock: mappings change while it is open, and what is gone is freed (MG-101)', () => {
    const f = new MigrateFixture()
    f.mmap(0, 4)
    f.store(0, 4, 5)
    f.toDevice(0, 4)
    const eviction = f.evict()
    f.munmap(0, 1)
    f.mprotect(1, 1, PROT_READ)
    const child = f.fork()
    expect([f.pte(0, 4), f.pte(0, 4, child)]).toEqual(['_mmm', '_mmm'])
    for (const i of [0, 1, 2, 3]) eviction.giveSystem(i)
    eviction.finish()
    expect([f.pte(0, 4), f.pte(0, 4, child), f.nused]).toEqual(['_rrr', '_rrr', 3])
    f.exit(child)
    f.finish()
  })

  it('survives the end of the last address space', () => {
    const f = new MigrateFixture()
    f.mmap(0, 2)
    f.store(0, 2)
    f.toDevice(0, 2)
    const eviction = f.evict()
    f.exit(f.process)
    eviction.giveSystem(0)
    eviction.finish()
    expect([f.nused, f.gpu.nused]).toEqual([0, 0])
    f.finish()
  })

  it('a touch meanwhile waits for finalize', () => {
    const f = new MigrateFixture()
    f.mmap(0, 1)
    f.store(0, 1, 5)
    f.toDevice(0, 1)
    const eviction = f.evict()
    expect(f.fault(0, FAULT_FLAG_WRITE)).toBe(VM_FAULT_RETRY)
    let woken = 0
    f.sys.waitFor?.add(() => woken++)
    eviction.giveSystem(0)
    eviction.pages()
    expect(woken).toBe(0)
    eviction.finalize()
    expect([woken, f.load(0)]).toEqual([1, [5]])
    f.finish()
  })

  it('refuses frames that are not those of one device, and arrays that are too short', () => {
    const f = new MigrateFixture()
    const other = new TestDevice(f.sys, 1)
    f.mmap(0, 1)
    f.store(0)
    const { pfn, npages } = f.gpu.pagemap
    const src = new BigUint64Array(npages + 1).fill(7n)
    const refused = [
      [f.pfn(0), 1],
      [pfn - 1, 2],
      [pfn, npages + 1],
      [other.pagemap.pfn, npages + 1],
      [2 ** 31, 1],
      [Number.NaN, 1],
      [-1, 1],
      [pfn + 0.5, 1],
      [pfn, -1],
      [pfn, 1.5],
      [pfn, Number.NaN],
    ].map(([first, n]) => migrateDeviceRange(f.sys, src, first, n))
    expect(refused).toEqual(Array(refused.length).fill(-EINVAL))
    expect(migrateDeviceRange(f.sys, new BigUint64Array(1), pfn, 2)).toBe(-EINVAL)
    expect(src.every((entry) => entry === 7n)).toBe(true)
    expect([migrateDeviceRange(f.sys, src, pfn, 0), migrateDeviceRange(f.sys, src, pfn, npages)]).toEqual([0, 0])
    f.finish()
  })
})

describe('migrateDeviceCoherentPage() (MG-102)', () => {
  function onCoherentDevice(): { f: MigrateFixture; pfn: Pfn } {
    const f = new MigrateFixture()
    f.mmap(0, 1)
    f.store(0, 1, 9)
    f.toDevice(0, 1, new TestDevice(f.sys, 1, { type: MEMORY_DEVICE_COHERENT }))
    return { f, pfn: f.pfn(0) }
  }

  it('moves one page to system memory, contents too, and takes over a reference', () => {
    const { f, pfn } = onCoherentDevice()
    const child = f.fork()
    getPage(f.sys, pfn)
    expect(migrateDeviceCoherentPage(f.sys, pfn)).toBe(0)
    f.validate()
    expect([f.pte(0, 1), f.pte(0, 1, child), f.load(0), f.counts(0)]).toEqual(['r', 'r', [9], '2/2'])
    f.exit(child)
    f.finish()
  })

  it('is -EBUSY if somebody holds the page, -EAGAIN with a queue if it is locked; the reference is gone then', () => {
    const { f, pfn } = onCoherentDevice()
    f.hold(pfn)
    getPage(f.sys, pfn)
    expect(migrateDeviceCoherentPage(f.sys, pfn)).toBe(-EBUSY)
    f.hold(pfn, -1)
    f.lock(pfn)
    getPage(f.sys, pfn)
    expect(migrateDeviceCoherentPage(f.sys, pfn)).toBe(-EAGAIN)
    let woken = 0
    f.sys.waitFor?.add(() => woken++)
    f.unlock(pfn)
    expect([woken, f.pte(0, 1), f.load(0), f.counts(0)]).toEqual([1, 'E', [9], '1/1'])
    f.munmap(0, 1)
    f.finish()
  })

  it('is -EBUSY without a frame', () => {
    const f = new MigrateFixture({ memory: '64 KiB' })
    f.mmap(0, 16)
    f.store(0, 1, 9)
    f.toDevice(0, 1, new TestDevice(f.sys, 1, { type: MEMORY_DEVICE_COHERENT }))
    const taken: Pfn[] = []
    for (let pfn = allocKernelPage(f.sys); pfn >= 0; pfn = allocKernelPage(f.sys)) taken.push(pfn)
    getPage(f.sys, f.pfn(0))
    expect(migrateDeviceCoherentPage(f.sys, f.pfn(0))).toBe(-EBUSY)
    for (const pfn of taken) putPage(f.sys, pfn)
    f.validate()
    expect([f.pte(0, 1), f.load(0)]).toEqual(['E', [9]])
    f.munmap(0, 16)
    f.finish()
  })
})

describe('frames for eviction', () => {
  const NPAGES = 32

  /** A heap with home frames and one address space; four pages of it are on a device. */
  function heap(): { mmu: ExplicitMmu; sys: System; mm: Mm; device: TestDevice } {
    const mmu = new ExplicitMmu(new ArrayBuffer(NPAGES * PAGE_SIZE))
    const sys = new System(mmu)
    const mm = new Mm(sys)
    const device = new TestDevice(sys, 0)
    const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_POPULATE
    expect(mmMmap(mm, page(8), page(4), RW, flags)).toBe(page(8))
    mm.mmapLock.tryRead()
    const args = makeMigrateVma(mm.vmaLookup(page(8)), page(8), page(12), device, MIGRATE_VMA_SELECT_SYSTEM)
    expect(migrateVmaSetup(args)).toBe(0)
    for (let i = 0; i < 4; i++) args.dst[i] = migratePfn(device.take())
    migrateVmaPages(args)
    migrateVmaFinalize(args)
    mm.mmapLock.unlockRead()
    expect(mmu.nfree).toBe(NPAGES)
    return { mmu, sys, mm, device }
  }

  it('are those of the address that maps the page, which rmap tells', () => {
    const { mmu, sys, mm, device } = heap()
    const src = new BigUint64Array(4)
    const dst = new BigUint64Array(4)
    migrateDeviceRange(sys, src, device.pagemap.pfn, 4)
    expect(mmMunmap(mm, page(9), page(1))).toBe(0)
    const targets = [0, 1, 2, 3].map((i) => allocEvictionTarget(sys, device.pagemap.pfn + i))
    // Nobody maps the second page any more, and a frame for nobody does not exist here.
    expect(targets).toEqual([8, -1, 10, 11])
    targets.forEach((pfn, i) => {
      if (pfn >= 0 && sys.pages.trylock(pfn)) dst[i] = migratePfn(pfn)
    })
    migrateDevicePages(sys, src, dst, 4)
    migrateDeviceFinalize(sys, src, dst, 4)
    validateSystem(sys, { level: 'full', heldReferences: () => 0 })
    expect([mmu.nfree, device.nused, sys.pages.mapcount[8]]).toEqual([NPAGES - 3, 0, 1])
  })

  it('are any where a page can be anywhere, also for a page that nobody maps', () => {
    const f = new MigrateFixture()
    f.mmap(0, 1)
    f.store(0)
    f.toDevice(0, 1)
    const child = f.fork()
    const eviction = f.evict()
    f.munmap(0, 1)
    for (const mapped of [true, false]) {
      if (!mapped) f.munmap(0, 1, child)
      const target = allocEvictionTarget(f.sys, eviction.source(0))
      expect(target).toBeGreaterThanOrEqual(0)
      putPage(f.sys, target)
    }
    eviction.finish()
    f.exit(child)
    f.finish()
  })
})

describe('the reserve for eviction', () => {
  /** 16 frames, four of them in reserve, one of them the zero page. */
  function system(swapPages = 0): { sys: System; mm: Mm; mmu: SimulatedMmu } {
    const mmu = new SimulatedMmu({ nframes: 16 })
    const sys = new System(mmu, { reservePages: 4, swapPages })
    const mm = new Mm(sys)
    expect(mmMmap(mm, 0x10000, page(32), RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED)).toBe(0x10000)
    return { sys, mm, mmu }
  }

  /** Write faults from the first page on until one fails; returns its number and answer. */
  function fill(mm: Mm): [number, number] {
    const vma = mm.vmaLookup(0x10000)
    if (vma === null) throw new Error('the range is mapped')
    for (let i = 0; i < 32; i++) {
      const fault = handleMmFault(vma, 0x10000 + page(i), FAULT_FLAG_WRITE)
      if (fault !== 0) return [i, fault]
    }
    return [32, 0]
  }

  it('is not for faults, page caches or huge pages', () => {
    const { sys, mm, mmu } = system()
    expect(fill(mm)).toEqual([11, VM_FAULT_OOM])
    expect([mmu.nfree, allocPage(mm, 0x20000), allocKernelPage(sys)]).toEqual([4, -1, -1])
    expect([0, 1, 2].map((order) => allocCompoundPage(sys, mm.space, 0, order))).toEqual([-1, -1, -1])
    expect(mmMunmap(mm, 0x10000, page(2))).toBe(0)
    expect([allocCompoundPage(sys, mm.space, 0, 2), mmu.nfree]).toEqual([-1, 6])
    validateSystem(sys, { level: 'full', heldReferences: () => 0 })
  })

  it('is for pages that come back, down to the last frame', () => {
    const { sys, mm, mmu } = system()
    fill(mm)
    const taken = [allocEvictionPage(mm, 0x20000), allocKernelPage(sys, true), allocEvictionPage(mm, 0x21000)]
    taken.push(allocEvictionTarget(sys, taken[0]))
    expect(taken.every((pfn) => pfn >= 0)).toBe(true)
    expect([mmu.nfree, allocEvictionPage(mm, 0x22000), allocKernelPage(sys, true)]).toEqual([0, -1, -1])
    for (const pfn of taken) putPage(sys, pfn)
    validateSystem(sys, { level: 'full', heldReferences: () => 0 })
  })

  it('is filled up again from swap: faults go on while there is some, and leave the reserve alone', () => {
    const { sys, mm, mmu } = system(64)
    expect(fill(mm)).toEqual([32, 0])
    expect(mmu.nfree).toBeGreaterThanOrEqual(4)
    const taken: Pfn[] = []
    for (let i = 0; i < 8; i++) taken.push(allocEvictionPage(mm, 0x40000 + page(i)))
    expect(taken.every((pfn) => pfn >= 0)).toBe(true)
    for (const pfn of taken) putPage(sys, pfn)
    validateSystem(sys, { level: 'full', heldReferences: () => 0 })
  })
})
