// The MMU of this machine, as a backend of mm: programs touch ordinary typed arrays, the hardware translates, and what it
// cannot translate arrives as a page fault (fault-events.ts). Linux only; features.ts says what a machine offers.
//
//   install   UFFDIO_CONTINUE: maps the page of the file, no copy          unmap     zap, then read what was written
//   protect   read what was written and protect again, in one step        free      a hole in the file, in batches
//
// Knowing which pages were written is the delicate part. A translation is installed with write protection also where stores
// are allowed, and the first store takes it away:
//
//   tracking   the first store to a page          so that
//   async      is let through by the kernel       nobody is told. Read-only pages can be written too: that is found later,
//                                                 like any other store. (Linux 6.7)
//   sync       arrives as a fault, resolveStore() stores to read-only pages go to mm as write faults. (Linux 6.4)
//   none       cannot be seen                     every page that was touched counts as written. (Linux 5.14)
//
// Install decides about the protection of a page; marks that earlier translations left behind do not count.

import { type Addr, addrToVpn, isPageAligned, PAGE_SIZE, type Pfn, vpnToAddr } from '../../base/addr.ts'
import { AssertionError, assert, formatAddr } from '../../base/assert.ts'
import { bytesIn } from '../../base/byte-set.ts'
import { EAGAIN, EEXIST, EFAULT } from '../../base/errno.ts'
import { sparseBuffer } from '../../base/sparse-buffer.ts'
import {
  UFFDIO_REGISTER_MODE_MINOR,
  UFFDIO_REGISTER_MODE_MISSING,
  UFFDIO_REGISTER_MODE_WP,
} from '../../uapi/userfaultfd.ts'
import type { Mmu, MmuCapabilities, SpaceId } from '../mmu.ts'
import { DeviceFrames } from './device-frames.ts'
import type { UserRange } from './exit-hook.ts'
import { type Kernel, systemError } from './ffi.ts'
import { HomeFrames } from './home-frames.ts'
import { Pagemap } from './pagemap.ts'
import { Uffd } from './uffd.ts'

/** Who notices the first store to a page: the kernel, we, or nobody. Best first. */
export const WRITE_TRACKING = ['async', 'sync', 'none'] as const
export type WriteTracking = (typeof WRITE_TRACKING)[number]

export interface UserfaultfdMmuOptions {
  readonly kernel: Kernel
  /** The userfaultfd, switched on with the features that `tracking` needs. It stays the caller's. */
  readonly fd: number
  readonly tracking: WriteTracking
  readonly nframes: number
  /** Called when the number of pages changes that nobody has and programs touched. */
  readonly onStrays?: (count: number) => void
}

/** Pages of the heap, by address. */
export interface PageRange {
  readonly addr: Addr
  readonly npages: number
}

// State of a translation, in `#state`.
const READ = 1 << 0
const WRITE = 1 << 1
/** Written since that was last collected, as far as we have been told. In `async` the kernel knows of more. */
const DIRTY = 1 << 2

/** All states of an installed page; one that is not has none of these bits. */
const STATES = [READ, READ | WRITE, READ | DIRTY, READ | WRITE | DIRTY] as const

/** Longest run of pages that is looked at in one step: 64 MiB, in some hundred microseconds. */
const RUN_MAX = 16384
/** Runs with fewer pages between them than this are one: asking about a page is cheaper than asking twice. */
const GAP_MAX = 16
/** Pages that nobody has and programs touched all the same. More are taken away again, the oldest first. */
const STRAYS_MAX = 4096 // pages, 16 MiB
/** How often a call may say that the address space is changing. It is rare, so more is a fault of ours. */
const RETRIES_MAX = 1000

const SPACE: SpaceId = 1

export class UserfaultfdMmu implements Mmu {
  readonly capabilities: MmuCapabilities
  readonly tracking: WriteTracking
  readonly frames: HomeFrames
  readonly #uffd: Uffd
  readonly #pagemap: Pagemap | null
  readonly #devices: DeviceFrames
  readonly #state: Uint8Array
  readonly #marks = new Uint8Array(RUN_MAX)
  /** Pages of nobody that a program has touched, oldest first. */
  readonly #strays = new Set<Pfn>()
  readonly #onStrays: (count: number) => void
  #attached = false
  #batching = false
  /** Installs of the batch that are not done yet: one run of pages, alike. */
  #pendingPfn = 0
  #pendingPages = 0
  #pendingWritable = false
  /** Pages [first, end) that a store is waiting for. */
  #storeFirst = 0
  #storeEnd = 0

