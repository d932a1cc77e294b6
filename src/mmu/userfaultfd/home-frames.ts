// Memory of a live heap: page n of the heap is page n of its segments, and nowhere else. What is free, what the files hold, and
// the contents, which the engine reaches through the alias.
//
//   heap page    0  1  2  ...             1048576 ...           frame number = page number in the heap
//   segment      |---- 0, 4 GiB ---------|---- 1, 4 GiB ----|
//
// Files are sparse: a page that nobody has written takes no memory, and reads as zeroes. A freed page keeps its memory until
// a batch of them has come together, as holes cost a system call each and are made cheaper side by side.

import { type Addr, addrToVpn, PAGE_SIZE, type Pfn } from '../../base/addr.ts'
import { AssertionError, assert } from '../../base/assert.ts'
import { sparseBuffer } from '../../base/sparse-buffer.ts'
import type { Kernel } from './ffi.ts'
import { SEGMENT_MAX, Segment, type SegmentMemory } from './segment.ts'

const SEGMENT_PAGES = SEGMENT_MAX / PAGE_SIZE
/** Freed pages that may wait for their holes. */
const PUNCH_BATCH = 512 // pages, 2 MiB

// State of a frame.
/** In use. */
const TAKEN = 1 << 0
/** The file may have a page here, and not of zeroes. */
const BACKED = 1 << 1

export class HomeFrames {
  readonly nframes: number
  readonly segments: readonly Segment[]
  readonly #state: Uint8Array
  #nfree: number
  #nbacked = 0
  /** Freed frames that may still be backed. A frame can be here twice, or in use again. */
  readonly #punches: Pfn[] = []

  /** Throws an MmError when the system has no room for the mappings. */
  constructor(kernel: Kernel, nframes: number) {
    if (!Number.isInteger(nframes) || nframes < 1 || nframes > 0x7fff_ffff) {
      throw new RangeError(`heap of ${nframes} pages, wanted 1 to ${0x7fff_ffff}`)
    }
    this.nframes = nframes
    this.#nfree = nframes
    this.#state = new Uint8Array(sparseBuffer(nframes), 0, nframes)
    const segments: Segment[] = []
    this.segments = segments
    try {
      for (let first = 0; first < nframes; first += SEGMENT_PAGES) {
        segments.push(new Segment(kernel, Math.min(SEGMENT_PAGES, nframes - first) * PAGE_SIZE))
      }
    } catch (error) {
      this.close()
      throw error
    }
  }

  get nfree(): number {
    return this.#nfree
  }

  /** Pages that the files hold, as far as is known here; never fewer than they do. */
  get nbacked(): number {
    return this.#nbacked
  }

