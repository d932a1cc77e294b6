// What the parts of a device's driver share.

import type { Addr } from '../../base/addr.ts'
import type { DevicePolicy } from '../../hmm/policy.ts'
import type { Mm } from '../../mm/mm.ts'
import type { System } from '../../mm/system.ts'
import type { DeviceClock } from './device-clock.ts'
import type { FramePool } from './frame-pool.ts'
import type { DeviceHardware, ProgramMemory } from './hardware.ts'
import type { ProgressWatch } from './progress.ts'
import type { Traffic } from './traffic.ts'

/** What becomes of a touch of a page whose only newest copy went with the device. */
export const ON_LOST = [
  'sigbus', // the access fails, as that of a page that cannot be read from disk
  'fill', // it finds 0xff bytes, which are NaN as floats
] as const
export type OnLost = (typeof ON_LOST)[number]

/** What a lost page is filled with where that is wanted. */
export const LOST_BYTE = 0xff

export interface DeviceParts<Memory extends ProgramMemory = ProgramMemory> {
  readonly sys: System
  readonly name: string
  /** Identity of the memory (DM-4). */
  readonly owner: unknown
  readonly pool: FramePool
  readonly hardware: DeviceHardware<Memory>
  readonly clock: DeviceClock
  readonly policy: DevicePolicy
  readonly traffic: Traffic
  readonly onLost: OnLost
  /** A page was filled because its newest contents went with the device. */
  onFilled(mm: Mm, addr: Addr): void
  readonly watch: ProgressWatch
  /** Name of the allocation at an address, for events and errors. */
  nameAt(mm: Mm, addr: Addr): string | undefined
  /** Set when the device is gone. */
  failure: Error | null
  /** An operation of this device is in a page fault: it must not be made to wait for itself. */
  isFaulting: boolean
}
