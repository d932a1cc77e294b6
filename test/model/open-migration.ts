// One migration of an asynchronous device, taken step by step, with time for anything between the steps:
//
//   begin     migrateVmaSetup, or migrateDeviceRange for eviction; mmapLock is held for reading from here on
//   move      destinations, copies, migrateVmaPages
//   finish    migrateVmaFinalize; the device's table is written, mmapLock let go
//
// What the migration holds of each page is known at every moment (`heldReferences`), so that reference counts stay exact.

import { type Addr, PAGE_SIZE, type Pfn } from '../../src/base/addr.ts'
import { assert } from '../../src/base/assert.ts'
import { isZoneDevicePage, zoneDevicePageInit } from '../../src/mm/memremap.ts'
import {
  MIGRATE_PFN_MIGRATE,
  MIGRATE_PFN_PIN,
  MIGRATE_PFN_UNPIN,
  MIGRATE_PFN_VALID,
  MIGRATE_PFN_WRITE,
  MIGRATE_VMA_SELECT_DEVICE_COHERENT,
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  MIGRATE_VMA_SELECT_SYSTEM,
  type MigrateVma,
  makeMigrateVma,
  migrateDeviceFinalize,
  migrateDevicePages,
  migrateDeviceRange,
  migrateVmaFinalize,
  migrateVmaPages,
  migrateVmaSetup,
} from '../../src/mm/migrate-device.ts'
import { migratePfnAt, migratePfnWords, setMigratePfn } from '../../src/mm/migrate-pfn.ts'
import type { Mm } from '../../src/mm/mm.ts'
import { mmuIntervalReadBegin, mmuIntervalReadRetry } from '../../src/mm/mmu-notifier.ts'
import { GUP_PIN_COUNTING_BIAS } from '../../src/mm/page.ts'
import { allocEvictionPage, allocKernelPage } from '../../src/mm/page-alloc.ts'
import { validateMigrateVma } from '../../src/mm/validate.ts'
import { VM_WRITE } from '../../src/mm/vm-flags.ts'
import type { Vma } from '../../src/mm/vma.ts'
import type { AsyncDevice, AsyncMirror } from './async-device.ts'

export const DIRECTIONS = ['to device', 'pin', 'back'] as const
export type Direction = (typeof DIRECTIONS)[number]

export class OpenMigration {
  readonly device: AsyncDevice
  /** null for an eviction, which goes by frames. */
  readonly mirror: AsyncMirror | null
  readonly args: MigrateVma
  readonly toDevice: boolean
  /** Pages and copies are done; only finalize is left. */
  hasMoved = false
  /** mmapLock is to be let go in the end. */
  holdsLock = true
  /** Of the mirror's notifier, after setup: what was zapped since is not entered in its table. */
  private readonly seq: number

  private constructor(device: AsyncDevice, mirror: AsyncMirror | null, args: MigrateVma, toDevice: boolean) {
    this.device = device
    this.mirror = mirror
    this.args = args
    this.toDevice = toDevice
    this.seq = mirror === null ? 0 : mmuIntervalReadBegin(mirror.notifier)
  }

  /**
   * Collects `[start, end)`. The caller holds mmapLock for reading and leaves it to the migration.
   *
   * Returns the migration, or what setup refuses.
   */
  static begin(
    mirror: AsyncMirror,
    vma: Vma | null,
    start: Addr,
    end: Addr,
    direction: Direction,
    faultPage: Pfn = -1,
  ): OpenMigration | number {
    const { device } = mirror
    const toDevice = direction !== 'back'
    const own = device.kind === 'private' ? MIGRATE_VMA_SELECT_DEVICE_PRIVATE : MIGRATE_VMA_SELECT_DEVICE_COHERENT
    const args = makeMigrateVma(vma, start, end, device, toDevice ? MIGRATE_VMA_SELECT_SYSTEM : own)
    args.faultPage = faultPage
    if (direction === 'pin') args.src.fill(BigInt(MIGRATE_PFN_PIN))
    const err = migrateVmaSetup(args)
    if (err !== 0) return err
    validateMigrateVma(args)
    // Nobody tells a device of its own migrations (MN-52).
    mirror.drop(args.start, args.end)
    return new OpenMigration(device, mirror, args, toDevice)
  }

  /** Collects all pages of the device, whoever they belong to. Nobody's mmapLock is held. */
  static evict(device: AsyncDevice): OpenMigration {
    const { pfn, npages } = device.pagemap
    const args = makeMigrateVma(null, 0, npages * PAGE_SIZE, device, 0)
    args.npages = npages
    migrateDeviceRange(device.sys, args.src, pfn, npages)
    return new OpenMigration(device, null, args, false)
  }

  /** The address space whose mmapLock is held. */
  get mm(): Mm | null {
    return this.mirror?.mm ?? null
  }

  /** Nothing was collected. */
  get isEmpty(): boolean {
    const src = migratePfnWords(this.args.src)
    for (let i = 0; i < this.args.npages; i++) if ((src[2 * i] & MIGRATE_PFN_MIGRATE) !== 0) return false
    return true
  }

  /** Gives every page a destination with its bytes (none if `decline`), and moves what can be moved. */
  move(decline: boolean): void {
    const { args, device } = this
    const src = migratePfnWords(args.src)
    const dst = migratePfnWords(args.dst)
    if (!decline) {
      for (let i = 0; i < args.npages; i++) {
        if ((src[2 * i] & MIGRATE_PFN_MIGRATE) === 0) continue
        const spage = migratePfnAt(src, i)
        if (this.toDevice) this.copyToDevice(src, dst, i, spage)
        else if (spage >= 0) this.copyToSystem(src, dst, i, spage)
      }
    }
    if (args.vma === null) migrateDevicePages(device.sys, args.src, args.dst, args.npages)
    else migrateVmaPages(args)
    this.hasMoved = true
    if (this.toDevice) this.beginPins(src, dst)
  }

