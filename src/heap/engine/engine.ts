// The engine of a heap: start here. It owns the machine (System, one address space, the memory under it) and the devices, and
// does what the heap asks for (protocol.ts). It knows arrays by address and name, and nothing of typed arrays or threads.
//
//   heap ── map, sync, ... ──> Engine ── handleMmFault, munmap ──> mm ──> backend
//                                └─────── prefetch, launch ─────> devices
//
// The core below never waits; what has to wait is here. Three kinds of things are waited for: launches that use a range
// (devices/claims.ts), migrations that hold mmapLock, and `sys.waitFor` of a call into mm. Whatever does not have to wait is
// done before `call` returns.

import { type Addr, PAGE_SIZE, type Pfn, pageAlignDown, pageAlignUp } from '../../base/addr.ts'
import { assert, formatAddr } from '../../base/assert.ts'
import { EAGAIN, EFAULT, MmError } from '../../base/errno.ts'
import { formatSize } from '../../base/size.ts'
import { isClaimed, whenUnclaimed } from '../../devices/claims.ts'
import { mmapReadLock, withMmapWriteLock } from '../../devices/edge.ts'
import type { DevicePolicy } from '../../hmm/policy.ts'
import { mmMadvise } from '../../mm/madvise.ts'
import { Mm } from '../../mm/mm.ts'
import { mmMmap, mmMunmap, mmput } from '../../mm/mmap.ts'
import { System, type SystemOptions } from '../../mm/system.ts'
import type { Access } from '../../trace/events.ts'
import { EventTracer, type Sink } from '../../trace/tracer.ts'
import {
  MADV_DONTNEED,
  MADV_NORMAL,
  MADV_RANDOM,
  MADV_SEQUENTIAL,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_NORESERVE,
  MAP_PRIVATE,
  PROT_READ,
  PROT_WRITE,
} from '../../uapi/mman.ts'
import { type ArrayTable, elementsOf, type MappedArray } from './array-table.ts'
import type { ArrayRange, HeapBackend } from './backend.ts'
import type { EngineDevice } from './device.ts'
import { failureOf, Refusal } from './failure.ts'
import { bringHome, type HandOverCounts, handOver } from './hand-over.ts'
import { Holds } from './holds.ts'
import { traceInvalidations } from './invalidation-trace.ts'
import { KernelRuns } from './kernel-runs.ts'
import { LostPages } from './lost-pages.ts'
import { Misuses } from './misuses.ts'
import { CopyCounts, OutcomeBuilder } from './outcome.ts'
import { Places } from './places.ts'
import type {
  Advice,
  ByteRange,
  DeviceStats,
  EngineCall,
  EngineCalls,
  EnginePort,
  EngineStats,
  MemoryStats,
  NewArray,
  Outcome,
  Reply,
  WaitingTouch,
} from './protocol.ts'
import { lostInSwap, whenSwapIdle } from './swapped.ts'

export interface EngineOptions {
  readonly backend: HeapBackend
  /** Empty; the backend may look into it. */
  readonly arrays: ArrayTable
  /** Pages of device memory that are going to be added. */
  readonly devicePages: number
  /** Limits of memory, and where pages go beyond them. Default: none. */
  readonly system?: Pick<
    SystemOptions,
    'memoryPages' | 'reservePages' | 'lowPages' | 'onLow' | 'swapPages' | 'swapDevice'
  >
  /** Steps behind events are recorded too. */
  readonly verbose: boolean
  readonly sinks: readonly Sink[]
  /** Touches that wait now. Default: nobody waits. */
  readonly waiting?: () => readonly WaitingTouch[]
}

/** What a device needs to be made. */
export interface DeviceSite {
  readonly sys: System
  readonly mm: Mm
  readonly policy: DevicePolicy
  readonly tracer: EventTracer
  nameAt(addr: Addr): string | undefined
  /** A page whose newest contents went with the device was filled. */
  onFilled(addr: Addr, device: string): void
}

