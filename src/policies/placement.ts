// Where pages go that a device needs. Reading gets a copy beside the system page, which the CPU may go on reading; writing
// moves the page and keeps its frame, so that coming back needs no room and no copy of what the device left alone. Both hold
// two frames for one page: as soon as system memory is scarce pages move and free theirs.

import type { Placement, PlacementCounters } from '../hmm/policy.ts'

/** Below this part of all frames free system memory is scarce. */
const SCARCE_PART = 16

/** How pages come to a device: as hinted; where system memory is scarce they move; else reading duplicates and writing pins. */
export function placeByRoom(counters: PlacementCounters): Placement {
  const { access, hint } = counters
  if (hint !== undefined && (hint !== 'duplicate' || access === 'read')) return hint
  if (systemIsScarce(counters)) return 'migrate'
  if (access === 'read') return 'duplicate'
  return pinsAreUsedUp(counters) ? 'migrate' : 'pin'
}

/**
 * For memory that is a limit with swap beyond it: what a device keeps in place cannot be swapped, and every frame of it is one less
 * for everything else. So frames are kept only as long as half of them are free.
 */
export function placeWithSwap(counters: PlacementCounters): Placement {
  const { hint, systemPages, systemFree, systemReserve } = counters
  const isHalfFree = systemFree - systemReserve >= systemPages / 2
  return hint === undefined && !isHalfFree ? 'migrate' : placeByRoom(counters)
}

/** Few frames are free that an allocation may take. */
export function systemIsScarce({ systemPages, systemFree, systemReserve }: PlacementCounters): boolean {
  return systemFree - systemReserve < systemPages / SCARCE_PART
}

/** Pins may hold all of memory but the reserve, no more. */
function pinsAreUsedUp({ npages, npinned, systemPages, systemReserve }: PlacementCounters): boolean {
  return npinned + npages > systemPages - systemReserve
}
