// A machine for tests of mm by the numbers of the specification: one process with an arena of pages, a log of every
// invalidation, and dmirror devices when a test asks for them. Pages are counted from the start of the arena, which begins
// where a page table of every level begins. Every step ends with a check of all invariants, with exact reference counts.

import { expect } from 'vitest'
import { type Addr, PAGE_SIZE, type Pfn, pteIndex } from '../../src/base/addr.ts'
import { assert } from '../../src/base/assert.ts'
import { DmirrorDevice, type DmirrorHandle, type DmirrorResult } from '../../src/devices/dmirror/index.ts'
import { Machine, type MachineOptions } from '../../src/machine/machine.ts'
import type { MmapOptions, Process } from '../../src/machine/process.ts'
import { AddressSpace } from '../../src/mm/address-space.ts'
import { handleMmFault } from '../../src/mm/fault.ts'
import type { PinOptions } from '../../src/mm/gup.ts'
import {
  MIGRATE_VMA_SELECT_SYSTEM,
  makeMigrateVma,
  migratePfnToPfn,
  migrateVmaFinalize,
  migrateVmaSetup,
} from '../../src/mm/migrate-device.ts'
import type { Mm } from '../../src/mm/mm.ts'
import { GUP_PIN_COUNTING_BIAS } from '../../src/mm/page.ts'
import { putPage } from '../../src/mm/page-alloc.ts'
import type { System } from '../../src/mm/system.ts'
import { validateSystem } from '../../src/mm/validate.ts'
import type { Vma } from '../../src/mm/vma.ts'
import { EventLog } from './event-log.ts'

export const BASE: Addr = 0x1000_0000_0000

export interface MmapPages extends Omit<MmapOptions, 'length' | 'addr' | 'fixed'> {
  readonly process?: Process
}

export class MmFixture {
  readonly machine: Machine
  readonly process: Process
  readonly log: EventLog
  /** References that the test holds, by frame; the validator wants to know. */
  readonly held = new Map<Pfn, number>()
  private readonly devices: DmirrorDevice[] = []
  private readonly handles = new Map<DmirrorDevice, Map<Mm, DmirrorHandle>>()
  private readonly logs = new Map<Mm, EventLog>()

  constructor(options: MachineOptions = {}) {
    this.machine = new Machine({ memory: '16 MiB', ...options })
    this.process = this.machine.createProcess('test')
    this.log = this.logOf(this.process)
  }

  get sys(): System {
    return this.machine.sys
  }

  get mm(): Mm {
    return this.process.mm
  }

  /** Does something and checks every invariant afterwards. */
  step<T>(operation: () => T): T {
    const result = operation()
    this.validate()
    return result
  }

  validate(): void {
    const held = new Map(this.held)
    for (const { kind, memory } of this.devices) {
      if (kind !== 'private') continue
      for (const chunk of memory.chunks) {
        for (let pfn = chunk.lowestUsed; pfn < chunk.end; pfn++) {
          if (this.sys.pages.refcount[pfn] > 0) addTo(held, memory.dataPage(pfn), 1)
        }
      }
    }
    validateSystem(this.sys, { level: 'full', heldReferences: (pfn) => held.get(pfn) ?? 0 })
  }

  /** The test takes `n` references itself. Negative: it gives them back. */
  hold(pfn: Pfn, n = 1): void {
    addTo(this.held, pfn, n)
    this.sys.pages.refcount[pfn] += n
    assert(this.sys.pages.refcount[pfn] > 0, () => `frame ${pfn} is in use`)
  }

  /** Gives one of them back; the page goes if it was the last. */
  letGo(pfn: Pfn): void {
    addTo(this.held, pfn, -1)
    this.step(() => putPage(this.sys, pfn))
  }

  // ---- addresses and entries ----

  addr(page: number): Addr {
    return BASE + page * PAGE_SIZE
  }

  vma(page: number, process = this.process): Vma {
    const vma = process.mm.vmaLookup(this.addr(page))
    assert(vma !== null, () => `page ${page} is mapped`)
    return vma
  }

  /** PTE_* bits of the entry, 0 if there is none. */
  flags(page: number, process = this.process): number {
    const table = process.mm.pageTable.findPte(this.addr(page))
    return table === null ? 0 : table.words[2 * pteIndex(this.addr(page)) + 1]
  }

