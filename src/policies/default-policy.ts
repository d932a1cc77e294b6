// The policy that devices get unless somebody chooses another one. To change a part, spread it:
//
//   const policy = { ...DEFAULT_POLICY, place: () => 'migrate' }

import type { DevicePolicy } from '../hmm/policy.ts'
import { isDense } from './density.ts'
import { LARGEST_WINDOW, nextWindow, WALK_AHEAD } from './fault-around.ts'
import { evictColdest } from './lru-evict.ts'
import { placeByRoom } from './placement.ts'
import { isReadBack } from './read-back.ts'
import { isThrashing, MOVE_WINDOW, thrashes, throttle } from './thrashing.ts'

export const DEFAULT_POLICY: DevicePolicy = {
  moveWindow: MOVE_WINDOW,
  place: placeByRoom,
  prefetch: isDense,
  thrashes,
  readBack: isReadBack,
  evict: evictColdest,
  touch(counters) {
    const thrashes = isThrashing(counters)
    // A walk over the pages wants them all, however often it is done; a jump wants one.
    const isAlone = thrashes && !counters.isSequential
    const npages = isAlone ? 1 : nextWindow(counters.window, counters.isSequential)
    // By now the walk has seen a few MiB, and will want the next ones.
    const nahead = counters.isSequential && npages === LARGEST_WINDOW ? WALK_AHEAD : 0
    return { npages, nahead, isThrashing: thrashes, delay: throttle(counters) }
  },
}
