// Pages that are wanted by too many. A launch that misses what it gave up shortly before does too much at once. Pages that both sides
// want: from three moves on it is called thrashing. If it goes on while the device has work waiting, the
// CPU waits a little before each page, so that launches find their pages in place.

import type { DemandCounters, TouchCounters } from '../hmm/policy.ts'

/** Microseconds that moves count for. */
export const MOVE_WINDOW = 100_000

/** Moves of 2 MiB within the window from which on it is thrashing. */
export const THRASHING_MOVES = 3

/** Moves from which on a touch waits. */
export const THROTTLED_MOVES = 10

/** The first wait in microseconds; it doubles with every further move. */
const FIRST_DELAY = 50
/** Far below what a person or a timeout notices. */
const LONGEST_DELAY = 1_600

/** Whether a block has changed sides too often within the window of the policy. */
export function isThrashing({ nmoves }: TouchCounters): boolean {
  return nmoves >= THRASHING_MOVES
}

/** More than a quarter of what a launch misses was there a moment ago. */
export function thrashes({ nfaults, nrefaults }: DemandCounters): boolean {
  return 4 * nrefaults > nfaults
}

/** Microseconds that a touch waits. */
export function throttle({ nmoves, nqueued }: TouchCounters): number {
  if (nmoves < THROTTLED_MOVES || nqueued === 0) return 0
  return Math.min(FIRST_DELAY * 2 ** (nmoves - THROTTLED_MOVES), LONGEST_DELAY)
}
