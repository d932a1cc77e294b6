// Memory and MMU of an explicit heap: buffers, and nobody who traps the CPU. It works in a browser, on any system and in
// any container; the program says what it is going to touch (`heap.sync`) where elsewhere the hardware would fault.
//
//   heap page    0      1      2      3   ...             the frame number of a page is its number in the heap, so a page
//   frame        0      1      2      3   ...  nframes    has one place; each segment of frames is one buffer
//
// A page belongs to the CPU or to the devices. `install` hands it to the CPU, for reading or for writing; `unmap` takes it
// back. What the CPU did meanwhile nobody saw, so a page that was handed out for writing counts as dirty when it is taken
// back. Touching a page that one does not own is a mistake of the program, which only a guard (page-guard.ts) finds, later.

import { type Addr, addrToVpn, HPAGE_PMD_NR, PAGE_SIZE, type Pfn } from '../../base/addr.ts'
import { AssertionError, assert, formatAddr } from '../../base/assert.ts'
import type { Mmu, MmuCapabilities, SpaceId } from '../mmu.ts'
import { HeapMemory } from './heap-memory.ts'
import { PageGuard, type TagOf } from './page-guard.ts'

/** What the CPU may do with a page at the moment. */
export const CPU_ACCESS = ['none', 'read', 'write'] as const
export type CpuAccess = (typeof CPU_ACCESS)[number]

// State of a page, in `#state`.
const READ = 1 << 0
const WRITE = 1 << 1
/** Handed out for writing since the bit was last collected, or written without that. */
const DIRTY = 1 << 2
/** The frame is in use. */
const TAKEN = 1 << 3
/** The bytes may be other than the zeroes that the buffer began with. */
const TOUCHED = 1 << 4

interface DeviceFrames {
  readonly pfn: Pfn
  readonly npages: number
}

export interface ExplicitMmuOptions {
  /** Pages that the heap may grow to, by `addSegment`. */
  readonly nframes: number
  /** Find out when the CPU touches what is not its own, with the help of patterns that carry this. Default: nobody looks. */
  readonly guardTags?: TagOf | undefined
}

export class ExplicitMmu implements Mmu {
  readonly capabilities: MmuCapabilities = { anyFrame: false, walksPageTable: false, traps: false, hugePages: false }
  readonly nframes: number
  /** Looks after the pages that the CPU does not own; null if nobody does. */
  readonly guard: PageGuard | null
  /**
   * While this is false `install` hands out nothing. A heap sets it to true for faults of the CPU only: where nobody traps, the
   * CPU gets a page when it asks for it, and not because a device faulted it in.
   */
  handsOut = true
  readonly #memory = new HeapMemory()
  readonly #state: Uint8Array
  /** Device memory by ascending frame number. */
  readonly #devices: DeviceFrames[] = []
  #nfree: number
  /** There is one address space: two would have the same home frames. */
  #attached = false