  /** Frame of the entry, or slot of a swap entry. */
  pfn(page: number, process = this.process): Pfn {
    const table = process.mm.pageTable.findPte(this.addr(page))
    return table === null ? 0 : table.words[2 * pteIndex(this.addr(page))]
  }

  /** Overwrites an entry without any accounting, for states that nothing here can lead to. */
  setEntry(page: number, flags: number, pfn: Pfn = 0): void {
    const { words } = this.mm.pageTable.allocPte(this.addr(page))
    words[2 * pteIndex(this.addr(page))] = pfn
    words[2 * pteIndex(this.addr(page)) + 1] = flags
  }

  /** Entries as letters (mm/dump.ts); devices by their numbers: `D` and `d` are pages of device 0. */
  pte(page: number, npages: number, process = this.process): string {
    return process.dumpPte(this.addr(page), npages, (owner) => (owner as { number?: number } | null)?.number)
  }

  attr(page: number, npages: number, process = this.process): string {
    return process.dumpAttr(this.addr(page), npages)
  }

  /** References and mappings of the frame behind the entry: `1/1`. */
  counts(page: number, process = this.process): string {
    return this.countsOf(this.pfn(page, process))
  }

  countsOf(pfn: Pfn): string {
    const { pages } = this.sys
    return `${pages.refcount[pfn]}/${pages.mapcount[pfn]}`
  }

  /** Frames of system memory in use, but for the zero page. */
  get nused(): number {
    return this.machine.mmu.nframes - this.machine.mmu.nfree - 1
  }

  // ---- what a program does ----

  mmap(page: number, npages: number, options: MmapPages = {}): void {
    const { process = this.process, ...rest } = options
    this.step(() => process.mmap({ ...rest, addr: this.addr(page), fixed: true, length: npages * PAGE_SIZE }))
  }

  munmap(page: number, npages: number, process = this.process): void {
    this.step(() => process.munmap(this.addr(page), npages * PAGE_SIZE))
  }

  mprotect(page: number, npages: number, prot: number, process = this.process): void {
    this.step(() => process.mprotect(this.addr(page), npages * PAGE_SIZE, prot))
  }

  madvise(page: number, npages: number, advice: number, process = this.process): void {
    this.step(() => process.madvise(this.addr(page), npages * PAGE_SIZE, advice))
  }

  /** Moves pages to page `to`, with another length if `newPages` says so. */
  mremap(page: number, npages: number, to: number, newPages = npages): void {
    this.step(() =>
      this.process.mremap(this.addr(page), npages * PAGE_SIZE, newPages * PAGE_SIZE, { to: this.addr(to) }),
    )
  }

  fork(process = this.process): Process {
    return this.step(() => process.fork())
  }

  exit(process: Process): void {
    this.step(() => process.exit())
  }

  /** Stores `value + i` in page `page + i`. */
  store(page: number, npages = 1, value = 1, process = this.process): void {
    for (let i = 0; i < npages; i++) this.step(() => process.store32(this.addr(page + i), value + i))
  }

  /** The first word of each page. */
  load(page: number, npages = 1, process = this.process): number[] {
    return Array.from({ length: npages }, (_, i) => this.step(() => process.load32(this.addr(page + i))))
  }

  /** One page fault by somebody else than the CPU. Returns VM_FAULT_* bits. */
  fault(page: number, flags: number, process = this.process): number {
    return this.step(() => handleMmFault(this.vma(page, process), this.addr(page), flags))
  }

  /** Pins pages as for DMA until `unpin`, which is returned. */
  pin(page: number, npages: number, options: PinOptions = { write: true }): () => void {
    const pinned = this.process.pin(this.addr(page), npages, options)
    for (const pfn of pinned.pfns) addTo(this.held, pfn, GUP_PIN_COUNTING_BIAS)
    this.validate()
    return () => {
      for (const pfn of pinned.pfns) addTo(this.held, pfn, -GUP_PIN_COUNTING_BIAS)
      this.step(() => pinned.unpin())
    }
  }

