// Whether a launch brings its results along. It costs a copy, and saves a wait for the device if the program asks for them.

import type { ReadBackCounters } from '../hmm/policy.ts'

/** 256 KiB: a copy that is hardly noticed beside a launch. */
const PAGES_MAX = 64

/** Launches in a row after which the program asked: once may be chance. */
const ASKED_MIN = 2

/** Small results that were asked for after each of the last launches. */
export function isReadBack({ npages, nasked }: ReadBackCounters): boolean {
  return npages <= PAGES_MAX && nasked >= ASKED_MIN
}
