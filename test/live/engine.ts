// A small engine that serves real page faults: mm with one mapping on the live backend. It runs in a worker and answers orders
// from the main thread; engine-worker.ts starts it. It does what a driver would do to pages, as often as it can: take them from
// the programs, look at what was written, and let them come back by fault.
//
// It keeps a copy of every page as it was when its dirty bit was last taken. A page that is reported clean must be equal to the
// copy: otherwise a store was lost.

import { PAGE_SIZE, pteIndex } from '../../src/base/addr.ts'
import { handleMmFault } from '../../src/mm/fault.ts'
import { Mm } from '../../src/mm/mm.ts'
import { mmMmap } from '../../src/mm/mmap.ts'
import { PTE_DIRTY, PTE_PRESENT } from '../../src/mm/pte.ts'
import { collectWrites } from '../../src/mm/share.ts'
import { System } from '../../src/mm/system.ts'
import { tlbProtect, tlbUnmap } from '../../src/mm/tlb.ts'
import { validateSystem } from '../../src/mm/validate.ts'
import { FAULT_FLAG_WRITE } from '../../src/mm/vm-fault.ts'
import { type Fault, FaultEvents } from '../../src/mmu/userfaultfd/fault-events.ts'
import { type LiveSupport, openDetected } from '../../src/mmu/userfaultfd/features.ts'
import type { Kernel } from '../../src/mmu/userfaultfd/ffi.ts'
import { UserfaultfdMmu } from '../../src/mmu/userfaultfd/userfaultfd-mmu.ts'
import { MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, PROT_READ, PROT_WRITE } from '../../src/uapi/mman.ts'

/** The mapping begins at page 1; page 0 belongs to nobody. */
export const FIRST_PAGE = 1
/** Most pages that one disturbance takes. */
const DISTURB_MAX = 64

export interface EngineCounts {
  faults: number
  /** Of those, how many said that the file has the page, or that the page is protected. */
  minor: number
  wp: number
  disturbances: number
  /** Pages found written, and found clean and compared. */
  dirty: number
  clean: number
  /** Pages that were called clean and were not. */
  lost: number
}

export class Engine {
  readonly mmu: UserfaultfdMmu
  readonly events: FaultEvents
  readonly counts: EngineCounts = { faults: 0, minor: 0, wp: 0, disturbances: 0, dirty: 0, clean: 0, lost: 0 }
  /** Faults are left unanswered while this is false. */
  serving = true
  /** The next fault is the end of the engine. */
  failing = false
  readonly #mm: Mm
  readonly #npages: number
  readonly #faultAround: number
  readonly #copies: Uint8Array

  constructor(kernel: Kernel, support: LiveSupport, npages: number, faultAround: number) {
    this.#npages = npages
    this.#faultAround = faultAround
    this.#copies = new Uint8Array(npages * PAGE_SIZE)
    this.events = new FaultEvents(kernel, openDetected(kernel, support), (faults) => {
      for (const fault of faults) if (this.serving) this.#serve(fault)
    })
    const nframes = FIRST_PAGE + npages
    this.mmu = new UserfaultfdMmu({ kernel, fd: this.events.fd, tracking: support.tracking, nframes })
    this.#mm = new Mm(new System(this.mmu))
    const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED
    const addr = mmMmap(this.#mm, FIRST_PAGE * PAGE_SIZE, npages * PAGE_SIZE, PROT_READ | PROT_WRITE, flags)
    if (addr !== FIRST_PAGE * PAGE_SIZE) throw new Error(`mmap returned ${addr}`)
  }

  /** Takes `npages` pages from the programs, from page `first` of the mapping. */
  zap(first: number, npages: number): void {
    const start = (FIRST_PAGE + first) * PAGE_SIZE
    const end = start + npages * PAGE_SIZE
    this.#underLock(() => {
      tlbUnmap(this.#mm, start, end)
      this.#take(start, end, true)
    })
  }

