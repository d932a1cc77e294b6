// What a device reports about itself: events for the trace, and sums of the same events for stats and receipts, so that
// the figures of a receipt, of the device and of a trace that is read back agree.

import { type Addr, HPAGE_PMD_NR, PAGE_SIZE, vpnToAddr } from '../../base/addr.ts'
import type { Mm } from '../../mm/mm.ts'
import { TraceCounters } from '../../trace/counters.ts'
import type { Access, Cause, Direction, LaunchEvent, NewEvent, TraceEvent } from '../../trace/events.ts'
import type { Tracer } from '../../trace/tracer.ts'
import type { DeviceClock } from './device-clock.ts'
import type { LaunchReceipt } from './receipt.ts'

/** Pages between two of which one event tells, whatever they belong to: 64 KiB. */
const TOLD_HOLE_MAX = 16

/** Why something is done, and where that is added up besides the totals of the device. */
export interface Purpose {
  readonly cause: Cause
  readonly counters: TraceCounters
  /** Microseconds spent on copies. */
  readonly copying: { time: number }
  /** Place in the program that led to it, if that is known. */
  readonly site: string | undefined
}

export function makePurpose(cause: Cause, site?: string): Purpose {
  return { cause, counters: new TraceCounters(), copying: { time: 0 }, site }
}

/** Pages of one address space. */
export interface PageRun {
  readonly mm: Mm
  readonly start: Addr
  readonly end: Addr
}

export class Traffic {
  readonly totals = new TraceCounters()
  private readonly device: string
  private readonly tracer: Tracer
  private readonly clock: DeviceClock
  private readonly nameAt: (mm: Mm, addr: Addr) => string | undefined

  constructor(device: string, tracer: Tracer, clock: DeviceClock, nameAt: (mm: Mm, addr: Addr) => string | undefined) {
    this.device = device
    this.tracer = tracer
    this.clock = clock
    this.nameAt = nameAt
  }

  /** Pages changed sides; `nskipped` were asked to and stayed. */
  migrated(run: PageRun, direction: Direction, npages: number, nskipped: number, purpose: Purpose): void {
    if (npages + nskipped === 0) return
    const { cause } = purpose
    this.reportAt(
      run.mm,
      { kind: 'migration', device: this.device, start: run.start, end: run.end, cause, direction, npages, nskipped },
      purpose,
    )
  }

  /** Pages were copied from one side to the other. */
  copied(run: PageRun, direction: Direction, npages: number, purpose: Purpose): void {
    if (npages === 0) return
    const { cause } = purpose
    this.reportAt(
      run.mm,
      {
        kind: 'transfer',
        device: this.device,
        start: run.start,
        end: run.end,
        cause,
        direction,
        nbytes: npages * PAGE_SIZE,
      },
      purpose,
    )
  }

  duplicated(run: PageRun, npages: number, purpose: Purpose): void {
    if (npages === 0) return
    this.reportAt(
      run.mm,
      { kind: 'duplication', device: this.device, start: run.start, end: run.end, cause: purpose.cause, npages },
      purpose,
    )
  }

  duplicatesInvalidated(run: PageRun, npages: number, cause: Cause): void {
    if (npages === 0) return
    this.reportAt(
      run.mm,
      { kind: 'duplicate-invalidated', device: this.device, start: run.start, end: run.end, cause, npages },
      null,
    )
  }

  /**
   * Calls `tell` for pages in ascending order: for ranges of which one event says where they are, and how many. These are pages with small
   * holes between them, and those of 2 MiB of one array.
   */
  forEachTold(mm: Mm, vpns: readonly number[], tell: (run: PageRun, npages: number) => void): void {
    for (let at = 0; at < vpns.length; ) {
      const limit = vpns[at] - (vpns[at] % HPAGE_PMD_NR) + HPAGE_PMD_NR
      const name = this.nameAt(mm, vpnToAddr(vpns[at]))
      const isBeside = (k: number): boolean =>
        vpns[k] - vpns[k - 1] <= TOLD_HOLE_MAX || (vpns[k] < limit && this.nameAt(mm, vpnToAddr(vpns[k])) === name)
      let end = at + 1
      while (end < vpns.length && isBeside(end)) end++
      tell({ mm, start: vpnToAddr(vpns[at]), end: vpnToAddr(vpns[end - 1] + 1) }, end - at)
      at = end
    }
  }

