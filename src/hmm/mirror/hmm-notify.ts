// From today's notifier events to the event types of the mirror layer (MR-15 with MR-93), and who is told.
//
//   UNMAP, RELEASE             MUNMAP
//   CLEAR, MIGRATE, EXCLUSIVE  MIGRATE
//   PROTECTION_VMA             by the new flags: without READ MUNMAP, without WRITE WRITE_PROTECT, else nothing
//   PROTECTION_PAGE            FORK for a whole private mapping, else WRITE_PROTECT
//   SOFT_DIRTY                 WRITE_PROTECT
//
// The 2015 patches were told of page splits and single pages apart; both come as CLEAR today.

import {
  MMU_NOTIFY_CLEAR,
  MMU_NOTIFY_EXCLUSIVE,
  MMU_NOTIFY_MIGRATE,
  MMU_NOTIFY_PROTECTION_PAGE,
  MMU_NOTIFY_PROTECTION_VMA,
  MMU_NOTIFY_RELEASE,
  MMU_NOTIFY_SOFT_DIRTY,
  MMU_NOTIFY_UNMAP,
  type MmuNotifierRange,
} from '../../mm/mmu-notifier.ts'
import { isCowMapping, VM_READ, VM_WRITE } from '../../mm/vm-flags.ts'
import type { HmmDevice } from './hmm-device.ts'
import { HMM_FORK, HMM_MIGRATE, HMM_MUNMAP, HMM_NONE, HMM_WRITE_PROTECT } from './hmm-event.ts'

/** Event type that a notifier event means for mirrors; HMM_NONE if it takes nothing away. */
export function hmmEtypeOf(range: MmuNotifierRange): number {
  const { vma } = range
  switch (range.event) {
    case MMU_NOTIFY_UNMAP:
    case MMU_NOTIFY_RELEASE:
      return HMM_MUNMAP
    case MMU_NOTIFY_PROTECTION_VMA:
      if (vma === null || (vma.flags & VM_READ) === 0) return HMM_MUNMAP
      return (vma.flags & VM_WRITE) === 0 ? HMM_WRITE_PROTECT : HMM_NONE
    case MMU_NOTIFY_PROTECTION_PAGE:
      // Only fork protects a private mapping as a whole (MN-67); what else raises this event looks at single pages. Mask and
      // duty are the same, so a mapping of one page does no harm here.
      return vma !== null && isCowMapping(vma.flags) && range.start === vma.start && range.end === vma.end
        ? HMM_FORK
        : HMM_WRITE_PROTECT
    case MMU_NOTIFY_SOFT_DIRTY:
      return HMM_WRITE_PROTECT
    case MMU_NOTIFY_CLEAR:
    case MMU_NOTIFY_MIGRATE:
    case MMU_NOTIFY_EXCLUSIVE:
      return HMM_MIGRATE
    default:
      return HMM_MIGRATE // what we do not know may change anything
  }
}

/** The device began this event itself and keeps its mirrors right without being told (MN-51, and Renewal in mm/share.ts). */
export function hmmDeviceFilters(device: HmmDevice, range: MmuNotifierRange): boolean {
  if (device.owner === null) return false
  if (range.renewedBy === device.owner) return true
  if (!device.filterOwnEvents) return false
  const hasOwner = range.event === MMU_NOTIFY_MIGRATE || range.event === MMU_NOTIFY_EXCLUSIVE
  return hasOwner && range.owner === device.owner
}
