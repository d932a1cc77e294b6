/**
 * The last events, in memory: a ring buffer of fixed capacity that forgets the oldest first.
 *
 * Cheap enough to stay on. It is what an error report and a live view look into after something went wrong.
 */

import type { TraceEvent } from './events.ts'
import type { Sink } from './sink.ts'

const CAPACITY_DEFAULT = 65_536 // events, some 10 MiB when full

export class RingSink implements Sink {
  readonly capacity: number
  /** Slot i % capacity holds event number i, counted from the last clear(). */
  #slots: TraceEvent[] = []
  #written = 0

  /** @throws RangeError unless capacity is a positive integer */
  constructor(capacity = CAPACITY_DEFAULT) {
    if (!Number.isSafeInteger(capacity) || capacity < 1) {
      throw new RangeError(`ring sink: capacity is ${capacity}, wanted a positive integer`)
    }
    this.capacity = capacity
  }

  /** Events held. */
  get size(): number {
    return this.#slots.length
  }

  /** Events that were written and are held no more. */
  get dropped(): number {
    return this.#written - this.#slots.length
  }

  /** Keeps an event, and forgets the oldest one where there is no room. */
  write(event: TraceEvent): void {
    this.#slots[this.#written % this.capacity] = event
    this.#written++
  }

  /** The events held, oldest first. */
  events(): TraceEvent[] {
    const oldest = this.#written % this.capacity
    if (this.dropped === 0) return this.#slots.slice()
    return [...this.#slots.slice(oldest), ...this.#slots.slice(0, oldest)]
  }

  /** Forgets all events, also that some were dropped. */
  clear(): void {
    this.#slots = []
    this.#written = 0
  }
}