/** What is done with an engine on its own thread, on behalf of somebody who is elsewhere. Plain data comes and goes. */
export type Extension = (engine: Engine, data: never) => unknown

/** Ranges that a launch uses, in bytes; each lies in one array. */
export interface LaunchUses {
  readonly read: readonly ByteRange[]
  readonly write: readonly ByteRange[]
}

/** A range of whole pages, and what it is of. */
interface Pages extends ArrayRange {
  readonly firstPage: Addr
  /** Exclusive. */
  readonly endPage: Addr
}

type Answer<C extends EngineCall> = EngineCalls[C]['answer']

/** Pages that are held at once where memory is limited. */
const HOLD_PART = 256

/** How often a range may change hands between being given to the CPU and being held for it. */
const HOLD_ROUNDS_MAX = 16

const RW = PROT_READ | PROT_WRITE

export class Engine implements EnginePort {
  readonly sys: System
  readonly mm: Mm
  readonly backend: HeapBackend
  readonly arrays: ArrayTable
  readonly tracer: EventTracer
  readonly devices: EngineDevice[] = []
  extensions: Readonly<Record<string, Extension>> = {}
  readonly #holds: Holds
  readonly #runs = new KernelRuns(this)
  readonly #copies = new CopyCounts()
  readonly #lostPages = new LostPages()
  /** Arrays that go when nobody uses them any more. */
  readonly #unmapping = new Set<MappedArray>()
  /** Calls that have not answered yet. */
  readonly #running = new Set<Promise<void>>()
  readonly #misuses: Misuses
  readonly #places: Places
  readonly #waiting: () => readonly WaitingTouch[]
  readonly #endInvalidations: () => void
  #closed = false

