// What drivers ask of a policy, and what a policy may answer. Mechanism is in the drivers; a policy is a set of pure
// functions from counters to a decision (src/policies has some), handed to a driver by whoever makes the device. It keeps no
// state and sees no address: the same counters give the same answer, so a recorded run can be asked "what if".
//
// A wrong answer costs time, never data. What cannot be done as decided is done in another way that is right.

import type { Access } from '../trace/events.ts'

/** How pages come to be usable by a device. */
export const PLACEMENTS = [
  'duplicate', // a copy beside the system page, for reading
  'pin', // the page moves, and the system frame is kept for its way back
  'migrate', // the page moves, and the system frame is free
] as const
export type Placement = (typeof PLACEMENTS)[number]

/** Asked when a device is about to get pages that it does not have. */
export interface PlacementCounters {
  readonly access: Access
  /** Pages of this batch. */
  readonly npages: number
  /** Frames of system memory: all, those that are free, and how many of these only eviction may use. */
  readonly systemPages: number
  readonly systemFree: number
  readonly systemReserve: number
  /** System frames that this device keeps for pages that it has. */
  readonly npinned: number
  /** What the program wants, if it said so. */
  readonly hint: Placement | undefined
}

/** Asked when a device misses pages, for the 64 KiB around each of them and for 2, 4, ... 32 times as much. */
export interface DensityCounters {
  /** Pages of that part of 2 MiB that may be brought. */
  readonly npages: number
  /** Of these, on the device, or about to be. */
  readonly npresent: number
  /** Pages that were missed together, here and elsewhere. */
  readonly nmissed: number
  /** The operation misses what it had before: the device is too small for what is done at once. */
  readonly isThrashing: boolean
}

/** Pages that a launch missed while it ran, lately or in one of its ranges. */
export interface DemandCounters {
  readonly nfaults: number
  /** Of these, pages that it had had, and that were given up for others. */
  readonly nrefaults: number
}

/** Asked when a launch has written pages that are kept in system memory as well (pinned in place). */
export interface ReadBackCounters {
  readonly npages: number
  /** Launches in a row that wrote the same pages, and after which the program asked for them. */
  readonly nasked: number
}

/** One block of device memory: neighbouring frames that came together, at most 2 MiB. */
export interface BlockCounters {
  /** Operations of the device, and slices of launches, since one used the block. */
  readonly age: number
  /** Frames that are free once it is gone. */
  readonly npages: number
  /** Pages that have to be copied back; may take a walk over the block to find out. */
  readonly ndirty: number
}

/** Asked when the CPU touches a page that a device has. */
export interface TouchCounters {
  /** Pages that the last touch of this address space was answered with; 0 for the first one. */
  readonly window: number
  /** The touch is the one after what the last one brought back. */
  readonly isSequential: boolean
  /** How often pages of these 2 MiB have changed sides within the window of the policy, this touch included. */
  readonly nmoves: number
  /** Operations that the device is busy with, or that wait for it. */
  readonly nqueued: number
}

export interface TouchDecision {
  /** Pages to bring back at most, the touched one among them; a power of two. */
  readonly npages: number
  /** Pages to bring back beyond those, before anybody touches them. Default 0. */
  readonly nahead?: number
  /** The pages go back and forth more often than they should. */
  readonly isThrashing: boolean
  /** Microseconds that the touch has to wait first, so that the device gets something done. */
  readonly delay: number
}

export interface DevicePolicy {
  /** Microseconds that a change of sides is remembered for `TouchCounters.nmoves`. */
  readonly moveWindow: number
  /** 'duplicate' is an answer for reading only; for writing it means 'pin'. */
  place(counters: PlacementCounters): Placement
  /** Whether the others come along, as far as there is free memory: of the parts around a page the largest one counts. */
  prefetch(counters: DensityCounters): boolean
  /** Whether a launch wants more at once than fits. */
  thrashes(counters: DemandCounters): boolean
  /** Whether what a launch has written is copied to system memory with it, before anybody asks. */
  readBack(counters: ReadBackCounters): boolean
  /** Index of the block that has to go. There is at least one, and where there are many these are the oldest. */
  evict(blocks: readonly BlockCounters[]): number
  touch(counters: TouchCounters): TouchDecision
}