  /** Throws an MmError when the system has no room, or the descriptor lacks what `tracking` needs. */
  constructor(options: UserfaultfdMmuOptions) {
    const { kernel, fd, tracking, nframes } = options
    this.tracking = tracking
    const letsStoresThrough = tracking === 'async'
    this.capabilities = { anyFrame: false, walksPageTable: false, traps: true, letsStoresThrough, hugePages: false }
    this.frames = new HomeFrames(kernel, nframes)
    this.#state = bytesIn(sparseBuffer(nframes), nframes)
    this.#onStrays = options.onStrays ?? (() => {})
    this.#devices = new DeviceFrames(nframes)
    this.#uffd = new Uffd(kernel, fd)
    let pagemap: Pagemap | null = null
    try {
      const modes = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR
      for (const { addr, nbytes } of this.ranges) {
        this.#uffd.register(addr, nbytes, tracking === 'none' ? modes : modes | UFFDIO_REGISTER_MODE_WP)
      }
      if (tracking === 'async') pagemap = new Pagemap(kernel)
    } catch (error) {
      this.frames.close()
      throw error
    }
    this.#pagemap = pagemap
  }

  get nframes(): number {
    return this.frames.nframes
  }

  /** What programs see, by segment. */
  get buffers(): readonly SharedArrayBuffer[] {
    return this.frames.segments.map(({ buffer }) => buffer)
  }

  /** Where programs see it: what is registered with the userfaultfd. */
  get ranges(): readonly UserRange[] {
    return this.frames.segments.map(({ userAddr, nbytes }) => ({ addr: userAddr, nbytes }))
  }

  /** Address in the heap of what a program touched at `userAddr`, or -1 if that is not the heap's. */
  heapAddr(userAddr: Addr): Addr {
    const vpn = this.frames.pageAt(userAddr)
    return vpn < 0 ? -1 : vpnToAddr(vpn) + (userAddr % PAGE_SIZE)
  }