  /** The home frame of `addr`, or -1 if it is in use or outside the heap. */
  alloc(addr: Addr): Pfn {
    if (!(addr >= 0 && addr < this.nframes * PAGE_SIZE)) return -1
    const pfn = addrToVpn(addr)
    if ((this.#state[pfn] & TAKEN) !== 0) return -1
    this.#state[pfn] |= TAKEN
    this.#nfree--
    return pfn
  }

  free(pfn: Pfn): void {
    this.checkTaken(pfn)
    this.#state[pfn] &= ~TAKEN
    this.#nfree++
    if ((this.#state[pfn] & BACKED) === 0) return
    this.#punches.push(pfn)
    if (this.#punches.length >= PUNCH_BATCH) this.trim()
  }

  /** Gives the file a page of zeroes for a frame that is free, and goes on to be. */
  prepareStray(pfn: Pfn): void {
    assert((this.#state[pfn] & TAKEN) === 0, () => `frame ${pfn} belongs to somebody`)
    const offset = this.offsetOf(pfn)
    this.segmentOf(pfn).alias.fill(0, offset, offset + PAGE_SIZE)
    this.#back(pfn)
  }

  /** The page of a stray is not needed any more. */
  dropStray(pfn: Pfn): void {
    this.segmentOf(pfn).zapUser(this.offsetOf(pfn), PAGE_SIZE)
    this.#punches.push(pfn)
    if (this.#punches.length >= PUNCH_BATCH) this.trim()
  }

  /** Gives the memory of all freed pages back to the system. Returns how many pages that were. */
  trim(): number {
    const punches = Uint32Array.from(
      this.#punches.filter((pfn) => (this.#state[pfn] & (TAKEN | BACKED)) === BACKED),
    ).sort()
    this.#punches.length = 0
    let npages = 0
    for (let i = 0; i < punches.length; ) {
      const first = punches[i]
      let end = first
      for (; i < punches.length && punches[i] <= end && this.#sameSegment(first, punches[i]); i++) end = punches[i] + 1
      this.segmentOf(first).punch(this.offsetOf(first), (end - first) * PAGE_SIZE)
      for (let pfn = first; pfn < end; pfn++) this.#state[pfn] &= ~BACKED
      npages += end - first
    }
    this.#nbacked -= npages
    return npages
  }

  /** Contents of a frame. A page that the file did not have gets memory when it is looked at. */
  bytes(pfn: Pfn): Uint8Array {
    return this.bytesOfRun(pfn, 1)
  }

  /** The same for neighbours, up to the end of the segment. */
  bytesOfRun(pfn: Pfn, npages: number): Uint8Array {
    this.checkTaken(pfn)
    const offset = this.offsetOf(pfn)
    const { alias } = this.segmentOf(pfn)
    const nbytes = Math.min(npages * PAGE_SIZE, alias.length - offset)
    for (let i = pfn; i < pfn + nbytes / PAGE_SIZE; i++) {
      this.checkTaken(i)
      this.#back(i)
    }
    return alias.subarray(offset, offset + nbytes)
  }

  /** Makes a frame read as zeroes; one that the file does not have reads so already. */
  clear(pfn: Pfn): void {
    this.checkTaken(pfn)
    if ((this.#state[pfn] & BACKED) !== 0) this.bytes(pfn).fill(0)
  }

  copy(dst: Pfn, src: Pfn): void {
    this.checkTaken(src)
    if ((this.#state[src] & BACKED) === 0) this.clear(dst)
    else this.bytes(dst).set(this.bytes(src))
  }

  /** Fills frames with `contents`. Where the file has no pages they are made and filled in one step. */
  write(pfn: Pfn, contents: Uint8Array): void {
    assert(contents.length % PAGE_SIZE === 0, () => `${contents.length} bytes, wanted whole pages`)
    const npages = contents.length / PAGE_SIZE
    for (let i = 0; i < npages; ) {
      const isBacked = this.isBacked(pfn + i)
      const limit = Math.min(npages, this.segmentEnd(pfn + i) - pfn)
      let to = i + 1
      while (to < limit && this.isBacked(pfn + to) === isBacked) to++
      const segment = this.segmentOf(pfn + i)
      const part = contents.subarray(i * PAGE_SIZE, to * PAGE_SIZE)
      const offset = this.offsetOf(pfn + i)
      if (isBacked) segment.alias.set(part, offset)
      else segment.write(part, offset)
      for (; i < to; i++) this.#back(pfn + i)
    }
  }

  /** Gives pages to the file wherever it has none in a run of frames of one segment, so that they can be mapped. */
  populate(pfn: Pfn, npages: number): void {
    let first = pfn
    let end = pfn + npages
    while (first < end && (this.#state[first] & BACKED) !== 0) first++
    if (first === end) return
    while ((this.#state[end - 1] & BACKED) !== 0) end--
    this.repopulate(first, end - first)
  }

  /** The same, whatever is known about the file. */
  repopulate(pfn: Pfn, npages: number): void {
    this.segmentOf(pfn).populate(this.offsetOf(pfn), npages * PAGE_SIZE)
    for (let i = pfn; i < pfn + npages; i++) this.#back(i)
  }

  /** The file may have a page for a frame. */
  isBacked(pfn: Pfn): boolean {
    this.checkTaken(pfn)
    return (this.#state[pfn] & BACKED) !== 0
  }

  /** The segments, for another thread of the process that reads and writes whole pages. */
  get memory(): SegmentMemory[] {
    return this.segments.map(({ memfd, userAddr, aliasAddr, nbytes }) => ({ memfd, userAddr, aliasAddr, nbytes }))
  }

  /** Somebody else has given the file a page here. */
  noteBacked(pfn: Pfn): void {
    this.checkTaken(pfn)
    this.#back(pfn)
  }

  segmentOf(pfn: Pfn): Segment {
    return this.segments[Math.floor(pfn / SEGMENT_PAGES)]
  }

  /** First frame of the next segment. */
  segmentEnd(pfn: Pfn): Pfn {
    return (Math.floor(pfn / SEGMENT_PAGES) + 1) * SEGMENT_PAGES
  }

  /** Where a frame begins in its segment, in bytes. */
  offsetOf(pfn: Pfn): number {
    return (pfn % SEGMENT_PAGES) * PAGE_SIZE
  }

  /** Where programs see the frame. */
  userAddr(pfn: Pfn): Addr {
    return this.segmentOf(pfn).userAddr + this.offsetOf(pfn)
  }

  /** The page of the heap that programs see at `addr`, or -1 for memory that is not the heap's. */
  pageAt(addr: Addr): Pfn {
    for (let i = 0; i < this.segments.length; i++) {
      const { userAddr, nbytes } = this.segments[i]
      if (addr >= userAddr && addr < userAddr + nbytes) return i * SEGMENT_PAGES + addrToVpn(addr - userAddr)
    }
    return -1
  }

  checkTaken(pfn: Pfn): void {
    if (!(pfn < this.nframes && (this.#state[pfn] & TAKEN) !== 0)) {
      throw new AssertionError(`frame ${pfn} is no allocated frame of the heap`)
    }
  }

  close(): void {
    for (const segment of this.segments) segment.close()
  }

  #sameSegment(a: Pfn, b: Pfn): boolean {
    return Math.floor(a / SEGMENT_PAGES) === Math.floor(b / SEGMENT_PAGES)
  }

  #back(pfn: Pfn): void {
    if ((this.#state[pfn] & BACKED) !== 0) return
    this.#state[pfn] |= BACKED
    this.#nbacked++
  }
}
