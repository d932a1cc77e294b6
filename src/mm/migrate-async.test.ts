// Migrations that take time: what mm promises to a driver whose copies end later, and to those who meet its pages meanwhile.
// The device here keeps bytes in a map and ends a migration when the test says so. Runs on a backend that walks the page
// table and on one that is told what the CPU has.

import { beforeEach, describe, expect, it } from 'vitest'
import { type Addr, PAGE_SIZE, type Pfn } from '../base/addr.ts'
import { ExplicitMmu } from '../mmu/explicit/explicit-mmu.ts'
import type { Mmu } from '../mmu/mmu.ts'
import { SimulatedMmu } from '../mmu/simulated/simulated-mmu.ts'
import { MAP_ANONYMOUS, MAP_FIXED, MAP_POPULATE, MAP_PRIVATE, PROT_READ, PROT_WRITE } from '../uapi/mman.ts'
import { dumpPte } from './dump.ts'
import { handleMmFault } from './fault.ts'
import { type DevPagemap, MEMORY_DEVICE_PRIVATE, memremapPages, zoneDevicePageInit } from './memremap.ts'
import {
  MIGRATE_PFN_MIGRATE,
  MIGRATE_PFN_PIN,
  MIGRATE_PFN_UNPIN,
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  MIGRATE_VMA_SELECT_SYSTEM,
  type MigrateVma,
  makeMigrateVma,
  migrateDeviceFinalize,
  migrateDevicePages,
  migrateDeviceRange,
  migratePfn,
  migratePfnToPfn,
  migrateVmaFinalize,
  migrateVmaPages,
  migrateVmaSetup,
  unpinMigratedPage,
} from './migrate-device.ts'
import { Mm } from './mm.ts'
import { mmMmap, mmMunmap, mmput } from './mmap.ts'
import { GUP_PIN_COUNTING_BIAS } from './page.ts'
import { waitForPage } from './page-alloc.ts'
import { System } from './system.ts'
import { validateSystem } from './validate.ts'
import { FAULT_FLAG_WRITE, VM_FAULT_RETRY, type VmFault } from './vm-fault.ts'
import type { Vma } from './vma.ts'

const BACKENDS: { name: string; make: () => Mmu }[] = [
  { name: 'simulated', make: () => new SimulatedMmu({ nframes: 64 }) },
  { name: 'explicit', make: () => new ExplicitMmu(new ArrayBuffer(64 * PAGE_SIZE)) },
]

const page = (vpn: number) => vpn * PAGE_SIZE

/** A device that pins what it takes. `begin...` is what happens before the copy, `end...` what happens after it. */
class SlowDevice {
  readonly mm: Mm
  readonly pagemap: DevPagemap
  readonly bytes = new Map<Pfn, Uint8Array>()
  /** System page that stayed in place, by device page. */
  readonly pinned = new Map<Pfn, Pfn>()
  /** Ends the migration that the last fault began. */
  endFault: (() => void) | null = null
  private readonly free: Pfn[] = []

  constructor(mm: Mm, npages: number) {
    this.mm = mm
    const pagemap = memremapPages(mm.sys, {
      type: MEMORY_DEVICE_PRIVATE,
      npages,
      owner: this,
      ops: { pageFree: (pfn) => this.pageFree(pfn), migrateToRam: (vmf) => this.migrateToRam(vmf) },
    })
    if (typeof pagemap === 'number') throw new Error(`memremap: ${pagemap}`)
    this.pagemap = pagemap
    for (let i = npages - 1; i >= 0; i--) this.free.push(pagemap.pfn + i)
  }

  /** Takes [start, end), which has pages, and returns what ends the migration. */
  beginToDevice(start: Addr, end: Addr): () => void {
    const { mm } = this
    expect(mm.mmapLock.tryRead()).toBe(true)
    const args = makeMigrateVma(mm.vmaLookup(start), start, end, this, MIGRATE_VMA_SELECT_SYSTEM)
    args.src.fill(BigInt(MIGRATE_PFN_PIN))
    expect(migrateVmaSetup(args)).toBe(0)
    return () => {
      for (let i = 0; i < args.npages; i++) {
        if ((args.src[i] & BigInt(MIGRATE_PFN_MIGRATE)) === 0n) continue
        const spage = migratePfnToPfn(args.src[i])
        const dpage = this.free.pop() as Pfn
        zoneDevicePageInit(mm.sys, dpage)
        this.bytes.set(dpage, mm.sys.mmu.bytes(spage).slice())
        this.pinned.set(dpage, spage)
        args.dst[i] = migratePfn(dpage)
      }
      migrateVmaPages(args)
      migrateVmaFinalize(args)
      mm.mmapLock.unlockRead()
    }
  }

