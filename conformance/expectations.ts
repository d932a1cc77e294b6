// Differences from the recordings that are known and meant. Each is a predicate on what was done, never an id, with the
// reason why this implementation answers otherwise. A sequence whose first difference falls under one counts as listed.
// The list is shown in the report; an entry that nothing needs any more is reported and is to be removed.

import type { Difference } from './compare.ts'
import type { Sequence } from './trace.ts'

export interface Expectation {
  /** A few words, for the report. */
  readonly name: string
  /** Why the difference is right, or cannot be avoided. */
  readonly reason: string
  /** True if the difference at operation `index` of the sequence is the one that is meant. */
  applies(sequence: Sequence, index: number, difference: Difference): boolean
}

export const EXPECTATIONS: readonly Expectation[] = []
