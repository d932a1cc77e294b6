// A machine whose CPU has a TLB of its own and sees nothing of mm's page table, as a real one: what it may use was installed,
// and what it wrote only the TLB knows until it is asked. It writes down every call of mm in order, together with the events
// that mirrors hear, and stops at once if
//   - a frame is copied, read by mm or freed while a CPU could still write it (or read it, when it is freed)
//   - a translation says other than the page table
// A store may come at the last moment: just before mm takes a translation away (`lastStore`).

import { type Addr, addrToVpn, PAGE_SIZE, type Pfn, pteIndex, vpnToAddr } from '../../src/base/addr.ts'
import { assert } from '../../src/base/assert.ts'
import { handleMmFault } from '../../src/mm/fault.ts'
import { Mm } from '../../src/mm/mm.ts'
import { mmMmap } from '../../src/mm/mmap.ts'
import { PTE_PRESENT, PTE_PROTNONE, PTE_WRITE } from '../../src/mm/pte.ts'
import { System, type SystemOptions } from '../../src/mm/system.ts'
import { validateSystem } from '../../src/mm/validate.ts'
import { FAULT_FLAG_WRITE } from '../../src/mm/vm-fault.ts'
import type { VmFile } from '../../src/mm/vma.ts'
import type { Mmu, MmuCapabilities, SpaceId } from '../../src/mmu/mmu.ts'
import { SimulatedMmu } from '../../src/mmu/simulated/simulated-mmu.ts'
import { MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE } from '../../src/uapi/mman.ts'
import { EventLog } from './event-log.ts'

export const BASE: Addr = 0x1000_0000_0000

interface Translation {
  readonly pfn: Pfn
  writable: boolean
  dirty: boolean
}

export interface TlbMachineOptions extends SystemOptions {
  readonly nframes?: number
  /** Stores to pages that are installed for reading go through, and are found later (the mode WP_ASYNC of a live heap). */
  readonly passesStores?: boolean
}

class TlbMmu implements Mmu {
  readonly capabilities: MmuCapabilities = { anyFrame: true, walksPageTable: false, traps: true, hugePages: true }
  readonly nframes: number
  readonly journal: string[] = []
  /** What frames were asked for: `space 1 page 3`, `nobody`, with the order if it is not 0. */
  readonly allocations: string[] = []
  /** Called for a page that the CPU can write before its translation is taken away or write-protected. */
  lastStore: ((space: SpaceId, addr: Addr) => void) | null = null
  /** The translations of each address space. */
  readonly tlbs = new Map<SpaceId, Map<number, Translation>>()
  private readonly memory: SimulatedMmu
  private readonly passesStores: boolean

  constructor(nframes: number, passesStores: boolean) {
    this.memory = new SimulatedMmu({ nframes })
    this.nframes = nframes
    this.passesStores = passesStores
  }

  attach(): SpaceId {
    const space = this.memory.attach()
    this.tlbs.set(space, new Map())
    return space
  }

  detach(space: SpaceId): void {
    assert(this.tlb(space).size === 0, () => `address space ${space} ends with ${this.tlb(space).size} translations`)
    this.tlbs.delete(space)
    this.memory.detach(space)
  }

  get nfree(): number {
    return this.memory.nfree
  }

  allocFrame(space: SpaceId, addr: Addr, order: number): Pfn {
    const what = space < 0 ? 'nobody' : `space ${space} page ${pageOf(addr)}`
    this.allocations.push(order === 0 ? what : `${what} order ${order}`)
    return this.memory.allocFrame(space, addr, order)
  }

  freeFrame(pfn: Pfn, order: number): void {
    for (let i = pfn; i < pfn + (1 << order); i++) {
      assert(!this.isInTlb(i, false), () => `frame ${i} is freed and the CPU can use it`)
    }
    this.memory.freeFrame(pfn, order)
  }

  addDeviceFrames(npages: number, cpuAccessible: boolean): Pfn {
    return this.memory.addDeviceFrames(npages, cpuAccessible)
  }

  removeDeviceFrames(pfn: Pfn, npages: number): void {
    this.memory.removeDeviceFrames(pfn, npages)
  }

  /** mm reads and writes frames, swap does it: then no store may be lost. Tests look with `peek`. */
  bytes(pfn: Pfn): Uint8Array {
    assert(!this.isInTlb(pfn, true), () => `frame ${pfn} is read and the CPU can write it`)
    this.journal.push('bytes')
    return this.memory.bytes(pfn)
  }

  bytesOfRun(pfn: Pfn): Uint8Array {
    return this.bytes(pfn)
  }

  peek(pfn: Pfn): DataView {
    const bytes = this.memory.bytes(pfn)
    return new DataView(bytes.buffer, bytes.byteOffset, PAGE_SIZE)
  }

