// A small device for tests of the mirror layer: it loads and stores 32-bit words through a table of its own, which it keeps in
// step by what update() tells it and by nothing else. `log` has each update and release in words.

import { type Addr, PAGE_SIZE, type Pfn, pageAlignDown } from '../../src/base/addr.ts'
import { assert } from '../../src/base/assert.ts'
import {
  formatHmmEvent,
  HMM_DEVICE_RFAULT,
  HMM_DEVICE_WFAULT,
  HMM_FORK,
  HMM_ISDIRTY,
  HMM_MIGRATE,
  HMM_MUNMAP,
  HMM_PTE_DIRTY,
  HMM_PTE_VALID,
  HMM_PTE_VALID_DMA,
  HMM_PTE_WRITE,
  HMM_WRITE_PROTECT,
  HmmDevice,
  type HmmDeviceOptions,
  type HmmDma,
  HmmEvent,
  type HmmMirror,
  type HmmMirrorOptions,
  HmmPtIter,
  hmmDeviceRegister,
  hmmMirrorFault,
  hmmMirrorRegister,
  hmmPteFrame,
  hmmPteSetBit,
} from '../../src/hmm/mirror/index.ts'
import type { Machine } from '../../src/machine/machine.ts'
import type { Process } from '../../src/machine/process.ts'

/**
 * When the device says what it wrote: at the next update; only at the update after the one that took WRITE away; or it
 * cannot tell, and says it of every page that it could have written.
 */
export type DirtyReport = 'exact' | 'late' | 'unconditional'

export interface MirrorDeviceOptions extends Partial<HmmDeviceOptions> {
  readonly report?: DirtyReport
}

/** What the device may do with one page. */
interface Translation {
  frame: Pfn
  write: boolean
  /** Written since the last report. */
  dirty: boolean
}

export class MirrorDevice {
  readonly machine: Machine
  readonly device: HmmDevice
  readonly report: DirtyReport
  /** `WRITE_PROTECT 0x1000-0x3000`, `release`, `free`, oldest first. */
  readonly log: string[] = []
  /** Translations of each mirror. */
  readonly tables = new Map<HmmMirror, Map<Addr, Translation>>()
  /** What the next updates return; those after answer 0. */
  readonly results: unknown[] = []
  /** Runs in update(), before anything else. */
  onUpdate: ((mirror: HmmMirror, event: HmmEvent) => void) | null = null

  constructor(machine: Machine, options: MirrorDeviceOptions = {}) {
    const { report = 'exact', ...rest } = options
    this.machine = machine
    this.report = report
    this.device = new HmmDevice({
      name: 'gpu',
      ...rest,
      ops: {
        update: (mirror, event) => this.update(mirror, event),
        release: () => {
          this.log.push('release')
        },
        free: () => {
          this.log.push('free')
        },
        ...rest.ops,
      },
    })
    assert(hmmDeviceRegister(this.device) === 0, 'the device is registered')
  }

  mirror(process: Process, options: HmmMirrorOptions = {}): HmmMirror {
    const mirror = hmmMirrorRegister(this.device, process.mm, options)
    assert(typeof mirror !== 'number', () => `hmmMirrorRegister returned ${mirror}`)
    this.tables.set(mirror, new Map())
    return mirror
  }

  /** Updates since the last call, without the ones of faults. */
  takeLog(): string[] {
    return this.log.splice(0).filter((line) => !line.startsWith('DEVICE_'))
  }

  /** A device fault over `[addr, addr + npages * 4096)`. Returns what hmmMirrorFault returns. */
  fault(mirror: HmmMirror, addr: Addr, npages: number, access: 'read' | 'write'): number {
    const etype = access === 'write' ? HMM_DEVICE_WFAULT : HMM_DEVICE_RFAULT
    return hmmMirrorFault(mirror, new HmmEvent(addr, addr + npages * PAGE_SIZE, etype))
  }

  /** Reads a word if the device has a translation, without a fault; undefined if it has none. */
  tryLoad(mirror: HmmMirror, addr: Addr): number | undefined {
    const entry = this.tables.get(mirror)?.get(pageAlignDown(addr))
    return entry === undefined ? undefined : this.wordAt(entry.frame, addr).getUint32(0, true)
  }

  /** Writes a word if the device may, without a fault; false if it may not. */
  tryStore(mirror: HmmMirror, addr: Addr, value: number): boolean {
    const entry = this.tables.get(mirror)?.get(pageAlignDown(addr))
    if (entry === undefined || !entry.write) return false
    this.wordAt(entry.frame, addr).setUint32(0, value, true)
    entry.dirty = true
    return true
  }

  load(mirror: HmmMirror, addr: Addr): number {
    for (;;) {
      const value = this.tryLoad(mirror, addr)
      if (value !== undefined) return value
      const err = this.fault(mirror, pageAlignDown(addr), 1, 'read')
      if (err !== 0) throw new Error(`device load at 0x${addr.toString(16)}: ${err}`)
    }
  }

