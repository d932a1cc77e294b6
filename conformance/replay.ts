// Executes a sequence and says after each operation what there is to see, by the rules of the recorder: events when there
// were any, the state of a process when it differs from what was last reported, shared pages when they changed.

import type { ConformanceDriver, DriverFactory } from './drivers/driver.ts'
import { type Observation, type ProcessState, type Sequence, STATE_FIELDS } from './trace.ts'

/** Instead of an observation: the operation, or the look at its outcome, ended in an exception. The replay ends there. */
export interface Crash {
  readonly exception: string
}

export interface ReplayOptions {
  /** Check the invariants of the machine after every operation. Default false. */
  readonly validate?: boolean
}

/** Yields what each operation of the sequence did, in order. */
export function* replay(
  sequence: Sequence,
  makeDriver: DriverFactory,
  options: ReplayOptions = {},
): Generator<Observation | Crash> {
  try {
    const driver = makeDriver(sequence)
    const reporter = new Reporter(driver)
    for (const op of sequence.ops) {
      const result = driver.execute(op)
      const observation = reporter.report(result)
      if (options.validate === true) driver.validate()
      yield observation
    }
  } catch (error) {
    yield { exception: describe(error) }
  }
}

export function isCrash(seen: Observation | Crash): seen is Crash {
  return 'exception' in seen
}

/** Remembers what was reported. */
class Reporter {
  private readonly driver: ConformanceDriver
  private readonly states = new Map<number, ProcessState>()
  private same: readonly string[] = []

  constructor(driver: ConformanceDriver) {
    this.driver = driver
  }

  report(result: Observation['result']): Observation {
    const events = this.driver.takeEvents()
    const watch = this.driver.takeWatchEvents()
    const state = this.changedStates()
    const same = this.driver.same()
    const sameChanged = same.join() !== this.same.join()
    this.same = same
    return {
      result,
      ...(events.length > 0 && { events }),
      ...(watch.length > 0 && { watch }),
      ...(state !== null && { state }),
      ...(sameChanged && { same }),
    }
  }

  private changedStates(): Record<string, ProcessState> | null {
    const changed: Record<string, ProcessState> = {}
    const states = this.driver.states()
    // A process that ended may be followed by another of the same number, which is new to everybody.
    for (const number of this.states.keys()) if (!states.has(number)) this.states.delete(number)
    for (const [number, state] of states) {
      const last = this.states.get(number)
      if (last !== undefined && STATE_FIELDS.every((field) => last[field] === state[field])) continue
      this.states.set(number, state)
      changed[number] = state
    }
    return Object.keys(changed).length > 0 ? changed : null
  }
}

const STACK_LINES = 4

/** Message of an exception and where it came from. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const frames = (error.stack ?? '').split('\n').filter((line) => line.startsWith('    at '))
  return [`${error.name}: ${error.message}`, ...frames.slice(0, STACK_LINES).map(shortenFrame)].join('\n')
}

/** A line of a stack trace without the folder that the repository lies in. */
function shortenFrame(line: string): string {
  return line.replace(/(file:\/\/)?[^\s(]*?\/((src|conformance)\/)/, '$2')
}