  constructor(options: EngineOptions) {
    const { backend, arrays, devicePages, verbose, sinks } = options
    this.backend = backend
    this.arrays = arrays
    this.tracer = new EventTracer({
      level: verbose ? 'verbose' : 'events',
      sinks: [this.#copies, ...sinks],
      clock: () => Math.round(performance.now() * 10_000) / 10, // finer than that is noise, and long as a text
      allocationAt: (addr) => arrays.nameAt(addr),
    })
    this.sys = new System(backend.mmu, { devicePages, ...options.system })
    this.mm = new Mm(this.sys)
    this.#endInvalidations = verbose ? traceInvalidations(this.mm, this.tracer) : () => {}
    this.#holds = new Holds(this.mm)
    this.#misuses = new Misuses(backend, arrays)
    this.#places = new Places(this.mm, backend, this.devices)
    this.#waiting = options.waiting ?? (() => [])
  }

  /** Adds a device. */
  async addDevice(make: (site: DeviceSite) => Promise<EngineDevice>): Promise<void> {
    const { sys, mm, tracer, arrays } = this
    const { policy } = this.backend
    const onFilled = (addr: Addr, name: string): void => this.#lostPages.add(addr, name)
    const device = await make({ sys, mm, policy, tracer, nameAt: (addr) => arrays.nameAt(addr), onFilled })
    this.devices.push(device)
    const { name, nbytes, hardware } = device
    if (tracer.on) tracer.emit({ kind: 'device', device: name, nbytes, hardware })
  }

  call<C extends EngineCall>(call: C, args: EngineCalls[C]['args'], reply: (reply: Reply<C>) => void): void {
    let answer: Answer<C> | Promise<Answer<C>>
    try {
      if (this.#closed) throw new Refusal('CLOSED', 'the engine was closed')
      this.tracer.site = (args as { site?: string }).site
      answer = this.#handlers[call](args) as Answer<C> | Promise<Answer<C>>
    } catch (error) {
      reply({ ok: false, failure: failureOf(error) })
      return
    } finally {
      this.tracer.site = undefined
    }
    if (!(answer instanceof Promise)) {
      reply({ ok: true, answer })
      return
    }
    const running = answer.then(
      (value) => reply({ ok: true, answer: value }),
      (error: unknown) => reply({ ok: false, failure: failureOf(error) }),
    )
    this.#running.add(running)
    void running.finally(() => this.#running.delete(running))
  }

  /**
   * Runs `begin`, which hands a launch to a driver. Before that, pages that mm does not know are made known to it, and nobody
   * has touched what he must not. Nothing else happens in between, so launches are claimed in the order of these calls.
   *
   * Throws a Refusal: HELD, READ_ONLY, NOT_OWNED.
   */
  launch<T>({ read, write }: LaunchUses, begin: () => Promise<T>): Promise<T> {
    const written = this.#pagesOf(write)
    const all = [...this.#pagesOf(read), ...written]
    for (const { array } of written) {
      if (array.readOnly)
        throw new Refusal('READ_ONLY', `"${array.name}" was allocated readOnly, and a launch writes it`)
    }
    for (const each of all) this.#checkNotHeld(each, 'a launch that uses it')
    this.#checkNotFilled(all)
    this.#check(all)
    this.#adopt(all)
    return this.#orLoss(all, begin())
  }

  /** References that the program holds on each frame: for `validateSystem`. */
  heldReferences(): (pfn: Pfn) => number {
    return this.#holds.heldReferences()
  }

  // ---- calls ----

  readonly #handlers: { [C in EngineCall]: (args: EngineCalls[C]['args']) => Answer<C> | Promise<Answer<C>> } = {
    segment: ({ addr, buffer }) => {
      this.backend.addSegment(addr, buffer)
      return null
    },
    map: (array) => this.#map(array),
    unmap: ({ id }) => this.#unmap(this.arrays.find(id)),
    unmapAt: ({ range }) => this.#unmapAt(range),
    detach: () => ({ misuses: this.#misuses.take() }),
    sync: ({ ranges, write }) => this.#sync(ranges, write),
    hold: ({ ranges, write }) => this.#hold(ranges, write),
    release: ({ hold }) => {
      this.#holds.release(hold)
      return null
    },
    prefetch: ({ ranges, write, device }) => this.#prefetch(ranges, write ? 'write' : 'read', device),
    program: (args) => this.#runs.addProgram(args),
    run: (args) => this.#runs.run(args),
    abort: (args) => this.#runs.abort(args),
    discard: ({ ranges }) => this.#discard(ranges),
    advise: ({ ranges, advice }) => this.#advise(ranges, advice),
    where: ({ range }) => this.#where(range),
    fence: ({ word }) => {
      Atomics.store(word, 0, 1)
      return null
    },
    extension: ({ name, data }) => {
      const extension = this.extensions[name]
      if (extension === undefined) throw new Refusal('FAILED', `the engine has no extension ${JSON.stringify(name)}`)
      return extension(this, data as never)
    },
    stats: () => this.#stats(),
    close: () => this.#close(),
  }

  /**
   * At once, also while migrations hold mmapLock: the program may store to the array as soon as it has it, and nobody who holds
   * the lock has looked at addresses that were not mapped.
   */
  #map(args: NewArray): null {
    const { addr, npages, nstale, name } = args
    this.arrays.add(args)
    this.backend.prepare(addr, npages)
    if (nstale > 0) this.backend.renew(addr, nstale)
    assert(!this.mm.mmapLock.writer, 'nobody holds mmapLock for writing across a wait')
    const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE
    const mapped = mmMmap(this.mm, addr, npages * PAGE_SIZE, args.file === null ? RW : PROT_READ, flags)
    assert(mapped === addr, () => `mapping "${name}" at ${addr} returned ${mapped}`)
    if (args.file !== null) {
      const vma = this.mm.vmaLookup(addr)
      assert(vma !== null && vma.start === addr, () => `"${name}" has a mapping of its own`)
      this.backend.showFile(vma, args.file, args.nbytes)
    }
    const end = addr + npages * PAGE_SIZE
    if (this.tracer.on) this.tracer.emit({ kind: 'alloc', start: addr, end, allocation: name, type: args.type })
    return null
  }

  /** Of an array that another thread's heap has allocated. */
  #unmapAt({ start, end }: ByteRange): { id: number } | Promise<{ id: number }> {
    const array = this.arrays.at(start)
    if (array === undefined || array.start !== start || array.dataEnd !== end) {
      throw new Refusal('FOREIGN_VIEW', `a view of ${end - start} bytes is not the whole of an array`)
    }
    const { id } = array
    const unmapping = this.#unmap(array)
    return unmapping === null ? { id } : unmapping.then(() => ({ id }))
  }

  #unmap(array: MappedArray | undefined): null | Promise<null> {
    // Two threads may have the same idea.
    if (array === undefined || this.#unmapping.has(array))
      throw new Refusal('DOUBLE_FREE', 'the array was freed already')
    this.#unmapping.add(array)
    const { start, end, name } = array
    const unmap = (): void => {
      this.backend.retire(start, countPages(start, end), () => {
        const err = mmMunmap(this.mm, start, end - start)
        assert(err === 0, () => `unmapping "${name}" returned ${err}`)
      })
      if (this.tracer.on) this.tracer.emit({ kind: 'free', start, end, allocation: name })
      // As long as the array has its name.
      this.#misuses.collect()
      this.#lostPages.forget(array)
      this.arrays.remove(array)
      this.#unmapping.delete(array)
    }
    const unused = this.#whenUnused(array)
    const unmapping = unused === null ? this.#whenWritable(unmap) : unused.then(() => this.#whenWritable(unmap))
    const hide = (): null => {
      this.backend.hideFile(start)
      return null
    }
    if (unmapping === null && whenSwapIdle(this.sys, start, end) === null) return hide()
    // The place is used again after the answer.
    return Promise.resolve(unmapping)
      .then(() => whenSwapIdle(this.sys, start, end))
      .then(() => hide())
  }

  #sync(ranges: readonly ByteRange[], write: boolean): Promise<Outcome> {
    return this.#handOver(this.#pagesOf(ranges), write)
  }

  async #hold(ranges: readonly ByteRange[], write: boolean): Promise<Answer<'hold'>> {
    const pages = this.#pagesOf(ranges)
    this.#checkHoldable(pages)
    const outcome = await this.#handOver(pages, write)
    // Where memory is limited the first pages of a long range may be gone again when the last ones are here.
    const parts = this.sys.memoryPages < this.sys.mmu.nframes ? inParts(pages) : [pages]
    const holds: number[] = []
    try {
      for (const part of parts) holds.push(await this.#holdPart(part, write))
    } catch (error) {
      for (const hold of holds) this.#holds.release(hold)
      throw error
    }
    return { hold: this.#holds.merge(holds), outcome }
  }

  async #holdPart(pages: readonly Pages[], write: boolean): Promise<number> {
    const held = pages.map(({ firstPage, endPage }) => ({ start: firstPage, end: endPage }))
    for (let round = 0; round < HOLD_ROUNDS_MAX; round++) {
      await mmapReadLock(this.mm)
      let hold: number
      try {
        this.#checkHoldable(pages)
        hold = this.backend.forCpu(() => this.#holds.add(held, write))
      } finally {
        this.mm.mmapLock.unlockRead()
      }
      if (hold < 0 && hold !== -EAGAIN) throw this.#refusalFor(hold, pages[0])
      // What was taken away in between comes again, and what is held cannot be taken any more.
      await this.#handOver(pages, write)
      if (hold >= 0) return hold
    }
    throw new Refusal('FAILED', `"${pages[0].array.name}" does not stay where it is`)
  }

  async #prefetch(ranges: readonly ByteRange[], access: Access, name: string | null): Promise<Outcome> {
    const pages = this.#pagesOf(ranges)
    const outcome = new OutcomeBuilder()
    const device = name === null ? this.devices[0] : this.devices.find((each) => each.name === name)
    if (device === undefined) {
      if (name !== null) throw this.#noDevice(name)
      for (const { array, firstPage, endPage } of pages)
        outcome.skip(array, countPages(firstPage, endPage), 'no device')
      return outcome.build(0)
    }
    this.#check(pages)
    const copies = this.#copies.begin(pages, 'host-to-device')
    try {
      for (const each of pages) await this.#prefetchOne(device, each, access, outcome)
    } finally {
      this.#copies.end(copies)
    }
    return outcome.build(copies.nbytes)
  }

  async #prefetchOne(device: EngineDevice, pages: Pages, access: Access, outcome: OutcomeBuilder): Promise<void> {
    const { array, firstPage, endPage } = pages
    const npages = countPages(firstPage, endPage)
    this.#checkNotFilled([pages])
    if (this.#holds.covers({ start: firstPage, end: endPage })) {
      outcome.skip(array, npages, 'held')
      return
    }
    if (access === 'write' && array.readOnly) {
      throw new Refusal('READ_ONLY', `"${array.name}" was allocated readOnly, and is prefetched for writing`)
    }
    if (npages * PAGE_SIZE > device.nbytes) {
      outcome.skip(array, npages, 'no room')
      return
    }
    this.#adopt([pages])
    const { moved, resident } = await this.#orLoss([pages], device.prefetch({ start: firstPage, end: endPage }, access))
    outcome.pages += moved
    outcome.skip(array, resident, 'in place')
  }

  async #discard(ranges: readonly ByteRange[]): Promise<Outcome> {
    const pages = this.#pagesOf(ranges)
    const outcome = new OutcomeBuilder()
    for (const { array, start, end, firstPage, endPage } of pages) {
      const from = pageAlignUp(start)
      const to = end >= array.dataEnd ? array.end : pageAlignDown(end)
      outcome.skip(array, countPages(firstPage, endPage) - countPages(from, to), 'in part')
      if (from >= to) continue
      this.#checkNotHeld({ array, start: from, end: to }, 'discard')
      const unused = this.#whenUnused({ start: from, end: to })
      if (unused !== null) await unused
      await this.#whenWritable(() => {
        this.#checkMapped({ array, start: from, end: to })
        this.backend.retire(from, countPages(from, to), () => {
          const err = mmMadvise(this.mm, from, to - from, MADV_DONTNEED)
          assert(err === 0, () => `discarding "${array.name}" returned ${err}`)
        })
        const npages = countPages(from, to)
        if (this.tracer.on) this.tracer.emit({ kind: 'discard', start: from, end: to, npages })
        this.backend.renew(from, countPages(from, to))
        this.backend.clear(from, countPages(from, to))
      })
      this.#lostPages.forget({ start: from, end: to })
      outcome.pages += countPages(from, to)
    }
    return outcome.build(0)
  }

  async #advise(ranges: readonly ByteRange[], advice: Advice): Promise<Outcome> {
    const pages = this.#pagesOf(ranges)
    const outcome = new OutcomeBuilder()
    const copies = this.#copies.begin(pages, 'device-to-host')
    try {
      for (const each of pages) {
        if (advice === 'cold') await this.#makeCold(each, outcome)
        else await this.#adviseMapping(each, advice, outcome)
      }
    } finally {
      this.#copies.end(copies)
    }
    return outcome.build(copies.nbytes)
  }

  async #makeCold(pages: Pages, outcome: OutcomeBuilder): Promise<void> {
    const { array, firstPage, endPage } = pages
    await whenUnclaimed(this.mm, { start: firstPage, end: endPage })
    const away = this.#places.countAway(firstPage, endPage)
    await this.#bringBack(pages)
    const err = await bringHome(this.mm, firstPage, endPage)
    if (err !== 0) throw this.#refusalFor(err, pages)
    outcome.pages += away
    outcome.skip(array, countPages(firstPage, endPage) - away, 'in place')
  }

  async #adviseMapping({ array, firstPage, endPage }: Pages, advice: Advice, outcome: OutcomeBuilder): Promise<void> {
    const npages = countPages(firstPage, endPage)
    if (!this.backend.mmu.capabilities.traps) {
      outcome.skip(array, npages, 'only live')
      return
    }
    const madvice = { normal: MADV_NORMAL, sequential: MADV_SEQUENTIAL, random: MADV_RANDOM, cold: MADV_NORMAL }[advice]
    await this.#whenWritable(() => {
      this.#checkMapped({ array, start: firstPage, end: endPage })
      const err = mmMadvise(this.mm, firstPage, endPage - firstPage, madvice)
      assert(err === 0, () => `advice about "${array.name}" returned ${err}`)
    })
    outcome.pages += npages
  }

  #where(range: ByteRange): Answer<'where'> {
    const runs = this.#pagesOf([range]).flatMap(({ firstPage, endPage }) => this.#places.runs(firstPage, endPage))
    return { array: this.arrays.nameAt(range.start) ?? '', runs }
  }

  #stats(): EngineStats {
    const { counters } = this.tracer
    return {
      waiting: this.#waiting(),
      memory: this.#memory(),
      devices: this.devices.map(statsOf),
      counters: structuredClone(counters.total),
      byArray: structuredClone(Object.fromEntries(counters.byAllocation)),
    }
  }

  #memory(): MemoryStats {
    const { mmu, memoryPages, pagesOverLimit, swap } = this.sys
    return {
      resident: (mmu.nframes - mmu.nfree) * PAGE_SIZE,
      limit: memoryPages === mmu.nframes ? null : memoryPages * PAGE_SIZE,
      pagesOverLimit,
      swap: swap === null ? null : { ...swap.stats },
    }
  }

  /** Ends everything, also after a misuse was found: the heap is closed in any case. */
  async #close(): Promise<Answer<'close'>> {
    this.#closed = true
    this.#holds.releaseAll()
    await Promise.allSettled(this.#running)
    await whenUnclaimed(this.mm, { start: 0, end: this.mm.taskSize })
    this.backend.verifyAll(this.arrays)
    const misuses = this.#misuses.take()
    const detached = await Promise.allSettled(this.devices.map((device) => device.detach()))
    await withMmapWriteLock(this.mm, () => {})
    this.#endInvalidations()
    // With the mappings go the pages that a lost device still has.
    this.backend.retire(0, 0, () => mmput(this.mm))
    const closed = await Promise.allSettled(this.devices.map((device) => device.close()))
    this.tracer.close()
    for (const each of [...detached, ...closed]) if (each.status === 'rejected') throw each.reason
    return { misuses }
  }

  // ---- giving pages to the CPU ----

  async #handOver(pages: readonly Pages[], write: boolean): Promise<Outcome> {
    this.#checkNotFilled(pages)
    const outcome = new OutcomeBuilder()
    for (const { firstPage, endPage } of pages) {
      const range = { start: firstPage, end: endPage }
      if (isClaimed(this.mm, range)) await whenUnclaimed(this.mm, range)
    }
    this.#check(pages)
    const copies = this.#copies.begin(pages, 'device-to-host')
    try {
      for (const each of pages) {
        const counts: HandOverCounts = { given: 0, inPlace: 0 }
        await this.#bringBack(each)
        const err = await handOver(this.backend, this.mm, each.firstPage, each.endPage, write, counts)
        outcome.pages += counts.given
        outcome.skip(each.array, counts.inPlace, 'in place')
        if (err !== 0) throw this.#refusalFor(err, each)
      }
    } finally {
      this.#copies.end(copies)
    }
    return outcome.build(copies.nbytes)
  }

  /** Brings a range back as a whole: what devices do in one go is quicker than a fault for each page. */
  async #bringBack({ array, start, end, firstPage, endPage }: Pages): Promise<void> {
    for (const device of this.#places.devicesIn(firstPage, endPage)) {
      const lost = device.lostIn({ start, end })
      if (lost !== null) throw new Refusal('LOST', lost)
      try {
        await device.bringBack({ start: firstPage, end: endPage })
      } catch (error) {
        // A device that is lost meanwhile says so when the page is touched.
        if (device.lostIn({ start, end }) === null)
          throw new Refusal('FAILED', `"${array.name}": ${failureOf(error).message}`)
      }
    }
  }

  /** Tells mm of what the CPU may have written; nothing is waited for, so that launches keep their order. */
  #adopt(pages: readonly Pages[]): void {
    const { mm } = this
    // Not a new reader that should let a waiting writer pass: it is over before anybody else gets a turn.
    assert(mm.mmapLock.tryRead(true), 'nobody holds mmapLock for writing across a wait')
    try {
      for (const each of pages) {
        const err = this.backend.adopt(mm, each.firstPage, each.endPage)
        if (err !== 0) throw this.#refusalFor(err, each)
      }
    } finally {
      mm.mmapLock.unlockRead()
    }
  }

  // ---- what was not allowed ----

  /** Throws a Refusal NOT_OWNED if the CPU touched pages that were not its own. */
  #check(pages: readonly Pages[]): void {
    this.backend.verify(pages, this.arrays)
    const misuses = this.#misuses.take()
    if (misuses.length > 0) throw new Refusal('NOT_OWNED', 'the CPU touched pages that it did not own', { misuses })
  }

  // ---- waiting ----

  /** Runs a change of mappings when nothing holds them. Returns null if that was at once. */
  #whenWritable(change: () => void): Promise<void> | null {
    const { mmapLock } = this.mm
    if (!mmapLock.tryWrite()) return withMmapWriteLock(this.mm, change)
    try {
      change()
    } finally {
      mmapLock.unlockWrite()
    }
    return null
  }

  /** Resolves when no launch uses the range and nobody holds it; null if that is so now. */
  #whenUnused(range: ByteRange): Promise<void> | null {
    const isUsed = (): boolean => isClaimed(this.mm, range) || this.#holds.covers(range)
    if (!isUsed()) return null
    const wait = async (): Promise<void> => {
      while (isUsed()) {
        await whenUnclaimed(this.mm, range)
        await this.#holds.whenReleased(range)
      }
    }
    return wait()
  }

  // ---- ranges ----

  #pagesOf(ranges: readonly ByteRange[]): Pages[] {
    const pages: Pages[] = []
    for (const { start, end } of ranges) {
      if (start === end) continue
      const array = this.arrays.at(start)
      // Messages of several threads meet here, so what one of them uses another one may have freed.
      if (array === undefined) throw new Refusal('USE_AFTER_FREE', `no array is at ${formatAddr(start)} any more`)
      if (end > array.end) throw new Refusal('FOREIGN_VIEW', `a view goes beyond the end of "${array.name}"`)
      pages.push({ array, start, end, firstPage: pageAlignDown(start), endPage: pageAlignUp(end) })
    }
    return pages
  }

  /** Throws a Refusal LOST for what a lost device has left filled. */
  #checkNotFilled(pages: readonly Pages[]): void {
    for (const { array, start, end } of pages) {
      const device = this.#lostPages.deviceOf({ start, end })
      if (device === undefined) continue
      const text = `the newest contents of "${array.name}" went with ${device}, which is lost; discard them to go on`
      throw new Refusal('LOST', text)
    }
  }

  #checkNotHeld({ array, start, end }: ArrayRange, what: string): void {
    if (!this.#holds.covers({ start, end })) return
    throw new Refusal('HELD', `"${array.name}" is held by withResident or pin, so ${what} would wait for itself`)
  }

  /** What is held cannot make room for anything else, so some memory has to stay free of it. */
  #checkHoldable(pages: readonly Pages[]): void {
    const { memoryPages, reservePages, lowPages, mmu, swap } = this.sys
    if (memoryPages === mmu.nframes || swap?.device.isWritable !== true) return
    const wanted = pages.reduce((sum, { firstPage, endPage }) => sum + countPages(firstPage, endPage), 0)
    // What reclaim keeps free, and room for the pages that are about to be held.
    const kept = lowPages + (lowPages - reservePages) + HOLD_PART
    const left = Math.max(0, memoryPages - kept - this.#holds.npages)
    if (wanted <= left) return
    const sizes = `${formatSize(wanted * PAGE_SIZE)} of "${pages[0].array.name}", and ${formatSize(left * PAGE_SIZE)}`
    throw new Refusal('OUT_OF_SPACE', `withResident or pin of ${sizes} of memory can be held; open the heap with more`)
  }

  /** After a wait: the array is still there. */
  #checkMapped(range: ArrayRange): void {
    if (this.arrays.at(range.start) !== range.array) throw this.#refusalFor(-EFAULT, range)
  }

  /** What a device made of ranges. If it failed because pages could not be read back from swap, that is the error. */
  #orLoss<T>(ranges: readonly ArrayRange[], done: Promise<T>): Promise<T> {
    return done.catch((error: unknown) => {
      for (const range of ranges) {
        const loss = this.#swapLoss(range)
        if (loss !== null) throw loss
      }
      throw error
    })
  }

  /** Which page of a range is lost in swap; null for none. */
  #swapLoss({ array, start, end }: ArrayRange): Refusal | null {
    const lost = lostInSwap(this.mm, pageAlignDown(start), end)
    if (lost === null) return null
    const { first } = elementsOf(array, { start: Math.max(start, lost.addr), end: lost.addr + PAGE_SIZE })
    return new Refusal('LOST', `"${array.name}"[${first}] and the rest of its page are lost: ${lost.why}`)
  }

  /** What an error of mm means for a range of an array. */
  #refusalFor(err: number, { array, start, end }: ArrayRange): Refusal {
    for (const device of this.devices) {
      const lost = device.lostIn({ start, end })
      if (lost !== null) return new Refusal('LOST', lost)
    }
    const loss = this.#swapLoss({ array, start, end })
    if (loss !== null) return loss
    if (err === -EFAULT && this.arrays.at(start) !== array) {
      return new Refusal('USE_AFTER_FREE', `"${array.name}" was freed meanwhile`)
    }
    return new Refusal('FAILED', `"${array.name}": ${new MmError(err, 'fault', { addr: start }).message}`)
  }

  #noDevice(name: string): Refusal {
    const names = this.devices.map((device) => JSON.stringify(device.name)).join(', ')
    return new Refusal(
      'NO_DEVICE',
      `there is no device ${JSON.stringify(name)}, ${names === '' ? 'nor any other' : `only ${names}`}`,
    )
  }
}

function statsOf({ name, hardware, note, nbytes, nbytesUsed }: EngineDevice): DeviceStats {
  return { name, hardware, note, memory: nbytes, used: nbytesUsed }
}

function countPages(from: Addr, to: Addr): number {
  return Math.max(0, (to - from) / PAGE_SIZE)
}

/** Ranges cut into pieces, each in a list of its own. */
function inParts(ranges: readonly Pages[]): Pages[][] {
  return ranges.flatMap((range) => {
    const parts: Pages[][] = []
    for (let firstPage = range.firstPage; firstPage < range.endPage; firstPage += HOLD_PART * PAGE_SIZE) {
      const endPage = Math.min(range.endPage, firstPage + HOLD_PART * PAGE_SIZE)
      const [start, end] = [Math.max(range.start, firstPage), Math.min(range.end, endPage)]
      parts.push([{ array: range.array, start, end, firstPage, endPage }])
    }
    return parts
  })
}
