/**
 * Traces for https://ui.perfetto.dev and chrome://tracing: the JSON trace event format, as an array of one object per line.
 *
 *     CPU          a track per thread: page faults and waits; swap and files
 *     device NAME  launches, as slices with their parts; faults, migrations, copies; what it has, what was copied and why
 *     arrays       (if asked) a track per allocation: everything that happened to it, and how much of it devices have
 *
 * What may overlap on one track is an asynchronous slice (`b`, `e`), which viewers stack; the rest are complete slices (`X`),
 * or instants (`i`) where nobody measured how long it took. The closing bracket may be missing after a crash: both viewers
 * take the array without it.
 */

import { PAGE_SIZE } from '../base/addr.ts'
import { CAUSES, type Cause, type LaunchEvent, type TraceEvent, type TransferEvent } from './events.ts'
import { ResidencyTracker } from './residency.ts'
import type { TraceHeader } from './schema.ts'
import type { Sink } from './sink.ts'

export interface PerfettoOptions {
  /** A track for each allocation too. Makes traces half as large again. Default false. */
  readonly allocations?: boolean
}

/** Numbers of the groups of tracks: the format calls them processes. Devices follow. */
const PID_CPU = 1
const PID_ALLOCATIONS = 2
const PID_FIRST_DEVICE = 10

/** Tracks of the CPU that belong to no thread. Threads have the numbers of the operating system, far from these. */
const TID_PROGRAM = 1
const TID_SWAP = 2
const TID_FILES = 3

const DEVICE_TRACKS = { launches: 1, faults: 2, migrations: 3, copies: 4, duplicates: 5 } as const

type Json = Readonly<Record<string, unknown>>

export class PerfettoSink implements Sink {
  readonly #put: (text: string) => void
  readonly #header: TraceHeader
  readonly #withAllocations: boolean
  readonly #residency = new ResidencyTracker()
  readonly #pids = new Map<string, number>()
  readonly #allocationTids = new Map<string, number>()
  /** Tracks that have got their names, as `pid:tid`. */
  readonly #named = new Set<string>()
  /** Bytes copied so far, by device, direction and cause. */
  readonly #copied = new Map<string, Record<Cause, number>>()
  #lastId = 0
  #isFirst = true

  /** `put` takes pieces of text, one after the other. */
  constructor(put: (text: string) => void, header: TraceHeader, options: PerfettoOptions = {}) {
    this.#put = put
    this.#header = header
    this.#withAllocations = options.allocations ?? false
    put('[\n')
    this.#nameProcess(PID_CPU, header.program === undefined ? 'CPU' : `CPU: ${header.program}`)
    if (this.#withAllocations) this.#nameProcess(PID_ALLOCATIONS, 'arrays')
  }

  write(event: TraceEvent): void {
    switch (event.kind) {
      case 'device':
        this.#device(event.device)
        this.#counter(this.#device(event.device), 'memory', event.time, { bytes: event.nbytes })
        break
      case 'cpu-fault':
      case 'stall':
        this.#onThread(event)
        break
      case 'swap-in':
      case 'swap-out':
        this.#slice(PID_CPU, TID_SWAP, 'swap', event)
        break
      case 'file-read':
        this.#slice(PID_CPU, TID_FILES, 'files', event)
        break
      case 'alloc':
      case 'free':
      case 'discard':
      case 'invalidation':
      case 'thrashing':
      case 'throttling':
        this.#slice(PID_CPU, TID_PROGRAM, 'program', event)
        break
      case 'launch':
        this.#launch(event)
        break
      case 'device-fault':
      case 'replay':
      case 'device-lost':
        this.#onDevice('faults', event)
        break
      case 'migration':
        this.#onDevice('migrations', event)
        break
      case 'duplication':
      case 'duplicate-invalidated':
        this.#onDevice('duplicates', event)
        break
      case 'transfer':
        this.#onDevice('copies', event)
        this.#countCopy(event)
        break
      default:
        event satisfies never
    }
    this.#followResidency(event)
    if (this.#withAllocations && event.allocation !== undefined) this.#onAllocation(event.allocation, event)
  }

  /** Writes what makes the text a whole JSON document. */
  close(): void {
    const { program, mode, started } = this.#header
    this.#object({ ph: 'M', name: 'trace_info', pid: PID_CPU, args: { program, mode, started } })
    this.#put('\n]\n')
  }

  // ---- tracks ----

  #onThread(event: TraceEvent & { thread?: number | undefined }): void {
    const { thread } = event
    if (thread === undefined) this.#slice(PID_CPU, TID_PROGRAM, 'program', event)
    else this.#slice(PID_CPU, thread, `thread ${thread}`, event)
  }

  #onDevice(track: keyof typeof DEVICE_TRACKS, event: TraceEvent & { device: string }): void {
    this.#slice(this.#device(event.device), DEVICE_TRACKS[track], track, event)
  }