  /** Does something to a random run of pages. */
  disturb(): void {
    const first = random(this.#npages)
    const npages = 1 + random(Math.min(DISTURB_MAX, this.#npages - first))
    const start = (FIRST_PAGE + first) * PAGE_SIZE
    const end = start + npages * PAGE_SIZE
    this.counts.disturbances++
    const what = random(5)
    if (what < 3) this.zap(first, npages)
    else {
      if (what === 3) tlbProtect(this.#mm, start, end)
      else this.#collect(start, end)
      // Programs can be storing at this moment, so only the copies are renewed.
      this.#take(start, end, false)
    }
  }

  #collect(start: number, end: number): void {
    const { mmapLock } = this.#mm
    if (!mmapLock.tryRead()) throw new Error('nobody else holds the lock of the address space')
    collectWrites(this.#mm, start, end)
    mmapLock.unlockRead()
  }

  /** Checks the invariants of mm. */
  validate(): void {
    validateSystem(this.#mm.sys, { level: 'full', heldReferences: () => 0 })
  }

  /** Sum of all words of all pages. */
  sum(): number {
    let sum = 0
    for (let vpn = FIRST_PAGE; vpn < FIRST_PAGE + this.#npages; vpn++) {
      if (this.#mm.pageTable.findPte(vpn * PAGE_SIZE) === null || !this.#isPresent(vpn)) continue
      const bytes = this.mmu.bytes(vpn)
      for (const word of new Int32Array(bytes.buffer, bytes.byteOffset, PAGE_SIZE / 4)) sum += word
    }
    return sum
  }

  #serve({ addr: userAddr, write, wp, minor }: Fault): void {
    if (this.failing) throw new Error('the engine fails, as ordered')
    this.counts.faults++
    if (minor) this.counts.minor++
    if (wp) this.counts.wp++
    const addr = this.mmu.heapAddr(userAddr)
    if (wp && this.mmu.resolveStore(addr)) return
    const vma = this.#mm.vmaLookup(addr)
    if (vma === null) throw new Error(`a touch of ${addr}, where nothing is mapped`)
    const end = Math.min(vma.end, addr + this.#faultAround * PAGE_SIZE)
    const handle = (): void => {
      for (let at = addr; at < end; at += PAGE_SIZE) {
        if (at !== addr && this.mmu.isInstalled(at)) continue
        const result = handleMmFault(vma, at, write && at === addr ? FAULT_FLAG_WRITE : 0)
        if (result !== 0) throw new Error(`the fault at ${at} returned ${result}`)
      }
    }
    this.#underLock(() => this.mmu.batch(handle, write ? { addr, npages: 1 } : undefined))
  }

  /** Nothing here waits, so the lock is free. */
  #underLock(body: () => void): void {
    const { mmapLock } = this.#mm
    if (!mmapLock.tryRead()) throw new Error('somebody changes the mappings')
    body()
    mmapLock.unlockRead()
  }

  /** Renews the copies of written pages and clears their dirty bits. `isStill`: nobody can be storing, so compare the others. */
  #take(start: number, end: number, isStill: boolean): void {
    for (let addr = start; addr < end; addr += PAGE_SIZE) {
      const vpn = addr / PAGE_SIZE
      if (!this.#isPresent(vpn)) continue
      const table = this.#mm.pageTable.findPte(addr)
      if (table === null) continue
      const word = 2 * pteIndex(addr) + 1
      const page = this.mmu.bytes(vpn)
      const at = (vpn - FIRST_PAGE) * PAGE_SIZE
      if ((table.words[word] & PTE_DIRTY) !== 0) {
        table.words[word] &= ~PTE_DIRTY
        this.#copies.set(page, at)
        this.counts.dirty++
      } else if (isStill) {
        this.counts.clean++
        if (Buffer.compare(page, this.#copies.subarray(at, at + PAGE_SIZE)) !== 0) this.counts.lost++
      }
    }
  }

  #isPresent(vpn: number): boolean {
    const table = this.#mm.pageTable.findPte(vpn * PAGE_SIZE)
    return table !== null && (table.words[2 * pteIndex(vpn * PAGE_SIZE) + 1] & PTE_PRESENT) !== 0
  }
}

function random(n: number): number {
  return Math.floor(Math.random() * n)
}
