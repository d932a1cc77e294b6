// Migrations step by step, for tests by the numbers of the specification. A `Migration` is begun by `fixture.begin` (setup) and
// goes on when the test says so: destinations, pages, finalize. Between the steps everything else may happen, and every
// invariant is checked with exact reference counts, what open migrations hold included.

import { expect } from 'vitest'
import { PAGE_SIZE, type Pfn } from '../../src/base/addr.ts'
import { assert } from '../../src/base/assert.ts'
import type { MachineOptions } from '../../src/machine/machine.ts'
import type { Process } from '../../src/machine/process.ts'
import { isZoneDevicePage } from '../../src/mm/memremap.ts'
import {
  MIGRATE_PFN_LOCKED,
  MIGRATE_PFN_MIGRATE,
  MIGRATE_PFN_PIN,
  MIGRATE_PFN_UNPIN,
  MIGRATE_PFN_VALID,
  MIGRATE_PFN_WRITE,
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
} from '../../src/mm/migrate-device.ts'
import type { Mm } from '../../src/mm/mm.ts'
import { GUP_PIN_COUNTING_BIAS } from '../../src/mm/page.ts'
import { allocEvictionPage, allocKernelPage, unlockPage } from '../../src/mm/page-alloc.ts'
import { validateMigrateVma } from '../../src/mm/validate.ts'
import { type DeviceTranslation, validateTranslations } from '../../src/mm/validate-devices.ts'
import { VM_FAULT_SIGBUS, type VmFault } from '../../src/mm/vm-fault.ts'
import { BASE, MmFixture } from './mm-fixture.ts'
import { TestDevice, type TestDeviceOptions } from './test-device.ts'

export { BASE }

/** A page that a PIN driver left in place: the reference of its isolation, and the pin. */
export const PINNED_IN_PLACE = GUP_PIN_COUNTING_BIAS + 1

export interface BeginOptions {
  /** MIGRATE_VMA_SELECT_*. Default SELECT_SYSTEM. */
  readonly flags?: number
  /** Default: that of device 0. */
  readonly owner?: unknown
  readonly process?: Process
  /** Presets PIN in every entry. */
  readonly pin?: boolean
  readonly faultPage?: Pfn
}

export class MigrateFixture extends MmFixture {
  /** Private memory; its pages are `d` and `D`. */
  readonly gpu: TestDevice
  readonly open = new Set<Migration>()
  /** What drivers translate: held against the page table at every check (INV-8). */
  readonly translators: (() => Iterable<DeviceTranslation>)[] = []
  /** Pages left in place that somebody else than an open migration answers for, by frame. */
  readonly inPlace = new Set<Pfn>()

  constructor(options: MachineOptions = {}, device: TestDeviceOptions = {}) {
    super(options)
    this.gpu = new TestDevice(this.sys, 0, device)
  }

  override validate(): void {
    const held = this.migrationReferences()
    for (const [pfn, n] of held) this.held.set(pfn, (this.held.get(pfn) ?? 0) + n)
    super.validate()
    for (const [pfn, n] of held) this.held.set(pfn, (this.held.get(pfn) ?? 0) - n)
    for (const translations of this.translators) validateTranslations(translations())
  }

  /** Setup, which is expected to succeed; mmapLock is held from here to finalize. */
  begin(page: number, npages: number, options: BeginOptions = {}): Migration {
    const migration = this.beginUnchecked(this.args(page, npages, options))
    this.validate()
    return migration
  }

  /** The same in a state that the test itself has put out of order. */
  beginUnchecked(args: MigrateVma): Migration {
    const { vma } = args
    assert(vma !== null, 'the range is mapped')
    assert(vma.mm.mmapLock.tryRead(), 'the mmapLock is free')
    const migration = new Migration(this, args, vma.mm)
    expect(migrateVmaSetup(args)).toBe(0)
    validateMigrateVma(args)
    this.open.add(migration)
    return migration
  }

