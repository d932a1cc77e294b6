/** Where events go. */

import type { TraceEvent } from './events.ts'

/** Takes events somewhere. Must not change them, nor emit any. */
export interface Sink {
  /** Takes an event. */
  write(event: TraceEvent): void
  /** No event comes after this. Whatever the sink has kept back goes out now. */
  close?(): void
}

/**
 * Several sinks as one. A sink that throws is taken off and its error is kept, so that it fails neither the others nor the
 * caller, who is often halfway through a change of the page table.
 */
export class SinkList implements Sink {
  #sinks: readonly Sink[]
  readonly #failures: unknown[] = []

  constructor(sinks: readonly Sink[] = []) {
    this.#sinks = [...sinks]
  }

  /** Errors of sinks that were taken off, oldest first. */
  get failures(): readonly unknown[] {
    return this.#failures
  }

  /** Adds a sink: it gets the events from now on. */
  add(sink: Sink): void {
    this.#sinks = [...this.#sinks, sink]
  }

  /** Takes a sink off. Returns whether it was there. */
  remove(sink: Sink): boolean {
    const rest = this.#sinks.filter((other) => other !== sink)
    const found = rest.length < this.#sinks.length
    this.#sinks = rest
    return found
  }

  /** Gives an event to all sinks, in the order in which they were added. */
  write(event: TraceEvent): void {
    for (const sink of this.#sinks) {
      try {
        sink.write(event)
      } catch (error) {
        this.#fail(sink, error)
      }
    }
  }

  /** Closes all sinks and takes them off. */
  close(): void {
    for (const sink of this.#sinks) {
      try {
        sink.close?.()
      } catch (error) {
        this.#fail(sink, error)
      }
    }
    this.#sinks = []
  }

  #fail(sink: Sink, error: unknown): void {
    this.remove(sink)
    this.#failures.push(error)
  }
}