  /** An operation found pages missing. Those of a prefetch were not asked for. */
  faulted(run: PageRun, access: Access, nfaults: number, purpose: Purpose): void {
    if (purpose.cause === 'prefetch') return
    this.reportAt(
      run.mm,
      { kind: 'device-fault', device: this.device, start: run.start, end: run.end, access, nfaults },
      purpose,
    )
  }

  /** An operation looked again because what it had brought in was gone. */
  replayed(run: PageRun, count: number, purpose: Purpose): void {
    this.reportAt(run.mm, { kind: 'replay', device: this.device, start: run.start, end: run.end, count }, purpose)
  }

  /** Work of a launch was done again because it had missed pages. */
  repeated(count: number, purpose: Purpose): void {
    if (count > 0) this.report({ kind: 'replay', device: this.device, count }, purpose)
  }

  thrashed(run: PageRun, nmigrations: number, purpose: Purpose | null = null): void {
    this.reportAt(
      run.mm,
      { kind: 'thrashing', device: this.device, start: run.start, end: run.end, nmigrations },
      purpose,
    )
  }

  throttled(run: PageRun, delay: number): void {
    this.reportAt(run.mm, { kind: 'throttling', device: this.device, start: run.start, end: run.end, delay }, null)
  }

  /** Place in the program that asks for something at this moment, to remember as long as it is done. */
  get site(): string | undefined {
    return this.tracer.site
  }

  launched({ name, mode, nslices, pages, times }: LaunchReceipt, queuedAt: number, purpose: Purpose): void {
    const { queued, service, transfer, kernel: compute, flush } = times
    this.reportLaunch(queuedAt, purpose, {
      ...{ kernel: name, mode, nslices, queued, service, transfer, compute, flush },
      ...{ nresident: pages.resident, nduplicated: pages.duplicated, npinned: pages.pinned, nmigrated: pages.migrated },
    })
  }

  /** A launch began and ended with an error. What it did until then is told by other events. */
  launchFailed(kernel: string, error: unknown, queuedAt: number, begunAt: number, purpose: Purpose): void {
    this.reportLaunch(queuedAt, purpose, {
      ...{ kernel, mode: 'direct', nslices: 1, error: error instanceof Error ? error.message : String(error) },
      ...{ queued: begunAt - queuedAt, service: 0, transfer: 0, compute: 0, flush: 0 },
      ...{ nresident: 0, nduplicated: 0, npinned: 0, nmigrated: 0 },
    })
  }

  lost(reason: string): void {
    this.report({ kind: 'device-lost', device: this.device, reason }, null)
  }

  private reportLaunch(
    queuedAt: number,
    purpose: Purpose,
    launch: Omit<LaunchEvent, 'kind' | 'device' | 'duration' | 'time' | 'site'>,
  ): void {
    const duration = this.clock.now() - queuedAt
    this.report({ kind: 'launch', device: this.device, duration, ...launch }, purpose)
  }

  /** Reports an event about pages of an address space, by the name of their allocation. */
  private reportAt(mm: Mm, event: NewEvent & { readonly start: Addr }, purpose: Purpose | null): void {
    const allocation = this.nameAt(mm, event.start)
    if (allocation !== undefined) (event as Stamp).allocation = allocation
    this.report(event, purpose)
  }

  private report(event: NewEvent, purpose: Purpose | null): void {
    const stamped = event as Stamp
    if (purpose?.site !== undefined) stamped.site = purpose.site
    stamped.time = this.clock.now()
    this.totals.add(event as TraceEvent)
    purpose?.counters.add(event as TraceEvent)
    // The tracer has a clock of its own, and keeps the object.
    if (this.tracer.on) this.tracer.emit(event)
  }
}

/** What is added to an event on its way. */
interface Stamp {
  time?: number
  allocation?: string
  site?: string
}
