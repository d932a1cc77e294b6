// Memory and MMU of an explicit heap: one buffer, and nobody who traps the CPU. It works in a browser, on any system and in
// any container; the program says what it is going to touch (`heap.sync`) where elsewhere the hardware would fault.
//
//   heap page    0      1      2      3   ...             the frame number of a page is its number in the heap, so a page
//   frame        0      1      2      3   ...  nframes    has one place, and addresses are byte offsets in the buffer
//
// A page belongs to the CPU or to the devices. `install` hands it to the CPU, for reading or for writing; `unmap` takes it
// back. What the CPU did meanwhile nobody saw, so a page that was handed out for writing counts as dirty when it is taken
// back. Touching a page that one does not own is a mistake of the program, which this backend cannot see.

import { type Addr, addrToVpn, HPAGE_PMD_NR, PAGE_SIZE, type Pfn } from '../../base/addr.ts'
import { AssertionError, assert, formatAddr } from '../../base/assert.ts'
import type { Mmu, MmuCapabilities, SpaceId } from '../mmu.ts'

/** What the CPU may do with a page at the moment. */
export const CPU_ACCESS = ['none', 'read', 'write'] as const
export type CpuAccess = (typeof CPU_ACCESS)[number]

// State of a page, in `#state`.
const READ = 1 << 0
const WRITE = 1 << 1
/** Handed out for writing since the bit was last collected. */
const DIRTY = 1 << 2
/** The frame is in use. */
const TAKEN = 1 << 3
/** The bytes may be other than the zeroes that the buffer began with. */
const TOUCHED = 1 << 4

interface DeviceFrames {
  readonly pfn: Pfn
  readonly npages: number
}

export class ExplicitMmu implements Mmu {
  readonly capabilities: MmuCapabilities = { anyFrame: false, walksPageTable: false, traps: false, hugePages: false }
  readonly nframes: number
  readonly buffer: ArrayBuffer | SharedArrayBuffer
  readonly #state: Uint8Array
  /** Device memory by ascending frame number. */
  readonly #devices: DeviceFrames[] = []
  #nfree: number
  /** There is one address space: two would have the same home frames. */
  #attached = false

  /** `buffer` is all zeroes and belongs to the heap from now on; its size is a multiple of 4096 bytes. */
  constructor(buffer: ArrayBuffer | SharedArrayBuffer) {
    const nframes = buffer.byteLength / PAGE_SIZE
    if (!Number.isInteger(nframes) || nframes < 1 || nframes > 0x7fff_ffff) {
      throw new RangeError(`heap of ${buffer.byteLength} bytes, wanted 1 to ${0x7fff_ffff} pages of ${PAGE_SIZE}`)
    }
    this.buffer = buffer
    this.nframes = nframes
    this.#state = new Uint8Array(nframes)
    this.#nfree = nframes
  }

  /** What the CPU may do with the page at `addr`. */
  cpuAccess(addr: Addr): CpuAccess {
    const state = this.#state[addrToVpn(addr)]
    if ((state & WRITE) !== 0) return 'write'
    return (state & READ) !== 0 ? 'read' : 'none'
  }

