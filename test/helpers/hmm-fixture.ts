// A small machine for tests of hmm: one address space with a subscription over an arena of pages, short calls to map and
// touch pages, and `fault`, which is one call of hmmRangeFault as a driver makes it.

import { type Addr, PAGE_SIZE, type Pfn, pmdIndex, pteIndex } from '../../src/base/addr.ts'
import { assert } from '../../src/base/assert.ts'
import { hmmRangeFault } from '../../src/hmm/hmm.ts'
import { HMM_PFN_REQ_FAULT, HMM_PFN_REQ_WRITE } from '../../src/hmm/hmm-pfn.ts'
import type { HmmRange, HmmRange61, HmmVersion } from '../../src/hmm/hmm-range.ts'
import { handleMmFault } from '../../src/mm/fault.ts'
import { type DevPagemap, MEMORY_DEVICE_PRIVATE, memremapPages, zoneDevicePageInit } from '../../src/mm/memremap.ts'
import { Mm } from '../../src/mm/mm.ts'
import { mmMmap } from '../../src/mm/mmap.ts'
import {
  type MmuIntervalNotifier,
  mmuIntervalNotifierInsert,
  mmuIntervalReadBegin,
  mmuIntervalSetSeq,
} from '../../src/mm/mmu-notifier.ts'
import { unlockPage } from '../../src/mm/page-alloc.ts'
import { System, type SystemOptions } from '../../src/mm/system.ts'
import { FAULT_FLAG_WRITE, VM_FAULT_ERROR, VM_FAULT_RETRY, type VmFault } from '../../src/mm/vm-fault.ts'
import type { Vma, VmFile } from '../../src/mm/vma.ts'
import { SimulatedMmu } from '../../src/mmu/simulated/simulated-mmu.ts'
import { MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, PROT_READ, PROT_WRITE } from '../../src/uapi/mman.ts'

/** First address of the arena: a border of every level of the page table. */
export const BASE: Addr = 0x1000_0000_0000
export const RW = PROT_READ | PROT_WRITE

/** Request bits of the 6.1 form. */
export const F = HMM_PFN_REQ_FAULT
export const W = HMM_PFN_REQ_WRITE
export const FW = F | W

/** The driver tables of the worked values (spec RF-120 to RF-127). */
export const TABLES = { flags: [1n, 2n], values: [4n, 0n, 8n], pfnShift: 12 } as const

export interface Request61 {
  readonly default?: bigint
  readonly mask?: bigint
  /** Entries on the way in; default all 0. */
  readonly requests?: readonly bigint[]
  readonly owner?: unknown
  readonly version?: HmmVersion
}

export interface Request57 extends Request61 {
  readonly flags?: readonly bigint[]
  readonly values?: readonly bigint[]
  readonly pfnShift?: number
}

export interface Answer {
  readonly result: number
  /** The array after the call. */
  readonly entries: bigint[]
}

export class HmmFixture {
  readonly sys: System
  readonly mm: Mm
  readonly sub: MmuIntervalNotifier
  /** Events that reached the subscription: `[event, first page, end page]`. */
  readonly events: [number, number, number][] = []

  constructor(options: SystemOptions & { readonly nframes?: number } = {}) {
    this.sys = new System(new SimulatedMmu({ nframes: options.nframes ?? 8192 }), options)
    this.mm = new Mm(this.sys)
    const sub = mmuIntervalNotifierInsert(this.mm, BASE, 2 ** 41, {
      invalidate: (self, range, curSeq) => {
        mmuIntervalSetSeq(self, curSeq)
        this.events.push([range.event, (range.start - BASE) / PAGE_SIZE, (range.end - BASE) / PAGE_SIZE])
        return true
      },
    })
    assert(typeof sub !== 'number', 'the subscription is inserted')
    this.sub = sub
  }

  addr(page: number): Addr {
    return BASE + page * PAGE_SIZE
  }

  /** Maps pages of the arena, private anonymous unless told otherwise. */
  map(page: number, npages: number, prot = RW, flags = MAP_PRIVATE | MAP_ANONYMOUS, file: VmFile | null = null): Vma {
    const result = mmMmap(this.mm, this.addr(page), npages * PAGE_SIZE, prot, flags | MAP_FIXED, file, 0)
    assert(result === this.addr(page), () => `mmap of page ${page} returned ${result}`)
    const vma = this.mm.vmaLookup(this.addr(page))
    assert(vma !== null, 'the mapping is there')
    return vma
  }

  /** A CPU access: reads the pages (zero pages where nothing is), or writes them. */
  touch(page: number, npages: number, access: 'read' | 'write', mm = this.mm): void {
    for (let addr = this.addr(page); addr < this.addr(page + npages); addr += PAGE_SIZE) {
      const vma = mm.vmaLookup(addr)
      assert(vma !== null, () => `page ${page} is mapped`)
      const fault = handleMmFault(vma, addr, access === 'write' ? FAULT_FLAG_WRITE : 0)
      assert((fault & (VM_FAULT_ERROR | VM_FAULT_RETRY)) === 0, () => `the fault of page ${page} returned ${fault}`)
    }
  }

