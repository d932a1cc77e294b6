// What a replay needs of the machine under test: start here to write another driver. A driver is made for one sequence, with
// the initial state that traces/README.md describes, and executes operations one after the other.

import type { EventRecord, Operation, OperationResult, ProcessState, Sequence, WatchRecord } from '../trace.ts'

export interface ConformanceDriver {
  /** Executes one operation. A refused one is a result with `errno`; an exception means that the machine is broken. */
  execute(op: Operation): OperationResult
  /** Invalidations that the arena notifiers saw since the last call, by process. */
  takeEvents(): EventRecord[]
  /** The same for the notifiers of `watch`, by process and slot. */
  takeWatchEvents(): WatchRecord[]
  /** State of every living process, by its number. */
  states(): ReadonlyMap<number, ProcessState>
  /** Arena pages of living processes that share a frame. */
  same(): string[]
  /** Throws if an invariant of the machine does not hold. */
  validate(): void
}

/** Makes a machine in the initial state of a sequence. */
export type DriverFactory = (sequence: Sequence) => ConformanceDriver
