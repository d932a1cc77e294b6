/**
 * Where the core reports what happens. Start here.
 *
 * Switched off it costs one test of a boolean, because the caller asks before it makes the event:
 *
 *     if (tracer.on) tracer.emit({ kind: 'cpu-fault', start, end, access: 'write' })
 *
 * Switched on, an event gets its time and the name of its allocation, is added to the counters and goes to every sink.
 * Nothing in here can fail the caller, who is often halfway through a change of the page table.
 */

import type { Addr } from '../base/addr.ts'
import { TraceCounters } from './counters.ts'
import { EVENT_LEVELS, type Level, type NewEvent, type TraceEvent } from './events.ts'
import { type Sink, SinkList } from './sink.ts'

export type { Sink } from './sink.ts'

/** What the core needs of a tracer. */
export interface Tracer {
  /** Whether events are recorded. To be asked before an event is made. */
  readonly on: boolean
  /** The same for events of level verbose. Never true while `on` is false. */
  readonly verbose: boolean
  /** Place in the program that asked for what is being done, if that is known. What goes on later has to remember it. */
  readonly site: string | undefined
  /** Records an event. The tracer keeps the object and adds to it, so it must not be used again. */
  emit(event: NewEvent): void
}

/** Unit of all times and durations of a trace: microseconds, or the number of the event where there is no clock. */
export const TIME_UNITS = ['us', 'step'] as const
export type TimeUnit = (typeof TIME_UNITS)[number]

/** What a tracer is made with. */
export interface TracerOptions {
  /** Default: events. */
  level?: Level
  sinks?: readonly Sink[]
  /**
   * Returns microseconds, never going back. Must not throw.
   * Default: a counter, so that a deterministic run gives a deterministic trace.
   */
  clock?: () => number
  /** Name of the allocation that holds an address, asked for events that do not name it themselves. Must not throw. */
  allocationAt?: (addr: Addr) => string | undefined
}

/** A tracer that is always off. */
export const NO_TRACE: Tracer = Object.freeze({ on: false, verbose: false, site: undefined, emit: () => {} })

export class EventTracer implements Tracer {
  /** Plain fields, kept in step by setLevel(), so that asking costs one load. */
  on = false
  verbose = false
  site: string | undefined = undefined
  readonly timeUnit: TimeUnit
  #counters = new TraceCounters()
  readonly #sinks: SinkList
  readonly #clock: () => number
  readonly #allocationAt: ((addr: Addr) => string | undefined) | undefined

  constructor(options: TracerOptions = {}) {
    let step = 0
    this.timeUnit = options.clock === undefined ? 'step' : 'us'
    this.#clock = options.clock ?? (() => ++step)
    this.#allocationAt = options.allocationAt
    this.#sinks = new SinkList(options.sinks)
    this.setLevel(options.level ?? 'events')
  }

  get level(): Level {
    if (this.verbose) return 'verbose'
    return this.on ? 'events' : 'off'
  }

  /** Sums over all events recorded since the start or the last resetCounters(). */
  get counters(): TraceCounters {
    return this.#counters
  }

  /** Errors of sinks that were taken off, oldest first. */
  get failures(): readonly unknown[] {
    return this.#sinks.failures
  }

  /** Says which events are recorded from now on. */
  setLevel(level: Level): void {
    this.on = level !== 'off'
    this.verbose = level === 'verbose'
  }

  /** Starts new counters. The old ones stay as they are for whoever holds them. */
  resetCounters(): void {
    this.#counters = new TraceCounters()
  }

  /** Adds a sink: it gets the events from now on. */
  addSink(sink: Sink): void {
    this.#sinks.add(sink)
  }

  /** Takes a sink off. Returns whether it was there. */
  removeSink(sink: Sink): boolean {
    return this.#sinks.remove(sink)
  }

  /** Stops for good: nothing is recorded any more, and every sink writes out what it has kept back. */
  close(): void {
    this.setLevel('off')
    this.#sinks.close()
  }

  /**
   * Records an event, if its kind belongs to the current level.
   *
   * A sink that throws is taken off, and its error is kept in `failures`.
   */
  emit(event: NewEvent): void {
    if (!this.on || (!this.verbose && EVENT_LEVELS[event.kind] === 'verbose')) return
    const stamped = this.#stamp(event)
    this.#counters.add(stamped)
    this.#sinks.write(stamped)
  }

  /** Adds the time, and where the event has none, the name of the allocation and the site. */
  #stamp(event: NewEvent): TraceEvent {
    const stamped = event as Stamp
    stamped.time = this.#clock()
    if (stamped.allocation === undefined && stamped.start !== undefined && this.#allocationAt !== undefined) {
      const name = this.#allocationAt(stamped.start)
      if (name !== undefined) stamped.allocation = name
    }
    if (stamped.site === undefined && this.site !== undefined) stamped.site = this.site
    return event as TraceEvent
  }
}

/** The fields of an event that the tracer looks at or sets. */
interface Stamp {
  time?: number
  readonly start?: Addr | undefined
  allocation?: string | undefined
  site?: string | undefined
}
