/**
 * Traces for https://ui.perfetto.dev and chrome://tracing: the JSON trace event format, as an array of one object per line.
 *
 *     CPU          a track per thread: page faults and waits; swap and files
 *     device NAME  launches, as slices with their parts; faults, migrations, copies; what it has, what was copied and why
 *     arrays       (if asked) a track per allocation: everything that happened to it, and how much of it devices have
 *
 * What took time may overlap on its track, so it is an asynchronous slice (`b`, `e`), which viewers stack; the rest are instants
 * (`i`). The closing bracket may be missing after a crash: both viewers take the array without it.
 */

import { PAGE_SIZE } from '../base/addr.ts'
import type { LaunchEvent, TraceEvent, TransferEvent } from './events.ts'
import { jsonFields, quoted } from './json-text.ts'
import { type Residency, ResidencyTracker } from './residency.ts'
import type { TraceHeader } from './schema.ts'
import type { Sink } from './sink.ts'

/** What a Perfetto trace has. */
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

/** More than any number of a thread. */
const TIDS = 2 ** 32

/** Counters are written so often at most; between two samples nobody could tell them apart. */
const SAMPLE_PERIOD_US = 1000

const DEVICE_TRACKS = { launches: 1, faults: 2, migrations: 3, copies: 4, duplicates: 5 } as const

export class PerfettoSink implements Sink {
  readonly #put: (text: string) => void
  readonly #header: TraceHeader
  readonly #withAllocations: boolean
  readonly #samplePeriod: number
  readonly #residency = new ResidencyTracker()
  readonly #pids = new Map<string, number>()
  readonly #allocationTids = new Map<string, number>()
  /** Tracks that have got their names: pid and tid in one number. */
  readonly #named = new Set<number>()
  /** Bytes copied so far by device, direction and cause: those that there have been, as each is a track of its own in viewers. */
  readonly #copied = new Map<string, { readonly device: string; readonly name: string; nbytes: number }>()
  /** What has changed since the last sample. */
  readonly #changedDevices = new Set<string>()
  readonly #changedCopies = new Set<string>()
  readonly #changedAllocations = new Map<string, Residency>()
  #sampledAt = Number.NEGATIVE_INFINITY
  #lastTime = 0
  #lastId = 0
  #isFirst = true