  store(mirror: HmmMirror, addr: Addr, value: number): void {
    while (!this.tryStore(mirror, addr, value)) {
      const err = this.fault(mirror, pageAlignDown(addr), 1, 'write')
      if (err !== 0) throw new Error(`device store at 0x${addr.toString(16)}: ${err}`)
    }
  }

  /** Bytes of a frame that the device reaches; a device with memory of its own or an IOMMU overrides it. */
  frameBytes(frame: Pfn): Uint8Array {
    return this.machine.mmu.bytes(frame)
  }

  private wordAt(frame: Pfn, addr: Addr): DataView {
    const bytes = this.frameBytes(frame)
    return new DataView(bytes.buffer, bytes.byteOffset + (addr & (PAGE_SIZE - 4)), 4)
  }

  private update(mirror: HmmMirror, event: HmmEvent): number {
    this.log.push(formatHmmEvent(event))
    this.onUpdate?.(mirror, event)
    const result = this.results.length > 0 ? this.results.shift() : 0
    if (result !== 0) return result as number
    const table = this.tables.get(mirror)
    if (table === undefined) return 0
    switch (event.etype) {
      case HMM_FORK:
      case HMM_WRITE_PROTECT:
        if (this.report !== 'late') this.reportDirty(mirror, table, event)
        for (const [addr, entry] of table) if (addr >= event.start && addr < event.end) entry.write = false
        break
      case HMM_ISDIRTY:
        this.reportDirty(mirror, table, event)
        break
      case HMM_MIGRATE:
      case HMM_MUNMAP:
        this.reportDirty(mirror, table, event)
        for (const addr of [...table.keys()]) if (addr >= event.start && addr < event.end) table.delete(addr)
        break
      default:
        this.program(mirror, table, event)
    }
    return 0
  }

  /** Sets DIRTY in the mirror table, as the contract asks. */
  protected reportDirty(mirror: HmmMirror, table: Map<Addr, Translation>, range: { start: Addr; end: Addr }): void {
    forEachValid(mirror, range, (words, i, addr) => {
      const entry = table.get(addr)
      const couldWrite = (words[2 * i] & HMM_PTE_WRITE) !== 0
      if (this.report === 'unconditional' ? couldWrite : entry?.dirty) hmmPteSetBit(words, i, HMM_PTE_DIRTY)
      if (entry !== undefined) entry.dirty = false
    })
  }

  /** Takes over what the mirror table has. */
  private program(mirror: HmmMirror, table: Map<Addr, Translation>, event: HmmEvent): void {
    forEachValid(mirror, event, (words, i, addr) => {
      const frame =
        (words[2 * i] & HMM_PTE_VALID_DMA) !== 0 && this.device.dev !== null
          ? (this.device.dev as TestDma).frameOf(hmmPteFrame(words, i) * PAGE_SIZE)
          : hmmPteFrame(words, i)
      const write = (words[2 * i] & HMM_PTE_WRITE) !== 0
      table.set(addr, { frame, write, dirty: table.get(addr)?.dirty ?? false })
    })
  }
}

/** Valid entries of the mirror table in a range. */
export function forEachValid(
  mirror: HmmMirror,
  { start, end }: { start: Addr; end: Addr },
  visit: (words: Uint32Array, index: number, addr: Addr) => void,
): void {
  const iter = new HmmPtIter(mirror.pt)
  for (let i = iter.walk(start, end); i >= 0; i = iter.walk(iter.next, end)) {
    const { words, addr, npages } = iter
    for (let k = 0; k < npages; k++) {
      if ((words[2 * (i + k)] & HMM_PTE_VALID) !== 0) visit(words, i + k, addr + k * PAGE_SIZE)
    }
  }
  iter.fini()
}

/** An IOMMU for one device: bus addresses from `base` on, no two alike, each good until it is unmapped. */
export class TestDma implements HmmDma {
  /** Bus address to frame and permission. */
  readonly mapped = new Map<Addr, { pfn: Pfn; writable: boolean }>()
  /** Mappings that may exist at once. */
  limit = Number.POSITIVE_INFINITY
  private nextAddr: Addr

  constructor(base: Addr) {
    this.nextAddr = base
  }

  mapPage(pfn: Pfn, writable: boolean): Addr {
    if (this.mapped.size >= this.limit) return -12
    const dmaAddr = this.nextAddr
    this.nextAddr += PAGE_SIZE
    this.mapped.set(dmaAddr, { pfn, writable })
    return dmaAddr
  }

  unmapPage(dmaAddr: Addr): void {
    assert(this.mapped.delete(dmaAddr), () => `bus address 0x${dmaAddr.toString(16)} is mapped`)
  }

  frameOf(dmaAddr: Addr): Pfn {
    const found = this.mapped.get(dmaAddr)
    assert(found !== undefined, () => `bus address 0x${dmaAddr.toString(16)} is mapped`)
    return found.pfn
  }
}
