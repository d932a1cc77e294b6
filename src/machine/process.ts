// A process of the simulated machine: an address space, the system calls that shape it, and a CPU that loads and stores in it.
//
// System calls throw an MmError with the kernel's error number; accesses that a real process would be signalled for throw
// an AccessSignal; either throws WouldWait while a migration holds what it needs (see whenReady). The `try` functions are
// for callers that expect signals: they throw nothing and allocate nothing.

import { type Addr, addrToVpn, PAGE_SIZE, type Pfn, pageOffset } from '../base/addr.ts'
import { AssertionError } from '../base/assert.ts'
import { EAGAIN, EINVAL, ENOMEM, ESRCH, MmError, throwOnError } from '../base/errno.ts'
import { type DeviceNumber, dumpAttr, dumpPagemap, dumpPte, dumpSoftDirty, formatMaps } from '../mm/dump.ts'
import { forkMm } from '../mm/fork.ts'
import { type PinOptions, pinUserPages, unpinUserPage } from '../mm/gup.ts'
import { madviseNeedsWrite, mmMadvise } from '../mm/madvise.ts'
import { type MovePagesOptions, movePages } from '../mm/migrate.ts'
import { mlockPopulate, mmMlock, mmMunlock } from '../mm/mlock.ts'
import type { Mm } from '../mm/mm.ts'
import { mmMmap, mmMunmap, mmput } from '../mm/mmap.ts'
import { mmMprotect } from '../mm/mprotect.ts'
import { mmMremap } from '../mm/mremap.ts'
import { clearSoftDirty } from '../mm/soft-dirty.ts'
import type { VmFile } from '../mm/vma.ts'
import {
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_HUGETLB,
  MAP_NORESERVE,
  MAP_PRIVATE,
  MAP_SHARED,
  MREMAP_FIXED,
  MREMAP_MAYMOVE,
  PROT_READ,
  PROT_WRITE,
} from '../uapi/mman.ts'
import { checkBytes, checkCount, checkNumber, checkWhole } from './arguments.ts'
import {
  ACCESS_OUT_OF_MEMORY,
  ACCESS_SEGV,
  ACCESS_SIGBUS,
  ACCESS_SIGBUS_POISON,
  ACCESS_WOULD_WAIT,
  accessPage,
} from './page-fault.ts'
import { AccessSignal, WouldWait } from './signals.ts'

/** What `mmap` is asked for. Lengths and addresses are in bytes. */
export interface MmapOptions {
  /** Bytes. Rounded up to whole pages. */
  readonly length: number
  /** Where to map: a wish, or with `fixed` the place, whatever is mapped there. Default: wherever there is room. */
  readonly addr?: Addr
  readonly fixed?: boolean
  /** PROT_* bits. Default PROT_READ | PROT_WRITE. */
  readonly prot?: number
  /** Stores are seen by everybody who maps the same, and by children. Default false: private, copied on write. */
  readonly shared?: boolean
  /** What to map. Default: nothing but memory (an anonymous mapping). */
  readonly file?: VmFile
  /** Where in the file to begin, in bytes. Default 0. */
  readonly offset?: number
  /** Pages of 2 MiB from the pool that the machine was made with. */
  readonly hugetlb?: boolean
  /** Not counted against the commit limit (MAP_NORESERVE), which lets it merge with mappings that are not either. */
  readonly noreserve?: boolean
}

/** What `mremap` is asked for. Lengths and addresses are in bytes. */
export interface MremapOptions {
  /** The mapping may go elsewhere if it cannot grow where it is. Default true. */
  readonly mayMove?: boolean
  /** Move it exactly here, whatever is mapped there. */
  readonly to?: Addr
}

/** Pages that stay where they are, for a device that reads or writes them at any time. */
export interface PinnedPages {
  /** Frame of each page. There may be fewer than were asked for. */
  readonly pfns: readonly Pfn[]
  /** Lets the pages go. The second call does nothing. */
  unpin(): void
}

/** What a process needs of its machine. */
export interface ProcessTable {
  /** @internal Gives the address space that fork made a process. */
  adopt(mm: Mm, name: string): Process
  /** @internal The process has ended. */
  forget(process: Process): void
}

/** A process of a Machine: its system calls, loads and stores. Failed calls throw an error with the name of the errno. */
export class Process {
  /** Number of the process on its machine, 1 and up. */
  readonly pid: number
  readonly name: string
  readonly mm: Mm
  #alive = true
  readonly #table: ProcessTable
  readonly #pins = new Set<PinnedPages>()

  /** @internal Machine.createProcess and fork make processes. */
  constructor(table: ProcessTable, pid: number, name: string, mm: Mm) {
    this.#table = table
    this.pid = pid
    this.name = name
    this.mm = mm
  }

  /** False after exit. */
  get isAlive(): boolean {
    return this.#alive
  }

