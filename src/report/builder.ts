// From a trace to a report: takes events one by one, in constant memory per allocation and kernel, so a trace may be larger than
// memory, and a report may be had of a program that still runs.
//
//     const builder = new ReportBuilder(reader.header)
//     for (const event of events) builder.write(event)
//     const model = builder.build()

import { PAGE_SIZE } from '../base/addr.ts'
import { type Counters, makeCounters, sumByCause, TraceCounters } from '../trace/counters.ts'
import {
  CAUSES,
  type Cause,
  DIRECTIONS,
  type Direction,
  type LaunchEvent,
  type StallEvent,
  type TraceEvent,
} from '../trace/events.ts'
import { type Residency, ResidencyTracker, UNNAMED } from '../trace/residency.ts'
import type { TraceHeader } from '../trace/schema.ts'
import type { Sink } from '../trace/sink.ts'
import { Durations } from './distribution.ts'
import { KernelFigures } from './kernel-figures.ts'
import {
  type AllocationRow,
  type DeviceRow,
  LATENCY_KINDS,
  type LatencyKind,
  type ReportModel,
  type ResidencyRow,
  type SiteRow,
  type TrafficRow,
  type Wait,
} from './model.ts'
import { type AmountSeries, type LevelSeries, Timeline } from './timeline.ts'

/** Parts of an allocation that are shown on their own. */
export const NSTRIPES = 8
/** Allocations whose residency is followed over time, the first ones of a trace. Others are counted only. */
export const FOLLOWED_MAX = 128
const WAITS_MAX = 10

/** Width of the first bins. A real clock counts microseconds, and hardly anything is shorter than some. */
const FIRST_WIDTH = { us: 16, step: 1 }

interface Followed {
  readonly whole: LevelSeries
  readonly stripes: readonly LevelSeries[]
}

interface Device {
  hardware: string | undefined
  nbytes: number | undefined
  lost: string | undefined
  launches: number
  compute: number
  readonly used: LevelSeries
}

export class ReportBuilder implements Sink {
  readonly #header: TraceHeader
  readonly #counters = new TraceCounters()
  readonly #residency = new ResidencyTracker(NSTRIPES)
  readonly #followed = new Map<string, Followed>()
  readonly #sizes = new Map<string, { npages: number; type: string | undefined }>()
  readonly #devices = new Map<string, Device>()
  readonly #kernels = new KernelFigures()
  readonly #sites = new Map<string, TraceCounters>()
  readonly #latencies = new Map<LatencyKind, Durations>()
  readonly #traffic = new Map<Direction, Record<Cause, AmountSeries>>()
  /** Pages, by allocation. */
  readonly #evicted = new Map<string, number>()
  #nevicted = 0
  #waits: StallEvent[] = []
  #nevents = 0
  #timeline: Timeline | null = null

  constructor(header: TraceHeader) {
    this.#header = header
  }

  /** Sums over the events so far. */
  get totals(): Counters {
    return this.#counters.total
  }

  get nevents(): number {
    return this.#nevents
  }

  /** Bytes that a device has now. */
  bytesOn(device: string): number {
    return this.#residency.npagesOn(device) * PAGE_SIZE
  }

  /** Names of the devices so far. */
  get devices(): readonly string[] {
    return [...this.#devices.keys()]
  }

  write(event: TraceEvent): void {
    this.#nevents++
    this.#timeline ??= new Timeline(event.time - (event.duration ?? 0), FIRST_WIDTH[this.#header.timeUnit])
    this.#timeline.reach(event.time)
    this.#counters.add(event)
    if (event.device !== undefined) this.#device(event.device)
    if (event.site !== undefined) getOrMake(this.#sites, event.site, () => new TraceCounters()).add(event)
    this.#look(event)
    this.#follow(event)
  }

  /** The report of what was written so far. `isCut` if the trace ended in the middle of a line. */
  build({ isCut = false } = {}): ReportModel {
    const timeline = this.#time()
    return {
      header: this.#header,
      nevents: this.#nevents,
      duration: timeline.end - timeline.origin,
      isCut,
      totals: structuredClone(this.#counters.total),
      nevicted: this.#nevicted,
      devices: [...this.#devices].map(([name, device]) => deviceRow(name, device)),
      bins: { width: timeline.width, count: timeline.nbins },
      residency: this.#residencyRows(),
      traffic: DIRECTIONS.flatMap((direction) => this.#trafficRow(direction) ?? []),
      latencies: LATENCY_KINDS.flatMap((kind) => {
        const distribution = this.#latencies.get(kind)?.distribution() ?? null
        return distribution === null ? [] : [{ kind, distribution }]
      }),
      allocations: this.#allocationRows(),
      kernels: this.#kernels.rows(),
      sites: this.#siteRows(),
      waits: this.#waits.map((wait) => waitOf(wait, timeline.origin)),
    }
  }

  // ---- events ----

  /** What each kind has to tell besides its counters. */
  #look(event: TraceEvent): void {
    switch (event.kind) {
      case 'device': {
        const device = this.#device(event.device)
        device.hardware = event.hardware
        device.nbytes = event.nbytes
        break
      }
      case 'device-lost':
        this.#device(event.device).lost = event.reason
        break
      case 'alloc':
        this.#size(event.allocation).type = event.type
        break
      case 'cpu-fault':
      case 'device-fault':
        if (event.duration !== undefined) this.#latency(event.kind).add(event.duration)
        break
      case 'launch':
        this.#launch(event)
        break
      case 'migration':
      case 'duplicate-invalidated':
        if (event.cause === 'eviction') this.#evict(event.allocation ?? UNNAMED, event.npages)
        break
      case 'transfer':
        this.#trafficOf(event.direction)[event.cause].add(event.time, event.nbytes)
        break
      case 'stall':
        this.#waits = [...this.#waits, event].sort((a, b) => b.duration - a.duration).slice(0, WAITS_MAX)
        break
      default: // counters and residency say all
    }
  }

  #launch(event: LaunchEvent): void {
    const device = this.#device(event.device)
    device.launches++
    device.compute += event.compute
    this.#kernels.add(event)
    if (event.error !== undefined) return
    this.#latency('service').add(event.service)
    this.#latency('compute').add(event.compute)
  }

  #evict(name: string, npages: number): void {
    this.#nevicted += npages
    this.#evicted.set(name, (this.#evicted.get(name) ?? 0) + npages)
  }

  #follow(event: TraceEvent): void {
    const { time } = event
    const devices = new Set<string>()
    for (const residency of this.#residency.add(event)) {
      const { name, npages, onDevice } = residency
      const size = this.#size(name)
      size.npages = Math.max(size.npages, npages)
      for (const device of onDevice.keys()) devices.add(device)
      this.#followOne(time, residency)
    }
    for (const device of devices) this.#device(device).used.set(time, this.bytesOn(device))
  }

  #followOne(time: number, { name, npages, onDevice, stripes }: Residency): void {
    let followed = this.#followed.get(name)
    if (followed === undefined) {
      if (this.#followed.size === FOLLOWED_MAX) return
      const timeline = this.#time()
      followed = { whole: timeline.level(), stripes: Array.from(stripes, () => timeline.level()) }
      this.#followed.set(name, followed)
    }
    let sum = 0
    for (const count of onDevice.values()) sum += count
    followed.whole.set(time, part(sum, npages))
    for (const [i, series] of followed.stripes.entries()) series.set(time, part(stripes[i], npages / stripes.length))
  }

  // ---- what is looked up by name ----

  /** Nothing was written: a timeline of no length. */
  #time(): Timeline {
    return this.#timeline ?? new Timeline(0, FIRST_WIDTH[this.#header.timeUnit])
  }