  /** Fills the destinations of pages that come back: each goes to the page that it left. */
  copyBack(src: BigUint64Array, dst: BigUint64Array): void {
    const { sys } = this.mm
    src.forEach((entry, i) => {
      const spage = migratePfnToPfn(entry)
      const home = this.pinned.get(spage)
      if (spage < 0 || home === undefined) return
      expect(sys.pages.trylock(home)).toBe(true)
      sys.mmu.bytes(home).set(this.bytes.get(spage) as Uint8Array)
      this.pinned.delete(spage)
      dst[i] = migratePfn(home, MIGRATE_PFN_UNPIN)
    })
  }

  private migrateToRam(vmf: VmFault): number {
    const { mm } = vmf.vma
    const end = vmf.address + PAGE_SIZE
    const args = makeMigrateVma(vmf.vma, vmf.address, end, this, MIGRATE_VMA_SELECT_DEVICE_PRIVATE)
    args.faultPage = vmf.page
    expect([migrateVmaSetup(args), args.cpages]).toEqual([0, 1])
    expect(mm.mmapLock.tryRead(true)).toBe(true)
    this.endFault = () => this.finishFault(args)
    waitForPage(mm.sys, vmf.page)
    return VM_FAULT_RETRY
  }

  private finishFault(args: MigrateVma): void {
    this.copyBack(args.src, args.dst)
    args.faultPage = -1
    migrateVmaPages(args)
    migrateVmaFinalize(args)
    this.mm.mmapLock.unlockRead()
  }

  private pageFree(pfn: Pfn): void {
    this.bytes.delete(pfn)
    const home = this.pinned.get(pfn)
    this.pinned.delete(pfn)
    if (home !== undefined) unpinMigratedPage(this.mm.sys, home)
    this.free.push(pfn)
  }
}