  // ---- system calls ----

  /** Maps memory or a file. Returns the address. */
  mmap(options: MmapOptions): Addr {
    const { length, addr = 0, prot = PROT_READ | PROT_WRITE, file = null, offset = 0 } = options
    checkWhole(length, 'length')
    checkWhole(addr, 'addr')
    checkWhole(prot, 'prot')
    checkWhole(offset, 'offset')
    checkFile(file)
    let flags = options.shared === true ? MAP_SHARED : MAP_PRIVATE
    if (options.fixed === true) flags |= MAP_FIXED
    if (options.noreserve === true) flags |= MAP_NORESERVE
    if (file === null) flags |= MAP_ANONYMOUS
    if (options.hugetlb === true) flags |= MAP_HUGETLB
    return this.#change('mmap', addr, () =>
      offset % PAGE_SIZE === 0 ? mmMmap(this.mm, addr, length, prot, flags, file, offset / PAGE_SIZE) : -EINVAL,
    )
  }

  /** Ends the mappings of a range. Throws an MmError, as all calls here do where the kernel returns an errno. */
  munmap(addr: Addr, length: number): void {
    checkWhole(addr, 'addr')
    checkWhole(length, 'length')
    this.#change('munmap', addr, () => mmMunmap(this.mm, addr, length))
  }

  /** Changes what may be done with the pages. `prot`: PROT_* bits. */
  mprotect(addr: Addr, length: number, prot: number): void {
    checkWhole(addr, 'addr')
    checkWhole(length, 'length')
    checkWhole(prot, 'prot')
    this.#change('mprotect', addr, () => mmMprotect(this.mm, addr, length, prot))
  }

  /** Tells what the pages will be used for. `advice`: one of MADV_*. */
  madvise(addr: Addr, length: number, advice: number): void {
    checkWhole(addr, 'addr')
    checkWhole(length, 'length')
    checkWhole(advice, 'advice')
    const call = (): number => mmMadvise(this.mm, addr, length, advice)
    if (madviseNeedsWrite(advice)) this.#change('madvise', addr, call)
    else this.#read('madvise', addr, call)
  }

  /** Moves, grows or shrinks a mapping. Returns where it is now. */
  mremap(addr: Addr, oldLength: number, newLength: number, options: MremapOptions = {}): Addr {
    const { mayMove = true, to } = options
    checkWhole(addr, 'addr')
    checkWhole(oldLength, 'oldLength')
    checkWhole(newLength, 'newLength')
    if (to !== undefined) checkWhole(to, 'to')
    const flags = (mayMove || to !== undefined ? MREMAP_MAYMOVE : 0) | (to !== undefined ? MREMAP_FIXED : 0)
    return this.#change('mremap', addr, () => mmMremap(this.mm, addr, oldLength, newLength, flags, to ?? 0))
  }

  /**
   * Moves pages to other frames of system memory. Returns for each page 0 or a negative errno that says why it stayed, see
   * mm/migrate.ts. With `all` also pages that other processes map.
   */
  movePages(addr: Addr, npages: number, options: MovePagesOptions = {}): Int32Array {
    checkWhole(addr, 'addr')
    checkWhole(npages, 'npages')
    const status = new Int32Array(npages)
    this.#read('movePages', addr, () => movePages(this.mm, addr, npages, status, options))
    return status
  }

  /** Brings the pages in and keeps them from being swapped out. */
  mlock(addr: Addr, length: number): void {
    checkWhole(addr, 'addr')
    checkWhole(length, 'length')
    this.#change('mlock', addr, () => mmMlock(this.mm, addr, length))
    this.#read('mlock', addr, () => mlockPopulate(this.mm, addr, length))
  }

  /** Lets pages be swapped out again. Throws an MmError: ENOMEM if a part is not mapped. */
  munlock(addr: Addr, length: number): void {
    checkWhole(addr, 'addr')
    checkWhole(length, 'length')
    this.#change('munlock', addr, () => mmMunlock(this.mm, addr, length))
  }

  /** Forgets which pages were written: from now on `dumpSoftDirty` shows those that are written after this. */
  clearSoftDirty(): void {
    this.#change('clearSoftDirty', undefined, () => {
      clearSoftDirty(this.mm)
      return 0
    })
  }

  /** A child with a copy of this address space; pages are shared until one of the two writes. */
  fork(name?: string): Process {
    let child: Mm | undefined
    this.#change('fork', undefined, () => {
      const mm = forkMm(this.mm)
      if (typeof mm === 'number') return mm
      child = mm
      return 0
    })
    return this.#table.adopt(child as Mm, name ?? `child of ${this.name}`)
  }

  /** Ends the process: its address space goes first, its pins after that. */
  exit(): void {
    if (!this.#alive) return
    if (this.mm.mmapLock.isHeld) throw new WouldWait('exit', this.mm.mmapLock.released, this.mm.mmapLock)
    this.#alive = false
    mmput(this.mm)
    this.unpinAll()
    this.#table.forget(this)
  }

  // ---- pins ----

  /**
   * Keeps pages in place as for DMA, faulting them in first. With `write` they become writable, and private copies; with
   * `longterm` those in coherent device memory move to system memory.
   */
  pin(addr: Addr, npages: number, options: PinOptions): PinnedPages {
    checkWhole(addr, 'addr')
    checkCount(npages, 'npages')
    if (typeof options?.write !== 'boolean') throw new TypeError(`write is ${options?.write}, wanted true or false`)
    const pfns: Pfn[] = []
    const npinned = this.#read('pin', addr, () => pinUserPages(this.mm, addr, npages, options, pfns))
    pfns.length = npinned
    const pinned: PinnedPages = {
      pfns,
      unpin: () => {
        if (!this.#pins.delete(pinned)) return
        for (const pfn of pfns) unpinUserPage(this.mm.sys, pfn)
      },
    }
    this.#pins.add(pinned)
    return pinned
  }

  /** Lets everything go that this process has pinned. */
  unpinAll(): void {
    for (const pinned of this.#pins) pinned.unpin()
  }

  // ---- CPU access ----

  /** The 32-bit word at `addr`, little-endian, as a number from 0 to 2^32 - 1. */
  load32(addr: Addr): number {
    checkWhole(addr, 'addr')
    const result = this.tryLoad32(addr)
    if (result < 0) this.#raise(result, addr, 'read')
    return result
  }

  /** Stores the low 32 bits of `value` at `addr`. */
  store32(addr: Addr, value: number): void {
    checkWhole(addr, 'addr')
    checkNumber(value, 'value')
    const result = this.tryStore32(addr, value)
    if (result < 0) this.#raise(result, addr, 'write')
  }

  /** A copy of `nbytes` bytes from `addr` on. */
  readBytes(addr: Addr, nbytes: number): Uint8Array {
    checkWhole(addr, 'addr')
    checkWhole(nbytes, 'nbytes')
    const bytes = new Uint8Array(nbytes)
    for (let done = 0; done < nbytes; ) {
      const at = addr + done
      const count = Math.min(nbytes - done, PAGE_SIZE - pageOffset(at))
      const pfn = this.#access(at, false)
      if (pfn < 0) this.#raise(pfn, at, 'read')
      bytes.set(this.#bytes(pfn).subarray(pageOffset(at), pageOffset(at) + count), done)
      done += count
    }
    return bytes
  }

  /** Stores bytes from `addr` on, page by page: those before a page that cannot be written are stored. */
  writeBytes(addr: Addr, bytes: Uint8Array): void {
    checkWhole(addr, 'addr')
    checkBytes(bytes, 'bytes')
    for (let done = 0; done < bytes.length; ) {
      const at = addr + done
      const count = Math.min(bytes.length - done, PAGE_SIZE - pageOffset(at))
      const pfn = this.#access(at, true)
      if (pfn < 0) this.#raise(pfn, at, 'write')
      this.#bytes(pfn).set(bytes.subarray(done, done + count), pageOffset(at))
      done += count
    }
  }

  /** The word at `addr`, or one of the negative ACCESS_* numbers. */
  tryLoad32(addr: Addr): number {
    const offset = pageOffset(addr)
    if (offset > PAGE_SIZE - 4) return this.#tryLoadSplit(addr)
    const pfn = this.#access(addr, false)
    if (pfn < 0) return pfn
    const bytes = this.#bytes(pfn)
    return (bytes[offset] | (bytes[offset + 1] << 8) | (bytes[offset + 2] << 16) | (bytes[offset + 3] << 24)) >>> 0
  }

  /** 0, or one of the negative ACCESS_* numbers. */
  tryStore32(addr: Addr, value: number): number {
    const offset = pageOffset(addr)
    if (offset > PAGE_SIZE - 4) return this.#tryStoreSplit(addr, value)
    const pfn = this.#access(addr, true)
    if (pfn < 0) return pfn
    const bytes = this.#bytes(pfn)
    bytes[offset] = value
    bytes[offset + 1] = value >>> 8
    bytes[offset + 2] = value >>> 16
    bytes[offset + 3] = value >>> 24
    return 0
  }

  // ---- looking at it ----

  /** The mappings, in the format of /proc/PID/maps. */
  maps(): string {
    return formatMaps(this.mm)
  }

  /** Page-table entries, one character per page: see mm/dump.ts. */
  dumpPte(addr: Addr, npages: number, deviceNumber?: DeviceNumber): string {
    checkPages(addr, npages)
    return dumpPte(this.mm, addr, npages, deviceNumber)
  }

  /** Which pages were written since `clearSoftDirty`. */
  dumpSoftDirty(addr: Addr, npages: number): string {
    checkPages(addr, npages)
    return dumpSoftDirty(this.mm, addr, npages)
  }

  /** A sign per page for its attributes; see `dumpAttr` of mm. */
  dumpAttr(addr: Addr, npages: number): string {
    checkPages(addr, npages)
    return dumpAttr(this.mm, addr, npages)
  }

  /** A sign per page as /proc/PID/pagemap has it; see `dumpPagemap` of mm. */
  dumpPagemap(addr: Addr, npages: number): string {
    checkPages(addr, npages)
    return dumpPagemap(this.mm, addr, npages)
  }

  // ---- helpers ----

  /** A system call that changes mappings: nobody else may hold the address space meanwhile. */
  #change(syscall: string, addr: Addr | undefined, call: () => number): number {
    this.#checkAlive(syscall)
    const { mmapLock } = this.mm
    if (!mmapLock.tryWrite()) throw new WouldWait(syscall, mmapLock.released, mmapLock)
    let result: number
    this.mm.sys.waitFor = null
    try {
      result = call()
    } finally {
      mmapLock.unlockWrite()
    }
    return this.#finish(syscall, addr, result)
  }

  /** A system call that only needs the mappings to stay. */
  #read(syscall: string, addr: Addr, call: () => number): number {
    this.#checkAlive(syscall)
    const { mmapLock } = this.mm
    if (!mmapLock.tryRead()) throw new WouldWait(syscall, mmapLock.released)
    let result: number
    this.mm.sys.waitFor = null
    try {
      result = call()
    } finally {
      mmapLock.unlockRead()
    }
    return this.#finish(syscall, addr, result)
  }

  #finish(syscall: string, addr: Addr | undefined, result: number): number {
    const { waitFor } = this.mm.sys
    if (result === -EAGAIN && waitFor !== null) throw new WouldWait(syscall, waitFor)
    return throwOnError(result, syscall, { addr })
  }

  #checkAlive(syscall: string): void {
    if (!this.#alive) throw new MmError(-ESRCH, syscall, { detail: `process ${this.pid} has ended` })
  }

  #access(addr: Addr, write: boolean): Pfn {
    return this.#alive ? accessPage(this.mm, addr, write) : ACCESS_SEGV
  }

  #bytes(pfn: Pfn): Uint8Array {
    return this.mm.sys.mmu.bytes(pfn)
  }

  /** A word that lies on two pages is loaded as two. */
  #tryLoadSplit(addr: Addr): number {
    let value = 0
    for (let i = 3; i >= 0; i--) {
      const pfn = this.#access(addr + i, false)
      if (pfn < 0) return pfn
      value = (value << 8) | this.#bytes(pfn)[pageOffset(addr + i)]
    }
    return value >>> 0
  }

  /** A word that lies on two pages is stored as a whole or not at all. */
  #tryStoreSplit(addr: Addr, value: number): number {
    // A fault on one page may take the other away, so both are asked for until neither faults.
    let first: Pfn
    let second: Pfn
    do {
      first = this.#access(addr, true)
      if (first < 0) return first
      second = this.#access(addr + 3, true)
      if (second < 0) return second
    } while (this.#access(addr, true) !== first)
    for (let i = 0; i < 4; i++) {
      const pfn = addrToVpn(addr + i) === addrToVpn(addr) ? first : second
      this.#bytes(pfn)[pageOffset(addr + i)] = value >>> (8 * i)
    }
    return 0
  }

  /** Throws what a failed access means. */
  #raise(result: number, addr: Addr, access: 'read' | 'write'): never {
    const { sys } = this.mm
    switch (result) {
      case ACCESS_SEGV:
        throw new AccessSignal(this.mm.vmaLookup(addr) === null ? 'unmapped' : 'access', addr, access)
      case ACCESS_SIGBUS:
        throw new AccessSignal('no-page', addr, access)
      case ACCESS_SIGBUS_POISON:
        throw new AccessSignal('hwpoison', addr, access)
      case ACCESS_OUT_OF_MEMORY:
        throw new MmError(-ENOMEM, access === 'read' ? 'load' : 'store', { addr })
      case ACCESS_WOULD_WAIT:
        if (sys.waitFor !== null) throw new WouldWait(`a ${access} of process ${this.pid}`, sys.waitFor)
        break
    }
    throw new AssertionError(`access ended with ${result}, which is no outcome`)
  }
}

function checkPages(addr: Addr, npages: number): void {
  checkWhole(addr, 'addr')
  checkWhole(npages, 'npages')
}

function checkFile(file: VmFile | null): void {
  if (file !== null && typeof file?.mmap !== 'function') throw new TypeError(`file is ${String(file)}, wanted a file`)
}