  #device(name: string): Device {
    return getOrMake(this.#devices, name, () => {
      const unknown = { hardware: undefined, nbytes: undefined, lost: undefined }
      return { ...unknown, launches: 0, compute: 0, used: this.#time().level() }
    })
  }

  #size(name: string): { npages: number; type: string | undefined } {
    return getOrMake(this.#sizes, name, () => ({ npages: 0, type: undefined }))
  }

  #latency(kind: LatencyKind): Durations {
    return getOrMake(this.#latencies, kind, () => new Durations())
  }

  #trafficOf(direction: Direction): Record<Cause, AmountSeries> {
    return getOrMake(this.#traffic, direction, () => {
      const series = CAUSES.map((cause) => [cause, this.#time().amounts()])
      return Object.fromEntries(series) as Record<Cause, AmountSeries>
    })
  }

  // ---- rows ----

  #residencyRows(): ResidencyRow[] {
    const rows = [...this.#followed].map(([name, { whole, stripes }]) => ({
      name,
      nbytes: this.#size(name).npages * PAGE_SIZE,
      stripes: stripes.map((series) => series.values()),
      mean: whole.mean(),
      peak: whole.peak,
    }))
    return rows.sort((a, b) => b.nbytes - a.nbytes)
  }

  #trafficRow(direction: Direction): TrafficRow | null {
    const series = this.#traffic.get(direction)
    if (series === undefined) return null
    const { bytesHostToDevice, bytesDeviceToHost, bytesDeviceToDevice } = this.#counters.total
    const totals = {
      'host-to-device': bytesHostToDevice,
      'device-to-host': bytesDeviceToHost,
      'device-to-device': bytesDeviceToDevice,
    }
    const values = CAUSES.map((cause) => [cause, series[cause].values()])
    return {
      direction,
      total: { ...totals[direction] },
      byCause: Object.fromEntries(values) as Record<Cause, number[]>,
    }
  }

  #allocationRows(): AllocationRow[] {
    const { byAllocation } = this.#counters
    const names = new Set([...this.#sizes.keys(), ...byAllocation.keys()])
    const rows = [...names].map((name) => {
      const { npages = 0, type } = this.#sizes.get(name) ?? {}
      const counters = structuredClone(byAllocation.get(name) ?? makeCounters())
      return { name, nbytes: npages * PAGE_SIZE, type, counters, nevicted: this.#evicted.get(name) ?? 0 }
    })
    return rows.sort((a, b) => b.nbytes - a.nbytes)
  }

  #siteRows(): SiteRow[] {
    const rows = [...this.#sites].map(([site, { total }]) => ({ site, counters: structuredClone(total) }))
    const byTime = (a: Counters, b: Counters) => b.launchDuration - a.launchDuration || bytesOf(b) - bytesOf(a)
    return rows.sort((a, b) => byTime(a.counters, b.counters))
  }
}

function getOrMake<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key)
  if (value === undefined) {
    value = make()
    map.set(key, value)
  }
  return value
}

function bytesOf({ bytesHostToDevice, bytesDeviceToHost }: Counters): number {
  return sumByCause(bytesHostToDevice) + sumByCause(bytesDeviceToHost)
}

function deviceRow(name: string, { hardware, nbytes, lost, launches, compute, used }: Device): DeviceRow {
  return { name, hardware, nbytes, peak: used.peak, mean: used.mean(), launches, compute, lost }
}

function waitOf({ time, duration, thread, allocation, reason }: StallEvent, origin: number): Wait {
  return { time: time - origin, duration, thread, allocation, reason }
}

/** A count as a part of the whole. Duplicates on several devices together may be more than all. */
function part(count: number, whole: number): number {
  return whole > 0 ? Math.min(1, count / whole) : 0
}