  #onAllocation(name: string, event: TraceEvent): void {
    let tid = this.#allocationTids.get(name)
    if (tid === undefined) {
      tid = this.#allocationTids.size + 1
      this.#allocationTids.set(name, tid)
    }
    this.#slice(PID_ALLOCATIONS, tid, name, event)
  }

  /** The group of a device, with its name. */
  #device(name: string): number {
    let pid = this.#pids.get(name)
    if (pid === undefined) {
      pid = PID_FIRST_DEVICE + this.#pids.size
      this.#pids.set(name, pid)
      this.#nameProcess(pid, `device ${name}`)
    }
    return pid
  }

  // ---- events ----

  /** An event with a duration may overlap with others of its track, so it is asynchronous; one without is an instant. */
  #slice(pid: number, tid: number, track: string, event: TraceEvent): void {
    this.#nameThread(pid, tid, track)
    const { kind, time, duration } = event
    const common = { name: titleOf(event), cat: kind, pid, tid }
    if (duration === undefined) this.#object({ ...common, ph: 'i', s: 't', ts: time, args: argsOf(event) })
    else this.#async(common, time - duration, time, argsOf(event))
  }

  /** A slice for the launch, and inside of it one for each part of its time. */
  #launch(event: LaunchEvent): void {
    const pid = this.#device(event.device)
    const tid = DEVICE_TRACKS.launches
    this.#nameThread(pid, tid, 'launches')
    const { time, duration, kernel } = event
    const id = this.#nextId()
    const common = { cat: 'launch', pid, tid, id }
    let at = time - duration
    this.#object({ ...common, name: kernel, ph: 'b', ts: at, args: argsOf(event) })
    for (const part of ['queued', 'service', 'compute', 'flush'] as const) {
      const end = Math.min(time, at + event[part])
      if (end > at) {
        this.#object({ ...common, name: part, ph: 'b', ts: at, args: {} })
        this.#object({ ...common, name: part, ph: 'e', ts: end })
      }
      at = end
    }
    this.#object({ ...common, name: kernel, ph: 'e', ts: time })
  }

  #async(common: Json, begin: number, end: number, args: Json): void {
    const id = this.#nextId()
    this.#object({ ...common, ph: 'b', id, ts: begin, args })
    this.#object({ ...common, ph: 'e', id, ts: end })
  }

  // ---- counters ----

  #followResidency(event: TraceEvent): void {
    const { time } = event
    const devices = new Set<string>()
    for (const { name, onDevice } of this.#residency.add(event)) {
      let sum = 0
      for (const [device, npages] of onDevice) {
        devices.add(device)
        sum += npages
      }
      if (this.#withAllocations) this.#counter(PID_ALLOCATIONS, `${name} on devices`, time, { bytes: sum * PAGE_SIZE })
    }
    for (const device of devices) {
      const bytes = this.#residency.npagesOn(device) * PAGE_SIZE
      this.#counter(this.#device(device), 'resident', time, { bytes })
    }
  }

  #countCopy({ device, direction, cause, nbytes, time }: TransferEvent): void {
    const key = `${device} ${direction}`
    let sums = this.#copied.get(key)
    if (sums === undefined) {
      sums = Object.fromEntries(CAUSES.map((each) => [each, 0])) as Record<Cause, number>
      this.#copied.set(key, sums)
    }
    sums[cause] += nbytes
    this.#counter(this.#device(device), `bytes ${direction}`, time, sums)
  }

  #counter(pid: number, name: string, time: number, values: Json): void {
    this.#object({ name, ph: 'C', pid, ts: time, args: values })
  }

  // ---- text ----

  #nameProcess(pid: number, name: string): void {
    this.#object({ ph: 'M', name: 'process_name', pid, args: { name } })
    this.#object({ ph: 'M', name: 'process_sort_index', pid, args: { sort_index: pid } })
  }

  #nameThread(pid: number, tid: number, name: string): void {
    const key = `${pid}:${tid}`
    if (this.#named.has(key)) return
    this.#named.add(key)
    this.#object({ ph: 'M', name: 'thread_name', pid, tid, args: { name } })
    this.#object({ ph: 'M', name: 'thread_sort_index', pid, tid, args: { sort_index: tid } })
  }

  #nextId(): string {
    this.#lastId++
    return `0x${this.#lastId.toString(16)}`
  }

  #object(object: Json): void {
    this.#put(`${this.#isFirst ? '' : ',\n'}${JSON.stringify(object)}`)
    this.#isFirst = false
  }
}

/** What stands on a slice: the kind, and whose memory it is about. */
function titleOf({ kind, allocation }: TraceEvent): string {
  return allocation === undefined ? kind : `${kind} ${allocation}`
}

/** The fields that a slice does not show by its place. Addresses are hexadecimal, as people read them. */
function argsOf(event: TraceEvent): Json {
  const { kind, time, duration, start, end, device, ...args } = event
  if (start === undefined || end === undefined) return args
  return { ...args, start: `0x${start.toString(16)}`, end: `0x${end.toString(16)}`, nbytes: end - start }
}