  copyFrame(dst: Pfn, src: Pfn): void {
    assert(!this.isInTlb(src, true), () => `frame ${src} is copied and the CPU can write it`)
    assert(!this.isInTlb(dst, false), () => `frame ${dst} is copied to and the CPU can use it`)
    this.journal.push('copy')
    this.memory.copyFrame(dst, src)
  }

  clearFrame(pfn: Pfn): void {
    assert(!this.isInTlb(pfn, false), () => `frame ${pfn} is cleared and the CPU can use it`)
    this.memory.clearFrame(pfn)
  }

  install(space: SpaceId, addr: Addr, pfn: Pfn, npages: number, writable: boolean): void {
    this.journal.push(`install ${span(addr, npages)}${writable ? ' rw' : ''}`)
    const tlb = this.tlb(space)
    for (let i = 0; i < npages; i++) {
      const old = tlb.get(addrToVpn(addr) + i)
      const dirty = old !== undefined && old.pfn === pfn + i && old.dirty
      tlb.set(addrToVpn(addr) + i, { pfn: pfn + i, writable, dirty })
    }
  }

  unmap(space: SpaceId, addr: Addr, npages: number, dirty: Uint8Array): void {
    this.lastStores(space, addr, npages)
    this.journal.push(`unmap ${span(addr, npages)}`)
    this.collect(space, addr, npages, dirty, (tlb, vpn) => tlb.delete(vpn))
  }

  protect(space: SpaceId, addr: Addr, npages: number, dirty: Uint8Array): void {
    this.lastStores(space, addr, npages)
    this.journal.push(`protect ${span(addr, npages)}`)
    this.collect(space, addr, npages, dirty, (_, __, translation) => {
      translation.writable = false
      translation.dirty = false
    })
  }

  collectDirty(space: SpaceId, addr: Addr, npages: number, dirty: Uint8Array): void {
    this.journal.push(`collect ${span(addr, npages)}`)
    this.collect(space, addr, npages, dirty, (_, __, translation) => {
      translation.dirty = false
    })
  }

  /** The CPU's own view: where a store or load at `addr` goes, -1 if it faults. */
  translate(space: SpaceId, addr: Addr, write: boolean): Pfn {
    const found = this.tlb(space).get(addrToVpn(addr))
    if (found === undefined || (write && !found.writable && !this.passesStores)) return -1
    if (write) found.dirty = true
    return found.pfn
  }

  private tlb(space: SpaceId): Map<number, Translation> {
    const tlb = this.tlbs.get(space)
    assert(tlb !== undefined, () => `address space ${space} is attached`)
    return tlb
  }

  private collect(
    space: SpaceId,
    addr: Addr,
    npages: number,
    dirty: Uint8Array,
    after: (tlb: Map<number, Translation>, vpn: number, translation: Translation) => void,
  ): void {
    const tlb = this.tlb(space)
    const first = addrToVpn(addr)
    for (const [vpn, translation] of [...tlb]) {
      if (vpn < first || vpn >= first + npages) continue
      if (translation.dirty) dirty[vpn - first] = 1
      after(tlb, vpn, translation)
    }
  }

  private lastStores(space: SpaceId, addr: Addr, npages: number): void {
    const { lastStore } = this
    if (lastStore === null) return
    for (const [vpn, { writable }] of this.tlb(space)) {
      const at = vpnToAddr(vpn)
      if (at < addr || at >= addr + npages * PAGE_SIZE) continue
      if (writable || this.passesStores) lastStore(space, at)
    }
  }

  private isInTlb(pfn: Pfn, writable: boolean): boolean {
    for (const tlb of this.tlbs.values()) {
      for (const translation of tlb.values()) {
        if (translation.pfn !== pfn) continue
        if (!writable || translation.writable || this.passesStores) return true
      }
    }
    return false
  }
}

export class TlbMachine {
  readonly mmu: TlbMmu
  readonly sys: System
  readonly mm: Mm
  private readonly passesStores: boolean
  /** References that the test holds, by frame. */
  readonly held = new Map<Pfn, number>()

  constructor(options: TlbMachineOptions = {}) {
    const { nframes = 2048, passesStores = false, ...rest } = options
    this.passesStores = passesStores
    this.mmu = new TlbMmu(nframes, passesStores)
    this.sys = new System(this.mmu, rest)
    this.mm = new Mm(this.sys)
    this.listen(this.mm)
  }

  /** Enters the events of an address space in the journal, with `end` when the last of them is over. */
  listen(mm: Mm): void {
    const { journal } = this.mmu
    const log = new EventLog(mm, BASE, () => 'driver')
    log.answer = () => {
      journal.push(...log.take().map((line) => line.replace(/ of .*/, '')))
      if (mm.subscriptions?.wait.size === 0) mm.subscriptions.wait.add(() => journal.push('end'))
      return true
    }
  }

