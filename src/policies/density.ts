// Which pages come along with those that a device misses, as the prefetcher of the NVIDIA UVM driver has it: the largest part of the 2 MiB
// around a page of which more than 51 % would then be there, and where few pages are missed the 64 KiB around each. So a kernel that
// works its way through an array soon gets 2 MiB at a time, and one that jumps gets little more than it asks for.

import type { DensityCounters } from '../hmm/policy.ts'
import { FIRST_WINDOW } from './fault-around.ts'

/** Percent of a part from which on the rest of it comes too. */
export const DENSITY_THRESHOLD = 51

/** Missed pages from which on their copies, and no longer the rounds in which they are found, are what takes the time. */
const MANY = 16

/**
 * Whether the pages around missing ones come along: always the first window where few were missed, more where over half are there.
 */
export function isDense({ npages, npresent, nmissed, isThrashing }: DensityCounters): boolean {
  if (isThrashing) return false
  const isWorthARound = npages <= FIRST_WINDOW && nmissed < MANY
  return isWorthARound || 100 * npresent > DENSITY_THRESHOLD * npages
}