  attach(): SpaceId {
    assert(!this.#attached, 'a live heap has one address space')
    this.#attached = true
    return SPACE
  }

  detach(space: SpaceId): void {
    assert(this.#attached && space === SPACE, () => `detach of address space ${space}, which is not attached`)
    this.#attached = false
  }

  get nfree(): number {
    return this.frames.nfree
  }

  /** The home frame of `addr`; -1 if it is in use or outside the heap, for more than one page, and without an address. */
  allocFrame(space: SpaceId, addr: Addr, order: number): Pfn {
    return space === SPACE && order === 0 ? this.frames.alloc(addr) : -1
  }

  freeFrame(pfn: Pfn, order: number): void {
    this.#flush()
    assert(order === 0, () => `free of ${2 ** order} frames at once`)
    this.frames.checkTaken(pfn)
    assert((this.#state[pfn] & READ) === 0, () => `frame ${pfn} was taken from the CPU before it is freed`)
    this.frames.free(pfn)
  }

  addDeviceFrames(npages: number, cpuAccessible: boolean): Pfn {
    assert(!cpuAccessible, 'a page of the heap can be in its home frame only, so there is no coherent memory')
    return this.#devices.add(npages)
  }

  removeDeviceFrames(pfn: Pfn, npages: number): void {
    this.#devices.remove(pfn, npages)
  }

  bytes(pfn: Pfn): Uint8Array {
    return this.frames.bytes(pfn)
  }

  bytesOfRun(pfn: Pfn, npages: number): Uint8Array {
    return this.frames.bytesOfRun(pfn, npages)
  }

  fillFrames(pfn: Pfn, contents: Uint8Array): void {
    this.frames.write(pfn, contents)
  }

  copyFrame(dst: Pfn, src: Pfn): void {
    this.frames.copy(dst, src)
  }

  clearFrame(pfn: Pfn): void {
    this.frames.clear(pfn)
  }

  /**
   * Runs `body` and hands what it installs to the kernel in as few calls as possible. Pages of `store` are those that a
   * store waits for: where they are installed writable they count as written, and the store needs no second fault.
   */
  batch<T>(body: () => T, store?: PageRange | undefined): T {
    assert(!this.#batching, 'a batch inside a batch')
    this.#batching = true
    if (store !== undefined) {
      this.#storeFirst = addrToVpn(store.addr)
      this.#storeEnd = this.#storeFirst + store.npages
    }
    try {
      return body()
    } finally {
      this.#batching = false
      try {
        this.#flush()
      } finally {
        this.#storeEnd = this.#storeFirst
      }
    }
  }

  install(space: SpaceId, addr: Addr, pfn: Pfn, npages: number, writable: boolean): void {
    this.#checkRange(space, addr, npages)
    if (pfn !== addrToVpn(addr)) {
      throw new AssertionError(`frame ${pfn} at ${formatAddr(addr)}, where frame ${addrToVpn(addr)} is at home`)
    }
    for (let i = pfn; i < pfn + npages; i++) this.frames.checkTaken(i)
    if (!this.#batching) this.#map(pfn, npages, writable)
    else if (this.#pendingPfn + this.#pendingPages === pfn && this.#pendingWritable === writable) {
      this.#pendingPages += npages
    } else {
      this.#flush()
      this.#pendingPfn = pfn
      this.#pendingPages = npages
      this.#pendingWritable = writable
    }
  }

  unmap(space: SpaceId, addr: Addr, npages: number, dirty: Uint8Array): void {
    this.#flush()
    this.#checkRange(space, addr, npages)
    dirty.fill(0, 0, npages)
    this.#forEachSegment(addr, npages, (from, to, at) => this.#zap(from, to, dirty, at))
  }

  protect(space: SpaceId, addr: Addr, npages: number, dirty: Uint8Array): void {
    this.#collect(space, addr, npages, dirty, ~(WRITE | DIRTY))
  }

  collectDirty(space: SpaceId, addr: Addr, npages: number, dirty: Uint8Array): void {
    this.#collect(space, addr, npages, dirty, ~DIRTY)
  }

  /**
   * Answers the report of a store to a protected page, as hardware would that sets a dirty bit: the page counts as written
   * and the store goes on. Returns false if the page is not there any more or is read-only; then it is a page fault for mm.
   */
  resolveStore(addr: Addr): boolean {
    this.#flush()
    const pfn = addrToVpn(addr)
    if ((this.#state[pfn] & (READ | WRITE)) !== (READ | WRITE)) return false
    this.#state[pfn] |= DIRTY
    this.#uffd.writeProtect(this.frames.userAddr(pfn), PAGE_SIZE, false)
    return true
  }

  /** Nobody has a page that is touched: it is counted among the strays, before `mapStray` lets the touch go on. */
  addStray(addr: Addr): void {
    const pfn = addrToVpn(addr)
    if (this.#strays.has(pfn)) return
    for (const oldest of this.#strays) {
      if (this.#strays.size < STRAYS_MAX) break
      this.#dropStray(oldest)
    }
    this.frames.prepareStray(pfn)
    this.#strays.add(pfn)
    this.#onStrays(this.#strays.size)
  }

  /**
   * Answers a touch of a stray: memory that was freed, or was never given to anybody. The program finds zeroes there, and what it
   * stores is gone one day.
   */
  mapStray(addr: Addr): void {
    this.#flush()
    const pfn = addrToVpn(addr)
    assert((this.#state[pfn] & READ) === 0, () => `page ${pfn} is that of a mapping`)
    assert(this.#strays.has(pfn), () => `page ${pfn} is a stray`)
    const start = this.frames.userAddr(pfn)
    const done = this.#uffd.mapPages(start, PAGE_SIZE, false)
    if (done < 0 && done !== -EEXIST && done !== -EAGAIN) throw systemError(done, 'UFFDIO_CONTINUE', start)
    // It was there already, or the thread has to ask again.
    if (done < 0) this.#uffd.wake(start, PAGE_SIZE)
  }

  /** These pages are going to be somebody's: what programs left there is gone, and their next touch is a fault. */
  dropStrays(addr: Addr, npages: number): void {
    const first = addrToVpn(addr)
    for (const pfn of this.#strays) if (pfn >= first && pfn < first + npages) this.#dropStray(pfn)
  }

  /** Whether a page is installed: what brings pages ahead of their touch leaves those out, each costs a call of its own. */
  isInstalled(addr: Addr): boolean {
    const isPending = addrToVpn(addr) >= this.#pendingPfn && addrToVpn(addr) < this.#pendingPfn + this.#pendingPages
    return isPending || (this.#state[addrToVpn(addr)] & READ) !== 0
  }

  /**
   * Another thread is going to map a page, protected, before mm has its entry. It counts as installed from now on, so that whoever takes
   * it away later finds it; nobody may before that thread is done. If it is not mapped after all, the next touch is a fault like any other.
   * Not where stores cannot be seen: there `protect` and `collectDirty` take pages away.
   */
  expectMapped(pfn: Pfn): void {
    assert(this.tracking !== 'none', 'stores to the page can be seen')
    this.#state[pfn] |= READ
  }

  /** Threads that wait for these pages try again. What `install` did not have to do it ends with this anyway. */
  wake(addr: Addr, npages: number): void {
    this.#checkRange(SPACE, addr, npages)
    this.#forEachSegment(addr, npages, (from, to) => {
      this.#uffd.wake(this.frames.userAddr(from), (to - from) * PAGE_SIZE)
    })
  }

  /** Ends the heap: programs read zeroes. The userfaultfd has been closed before, or its ranges are unregistered here. */
  close(): void {
    for (const { addr, nbytes } of this.ranges) this.#uffd.unregister(addr, nbytes)
    this.frames.close()
    this.#pagemap?.close()
  }

  #dropStray(pfn: Pfn): void {
    this.#strays.delete(pfn)
    this.frames.dropStray(pfn)
    this.#onStrays(this.#strays.size)
  }

  #flush(): void {
    const npages = this.#pendingPages
    if (npages === 0) return
    this.#pendingPages = 0
    this.#map(this.#pendingPfn, npages, this.#pendingWritable)
  }

  /** Maps a run of pages, cut where the segment ends and where pages begin or end that a store waits for. */
  #map(pfn: Pfn, npages: number, writable: boolean): void {
    const end = pfn + npages
    for (let at = pfn; at < end; ) {
      let to = Math.min(end, this.frames.segmentEnd(at))
      let isStore = false
      if (writable && at < this.#storeEnd && to > this.#storeFirst) {
        if (at < this.#storeFirst) to = this.#storeFirst
        else {
          to = Math.min(to, this.#storeEnd)
          isStore = true
        }
      }
      this.#mapRun(at, to - at, writable, isStore)
      at = to
    }
  }

  #mapRun(pfn: Pfn, npages: number, writable: boolean, isStore: boolean): void {
    const { frames, tracking } = this
    const state = this.#state
    const start = frames.userAddr(pfn)
    const bits = READ | (writable ? WRITE : 0) | (isStore ? DIRTY : 0)
    let isComplete = true
    let retries = 0
    frames.populate(pfn, npages)
    for (let i = 0; i < npages; ) {
      const addr = start + i * PAGE_SIZE
      const done = this.#uffd.mapPages(addr, (npages - i) * PAGE_SIZE, !isStore && tracking !== 'none')
      if (done > 0) {
        const to = i + done / PAGE_SIZE
        for (; i < to; i++) {
          const was = state[pfn + i]
          // The page was installed and yet not mapped: the system took the translation back under memory pressure. Then it
          // is mapped anew, and what the kernel knew about stores is gone.
          const isForgotten = tracking === 'async' && (was & READ) !== 0
          state[pfn + i] = bits | (was & DIRTY) | (isForgotten ? DIRTY : 0)
        }
        if (i < npages) isComplete = false
        continue
      }
      isComplete = false
      if (done === -EEXIST) {
        this.#remap(pfn + i, bits)
        i++
      } else if (done === -EAGAIN && retries < RETRIES_MAX) retries++
      else if (done === -EFAULT && retries < RETRIES_MAX) {
        retries = RETRIES_MAX
        frames.repopulate(pfn + i, npages - i)
      } else throw systemError(done, 'UFFDIO_CONTINUE', addr)
    }
    // A call that failed wakes nobody, and a thread may wait for a page that was there already.
    if (!isComplete) this.#uffd.wake(start, npages * PAGE_SIZE)
  }

  /** A page that is mapped stays mapped; only its protection can be another. */
  #remap(pfn: Pfn, bits: number): void {
    const was = this.#state[pfn]
    if (this.tracking === 'sync') {
      const isProtected = (bits & DIRTY) === 0
      const wasReadOnly = (was & (READ | WRITE)) === READ
      // A writable page stays as it is, open or waiting for its first store.
      if (!isProtected || ((bits & WRITE) === 0 && !wasReadOnly)) {
        this.#uffd.writeProtect(this.frames.userAddr(pfn), PAGE_SIZE, isProtected)
      }
    }
    this.#state[pfn] = bits | (was & DIRTY)
  }

  /** Takes the translations of [from, to) away, then reports what was written through them to dirty[at] and on. */
  #zap(from: Pfn, to: Pfn, dirty: Uint8Array, at: number): void {
    const state = this.#state
    let first = from
    while (first < to && (state[first] & READ) === 0) first++
    if (first === to) return
    let end = to
    while ((state[end - 1] & READ) === 0) end--
    const { frames, tracking } = this
    frames.segmentOf(first).zapUser(frames.offsetOf(first), (end - first) * PAGE_SIZE)
    // From here on no store can happen. Asking before would miss those between the question and the zap.
    for (let run = first; run < end; ) {
      const runEnd = this.#runEnd(run, end)
      const marks = this.#marks
      this.#pagemap?.readMarks(frames.userAddr(run), runEnd - run, marks, 0)
      for (let pfn = run; pfn < runEnd; pfn++) {
        const was = state[pfn]
        if ((was & READ) === 0) continue
        const isWritten = (was & DIRTY) !== 0 || tracking === 'none' || (tracking === 'async' && marks[pfn - run] === 0)
        dirty[at + pfn - from] = isWritten ? 1 : 0
        state[pfn] = 0
      }
      run = this.#nextInstalled(runEnd, end)
    }
  }

  /** Reports what was written, protects it again, and keeps the bits `kept` of each state. */
  #collect(space: SpaceId, addr: Addr, npages: number, dirty: Uint8Array, kept: number): void {
    // Nobody would see the next store, so the next touch has to fault.
    if (this.tracking === 'none') {
      this.unmap(space, addr, npages, dirty)
      return
    }
    this.#flush()
    this.#checkRange(space, addr, npages)
    dirty.fill(0, 0, npages)
    const state = this.#state
    this.#forEachSegment(addr, npages, (from, to, at) => {
      for (let run = this.#nextInstalled(from, to); run < to; ) {
        const runEnd = this.#runEnd(run, to)
        this.#rearm(run, runEnd, dirty, at - from)
        const states = state.subarray(run, runEnd)
        const first = at + run - from
        for (let i = states.indexOf(0); i >= 0; i = states.indexOf(0, i + 1)) dirty[first + i] = 0
        // Few pages of many are in a state that changes, so that is searched for.
        for (const was of STATES) {
          if ((was & kept) === was) continue
          for (let i = states.indexOf(was); i >= 0; i = states.indexOf(was, i)) {
            for (; i < states.length && states[i] === was; i++) {
              if ((was & DIRTY) !== 0) dirty[first + i] = 1
              states[i] = was & kept
            }
          }
        }
        run = this.#nextInstalled(runEnd, to)
      }
    })
  }

  /** Protects the written pages of a run again. Sets `dirty[at + pfn]` of those that only the kernel knew of. */
  #rearm(from: Pfn, to: Pfn, dirty: Uint8Array, at: number): void {
    if (this.#pagemap !== null) {
      this.#pagemap.collectWritten(this.frames.userAddr(from), to - from, dirty, at + from)
      return
    }
    for (let pfn = from; pfn < to; ) {
      let end = pfn
      while (end < to && (this.#state[end] & DIRTY) !== 0) end++
      if (end > pfn) this.#uffd.writeProtect(this.frames.userAddr(pfn), (end - pfn) * PAGE_SIZE, true)
      pfn = end + 1
    }
  }

  #nextInstalled(from: Pfn, to: Pfn): Pfn {
    let pfn = from
    while (pfn < to && this.#state[pfn] === 0) pfn++
    return pfn
  }

  /** End of the run of installed pages that begins at `from`, across small gaps. */
  #runEnd(from: Pfn, to: Pfn): Pfn {
    const limit = Math.min(to, from + RUN_MAX)
    const states = this.#state.subarray(from, limit)
    for (let end = from + 1; ; ) {
      const gap = states.indexOf(0, end - from)
      if (gap < 0) return limit
      end = this.#nextInstalled(from + gap, limit)
      if (end === limit || end - from - gap >= GAP_MAX) return from + gap
    }
  }

  /** Calls `visit` for the frames [from, to) of each segment in the range; `at` counts pages from the start of the range. */
  #forEachSegment(addr: Addr, npages: number, visit: (from: Pfn, to: Pfn, at: number) => void): void {
    const first = addrToVpn(addr)
    for (let from = first; from < first + npages; ) {
      const to = Math.min(first + npages, this.frames.segmentEnd(from))
      visit(from, to, from - first)
      from = to
    }
  }

  #checkRange(space: SpaceId, addr: Addr, npages: number): void {
    const isInside = addr >= 0 && isPageAligned(addr) && addr + npages * PAGE_SIZE <= this.nframes * PAGE_SIZE
    if (!this.#attached || space !== SPACE || !isInside) {
      throw new AssertionError(`${npages} pages at ${formatAddr(addr)} of address space ${space} are not in the heap`)
    }
  }
}
