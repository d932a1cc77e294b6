// The verdict on one sequence: identical to the recording, different, or different in a way that is listed.

import { compareOperation, type Difference } from './compare.ts'
import type { DriverFactory } from './drivers/driver.ts'
import type { Expectation } from './expectations.ts'
import { type ReplayOptions, replay } from './replay.ts'
import type { RecordedOperation, Sequence } from './trace.ts'

/** Where a sequence first differs. */
export interface Failure {
  /** Number of the operation, from 0. */
  readonly index: number
  readonly op: RecordedOperation
  readonly difference: Difference
  /** The listed expectation that the difference falls under. */
  readonly listed: Expectation | null
}

/** Replays a sequence up to the first difference. Returns null if there is none. */
export function checkSequence(
  sequence: Sequence,
  makeDriver: DriverFactory,
  expectations: readonly Expectation[],
  options: ReplayOptions = {},
): Failure | null {
  let index = 0
  for (const seen of replay(sequence, makeDriver, options)) {
    const op = sequence.ops[index]
    const difference = compareOperation(op, seen)
    if (difference !== null) {
      const listed = expectations.find((expectation) => expectation.applies(sequence, index, difference)) ?? null
      return { index, op, difference, listed }
    }
    index++
  }
  return null
}