  /**
   * With a buffer: a heap that is exactly that, whole pages of zeroes which belong to it from now on. With options: a heap
   * without memory, to which segments are added.
   */
  constructor(memory: ArrayBufferLike | ExplicitMmuOptions) {
    const nframes = 'byteLength' in memory ? memory.byteLength / PAGE_SIZE : memory.nframes
    if (!Number.isInteger(nframes) || nframes < 1 || nframes > 0x7fff_ffff) {
      throw new RangeError(`heap of ${nframes * PAGE_SIZE} bytes, wanted 1 to ${0x7fff_ffff} pages of ${PAGE_SIZE}`)
    }
    this.nframes = nframes
    this.#state = new Uint8Array(nframes)
    this.#nfree = 0
    const guardTags = 'byteLength' in memory ? undefined : memory.guardTags
    const markDirty = (pfn: Pfn): void => {
      this.#state[pfn] |= DIRTY
    }
    this.guard = guardTags === undefined ? null : new PageGuard(this.#memory, nframes, guardTags, markDirty)
    if ('byteLength' in memory) this.addSegment(0, memory)
  }

  /** Puts a buffer of whole pages, all zero, at the address `addr` of the heap. It belongs to the heap from now on. */
  addSegment(addr: Addr, buffer: ArrayBufferLike): void {
    const npages = buffer.byteLength / PAGE_SIZE
    const first = addrToVpn(addr)
    if (!Number.isInteger(npages) || npages < 1 || addr % PAGE_SIZE !== 0 || first + npages > this.nframes) {
      throw new RangeError(
        `segment of ${buffer.byteLength} bytes at ${formatAddr(addr)}, wanted whole pages in the heap`,
      )
    }
    this.#memory.add(first, buffer)
    this.#nfree += npages
  }

  /** The buffer of the first segment. */
  get buffer(): ArrayBufferLike {
    return this.#memory.segments[0].buffer
  }

  /** What the CPU may do with the page at `addr`. */
  cpuAccess(addr: Addr): CpuAccess {
    const state = this.#state[addrToVpn(addr)]
    if ((state & WRITE) !== 0) return 'write'
    return (state & READ) !== 0 ? 'read' : 'none'
  }

  /**
   * How many of `npages` pages from `addr` on are alike, at least one: that the CPU may use for this access, or, as a negative number, that
   * it may not.
   */
  cpuRun(addr: Addr, npages: number, write: boolean): number {
    const state = this.#state
    const first = addrToVpn(addr) | 0
    const wanted = write ? WRITE : READ | WRITE
    const isHeld = (state[first] & wanted) !== 0
    const end = (first + npages) | 0
    let next = first + 1
    // What comes back from a device is long.
    if (!isHeld)
      while (next + 4 <= end && ((state[next] | state[next + 1] | state[next + 2] | state[next + 3]) & wanted) === 0)
        next += 4
    while (next < end && ((state[next] & wanted) !== 0) === isHeld) next++
    return isHeld ? next - first : first - next
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
    if ((this.#state[pfn] & TAKEN) !== 0 || this.#memory.find(pfn) === null) return -1
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
    this.guard?.drop(pfn)
  }

  /**
   * Forgets what was known of pages that nobody has. They are the CPU's to use without a word to anybody, and what is in the
   * buffer then is their contents: `clearFrame` leaves it alone.
   */
  renew(addr: Addr, npages: number): void {
    const first = addrToVpn(addr)
    for (let pfn = first; pfn < first + npages; pfn++) {
      assert((this.#state[pfn] & TAKEN) === 0, () => `frame ${pfn} is free`)
      this.#state[pfn] = 0
      this.guard?.reset(pfn)
    }
  }

  /** Makes pages of one segment zero in the buffer, whoever has them. */
  clear(addr: Addr, npages: number): void {
    this.#memory.clear(addrToVpn(addr), npages)
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
    return this.#contents(pfn)
  }

  /** Up to the end of the segment, or to a page whose contents the guard has put elsewhere. */
  bytesOfRun(pfn: Pfn, npages: number): Uint8Array {
    const segment = this.#memory.get(pfn)
    const end = Math.min(pfn + npages, segment.endPfn) | 0
    const { guard } = this
    const states = this.#state
    const first = pfn | 0
    let next = guard === null ? end : first
    while (next < end && guard?.isTaken(next) !== true) next++
    for (let i = first; i < next; i++) {
      const state = states[i]
      if ((state & TAKEN) === 0) this.#checkTaken(i)
      states[i] = state | TOUCHED
    }
    if (next === pfn) return this.bytes(pfn)
    return new Uint8Array(segment.buffer, (pfn - segment.pfn) * PAGE_SIZE, (next - pfn) * PAGE_SIZE)
  }

  copyFrame(dst: Pfn, src: Pfn): void {
    this.bytes(dst).set(this.bytes(src))
  }

  /** A frame that nobody has had yet is all zeroes, and is not written: the system gives memory at the first touch. */
  clearFrame(pfn: Pfn): void {
    this.#checkTaken(pfn)
    if ((this.#state[pfn] & TOUCHED) !== 0) this.#contents(pfn).fill(0)
  }

  /** Hands pages to the CPU, unless it has not asked for them (`handsOut`). */
  install(space: SpaceId, addr: Addr, pfn: Pfn, npages: number, writable: boolean): void {
    this.#checkRange(space, addr, npages)
    assert(
      pfn === addrToVpn(addr),
      () => `frame ${pfn} at ${formatAddr(addr)}, where frame ${addrToVpn(addr)} is at home`,
    )
    const { guard, handsOut } = this
    const states = this.#state
    const given = TOUCHED | (writable ? READ | WRITE | DIRTY : READ)
    const first = pfn | 0
    const end = (first + npages) | 0
    for (let i = first; i < end; i++) {
      const state = states[i]
      if ((state & TAKEN) === 0) this.#checkTaken(i)
      // A page that the CPU had for writing stays dirty until that was collected.
      if (handsOut) states[i] = (state & (TAKEN | DIRTY)) | given
    }
    if (guard === null || !handsOut) return
    for (let i = first; i < end; i++) {
      guard.give(i)
      if (writable) guard.unseal(i)
      else guard.seal(i)
    }
  }

  /** Takes pages back from the CPU. */
  unmap(space: SpaceId, addr: Addr, npages: number, dirty: Uint8Array): void {
    this.#guardTaking(addr, npages)
    this.#collect(space, addr, npages, dirty, READ | WRITE | DIRTY)
  }

  protect(space: SpaceId, addr: Addr, npages: number, dirty: Uint8Array): void {
    this.#guardSealing(addr, npages)
    this.#collect(space, addr, npages, dirty, WRITE | DIRTY)
  }

  /** A page that the CPU keeps for writing is dirty again at once. */
  collectDirty(space: SpaceId, addr: Addr, npages: number, dirty: Uint8Array): void {
    this.#collect(space, addr, npages, dirty, DIRTY)
  }

  /** Reports dirty pages and takes `bits` away, but for DIRTY where the CPU may go on writing. */
  #collect(space: SpaceId, addr: Addr, npages: number, dirty: Uint8Array, bits: number): void {
    this.#checkRange(space, addr, npages)
    const states = this.#state
    const first = addrToVpn(addr) | 0
    const end = npages | 0
    for (let i = 0; i < end; i++) {
      const state = states[first + i]
      dirty[i] = (state & DIRTY) !== 0 ? 1 : 0
      const left = state & ~bits
      states[first + i] = (left & WRITE) !== 0 ? left | DIRTY : left
    }
  }

  /** Pages that the CPU had are taken from it. */
  #guardTaking(addr: Addr, npages: number): void {
    const { guard } = this
    if (guard === null) return
    const first = addrToVpn(addr)
    for (let pfn = first; pfn < first + npages; pfn++) if ((this.#state[pfn] & READ) !== 0) guard.take(pfn)
  }

  /** Pages that the CPU could write may only be read from now on. */
  #guardSealing(addr: Addr, npages: number): void {
    const { guard } = this
    if (guard === null) return
    const first = addrToVpn(addr)
    for (let pfn = first; pfn < first + npages; pfn++) if ((this.#state[pfn] & WRITE) !== 0) guard.seal(pfn)
  }

  /** What is in a frame, wherever the guard has put it. */
  #contents(pfn: Pfn): Uint8Array {
    return this.guard?.isTaken(pfn) === true ? this.guard.bytes(pfn) : this.#memory.bytes(pfn)
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
