// What a report says, before anything is drawn: figures and series from a trace, as plain data. Times and durations are in the unit
// of the trace's clock, time 0 is the beginning of the trace.

import type { ByCause, Counters } from '../trace/counters.ts'
import type { Direction, LaunchMode } from '../trace/events.ts'
import type { TraceHeader } from '../trace/schema.ts'
import type { Distribution } from './distribution.ts'

export interface ReportModel {
  readonly header: TraceHeader
  readonly nevents: number
  readonly duration: number
  /** The last line of the trace was cut off, so the program was probably killed. */
  readonly isCut: boolean
  /** The same figures as `heap.stats().counters`. */
  readonly totals: Counters
  /** Pages that devices gave up because the room was needed: those that went back, and copies for reading that were dropped. */
  readonly nevicted: number
  readonly devices: readonly DeviceRow[]
  /** Bins that all series have: from 0 on, each `width` long. */
  readonly bins: { readonly width: number; readonly count: number }
  /** How much of each allocation devices had over time, those with the most bytes first. */
  readonly residency: readonly ResidencyRow[]
  /** Bytes copied in each bin. */
  readonly traffic: readonly TrafficRow[]
  readonly latencies: readonly Latency[]
  readonly allocations: readonly AllocationRow[]
  readonly kernels: readonly KernelRow[]
  /** What lines of the program led to, those that took longest first. Empty unless sites were asked for. */
  readonly sites: readonly SiteRow[]
  /** The longest waits of the CPU, longest first. */
  readonly waits: readonly Wait[]
}

export interface DeviceRow {
  readonly name: string
  /** What it is; undefined if the trace began after the device. */
  readonly hardware: string | undefined
  /** Bytes of its memory, likewise. */
  readonly nbytes: number | undefined
  /** Bytes of pages that it had: at the most, and on the average. */
  readonly peak: number
  readonly mean: number
  readonly launches: number
  /** Time in which its kernels ran. */
  readonly compute: number
  /** Why it was lost, if it was. */
  readonly lost: string | undefined
}

export interface ResidencyRow {
  readonly name: string
  /** Bytes of all allocations of the name, at the most. */
  readonly nbytes: number
  /** From front to back: the part of the stripe, 0 to 1, that devices had in each bin. */
  readonly stripes: readonly (readonly number[])[]
  /** Of the whole, over the whole time. */
  readonly mean: number
  readonly peak: number
}

export interface TrafficRow {
  readonly direction: Direction
  readonly total: ByCause
  readonly byCause: Readonly<Record<keyof ByCause, readonly number[]>>
}

export const LATENCY_KINDS = [
  'cpu-fault', // a touch that waited for its page
  'device-fault', // pages that a device missed
  'service', // bringing in what a launch uses
  'compute', // the kernel itself
] as const
export type LatencyKind = (typeof LATENCY_KINDS)[number]

export interface Latency {
  readonly kind: LatencyKind
  readonly distribution: Distribution
}

export interface AllocationRow {
  readonly name: string
  /** Bytes of all allocations of the name, at the most. */
  readonly nbytes: number
  readonly type: string | undefined
  readonly counters: Counters
  /** See ReportModel. */
  readonly nevicted: number
}

export interface KernelRow {
  readonly name: string
  readonly device: string
  readonly modes: readonly LaunchMode[]
  readonly launches: number
  readonly failed: number
  /** Of a launch as a whole. */
  readonly duration: Distribution
  /** Sums over launches. */
  readonly queued: number
  readonly service: number
  readonly transfer: number
  readonly compute: number
  readonly flush: number
  /** Pages that launches found on the device, and those that came for them. */
  readonly nresident: number
  readonly nbrought: number
}

export interface SiteRow {
  /** 'file:line'. */
  readonly site: string
  readonly counters: Counters
}

export interface Wait {
  readonly time: number
  readonly duration: number
  readonly thread: number
  readonly allocation: string | undefined
  readonly reason: string
}
