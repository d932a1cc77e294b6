/**
 * Sums over events: the figures of a receipt, of stats() and of a trace that is read back.
 *
 * A counter is a function of the events and of nothing else, so figures taken while the program ran and figures taken
 * from its trace file agree. They are kept in total and per named allocation.
 */

import { assertNever } from '../base/assert.ts'
import { CAUSES, type Cause, type Direction, type TraceEvent } from './events.ts'

export type ByCause = Record<Cause, number>

/** Sums over events. Pages have 4096 bytes. */
export interface Counters {
  cpuFaults: number
  deviceFaults: number
  replays: number
  launches: number
  /** Sums over launches, in the unit of the clock: from the call to the end, and the parts of it. */
  launchDuration: number
  launchQueued: number
  launchService: number
  launchTransfer: number
  launchCompute: number
  launchFlush: number
  pagesDiscarded: number
  /** Pages that changed their home, by cause. */
  pagesMigrated: ByCause
  /** Pages that were asked to and stayed. */
  pagesSkipped: number
  pagesDuplicated: number
  duplicatesInvalidated: number
  /** Times that thrashing was detected. */
  thrashing: number
  throttling: number
  /** Sum of all delays, in the unit of the clock. */
  throttlingDelay: number
  pagesSwappedIn: number
  pagesSwappedOut: number
  bytesSwappedOut: number
  pagesReadFromFiles: number
  bytesReadFromFiles: number
  /** Waits long enough to be reported, and the sum of their durations. */
  stalls: number
  stallDuration: number
  /** Rounds of the mmu notifier, counted at level verbose only. */
  invalidations: number
  bytesHostToDevice: ByCause
  bytesDeviceToHost: ByCause
  bytesDeviceToDevice: ByCause
}

/** Counters in total and per allocation. */
export class TraceCounters {
  readonly total: Counters = makeCounters()
  /** By name of the allocation. Events without one are in the total only. */
  readonly byAllocation = new Map<string, Counters>()

  /** Counts an event. */
  add(event: TraceEvent): void {
    addEvent(this.total, event)
    if (event.allocation === undefined) return
    let counters = this.byAllocation.get(event.allocation)
    if (counters === undefined) {
      counters = makeCounters()
      this.byAllocation.set(event.allocation, counters)
    }
    addEvent(counters, event)
  }
}

/** Counters at zero. */
export function makeCounters(): Counters {
  return {
    cpuFaults: 0,
    deviceFaults: 0,
    replays: 0,
    launches: 0,
    launchDuration: 0,
    launchQueued: 0,
    launchService: 0,
    launchTransfer: 0,
    launchCompute: 0,
    launchFlush: 0,
    pagesDiscarded: 0,
    pagesMigrated: makeByCause(),
    pagesSkipped: 0,
    pagesDuplicated: 0,
    duplicatesInvalidated: 0,
    thrashing: 0,
    throttling: 0,
    throttlingDelay: 0,
    pagesSwappedIn: 0,
    pagesSwappedOut: 0,
    bytesSwappedOut: 0,
    pagesReadFromFiles: 0,
    bytesReadFromFiles: 0,
    stalls: 0,
    stallDuration: 0,
    invalidations: 0,
    bytesHostToDevice: makeByCause(),
    bytesDeviceToHost: makeByCause(),
    bytesDeviceToDevice: makeByCause(),
  }
}

/** Sum over all causes. */
export function sumByCause(by: Readonly<ByCause>): number {
  return CAUSES.reduce((sum, cause) => sum + by[cause], 0)
}

function makeByCause(): ByCause {
  return { fault: 0, prefetch: 0, eviction: 0, coherence: 0, user: 0 }
}

function addEvent(counters: Counters, event: TraceEvent): void {
  switch (event.kind) {
    case 'cpu-fault':
      counters.cpuFaults++
      break
    case 'device-fault':
      counters.deviceFaults += event.nfaults
      break
    case 'replay':
      counters.replays += event.count
      break
    case 'launch':
      counters.launches++
      counters.launchDuration += event.duration
      counters.launchQueued += event.queued
      counters.launchService += event.service
      counters.launchTransfer += event.transfer
      counters.launchCompute += event.compute
      counters.launchFlush += event.flush
      break
    case 'discard':
      counters.pagesDiscarded += event.npages
      break
    case 'migration':
      counters.pagesMigrated[event.cause] += event.npages
      counters.pagesSkipped += event.nskipped
      break
    case 'duplication':
      counters.pagesDuplicated += event.npages
      break
    case 'duplicate-invalidated':
      counters.duplicatesInvalidated += event.npages
      break
    case 'thrashing':
      counters.thrashing++
      break
    case 'throttling':
      counters.throttling++
      counters.throttlingDelay += event.delay
      break
    case 'swap-in':
      counters.pagesSwappedIn += event.npages
      break
    case 'swap-out':
      counters.pagesSwappedOut += event.npages
      counters.bytesSwappedOut += event.nbytes
      break
    case 'file-read':
      counters.pagesReadFromFiles += event.npages
      counters.bytesReadFromFiles += event.nbytes
      break
    case 'stall':
      counters.stalls++
      counters.stallDuration += event.duration
      break
    case 'invalidation':
      counters.invalidations++
      break
    case 'transfer':
      bytesOf(counters, event.direction)[event.cause] += event.nbytes
      break
    case 'device':
    case 'device-lost':
    case 'alloc':
    case 'free':
      break // they say what there is, not what it does
    default:
      assertNever(event)
  }
}

function bytesOf(counters: Counters, direction: Direction): ByCause {
  if (direction === 'host-to-device') return counters.bytesHostToDevice
  return direction === 'device-to-host' ? counters.bytesDeviceToHost : counters.bytesDeviceToDevice
}