  /** Arguments of a setup that the test makes itself. */
  args(page: number, npages: number, options: BeginOptions = {}): MigrateVma {
    const {
      flags = MIGRATE_VMA_SELECT_SYSTEM,
      owner = this.gpu.owner,
      process = this.process,
      faultPage = -1,
    } = options
    const start = this.addr(page)
    const args = makeMigrateVma(process.mm.vmaLookup(start), start, start + npages * PAGE_SIZE, owner, flags)
    if (options.pin === true) args.src.fill(BigInt(MIGRATE_PFN_PIN))
    args.faultPage = faultPage
    return args
  }

  /** Result of a setup under the lock; it is finished again if it succeeded. */
  setup(args: MigrateVma, mm = this.mm): number {
    assert(mm.mmapLock.tryRead(), 'the mmapLock is free')
    const ret = migrateVmaSetup(args)
    if (ret === 0) {
      migrateVmaPages(args)
      migrateVmaFinalize(args)
    }
    mm.mmapLock.unlockRead()
    this.validate()
    return ret
  }

  /** Setup of an eviction by frames, for all of a device. */
  evict(device = this.gpu): Migration {
    const { pfn, npages } = device.pagemap
    const args = makeMigrateVma(null, 0, npages * PAGE_SIZE, device.owner, 0)
    args.npages = npages
    expect(migrateDeviceRange(this.sys, args.src, pfn, npages)).toBe(0)
    const migration = new Migration(this, args, null)
    this.open.add(migration)
    this.validate()
    return migration
  }

  /** Moves pages to a device, bytes and all; each is expected to go. */
  toDevice(page: number, npages: number, device = this.gpu, process = this.process): void {
    const migration = this.begin(page, npages, { owner: device.owner, process })
    for (let i = 0; i < npages; i++) migration.giveDevice(i, device)
    migration.finish()
    for (let i = 0; i < npages; i++) expect(isZoneDevicePage(this.sys, this.pfn(page + i, process))).toBe(true)
  }

  /** The driver's `migrateToRam` that moves the page of the fault back, bytes and all. */
  bringBack(vmf: VmFault, device = this.gpu): number {
    const args = makeMigrateVma(vmf.vma, vmf.address, vmf.address + PAGE_SIZE, device.owner, 2) // SELECT_DEVICE_PRIVATE
    args.faultPage = vmf.page
    if (migrateVmaSetup(args) !== 0) return VM_FAULT_SIGBUS
    const migration = this.wrap(args)
    if (migration.source(0) >= 0) migration.giveSystem(0)
    migrateVmaPages(args)
    migrateVmaFinalize(args)
    return 0
  }

  /** A migration that the test has begun itself, to give destinations. It is not among the open ones. */
  wrap(args: MigrateVma): Migration {
    return new Migration(this, args, null)
  }

  /** Locks a page as a driver does. */
  lock(pfn: Pfn): void {
    expect(this.sys.pages.trylock(pfn)).toBe(true)
  }

  unlock(pfn: Pfn): void {
    this.step(() => unlockPage(this.sys, pfn))
  }

  /** Flags of the frame (PG_*) behind an entry. */
  pageFlags(page: number, process = this.process): number {
    return this.sys.pages.flags[this.pfn(page, process)]
  }

  override finish(openFiles = 0): void {
    super.finish(openFiles)
    expect([this.open.size, this.inPlace.size, this.gpu.nused]).toEqual([0, 0, 0])
    expect(this.machine.processes).toEqual([])
  }

  private migrationReferences(): Map<Pfn, number> {
    const held = new Map<Pfn, number>()
    const add = (pfn: Pfn, n: number) => held.set(pfn, (held.get(pfn) ?? 0) + n)
    for (const migration of this.open) migration.references(add)
    for (const pfn of this.inPlace) add(pfn, PINNED_IN_PLACE)
    return held
  }
}

export class Migration {
  readonly args: MigrateVma
  private readonly fixture: MigrateFixture
  /** Whose mmapLock is held; null for an eviction. */
  private readonly mm: Mm | null

  constructor(fixture: MigrateFixture, args: MigrateVma, mm: Mm | null) {
    this.fixture = fixture
    this.args = args
    this.mm = mm
  }

  /** Entries of src without frame numbers: `VMW` valid, migrate, write; `P` pin; `0` nothing. */
  get src(): string {
    return Array.from(this.args.src, (entry) => letters(entry)).join(' ')
  }