  addr(page: number): Addr {
    return BASE + page * PAGE_SIZE
  }

  map(page: number, npages: number, options: { file?: VmFile; shared?: boolean; prot?: number; mm?: Mm } = {}): void {
    const { file = null, shared = false, prot = PROT_READ | PROT_WRITE, mm = this.mm } = options
    const flags = (shared ? MAP_SHARED : MAP_PRIVATE) | MAP_FIXED | (file === null ? MAP_ANONYMOUS : 0)
    const addr = mmMmap(mm, this.addr(page), npages * PAGE_SIZE, prot, flags, file, 0)
    assert(addr === this.addr(page), () => `mmap returned ${addr}`)
  }

  /** The CPU stores a word. */
  store(page: number, value: number, mm = this.mm): void {
    this.mmu.peek(this.reach(page, true, mm)).setUint32(0, value, true)
  }

  load(page: number, mm = this.mm): number {
    return this.mmu.peek(this.reach(page, false, mm)).getUint32(0, true)
  }

  /** A store that needs no fault, or none at all. Returns whether it was made. */
  tryStore(page: number, value: number, mm = this.mm): boolean {
    const pfn = this.mmu.translate(mm.space, this.addr(page), true)
    if (pfn >= 0) this.mmu.peek(pfn).setUint32(0, value, true)
    return pfn >= 0
  }

  /** From now on each page that is taken from the CPU is written once more just before. */
  storeAtTheLastMoment(value: number): void {
    this.mmu.lastStore = (space, addr) => {
      const pfn = this.mmu.translate(space, addr, true)
      if (pfn >= 0) this.mmu.peek(pfn).setUint32(0, value, true)
    }
  }

  private reach(page: number, write: boolean, mm: Mm): Pfn {
    for (let i = 0; i < 8; i++) {
      const pfn = this.mmu.translate(mm.space, this.addr(page), write)
      if (pfn >= 0) return pfn
      const vma = mm.vmaLookup(this.addr(page))
      assert(vma !== null, () => `page ${page} is mapped`)
      const fault = handleMmFault(vma, this.addr(page), write ? FAULT_FLAG_WRITE : 0)
      assert(fault === 0, () => `the fault on page ${page} answered ${fault}`)
      this.check()
    }
    throw new Error(`page ${page} cannot be reached`)
  }

  /** What happened since the last call: calls of the backend, events, and `end` of the last event that ran. */
  take(): string[] {
    return this.mmu.journal.splice(0)
  }

  /** What an operation alone does. */
  journalOf(operation: () => unknown): string[] {
    this.take()
    operation()
    this.check()
    return this.take()
  }

  flags(page: number, mm = this.mm): number {
    const table = mm.pageTable.findPte(this.addr(page))
    return table === null ? 0 : table.words[2 * pteIndex(this.addr(page)) + 1]
  }

  pfn(page: number, mm = this.mm): Pfn {
    const table = mm.pageTable.findPte(this.addr(page))
    return table === null ? -1 : table.words[2 * pteIndex(this.addr(page))]
  }

  /** All invariants, and every translation held against the page table. */
  check(): void {
    validateSystem(this.sys, { level: 'full', heldReferences: (pfn) => this.held.get(pfn) ?? 0 })
    for (const mm of this.sys.mms) {
      for (const [vpn, translation] of this.mmu.tlbs.get(mm.space) ?? []) this.checkTranslation(mm, vpn, translation)
    }
  }

  private checkTranslation(mm: Mm, vpn: number, { pfn, writable }: Translation): void {
    const addr = vpnToAddr(vpn)
    const table = mm.pageTable.findPte(addr)
    const pmd = mm.pageTable.findPmd(addr)
    const slot = Math.floor(addr / 2 ** 21) % 512
    const flags = table === null ? (pmd?.hugeFlags(slot) ?? 0) : table.words[2 * pteIndex(addr) + 1]
    const frame = table === null ? (pmd?.hugePfn(slot) ?? 0) + pteIndex(addr) : table.words[2 * pteIndex(addr)]
    const what = () => `page ${pageOf(addr)}: the CPU has frame ${pfn}, the entry is 0x${flags.toString(16)} ${frame}`
    assert((flags & (PTE_PRESENT | PTE_PROTNONE)) === PTE_PRESENT && frame === pfn, what)
    assert(!writable || (flags & PTE_WRITE) !== 0 || this.passesStores, what)
  }
}

function pageOf(addr: Addr): number {
  return (addr - BASE) / PAGE_SIZE
}

function span(addr: Addr, npages: number): string {
  return `${pageOf(addr)}-${pageOf(addr) + npages}`
}