describe.each(BACKENDS)('a migration that takes time: $name', ({ make }) => {
  let mmu: Mmu
  let sys: System
  let mm: Mm
  let device: SlowDevice
  let vma: Vma

  beforeEach(() => {
    mmu = make()
    sys = new System(mmu)
    mm = new Mm(sys)
    device = new SlowDevice(mm, 16)
    const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_POPULATE
    expect(mmMmap(mm, page(4), page(8), PROT_READ | PROT_WRITE, flags)).toBe(page(4))
    vma = mm.vmaLookup(page(4)) as Vma
    for (let vpn = 4; vpn < 12; vpn++) mmu.bytes(frameAt(vpn)).fill(vpn)
  })

  /** Frame behind a page that is present. */
  function frameAt(vpn: number): Pfn {
    const words = mm.pageTable.findPte(page(vpn))?.words
    return words === undefined ? -1 : words[2 * (vpn % 512)]
  }

  function shown(): string {
    return dumpPte(mm, page(4), 8, () => 0)
  }

  function check(isIdle = true): void {
    const pinned = new Set(device.pinned.values())
    const heldReferences = (pfn: Pfn) => (pinned.has(pfn) ? GUP_PIN_COUNTING_BIAS + 1 : 0)
    validateSystem(sys, { level: 'full', ...(isIdle && { heldReferences }) })
  }

  function fault(vpn: number, flags = 0): number {
    expect(mm.mmapLock.tryRead()).toBe(true)
    const result = handleMmFault(vma, page(vpn), flags)
    mm.mmapLock.unlockRead()
    return result
  }

  /** Whether the queue that the last call named is woken by `work`. */
  function wakes(work: () => void): boolean {
    const queue = sys.waitFor
    let woken = false
    queue?.add(() => {
      woken = true
    })
    expect(woken).toBe(false)
    work()
    return woken
  }

  it('a fault that meets a migration entry is retried, and succeeds after the wake', () => {
    const end = device.beginToDevice(page(5), page(8))
    expect(shown()).toBe('wMMMwwww')
    check(false)
    expect(fault(6)).toBe(VM_FAULT_RETRY)
    expect(wakes(end)).toBe(true)
    expect(shown()).toBe('wDDDwwww')
    check()
    expect(fault(6, FAULT_FLAG_WRITE)).toBe(VM_FAULT_RETRY)
    expect(shown()).toBe('wDMDwwww')
    check(false)
    expect(wakes(() => device.endFault?.())).toBe(true)
    expect([fault(6, FAULT_FLAG_WRITE), shown()]).toEqual([0, 'wDwDwwww'])
    expect(mmu.bytes(frameAt(6))[0]).toBe(6)
    check()
  })

  it('the fault that began a migration has gone when it ends, and its reference with it', () => {
    device.beginToDevice(page(4), page(5))()
    const before = frameAt(4)
    expect(fault(4)).toBe(VM_FAULT_RETRY)
    const held = sys.pages.refcount[before]
    expect(held).toBe(1)
    expect(mm.mmapLock.readers).toBe(1)
    device.endFault?.()
    expect([shown(), mm.mmapLock.readers, device.pagemap.live]).toEqual(['wwwwwwww', 0, 0])
    check()
  })

  it('keeps writers out until it ends, and readers that come after a waiting writer', () => {
    const end = device.beginToDevice(page(4), page(8))
    expect(mm.mmapLock.tryWrite()).toBe(false)
    mm.mmapLock.waitingWriters++
    expect([mm.mmapLock.tryRead(), mm.mmapLock.tryRead(true)]).toEqual([false, true])
    mm.mmapLock.unlockRead()
    end()
    expect(mm.mmapLock.tryWrite()).toBe(true)
    mm.mmapLock.waitingWriters--
    expect(mmMunmap(mm, page(4), page(4))).toBe(0)
    mm.mmapLock.unlockWrite()
    expect([shown(), device.pagemap.live, device.pinned.size]).toEqual(['____wwww', 0, 0])
    check()
  })

  it('takes from the CPU what it moves, and nothing else', () => {
    const owners = () => {
      if (!(mmu instanceof ExplicitMmu)) return 'not told'
      const letters = { none: '-', read: 'r', write: 'w' }
      return Array.from({ length: 8 }, (_, i) => letters[(mmu as ExplicitMmu).cpuAccess(page(4 + i))]).join('')
    }
    const expected = (text: string) => (mmu instanceof ExplicitMmu ? text : 'not told')
    expect(owners()).toBe(expected('wwwwwwww'))
    device.beginToDevice(page(6), page(8))()
    expect([owners(), shown()]).toEqual([expected('ww--wwww'), 'wwDDwwww'])
    // Back, over a range in which the CPU has pages of its own.
    expect(mm.mmapLock.tryRead()).toBe(true)
    const args = makeMigrateVma(vma, page(4), page(12), device, MIGRATE_VMA_SELECT_DEVICE_PRIVATE)
    expect([migrateVmaSetup(args), args.cpages]).toEqual([0, 2])
    expect([owners(), shown()]).toEqual([expected('ww--wwww'), 'wwMMwwww'])
    device.copyBack(args.src, args.dst)
    migrateVmaPages(args)
    migrateVmaFinalize(args)
    mm.mmapLock.unlockRead()
    expect([owners(), shown()]).toEqual([expected('ww--wwww'), 'wwwwwwww'])
    // Only a touch hands them out again; a read of a page that is clean gives no more than reading.
    expect([fault(6), owners()]).toEqual([0, expected('wwr-wwww')])
    expect([fault(7, FAULT_FLAG_WRITE), owners()]).toEqual([0, expected('wwrwwwww')])
    check()
  })

  it('a page that somebody else is moving stays out, and stays with the CPU if it was its own', () => {
    expect(sys.pages.trylock(frameAt(5))).toBe(true)
    const end = device.beginToDevice(page(4), page(7))
    expect(shown()).toBe('MwMwwwww')
    if (mmu instanceof ExplicitMmu) expect(mmu.cpuAccess(page(5))).toBe('write')
    end()
    expect(shown()).toBe('DwDwwwww')
    sys.pages.flags[frameAt(5)] &= ~1 // PG_LOCKED
    check()
  })

  it('eviction by frame comes back into the pages that were left in place', () => {
    device.beginToDevice(page(4), page(8))()
    for (const bytes of device.bytes.values()) bytes[1] = 77
    expect(mm.mmapLock.tryRead()).toBe(true)
    const npages = device.pagemap.npages
    const [src, dst] = [new BigUint64Array(npages), new BigUint64Array(npages)]
    migrateDeviceRange(sys, src, device.pagemap.pfn, npages)
    expect(shown()).toBe('MMMMwwww')
    check(false)
    expect(fault(5)).toBe(VM_FAULT_RETRY)
    device.copyBack(src, dst)
    migrateDevicePages(sys, src, dst, npages)
    expect(wakes(() => migrateDeviceFinalize(sys, src, dst, npages))).toBe(true)
    mm.mmapLock.unlockRead()
    expect(shown()).toBe('wwwwwwww')
    expect([4, 5, 6, 7].map((vpn) => [...mmu.bytes(frameAt(vpn)).subarray(0, 2)])).toEqual([
      [4, 77],
      [5, 77],
      [6, 77],
      [7, 77],
    ])
    check()
  })

  it('the end of the address space waits for a migration that holds a user reference', () => {
    mm.users++
    const end = device.beginToDevice(page(4), page(8))
    expect([mmput(mm), shown()]).toEqual([0, 'MMMMwwww'])
    end()
    expect(mmput(mm)).toBe(0)
    expect([device.pagemap.live, device.pinned.size, sys.mms.size]).toEqual([0, 0, 0])
    expect(mmu.nfree).toBe(mmu.nframes - (sys.zeroPfn >= 0 ? 1 : 0))
    check()
  })
})