  /** Overwrites the entry of a page, without any accounting: for states that take a long way to reach. */
  setEntry(page: number, flags: number, pfn: Pfn = 0): void {
    const addr = this.addr(page)
    const { words } = this.mm.pageTable.allocPte(addr)
    words[2 * pteIndex(addr)] = pfn
    words[2 * pteIndex(addr) + 1] = flags
  }

  /** The same for the middle-level entry that covers a page. */
  setHugeEntry(page: number, flags: number, pfn: Pfn = 0): void {
    const addr = this.addr(page)
    this.mm.pageTable.allocPmd(addr).setHuge(pmdIndex(addr), flags, pfn)
  }

  entryFlags(page: number): number {
    const addr = this.addr(page)
    return this.mm.pageTable.findPte(addr)?.words[2 * pteIndex(addr) + 1] ?? 0
  }

  entryPfn(page: number): Pfn {
    const addr = this.addr(page)
    return this.mm.pageTable.findPte(addr)?.words[2 * pteIndex(addr)] ?? 0
  }

  /** Pages of the arena with an entry that is not empty. */
  populated(page: number, npages: number): number[] {
    const found: number[] = []
    for (let i = page; i < page + npages; i++) if (this.entryFlags(i) !== 0) found.push(i)
    return found
  }

  /** Device-private memory of `owner` with a frame in use; a CPU touch calls `migrateToRam`. */
  addDevice(owner: unknown, migrateToRam: (vmf: VmFault) => number = () => 0): { pagemap: DevPagemap; pfn: Pfn } {
    const ops = { migrateToRam, pageFree: () => {} }
    const pagemap = memremapPages(this.sys, { type: MEMORY_DEVICE_PRIVATE, npages: 16, ops, owner })
    assert(typeof pagemap !== 'number', 'the device memory is added')
    zoneDevicePageInit(this.sys, pagemap.pfn)
    unlockPage(this.sys, pagemap.pfn)
    return { pagemap, pfn: pagemap.pfn }
  }

  /** A range in the 6.1 form with a fresh sequence number. */
  range61(page: number, npages: number, request: Request61 = {}): HmmRange61 {
    return {
      notifier: this.sub,
      notifierSeq: mmuIntervalReadBegin(this.sub),
      start: this.addr(page),
      end: this.addr(page + npages),
      hmmPfns: entriesOf(npages, request.requests),
      defaultFlags: request.default ?? 0n,
      pfnFlagsMask: request.mask ?? 0n,
      devPrivateOwner: request.owner ?? null,
      ...(request.version === undefined ? {} : { version: request.version }),
    }
  }

  /** A range in the form of v5.7 with a fresh sequence number. */
  range57(page: number, npages: number, request: Request57 = {}): HmmRange {
    return {
      notifier: this.sub,
      notifierSeq: mmuIntervalReadBegin(this.sub),
      start: this.addr(page),
      end: this.addr(page + npages),
      pfns: entriesOf(npages, request.requests),
      flags: request.flags ?? TABLES.flags,
      values: request.values ?? TABLES.values,
      pfnShift: request.pfnShift ?? TABLES.pfnShift,
      defaultFlags: request.default ?? 0n,
      pfnFlagsMask: request.mask ?? 0n,
      devPrivateOwner: request.owner ?? null,
      ...(request.version === undefined ? {} : { version: request.version }),
    }
  }

  /** hmmRangeFault under the lock. */
  call(range: HmmRange | HmmRange61): Answer {
    assert(this.mm.mmapLock.tryRead(), 'the mmapLock is free')
    const result = hmmRangeFault(range)
    this.mm.mmapLock.unlockRead()
    return { result, entries: Array.from('hmmPfns' in range ? range.hmmPfns : range.pfns) }
  }

  fault61(page: number, npages: number, request: Request61 = {}): Answer {
    return this.call(this.range61(page, npages, request))
  }

  fault57(page: number, npages: number, request: Request57 = {}): Answer {
    return this.call(this.range57(page, npages, request))
  }
}

function entriesOf(npages: number, requests: readonly bigint[] | undefined): BigUint64Array {
  const entries = new BigUint64Array(npages)
  requests?.forEach((request, i) => {
    entries[i] = request
  })
  return entries
}

/** Entries of the 6.1 form as the recordings write them: `VW:k`, `V:z`, `0`, `E`, `u` with `f` and `w`, `?hex`. */
export function tokens(fixture: HmmFixture, answer: Answer, requests: readonly bigint[] = []): string {
  const seen = new Map<bigint, number>()
  return answer.entries
    .map((entry, i) => {
      const request = requests[i] ?? 0n
      if (entry === request && answer.result !== 0) return `u${request & F ? 'f' : ''}${request & W ? 'w' : ''}`
      if (entry === 0n) return '0'
      if ((entry & (1n << 61n)) !== 0n) return 'E'
      if ((entry & (1n << 63n)) === 0n) return `?${entry.toString(16)}`
      const pfn = entry & ((1n << 56n) - 1n)
      const order = (entry >> 56n) & 31n
      const suffix = order === 0n ? '' : `:o${order}`
      const name = (entry & (1n << 62n)) !== 0n ? 'VW' : 'V'
      if (Number(pfn) === fixture.sys.zeroPfn) return `${name}:z${suffix}`
      if (!seen.has(pfn)) seen.set(pfn, seen.size)
      return `${name}:${seen.get(pfn)}${suffix}`
    })
    .join(' ')
}
