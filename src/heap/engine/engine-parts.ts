// What the parts of an engine have in common: the machine with its backend and devices, and what is known of them beside mm.
//
//   Engine ──> Mappings   arrays come and go               (mappings.ts)
//          ──> Moves      pages go to the CPU and devices  (moves.ts)
//                 └─> Ranges   what a call is about, and whether it may be   (ranges.ts)

import type { Mm } from '../../mm/mm.ts'
import type { EventTracer } from '../../trace/tracer.ts'
import type { ArrayTable } from './array-table.ts'
import type { HeapBackend } from './backend.ts'
import type { EngineDevice } from './device.ts'
import type { Holds } from './holds.ts'
import type { LostPages } from './lost-pages.ts'
import type { Misuses } from './misuses.ts'
import type { CopyCounts } from './outcome.ts'
import type { Places } from './places.ts'

export interface EngineParts {
  readonly mm: Mm
  readonly backend: HeapBackend
  readonly arrays: ArrayTable
  readonly tracer: EventTracer
  /** Grows while the heap is opened. */
  readonly devices: readonly EngineDevice[]
  /** What withResident and pin hold. */
  readonly holds: Holds
  readonly lostPages: LostPages
  readonly misuses: Misuses
  readonly places: Places
  /** Copies that calls in progress are told of. */
  readonly copies: CopyCounts
}
