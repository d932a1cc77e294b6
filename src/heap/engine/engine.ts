// The engine of a heap: start here. It owns the machine (System, one address space, the memory under it) and the devices, and
// does what the heap asks for (protocol.ts). It knows arrays by address and name, and nothing of typed arrays or threads.
//
//   heap ── map, sync, ... ──> Engine ── handleMmFault, munmap ──> mm ──> backend
//                                └─────── prefetch, launch ─────> devices
//
// The core below never waits; what has to wait is here. Three kinds of things are waited for: launches that use a range
// (devices/claims.ts), migrations that hold mmapLock, and `sys.waitFor` of a call into mm. Whatever does not have to wait is
// done before `call` returns.

import { type Addr, PAGE_SIZE, type Pfn } from '../../base/addr.ts'
import { whenUnclaimed } from '../../devices/claims.ts'
import { withMmapWriteLock } from '../../devices/edge.ts'
import type { DevicePolicy } from '../../hmm/policy.ts'
import { Mm } from '../../mm/mm.ts'
import { mmput } from '../../mm/mmap.ts'
import { System, type SystemOptions } from '../../mm/system.ts'
import { EventTracer, type Sink } from '../../trace/tracer.ts'
import type { ArrayTable } from './array-table.ts'
import type { HeapBackend } from './backend.ts'
import type { EngineDevice } from './device.ts'
import type { EngineParts } from './engine-parts.ts'
import { failureOf, Refusal } from './failure.ts'
import { Holds } from './holds.ts'
import { traceInvalidations } from './invalidation-trace.ts'
import { KernelRuns, type LaunchUses } from './kernel-runs.ts'
import { LostPages } from './lost-pages.ts'
import { Mappings } from './mappings.ts'
import { Misuses } from './misuses.ts'
import { Moves } from './moves.ts'
import { CopyCounts } from './outcome.ts'
import { Places } from './places.ts'
import type {
  ByteRange,
  DeviceStats,
  EngineCall,
  EngineCalls,
  EnginePort,
  EngineStats,
  MemoryStats,
  Reply,
  WaitingTouch,
} from './protocol.ts'
import { Ranges, wholePages } from './ranges.ts'

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

type Answer<C extends EngineCall> = EngineCalls[C]['answer']

export class Engine implements EnginePort {
  readonly sys: System
  readonly mm: Mm
  readonly backend: HeapBackend
  readonly arrays: ArrayTable
  readonly tracer: EventTracer
  readonly devices: EngineDevice[] = []
  extensions: Readonly<Record<string, Extension>> = {}
  readonly #runs = new KernelRuns(this)
  readonly #parts: EngineParts
  readonly #ranges: Ranges
  readonly #mappings: Mappings
  readonly #moves: Moves
  /** Calls that have not answered yet. */
  readonly #running = new Set<Promise<void>>()
  readonly #waiting: () => readonly WaitingTouch[]
  readonly #endInvalidations: () => void
  #closed = false

  constructor(options: EngineOptions) {
    const { backend, arrays, devicePages, verbose, sinks } = options
    const copies = new CopyCounts()
    const { devices } = this
    const tracer = new EventTracer({
      level: verbose ? 'verbose' : 'events',
      sinks: [copies, ...sinks],
      clock: () => Math.round(performance.now() * 10_000) / 10, // finer than that is noise, and long as a text
      allocationAt: (addr) => arrays.nameAt(addr),
    })
    const sys = new System(backend.mmu, { devicePages, ...options.system })
    const mm = new Mm(sys)
    this.sys = sys
    this.mm = mm
    this.backend = backend
    this.arrays = arrays
    this.tracer = tracer
    this.#endInvalidations = verbose ? traceInvalidations(mm, tracer) : () => {}
    const holds = new Holds(mm)
    const lostPages = new LostPages()
    const misuses = new Misuses(backend, arrays)
    const places = new Places(mm, backend, devices)
    this.#parts = { mm, backend, arrays, tracer, devices, holds, lostPages, misuses, places, copies }
    this.#ranges = new Ranges(this.#parts)
    this.#mappings = new Mappings(this.#parts, this.#ranges)
    this.#moves = new Moves(this.#parts, this.#ranges)
    this.#waiting = options.waiting ?? (() => [])
  }