  /** Ends the migration and lets the address space go. */
  finish(): void {
    const { args, device, mirror } = this
    if (!this.hasMoved) this.move(false)
    this.endPins()
    if (args.vma === null) {
      migrateDeviceFinalize(device.sys, args.src, args.dst, args.npages)
      return
    }
    migrateVmaFinalize(args)
    assert(mirror !== null, 'a migration of a range has a mirror')
    if (this.toDevice && !mmuIntervalReadRetry(mirror.notifier, this.seq)) this.enter(mirror)
    if (this.holdsLock) mirror.mm.mmapLock.unlockRead()
  }

  /** The fault that began this returns before the migration goes on, and its reference goes with it. */
  outliveFault(): void {
    this.args.faultPage = -1
  }

  /** References that the migration holds, by frame. */
  heldReferences(add: (pfn: Pfn, count: number) => void): void {
    const { args } = this
    const src = migratePfnWords(args.src)
    const dst = migratePfnWords(args.dst)
    for (let i = 0; i < args.npages; i++) {
      const spage = migratePfnAt(src, i)
      const isPinned = spage >= 0 && this.isPin(src, i, spage)
      // Once it has moved, a pinned page belongs to the device.
      if (spage >= 0 && !(isPinned && this.hasMoved)) add(spage, isPinned ? 1 + GUP_PIN_COUNTING_BIAS : 1)
      const dpage = migratePfnAt(dst, i)
      // A pinned page that comes back has the references of the device page that stands for it.
      if (dpage >= 0 && (dst[2 * i] & MIGRATE_PFN_UNPIN) === 0) add(dpage, 1)
    }
  }

  private copyToDevice(src: Uint32Array, dst: Uint32Array, i: number, spage: Pfn): void {
    const { device, args } = this
    const { sys } = device
    const dpage = device.takeFrame()
    if (dpage < 0) return
    zoneDevicePageInit(sys, dpage)
    if (spage < 0 || !this.isPin(src, i, spage)) {
      if (spage >= 0) device.data(dpage).set(sys.mmu.bytes(spage))
      else device.data(dpage).fill(0)
    }
    const writable = spage < 0 ? ((args.vma as Vma).flags & VM_WRITE) !== 0 : (src[2 * i] & MIGRATE_PFN_WRITE) !== 0
    setMigratePfn(dst, i, dpage, MIGRATE_PFN_VALID | (writable ? MIGRATE_PFN_WRITE : 0))
  }

  private copyToSystem(src: Uint32Array, dst: Uint32Array, i: number, spage: Pfn): void {
    const { device, args } = this
    const { sys } = device
    const write = src[2 * i] & MIGRATE_PFN_WRITE
    const original = device.pinned.get(spage)
    if (original !== undefined) {
      assert(sys.pages.trylock(original), () => `nobody else locks frame ${original}, which is pinned in place`)
      setMigratePfn(dst, i, original, MIGRATE_PFN_VALID | MIGRATE_PFN_UNPIN | write)
      return
    }
    const { vma } = args
    const addr = args.start + i * PAGE_SIZE
    const dpage = vma === null ? allocKernelPage(sys, true) : allocEvictionPage(vma.mm, addr)
    if (dpage < 0) return // no room: the page stays on the device
    sys.pages.trylock(dpage)
    sys.mmu.bytes(dpage).set(device.data(spage))
    setMigratePfn(dst, i, dpage, MIGRATE_PFN_VALID | write)
  }

  /** The page migrates, and stays in its place. */
  private isPin(src: Uint32Array, i: number, spage: Pfn): boolean {
    const pin = MIGRATE_PFN_PIN | MIGRATE_PFN_MIGRATE
    return (src[2 * i] & pin) === pin && !isZoneDevicePage(this.device.sys, spage)
  }

  /** Device pages that stand for pinned ones from now on. */
  private beginPins(src: Uint32Array, dst: Uint32Array): void {
    for (let i = 0; i < this.args.npages; i++) {
      const spage = migratePfnAt(src, i)
      const dpage = migratePfnAt(dst, i)
      if (spage >= 0 && dpage >= 0 && this.isPin(src, i, spage)) this.device.pinned.set(dpage, spage)
    }
  }

  /** Finalize ends the pin of what comes back, not the end of its device page. */
  private endPins(): void {
    const { args, device } = this
    const src = migratePfnWords(args.src)
    const dst = migratePfnWords(args.dst)
    for (let i = 0; i < args.npages; i++) {
      const unpins = (dst[2 * i] & MIGRATE_PFN_UNPIN) !== 0 && (src[2 * i] & MIGRATE_PFN_MIGRATE) !== 0
      if (unpins) device.pinned.delete(migratePfnAt(src, i))
    }
  }

  /** The device may use from now on what it got. */
  private enter(mirror: AsyncMirror): void {
    const { args } = this
    const src = migratePfnWords(args.src)
    const dst = migratePfnWords(args.dst)
    for (let i = 0; i < args.npages; i++) {
      const dpage = migratePfnAt(dst, i)
      if (dpage < 0 || (src[2 * i] & MIGRATE_PFN_MIGRATE) === 0) continue
      const writable = (dst[2 * i] & MIGRATE_PFN_WRITE) !== 0
      mirror.table.set((args.start + i * PAGE_SIZE) / PAGE_SIZE, { pfn: dpage, writable, duplicate: null })
    }
  }
}