  /** Frame of an entry of src, -1 for none. */
  source(i: number): Pfn {
    return migratePfnToPfn(this.args.src[i])
  }

  isMigrating(i: number): boolean {
    return (this.args.src[i] & BigInt(MIGRATE_PFN_MIGRATE)) !== 0n
  }

  /** Gives entry `i` a page of a device, with the bytes of the source if there is one. Returns its frame. */
  giveDevice(i: number, device = this.fixture.gpu): Pfn {
    const pfn = device.take()
    const source = this.source(i)
    const bytes = source < 0 ? null : this.bytesOf(source)
    if (bytes !== null) device.bytes(pfn).set(bytes)
    else device.bytes(pfn).fill(0)
    this.give(i, pfn)
    return pfn
  }

  /** Gives entry `i` a system page, with the bytes of the source if there is one. Returns its frame. */
  giveSystem(i: number): Pfn {
    const { sys } = this.fixture
    const { vma, start } = this.args
    const pfn = vma === null ? allocKernelPage(sys, true) : allocEvictionPage(vma.mm, start + i * PAGE_SIZE)
    assert(pfn >= 0 && sys.pages.trylock(pfn), 'there is a frame')
    const source = this.source(i)
    if (source < 0) sys.mmu.clearFrame(pfn)
    else sys.mmu.bytes(pfn).set(this.bytesOf(source))
    this.give(i, pfn)
    return pfn
  }

  /** Gives entry `i` a locked page. */
  give(i: number, pfn: Pfn, flags = 0): void {
    this.args.dst[i] = migratePfn(pfn, flags)
  }

  pages(): void {
    const { args, fixture } = this
    if (args.vma === null) migrateDevicePages(fixture.sys, args.src, args.dst, args.npages)
    else migrateVmaPages(args)
    fixture.validate()
  }

  finalize(): void {
    const { args, fixture } = this
    fixture.open.delete(this)
    if (args.vma === null) migrateDeviceFinalize(fixture.sys, args.src, args.dst, args.npages)
    else migrateVmaFinalize(args)
    for (let i = 0; i < args.npages; i++) {
      const pfn = this.source(i)
      if (pfn >= 0 && this.isMigrating(i) && isPin(fixture, args.src[i])) fixture.inPlace.add(pfn)
    }
    this.mm?.mmapLock.unlockRead()
    fixture.validate()
  }

  finish(): void {
    this.pages()
    this.finalize()
  }

  /** What the migration holds. */
  references(add: (pfn: Pfn, n: number) => void): void {
    const { args, fixture } = this
    for (let i = 0; i < args.npages; i++) {
      const source = this.source(i)
      if (source >= 0) add(source, this.isMigrating(i) && isPin(fixture, args.src[i]) ? PINNED_IN_PLACE : 1)
      const target = migratePfnToPfn(args.dst[i])
      const isUnpin = (args.dst[i] & BigInt(MIGRATE_PFN_UNPIN)) !== 0n
      if (target >= 0 && !(isUnpin && fixture.inPlace.has(target))) add(target, 1)
    }
  }

  private bytesOf(pfn: Pfn): Uint8Array {
    const { sys, gpu } = this.fixture
    return isZoneDevicePage(sys, pfn) ? gpu.bytes(pfn) : sys.mmu.bytes(pfn)
  }
}

function isPin(fixture: MigrateFixture, entry: bigint): boolean {
  return (entry & BigInt(MIGRATE_PFN_PIN)) !== 0n && !isZoneDevicePage(fixture.sys, migratePfnToPfn(entry))
}

function letters(entry: bigint): string {
  const flags = Number(entry & 0x3fn)
  const bit = (flag: number, letter: string) => ((flags & flag) !== 0 ? letter : '')
  return (
    bit(MIGRATE_PFN_VALID, 'V') +
      bit(MIGRATE_PFN_MIGRATE, 'M') +
      bit(MIGRATE_PFN_LOCKED, 'L') +
      bit(MIGRATE_PFN_WRITE, 'W') +
      bit(MIGRATE_PFN_PIN, 'P') || '0'
  )
}