  /** Adds a device. */
  async addDevice(make: (site: DeviceSite) => Promise<EngineDevice>): Promise<void> {
    const { sys, mm, tracer, arrays } = this
    const { policy } = this.backend
    const onFilled = (addr: Addr, device: string): void => this.noteFilled(addr, `went with ${device}, which is lost`)
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
   * Throws a Refusal: HELD, READ_ONLY, LOST, NOT_OWNED.
   */
  launch<T>({ read, write, overwrite = [] }: LaunchUses, begin: () => Promise<T>): Promise<T> {
    const written = this.#ranges.pagesOf(write)
    const all = [...this.#ranges.pagesOf(read), ...written]
    for (const { array } of written) {
      if (array.readOnly)
        throw new Refusal('READ_ONLY', `"${array.name}" was allocated readOnly, and a launch writes it`)
    }
    for (const each of all) this.#ranges.checkNotHeld(each, 'a launch that uses it')
    const renewed = this.#ranges.pagesOf(overwrite).map(wholePages)
    this.#ranges.checkNotFilled(all, renewed)
    this.#ranges.checkNotTaken(all, renewed)
    this.#ranges.checkOwned(all)
    this.#moves.adopt(all)
    return this.#ranges.orLoss(all, begin(), renewed)
  }

  /** The contents of a page are lost, and it was filled with something. `reason` ends a sentence about them. */
  noteFilled(addr: Addr, reason: string): void {
    this.#parts.lostPages.add(addr, reason)
  }

  /** The thread ends, and nobody waits for what devices are doing. */
  async abandonDevices(): Promise<void> {
    await Promise.all(this.devices.map((device) => device.abandon?.()))
  }

  /** References that the program holds on each frame: for `validateSystem`. */
  heldReferences(): (pfn: Pfn) => number {
    return this.#parts.holds.heldReferences()
  }

  // ---- calls ----

  readonly #handlers: { [C in EngineCall]: (args: EngineCalls[C]['args']) => Answer<C> | Promise<Answer<C>> } = {
    segment: ({ addr, buffer }) => {
      this.backend.addSegment(addr, buffer)
      return null
    },
    map: (array) => this.#mappings.map(array),
    unmap: ({ id }) => this.#mappings.unmap(this.arrays.find(id)),
    unmapAt: ({ range }) => this.#mappings.unmapAt(range),
    detach: () => ({ misuses: this.#parts.misuses.take() }),
    sync: ({ ranges, write }) => this.#moves.sync(ranges, write),
    hold: ({ ranges, write }) => this.#moves.hold(ranges, write),
    release: ({ hold }) => {
      this.#parts.holds.release(hold)
      return null
    },
    prefetch: ({ ranges, write, device }) => this.#moves.prefetch(ranges, write ? 'write' : 'read', device),
    program: (args) => this.#runs.addProgram(args),
    run: (args) => this.#runs.run(args),
    abort: (args) => this.#runs.abort(args),
    discard: ({ ranges }) => this.#mappings.discard(ranges),
    advise: ({ ranges, advice }) =>
      advice === 'cold' ? this.#moves.makeCold(ranges) : this.#mappings.advise(ranges, advice),
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

  #where(range: ByteRange): Answer<'where'> {
    const runs = this.#ranges
      .pagesOf([range])
      .flatMap(({ firstPage, endPage }) => this.#parts.places.runs(firstPage, endPage))
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
    this.#parts.holds.releaseAll()
    await Promise.allSettled(this.#running)
    await whenUnclaimed(this.mm, { start: 0, end: this.mm.taskSize })
    this.backend.verifyAll(this.arrays)
    const misuses = this.#parts.misuses.take()
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
}

function statsOf({ name, hardware, note, nbytes, nbytesUsed }: EngineDevice): DeviceStats {
  return { name, hardware, note, memory: nbytes, used: nbytesUsed }
}