  /** `put` takes pieces of text, one after the other. */
  constructor(put: (text: string) => void, header: TraceHeader, options: PerfettoOptions = {}) {
    this.#put = put
    this.#header = header
    this.#withAllocations = options.allocations ?? false
    this.#samplePeriod = header.timeUnit === 'us' ? SAMPLE_PERIOD_US : 0
    put('[\n')
    this.#nameProcess(PID_CPU, header.program === undefined ? 'CPU' : `CPU: ${header.program}`)
    if (this.#withAllocations) this.#nameProcess(PID_ALLOCATIONS, 'arrays')
  }

  /** Puts what a viewer shows of an event, and the counters when it is time for them. */
  write(event: TraceEvent): void {
    this.#lastTime = event.time
    switch (event.kind) {
      case 'device':
        this.#counter(this.#device(event.device), 'memory', event.time, event.nbytes)
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
    if (this.#withAllocations && event.allocation !== undefined) this.#onAllocation(event.allocation, event)
    this.#followResidency(event)
    if (event.time - this.#sampledAt >= this.#samplePeriod) this.#sample()
  }

  /** Writes what makes the text a whole JSON document. */
  close(): void {
    this.#sample()
    const { program, mode, started } = this.#header
    const labels = [program, mode, started].filter((label) => label !== undefined).join(', ')
    this.#object(JSON.stringify({ ph: 'M', name: 'process_labels', pid: PID_CPU, args: { labels } }))
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
    const { time, duration } = event
    const common = `${titleOf(event)},"cat":"${event.kind}","pid":${pid},"tid":${tid}`
    if (duration === undefined) {
      this.#object(`{"name":${common},"ph":"i","s":"t","ts":${time},"args":${argsOf(event)}}`)
      return
    }
    const id = this.#nextId()
    this.#object(`{"name":${common},"ph":"b","id":"${id}","ts":${time - duration},"args":${argsOf(event)}}`)
    this.#object(`{"name":${common},"ph":"e","id":"${id}","ts":${time}}`)
  }

  /** A slice for the launch, and inside of it one for each part of its time. */
  #launch(event: LaunchEvent): void {
    const pid = this.#device(event.device)
    const tid = DEVICE_TRACKS.launches
    this.#nameThread(pid, tid, 'launches')
    const { time, duration, kernel } = event
    const common = `"cat":"launch","pid":${pid},"tid":${tid},"id":"${this.#nextId()}"`
    const name = quoted(kernel)
    let at = time - duration
    this.#object(`{"name":${name},${common},"ph":"b","ts":${at},"args":${argsOf(event)}}`)
    for (const part of ['queued', 'service', 'compute', 'flush'] as const) {
      const end = Math.min(time, at + event[part])
      if (end > at) {
        this.#object(`{"name":"${part}",${common},"ph":"b","ts":${at}}`)
        this.#object(`{"name":"${part}",${common},"ph":"e","ts":${end}}`)
      }
      at = end
    }
    this.#object(`{"name":${name},${common},"ph":"e","ts":${time}}`)
  }

  // ---- counters ----

  #followResidency(event: TraceEvent): void {
    for (const residency of this.#residency.add(event)) {
      for (const device of residency.onDevice.keys()) this.#changedDevices.add(device)
      if (this.#withAllocations) this.#changedAllocations.set(residency.name, residency)
    }
  }

  #countCopy({ device, direction, cause, nbytes }: TransferEvent): void {
    const key = `${device} ${direction} ${cause}`
    let copied = this.#copied.get(key)
    if (copied === undefined) {
      copied = { device, name: `${direction} ${cause}`, nbytes: 0 }
      this.#copied.set(key, copied)
    }
    copied.nbytes += nbytes
    this.#changedCopies.add(key)
  }

  /** Writes the counters that have changed. */
  #sample(): void {
    const time = this.#lastTime
    this.#sampledAt = time
    for (const name of this.#changedDevices) {
      this.#counter(this.#device(name), 'resident', time, this.#residency.npagesOn(name) * PAGE_SIZE)
    }
    for (const key of this.#changedCopies) {
      const { device, name, nbytes } = this.#copied.get(key)!
      this.#counter(this.#device(device), name, time, nbytes)
    }
    for (const [name, { onDevice }] of this.#changedAllocations) {
      let npages = 0
      for (const count of onDevice.values()) npages += count
      this.#counter(PID_ALLOCATIONS, `${name} on devices`, time, npages * PAGE_SIZE)
    }
    this.#changedDevices.clear()
    this.#changedCopies.clear()
    this.#changedAllocations.clear()
  }

  /** One series each: a viewer knows only those of the first sample (chrome://tracing), or makes a track of each (Perfetto). */
  #counter(pid: number, name: string, time: number, nbytes: number): void {
    this.#object(JSON.stringify({ name, ph: 'C', pid, ts: time, args: { bytes: nbytes } }))
  }

  // ---- text ----

  #nameProcess(pid: number, name: string): void {
    this.#object(JSON.stringify({ ph: 'M', name: 'process_name', pid, args: { name } }))
    this.#object(JSON.stringify({ ph: 'M', name: 'process_sort_index', pid, args: { sort_index: pid } }))
  }

  #nameThread(pid: number, tid: number, name: string): void {
    const key = pid * TIDS + tid
    if (this.#named.has(key)) return
    this.#named.add(key)
    this.#object(JSON.stringify({ ph: 'M', name: 'thread_name', pid, tid, args: { name } }))
    this.#object(JSON.stringify({ ph: 'M', name: 'thread_sort_index', pid, tid, args: { sort_index: tid } }))
  }

  #nextId(): string {
    this.#lastId++
    return `0x${this.#lastId.toString(16)}`
  }

  #object(json: string): void {
    this.#put(this.#isFirst ? json : `,\n${json}`)
    this.#isFirst = false
  }
}

/** What stands on a slice, as JSON: the kind, and whose memory it is about. */
function titleOf({ kind, allocation }: TraceEvent): string {
  return quoted(allocation === undefined ? kind : `${kind} ${allocation}`)
}

/** Fields that a slice shows by its place. */
const SHOWN: ReadonlySet<string> = new Set(['kind', 'time', 'duration', 'start', 'end', 'device'])

/** The others, as JSON. Addresses are hexadecimal, as people read them. */
function argsOf(event: TraceEvent): string {
  const { start, end } = event
  const fields = jsonFields(event, SHOWN)
  if (start === undefined || end === undefined) return `{${fields.slice(1)}}`
  return `{"start":"0x${start.toString(16)}","end":"0x${end.toString(16)}"${fields}}`
}
