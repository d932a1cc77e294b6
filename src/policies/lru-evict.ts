// What leaves a full device: the block that was not used for the longest time; among equals the one with the least to copy.

import type { BlockCounters } from '../hmm/policy.ts'

/** Index of the block that was used the longest time ago; among equals of the one with the fewest dirty pages. */
export function evictColdest(blocks: readonly BlockCounters[]): number {
  let coldest = 0
  for (let i = 1; i < blocks.length; i++) {
    const older = blocks[i].age - blocks[coldest].age
    if (older > 0 || (older === 0 && blocks[i].ndirty < blocks[coldest].ndirty)) coldest = i
  }
  return coldest
}
