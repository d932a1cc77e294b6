// The engine of a live heap, with the hardware under it: start here for what happens on its thread.
//
//   program's threads ── calls ──────> Engine ────────> mm ──> LiveBackend ──> UserfaultfdMmu
//                     ── page faults ─> FaultServer ────┘                          │
//                                          ^ FaultEvents <── userfaultfd <─────────┘
//
// Nothing here ever waits for a thread of the program: it may be waiting for us. So no Atomics.wait and no look into what
// programs see, and nothing on the way of a fault that uses the pool of threads, whose threads may all be waiting for pages.

import { type Addr, PAGE_SIZE, vpnToAddr } from '../../base/addr.ts'
import { MmError } from '../../base/errno.ts'
import type { CopierMaker } from '../../devices/memory/index.ts'
import { findAdapter } from '../../devices/webgpu/adapter.ts'
import { FaultEvents } from '../../mmu/userfaultfd/fault-events.ts'
import { openDetected } from '../../mmu/userfaultfd/features.ts'
import type { Kernel } from '../../mmu/userfaultfd/ffi.ts'
import { UserfaultfdMmu } from '../../mmu/userfaultfd/userfaultfd-mmu.ts'
import type { EventKind, TraceEvent } from '../../trace/events.ts'
import type { Sink } from '../../trace/tracer.ts'
import { ArrayTable } from '../engine/array-table.ts'
import { deviceFrames } from '../engine/device.ts'
import { Engine } from '../engine/engine.ts'
import { lostInSwap } from '../engine/swapped.ts'
import type { EngineSettings } from './engine-settings.ts'
import { FaultServer } from './fault-server.ts'
import { LiveBackend } from './live-backend.ts'
import { MemoryLimit } from './memory-limit.ts'
import { PageCopier } from './page-copier.ts'
import { PageIo, type PageIoStarter } from './page-io.ts'

export interface LiveEngineOptions {
  readonly kernel: Kernel
  readonly settings: EngineSettings
  /** Those of engine/words.ts. */
  readonly words: Int32Array<SharedArrayBuffer>
  /** Take events. */
  readonly sinks: readonly Sink[]
  /** Begins the calls that have come and were not looked at. */
  readonly takeCalls: () => void
  /** A touch cannot be answered: ends the engine. */
  readonly giveUp: (message: string) => never
  /** So many pages of nobody are mapped, because they were touched. */
  readonly onStrays: (count: number) => void
}

/** What gets somebody ahead who waits for a page: data that moves, and launches that end. */
const PROGRESS: ReadonlySet<EventKind> = new Set([
  'transfer',
  'migration',
  'duplication',
  'duplicate-invalidated',
  'launch',
  'device-lost',
  'swap-in',
  'swap-out',
  'file-read',
])

class Progress implements Sink {
  count = 0

  write({ kind }: TraceEvent): void {
    if (PROGRESS.has(kind)) this.count++
  }
}

export class LiveEngine {
  readonly engine: Engine
  readonly mmu: UserfaultfdMmu
  readonly events: FaultEvents
  readonly faults: FaultServer
  readonly memory: MemoryLimit
  readonly #backend: LiveBackend
  readonly #copier: CopierMaker
  /** All that were started. */
  readonly #threads: PageIo[] = []

  constructor({ kernel, settings, words, sinks, takeCalls, giveUp, onStrays }: LiveEngineOptions) {
    const { support, nframes, devices, verbose, patienceMs } = settings
    this.events = new FaultEvents(kernel, openDetected(kernel, support), (faults) => this.faults.serve(faults))
    this.mmu = new UserfaultfdMmu({ kernel, fd: this.events.fd, tracking: support.tracking, nframes, onStrays })
    const startIo: PageIoStarter = (places) => {
      const thread = new PageIo(places, words, giveUp)
      this.#threads.push(thread)
      return thread
    }
    this.memory = new MemoryLimit(settings.memory, this.mmu.frames, startIo)
    this.#copier = (memory) => new PageCopier(this.mmu, this.events.fd, memory, startIo)
    this.#backend = new LiveBackend(this.mmu, this.memory.swap)
    const arrays = new ArrayTable()
    const progress = new Progress()
    this.engine = new Engine({
      backend: this.#backend,
      arrays,
      devicePages: deviceFrames(devices),
      system: this.memory.options,
      verbose,
      sinks: [progress, ...sinks],
      waiting: () => this.faults.waiting(),
    })
    const { mm, sys, tracer } = this.engine
    this.memory.attach(sys, tracer, (pfn) =>
      this.engine.noteFilled(vpnToAddr(pfn), 'could not be read back from the swap file'),
    )
    this.faults = new FaultServer({
      mm,
      mmu: this.mmu,
      arrays,
      tracer,
      takeCalls,
      explain: (errno, addr) => this.#explain(errno, addr),
      progress: () => progress.count,
      isWatched: () => this.engine.devices.some(({ isWatching }) => isWatching),
      patienceMs,
      giveUp,
    })
  }

  /** Adds devices and extensions. */
  async open({ devices, extensions }: EngineSettings): Promise<void> {
    if (extensions !== null) this.engine.extensions = await import(extensions)
    if (devices.length === 0) return
    // Drivers and the compiler of kernels are more than half of an engine: a heap without devices opens without them.
    const { makeDevice } = await import('../engine/make-device.ts')
    for (const device of devices) {
      await this.engine.addDevice((site) => makeDevice(site, device, findAdapter, this.#copier))
    }
  }

  /** Gives all memory back; programs that still have arrays find zeroes. The engine has been closed. */
  async close(): Promise<void> {
    await this.memory.swap.close()
    await Promise.all(this.#threads.map((thread) => thread.close()))
    this.#backend.close()
    this.events.close()
    this.mmu.close()
  }

  #explain(errno: number, addr: Addr): string {
    for (const device of this.engine.devices) {
      const lost = device.lostIn({ start: addr, end: addr + PAGE_SIZE })
      if (lost !== null) return lost
    }
    const lost = lostInSwap(this.engine.mm, addr, addr + PAGE_SIZE)
    if (lost !== null) return `the page is lost: ${lost.why}`
    return new MmError(errno, 'fault', { addr }).message
  }
}