  attach(): SpaceId {
    assert(!this.#attached, 'an explicit heap has one address space')
    this.#attached = true
    return 1
  }

  detach(space: SpaceId): void {
    assert(this.#attached && space === 1, () => `detach of address space ${space}, which is not attached`)
    this.#attached = false
  }

  get nfree(): number {
    return this.#nfree
  }

  /** The home frame of `addr`; -1 if it is in use or outside the heap, for more than one page, and without an address. */
  allocFrame(space: SpaceId, addr: Addr, order: number): Pfn {
    if (space !== 1 || order !== 0 || !(addr >= 0 && addr < this.nframes * PAGE_SIZE)) return -1
    const pfn = addrToVpn(addr)
    if ((this.#state[pfn] & TAKEN) !== 0) return -1
    this.#state[pfn] |= TAKEN
    this.#nfree--
    return pfn
  }

  freeFrame(pfn: Pfn, order: number): void {
    this.#checkTaken(pfn)
    assert(order === 0, () => `free of ${2 ** order} frames at once`)
    assert((this.#state[pfn] & READ) === 0, () => `frame ${pfn} was taken from the CPU before it is freed`)
    this.#state[pfn] &= TOUCHED
    this.#nfree++
  }

  addDeviceFrames(npages: number, cpuAccessible: boolean): Pfn {
    assert(Number.isSafeInteger(npages) && npages > 0, () => `${npages} device frames, wanted at least one`)
    assert(!cpuAccessible, 'a page of the heap can be in its home frame only, so there is no coherent memory')
    let pfn = alignUp(this.nframes)
    let at = 0
    while (at < this.#devices.length && pfn + npages > this.#devices[at].pfn) {
      pfn = alignUp(this.#devices[at].pfn + this.#devices[at].npages)
      at++
    }
    this.#devices.splice(at, 0, { pfn, npages })
    return pfn
  }

  removeDeviceFrames(pfn: Pfn, npages: number): void {
    const at = this.#devices.findIndex((device) => device.pfn === pfn && device.npages === npages)
    assert(at >= 0, () => `removal of ${npages} device frames at ${pfn}, which were not added like that`)
    this.#devices.splice(at, 1)
  }

  bytes(pfn: Pfn): Uint8Array {
    this.#checkTaken(pfn)
    this.#state[pfn] |= TOUCHED
    return this.#view(pfn)
  }

  copyFrame(dst: Pfn, src: Pfn): void {
    this.bytes(dst).set(this.bytes(src))
  }

  /** A frame that nobody has had yet is all zeroes, and is not written: the system gives memory at the first touch. */
  clearFrame(pfn: Pfn): void {
    this.#checkTaken(pfn)
    if ((this.#state[pfn] & TOUCHED) !== 0) this.#view(pfn).fill(0)
  }

  /** Hands pages to the CPU. */
  install(space: SpaceId, addr: Addr, pfn: Pfn, npages: number, writable: boolean): void {
    this.#checkRange(space, addr, npages)
    assert(
      pfn === addrToVpn(addr),
      () => `frame ${pfn} at ${formatAddr(addr)}, where frame ${addrToVpn(addr)} is at home`,
    )
    for (let i = pfn; i < pfn + npages; i++) {
      this.#checkTaken(i)
      // A page that the CPU had for writing stays dirty until that was collected.
      const kept = this.#state[i] & (TAKEN | DIRTY)
      this.#state[i] = kept | TOUCHED | (writable ? READ | WRITE | DIRTY : READ)
    }
  }

  /** Takes pages back from the CPU. */
  unmap(space: SpaceId, addr: Addr, npages: number, dirty: Uint8Array): void {
    this.#collect(space, addr, npages, dirty, READ | WRITE | DIRTY)
  }

  protect(space: SpaceId, addr: Addr, npages: number, dirty: Uint8Array): void {
    this.#collect(space, addr, npages, dirty, WRITE | DIRTY)
  }

  /** A page that the CPU keeps for writing is dirty again at once. */
  collectDirty(space: SpaceId, addr: Addr, npages: number, dirty: Uint8Array): void {
    this.#collect(space, addr, npages, dirty, DIRTY)
  }

  /** Reports dirty pages and takes `bits` away, but for DIRTY where the CPU may go on writing. */
  #collect(space: SpaceId, addr: Addr, npages: number, dirty: Uint8Array, bits: number): void {
    this.#checkRange(space, addr, npages)
    const first = addrToVpn(addr)
    for (let i = 0; i < npages; i++) {
      const state = this.#state[first + i]
      dirty[i] = (state & DIRTY) !== 0 ? 1 : 0
      const left = state & ~bits
      this.#state[first + i] = (left & WRITE) !== 0 ? left | DIRTY : left
    }
  }

  #view(pfn: Pfn): Uint8Array {
    return new Uint8Array(this.buffer, pfn * PAGE_SIZE, PAGE_SIZE)
  }

  #checkRange(space: SpaceId, addr: Addr, npages: number): void {
    const isInside = addr >= 0 && addr % PAGE_SIZE === 0 && addr + npages * PAGE_SIZE <= this.nframes * PAGE_SIZE
    if (!this.#attached || space !== 1 || !isInside) {
      throw new AssertionError(`${npages} pages at ${formatAddr(addr)} of address space ${space} are not in the heap`)
    }
  }

  #checkTaken(pfn: Pfn): void {
    if (!(pfn < this.nframes && (this.#state[pfn] & TAKEN) !== 0)) {
      throw new AssertionError(`frame ${pfn} is no allocated frame of the heap`)
    }
  }
}

/** Device memory begins at multiples of 2 MiB, as on every backend. */
function alignUp(pfn: Pfn): Pfn {
  return Math.ceil(pfn / HPAGE_PMD_NR) * HPAGE_PMD_NR
}