  /**
   * Takes pages of one mapping into a migration, without a destination: they are unmapped, locked and off the LRU until the
   * returned function ends it. Meanwhile mmapLock is held for reading.
   */
  beginMigration(page: number, npages = 1, process = this.process): () => void {
    const args = makeMigrateVma(
      this.vma(page, process),
      this.addr(page),
      this.addr(page + npages),
      null,
      MIGRATE_VMA_SELECT_SYSTEM,
    )
    expect(process.mm.mmapLock.tryRead()).toBe(true)
    expect(migrateVmaSetup(args)).toBe(0)
    const pfns = Array.from(args.src, migratePfnToPfn).filter((pfn) => pfn >= 0)
    for (const pfn of pfns) addTo(this.held, pfn, 1)
    this.validate()
    return () => {
      for (const pfn of pfns) addTo(this.held, pfn, -1)
      migrateVmaFinalize(args)
      process.mm.mmapLock.unlockRead()
      this.validate()
    }
  }

  // ---- devices ----

  /** The handle of a process on device 0 to 3: 0 and 1 have private memory, 2 and 3 coherent memory. Opened when first asked for. */
  dev(number: number, process = this.process): DmirrorHandle {
    const device = this.device(number)
    const handles = this.handles.get(device) as Map<Mm, DmirrorHandle>
    const found = handles.get(process.mm)
    if (found !== undefined) return found
    const handle = device.open(process.mm)
    assert(typeof handle !== 'number', () => `device ${number} is opened: ${handle}`)
    handles.set(process.mm, handle)
    return handle
  }

  device(number: number): DmirrorDevice {
    const found = this.devices.find((device) => device.number === number)
    if (found !== undefined) return found
    const device = new DmirrorDevice(this.sys, number, { chunkPages: 64 })
    this.devices.push(device)
    this.handles.set(device, new Map())
    return device
  }

  migrateToDev(number: number, page: number, npages: number, process = this.process): void {
    this.command((bytes) => this.dev(number, process).migrateToDev(this.addr(page), npages, bytes), npages)
  }

  migrateToSys(number: number, page: number, npages: number, process = this.process): void {
    this.command(() => this.dev(number, process).migrateToSys(this.addr(page), npages), 0)
  }

  exclusive(number: number, page: number, npages: number): void {
    this.command((bytes) => this.dev(number).exclusive(this.addr(page), npages, bytes), npages)
  }

  private command(run: (bytes: Uint8Array) => DmirrorResult, npages: number): void {
    expect(this.step(() => run(new Uint8Array(npages * PAGE_SIZE))).ret).toBe(0)
  }

  // ---- events ----

  /** Another process's log, from now on. */
  logOf(process: Process): EventLog {
    const found = this.logs.get(process.mm)
    if (found !== undefined) return found
    const nameOf = (owner: unknown) => `dev${(owner as { number?: number }).number ?? '?'}`
    const log = new EventLog(process.mm, BASE, nameOf)
    this.logs.set(process.mm, log)
    return log
  }

  /** Events of an operation alone. */
  eventsOf(operation: () => void, process = this.process): string[] {
    const log = this.logOf(process)
    log.take()
    operation()
    return log.take()
  }

  // ---- the end ----

  /** Ends all processes: nothing may be left in use but page caches, and no page cache but of files that are open. */
  finish(openFiles = 0): void {
    for (const process of this.machine.processes) this.exit(process)
    for (const handles of this.handles.values()) {
      for (const handle of handles.values()) expect(this.step(() => handle.close())).toBe(0)
    }
    expect(this.devices.map((device) => device.npagesUsed).filter((npages) => npages > 0)).toEqual([])
    const caches = [...this.sys.mappings.values()].filter((mapping) => mapping instanceof AddressSpace)
    expect([caches.length, this.sys.mappings.size]).toEqual([openFiles, openFiles])
    const cached = caches.reduce((npages, cache) => npages + cache.pages.size, 0)
    const held = [...this.held.values()].filter((n) => n > 0).length
    expect(this.nused).toBe(cached + held)
    if (this.sys.swap !== null) {
      const swapped = caches.reduce((npages, cache) => npages + cache.swapped.size, 0)
      expect(this.sys.swap.nfree).toBe(this.sys.swap.npages - swapped)
    }
  }
}

function addTo(counts: Map<Pfn, number>, pfn: Pfn, n: number): void {
  counts.set(pfn, (counts.get(pfn) ?? 0) + n)
}
