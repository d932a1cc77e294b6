/**
 * Takes events to another thread: the engine of a heap may run in a worker, and the sinks of its program are elsewhere.
 *
 *     engine's tracer ── BatchSink ── postMessage(events) ──> SinkList of the program
 *
 * One message per event would cost more than the event, so they go in batches: as soon as one is full, or when `schedule` has
 * called back, whichever is first. Events are plain data and need no encoding.
 */

import type { TraceEvent } from './events.ts'
import type { Sink } from './sink.ts'

const EVENTS_MAX = 512

/** Where batches go, and when. */
export interface BatchOptions {
  /** Takes a batch, oldest event first. The array is the receiver's. */
  readonly post: (events: TraceEvent[]) => void
  /** Calls `flush` some time later, `setTimeout` for example. Called once for each batch, with its first event. */
  readonly schedule: (flush: () => void) => void
  /** Events in a batch, at most. Default 512. */
  readonly eventsMax?: number
}

export class BatchSink implements Sink {
  readonly #options: BatchOptions
  readonly #eventsMax: number
  #batch: TraceEvent[] = []

  constructor(options: BatchOptions) {
    this.#options = options
    this.#eventsMax = options.eventsMax ?? EVENTS_MAX
  }

  /** Keeps an event until its batch goes out. */
  write(event: TraceEvent): void {
    this.#batch.push(event)
    if (this.#batch.length >= this.#eventsMax) this.flush()
    else if (this.#batch.length === 1) this.#options.schedule(() => this.flush())
  }

  close(): void {
    this.flush()
  }

  /** Sends what is there, if anything. */
  flush(): void {
    if (this.#batch.length === 0) return
    const batch = this.#batch
    this.#batch = []
    this.#options.post(batch)
  }
}
