/**
 * Memory and MMU of a simulated machine: the backend that can do everything.
 *
 * Its CPU walks mm's own page table (src/machine/cpu.ts), so there is no translation to install or to take away and no
 * hardware bit to collect: entries are the truth. What is left is physical memory. System frames come from a buddy
 * allocator, device frames are numbered above them, and the bytes of a frame exist from the first look at them on.
 *
 *   | system frames ............ | . | device memory | free | device memory | ...
 *   0                      nframes   ^ a multiple of 512, as every device memory begins
 */

import { type Addr, HPAGE_PMD_NR, type Pfn } from '../../base/addr.ts'
import { AssertionError, assert } from '../../base/assert.ts'
import type { Mmu, MmuCapabilities, SpaceId } from '../mmu.ts'
import { BuddyAllocator } from './buddy.ts'
import { FrameContents } from './frame-contents.ts'

/** What a SimulatedMmu has. */
export interface SimulatedMmuOptions {
  /** System frames, 1 to 2^31 - 1. */
  readonly nframes: number
  /** False to do without the bytes of frames, where only the bookkeeping is of interest. Default true. */
  readonly contents?: boolean
}

interface DeviceFrames {
  readonly pfn: Pfn
  readonly npages: number
  readonly cpuAccessible: boolean
}

/** An MMU in software: frames are in one buffer, and each access walks the page table. */
export class SimulatedMmu implements Mmu {
  readonly capabilities: MmuCapabilities = { anyFrame: true, walksPageTable: true, traps: true, hugePages: true }
  readonly nframes: number
  readonly #buddy: BuddyAllocator
  /** null where the machine does without. */
  readonly #contents: FrameContents | null
  /** Device memory by ascending frame number. */
  readonly #devices: DeviceFrames[] = []
  readonly #spaces = new Set<SpaceId>()
  #lastSpace = 0

  constructor(options: SimulatedMmuOptions) {
    const { nframes, contents = true } = options
    if (!Number.isInteger(nframes) || nframes < 1 || nframes > 0x7fff_ffff) {
      throw new RangeError(`nframes is ${nframes}, wanted 1 to ${0x7fff_ffff}`)
    }
    this.nframes = nframes
    this.#buddy = new BuddyAllocator(nframes)
    this.#contents = contents ? new FrameContents(nframes) : null
  }

  /** Memory of the host that the contents of frames take up. */
  get nbytesResident(): number {
    return this.#contents?.nbytes ?? 0
  }

  attach(): SpaceId {
    this.#lastSpace++
    this.#spaces.add(this.#lastSpace)
    return this.#lastSpace
  }

  detach(space: SpaceId): void {
    assert(this.#spaces.delete(space), () => `detach of address space ${space}, which is not attached`)
  }

  get nfree(): number {
    return this.#buddy.nfree
  }

  allocFrame(_space: SpaceId, _addr: Addr, order: number): Pfn {
    return this.#buddy.alloc(order)
  }

  freeFrame(pfn: Pfn, order: number): void {
    this.#buddy.free(pfn, order)
    if (this.#contents === null) return
    for (let i = 0; i < 1 << order; i++) this.#contents.drop(pfn + i)
  }

  addDeviceFrames(npages: number, cpuAccessible: boolean): Pfn {
    assert(Number.isSafeInteger(npages) && npages > 0, () => `${npages} device frames, wanted at least one`)
    let pfn = alignUp(this.nframes)
    let at = 0
    while (at < this.#devices.length && pfn + npages > this.#devices[at].pfn) {
      pfn = alignUp(this.#devices[at].pfn + this.#devices[at].npages)
      at++
    }
    this.#devices.splice(at, 0, { pfn, npages, cpuAccessible })
    if (cpuAccessible) this.#contents?.grow(pfn + npages)
    return pfn
  }

  /** Takes device frames away again; nothing maps them any more. */
  removeDeviceFrames(pfn: Pfn, npages: number): void {
    const at = this.#devices.findIndex((device) => device.pfn === pfn && device.npages === npages)
    assert(at >= 0, () => `removal of ${npages} device frames at ${pfn}, which were not added like that`)
    const [device] = this.#devices.splice(at, 1)
    if (!device.cpuAccessible || this.#contents === null) return
    for (let i = 0; i < npages; i++) this.#contents.drop(pfn + i)
  }

  /** The view stays the same until the frame is freed. Undefined contents read as POISON. */
  bytes(pfn: Pfn): Uint8Array {
    const contents = this.#contents
    if (contents === null) throw new AssertionError(`bytes of frame ${pfn}: this machine was made without contents`)
    const found = contents.find(pfn)
    if (found !== null) return found
    this.#checkHasBytes(pfn)
    return contents.bytes(pfn)
  }

  /** Every frame lies by itself. */
  bytesOfRun(pfn: Pfn): Uint8Array {
    return this.bytes(pfn)
  }

  /** Copies the 4096 bytes of one frame to another. */
  copyFrame(dst: Pfn, src: Pfn): void {
    this.#checkHasBytes(dst)
    this.#checkHasBytes(src)
    this.#contents?.copy(dst, src)
  }

  /** Fills the 4096 bytes of a frame with zeroes. */
  clearFrame(pfn: Pfn): void {
    this.#checkHasBytes(pfn)
    this.#contents?.clear(pfn)
  }

  install(): void {
    noTranslations('install')
  }

  unmap(): void {
    noTranslations('unmap')
  }

  protect(): void {
    noTranslations('protect')
  }

  collectDirty(): void {
    noTranslations('collectDirty')
  }

  /** Throws unless the allocator's lists and counts agree. Walks every frame that was ever used. */
  validate(): void {
    this.#buddy.validate()
  }

  #checkHasBytes(pfn: Pfn): void {
    if (this.#buddy.isTaken(pfn)) return
    for (const device of this.#devices) {
      if (device.cpuAccessible && pfn >= device.pfn && pfn < device.pfn + device.npages) return
    }
    throw new AssertionError(`bytes of frame ${pfn}, which is neither an allocated system frame nor coherent memory`)
  }
}

/** Start of the next huge page, so that device memory can hold some. */
function alignUp(pfn: Pfn): Pfn {
  return Math.ceil(pfn / HPAGE_PMD_NR) * HPAGE_PMD_NR
}

function noTranslations(what: string): never {
  throw new AssertionError(`${what} on the simulated MMU, which walks the page table itself`)
}
