// Device memory without a device, for tests of mm alone: frames that are handed out and come back, and bytes to tell pages
// apart. What happens on a CPU fault is the test's business.

import { PAGE_SIZE, type Pfn } from '../../src/base/addr.ts'
import { assert } from '../../src/base/assert.ts'
import {
  type DevPagemap,
  MEMORY_DEVICE_COHERENT,
  MEMORY_DEVICE_PRIVATE,
  memremapPages,
  zoneDevicePageInit,
} from '../../src/mm/memremap.ts'
import type { System } from '../../src/mm/system.ts'
import { VM_FAULT_SIGBUS, type VmFault } from '../../src/mm/vm-fault.ts'

export interface TestDeviceOptions {
  /** Pages of memory. Default 16. */
  readonly npages?: number
  /** Default MEMORY_DEVICE_PRIVATE. */
  readonly type?: number
  /** Owner of the memory. Default: the device itself. */
  readonly owner?: unknown
}

export class TestDevice {
  readonly sys: System
  /** Decides on the letter of its pages in dumps: 0 is `d`, 1 is `e`. */
  readonly number: number
  readonly owner: unknown
  readonly pagemap: DevPagemap
  /** Frames that came back, in order. */
  readonly freed: Pfn[] = []
  /** The CPU touched a page of private memory. */
  onFault: (vmf: VmFault) => number = () => VM_FAULT_SIGBUS
  /** A frame has come back. */
  onFree: (pfn: Pfn) => void = () => {}
  private readonly bytesOf = new Map<Pfn, Uint8Array>()
  private readonly free: Pfn[] = []

  constructor(sys: System, number: number, options: TestDeviceOptions = {}) {
    const { npages = 16, type = MEMORY_DEVICE_PRIVATE, owner = this } = options
    this.sys = sys
    this.number = number
    this.owner = owner
    const ops = { pageFree: (pfn: Pfn) => this.pageFree(pfn), migrateToRam: (vmf: VmFault) => this.onFault(vmf) }
    const pagemap = memremapPages(sys, { type, npages, owner, ops })
    assert(typeof pagemap !== 'number', () => `memremap: ${pagemap}`)
    this.pagemap = pagemap
    for (let i = npages - 1; i >= 0; i--) this.free.push(pagemap.pfn + i)
  }

  get isCoherent(): boolean {
    return this.pagemap.type === MEMORY_DEVICE_COHERENT
  }

  /** Frames in use. */
  get nused(): number {
    return this.pagemap.live
  }

  /** A frame with one reference, locked. */
  take(): Pfn {
    const pfn = this.free.pop()
    assert(pfn !== undefined, () => `device ${this.number} has a free frame`)
    zoneDevicePageInit(this.sys, pfn)
    return pfn
  }

  /** What a page of the device holds. */
  bytes(pfn: Pfn): Uint8Array {
    if (this.isCoherent) return this.sys.mmu.bytes(pfn)
    let bytes = this.bytesOf.get(pfn)
    if (bytes === undefined) {
      bytes = new Uint8Array(PAGE_SIZE)
      this.bytesOf.set(pfn, bytes)
    }
    return bytes
  }

  private pageFree(pfn: Pfn): void {
    this.freed.push(pfn)
    this.bytesOf.delete(pfn)
    this.free.push(pfn)
    this.onFree(pfn)
  }
}
