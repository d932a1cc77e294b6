// A machine with transparent huge pages for tests of them: one process with an arena of pages that begins where a page
// table of every level begins, a watcher over it, and short forms of what a test does and looks at. Every step ends
// with a check of all invariants, with exact reference counts.

import { expect } from 'vitest'
import { type Addr, PAGE_SIZE, type Pfn, pmdIndex, pteIndex } from '../../src/base/addr.ts'
import { assert } from '../../src/base/assert.ts'
import { Machine, type MachineOptions } from '../../src/machine/machine.ts'
import type { PinnedPages, Process } from '../../src/machine/process.ts'
import { putPage, unlockPage } from '../../src/mm/page-alloc.ts'
import { validateSystem } from '../../src/mm/validate.ts'
import type { Vma } from '../../src/mm/vma.ts'
import { Watcher } from './watcher.ts'

export const BASE: Addr = 0x1000_0000_0000

export class HugeFixture {
  readonly machine: Machine
  readonly process: Process
  readonly watcher: Watcher
  private readonly pins: PinnedPages[] = []
  private readonly isolated: Pfn[] = []
  private readonly npages: number

  constructor(options: MachineOptions = {}, npages = 1024) {
    this.npages = npages
    this.machine = new Machine({ memory: '32 MiB', thp: 'always', ...options })
    this.process = this.machine.createProcess()
    this.watcher = new Watcher(this.process.mm, BASE, npages)
  }

  get sys() {
    return this.machine.sys
  }

  /** Does something and checks the invariants afterwards. */
  step<T>(operation: () => T): T {
    const result = operation()
    this.validate()
    return result
  }

  validate(): void {
    const held = new Map<Pfn, number>()
    const { pages } = this.sys
    for (const { pfns } of this.pins) {
      for (const pfn of pfns)
        held.set(pages.head(pfn), (held.get(pages.head(pfn)) ?? 0) + (pages.isCompound(pfn) ? 1 : 1024))
    }
    for (const pfn of this.isolated) held.set(pfn, (held.get(pfn) ?? 0) + 1)
    validateSystem(this.sys, { level: 'full', heldReferences: (pfn) => held.get(pfn) ?? 0 })
  }

  addr(page: number): Addr {
    return BASE + page * PAGE_SIZE
  }

  mmap(page: number, npages: number, prot?: number): void {
    const target = { addr: this.addr(page), length: npages * PAGE_SIZE, fixed: true }
    this.step(() => this.process.mmap(prot === undefined ? target : { ...target, prot }))
  }

  munmap(page: number, npages: number): void {
    this.step(() => this.process.munmap(this.addr(page), npages * PAGE_SIZE))
  }

  mprotect(page: number, npages: number, prot: number): void {
    this.step(() => this.process.mprotect(this.addr(page), npages * PAGE_SIZE, prot))
  }

  madvise(page: number, npages: number, advice: number): void {
    this.step(() => this.process.madvise(this.addr(page), npages * PAGE_SIZE, advice))
  }

  mremap(page: number, npages: number, to: number): void {
    const length = npages * PAGE_SIZE
    this.step(() => this.process.mremap(this.addr(page), length, length, { to: this.addr(to) }))
  }

  fork(): Process {
    return this.step(() => this.process.fork())
  }

  exit(process: Process): void {
    this.step(() => process.exit())
  }

  load(page: number, process = this.process): number {
    return this.step(() => process.load32(this.addr(page)))
  }

  store(page: number, value: number, process = this.process): void {
    this.step(() => process.store32(this.addr(page), value))
  }

  pin(page: number, npages: number, write: boolean): PinnedPages {
    const pinned = this.process.pin(this.addr(page), npages, { write })
    this.pins.push(pinned)
    this.validate()
    return pinned
  }

  unpin(pinned: PinnedPages): void {
    this.pins.splice(this.pins.indexOf(pinned), 1)
    this.step(() => pinned.unpin())
  }

  /** Locks a page and takes it off the LRU, with a reference, as whoever wants to move it does. */
  isolate(pfn: Pfn): void {
    assert(this.sys.pages.trylock(pfn) && this.sys.lru.isolate(pfn), () => `frame ${pfn} can be isolated`)
    this.isolated.push(pfn)
  }

  /** Ends what `isolate` began. */
  putBack(pfn: Pfn): void {
    this.isolated.splice(this.isolated.indexOf(pfn), 1)
    this.sys.lru.add(pfn)
    unlockPage(this.sys, pfn)
    putPage(this.sys, pfn)
    this.validate()
  }

  events(): string[] {
    return this.watcher.takeEvents()
  }

  /** Entries of the arena, runs of the same shortened: `P*512 t*512`. */
  pte(process = this.process): string {
    return runs(process.dumpPte(BASE, this.npages))
  }

  attr(process = this.process): string {
    return runs(process.dumpAttr(BASE, this.npages))
  }

  pagemap(process = this.process): string {
    return runs(process.dumpPagemap(BASE, this.npages))
  }

  vma(page: number, process = this.process): Vma {
    const vma = process.mm.vmaLookup(this.addr(page))
    assert(vma !== null, () => `page ${page} is mapped`)
    return vma
  }

  /** Flags and frame of the huge entry around a page; 0 and 0 if there is none. */
  huge(page: number, process = this.process): { flags: number; pfn: Pfn } {
    const pmd = process.mm.pageTable.findPmd(this.addr(page))
    const slot = pmdIndex(this.addr(page))
    return pmd === null ? { flags: 0, pfn: 0 } : { flags: pmd.hugeFlags(slot), pfn: pmd.hugePfn(slot) }
  }

  /** Flags and frame of the small entry of a page; 0 and 0 if there is no table. */
  small(page: number, process = this.process): { flags: number; pfn: Pfn } {
    const table = process.mm.pageTable.findPte(this.addr(page))
    const i = pteIndex(this.addr(page))
    return table === null ? { flags: 0, pfn: 0 } : { flags: table.words[2 * i + 1], pfn: table.words[2 * i] }
  }

  /** Frames in use, but for the zero pages. */
  nused(): number {
    const kept = this.sys.hugeZeroPfn >= 0 ? 513 : 1
    return this.machine.mmu.nframes - this.machine.mmu.nfree - kept
  }

  /** Ends all processes: no frame may be left in use. */
  finish(): void {
    for (const pinned of [...this.pins]) this.unpin(pinned)
    for (const process of this.machine.processes) this.exit(process)
    expect(this.nused()).toBe(0)
    expect(this.sys.lru.size).toBe(0)
  }
}

function runs(text: string): string {
  const found = text.match(/(.)\1*/g) ?? []
  return found.map((run) => (run.length === 1 ? run : `${run[0]}*${run.length}`)).join(' ')
}
