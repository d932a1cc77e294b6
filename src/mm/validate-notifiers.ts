// Invariants of interval notifiers (INV-7): the numbers that tell a driver whether what it read is still true.

import type { Mm } from './mm.ts'
import { broken, nameOf } from './validate-fail.ts'

export function validateNotifiers(mm: Mm): void {
  const { subscriptions } = mm
  if (subscriptions === null) return
  const { invalidateSeq, activeInvalidateRanges, tree, deferred } = subscriptions
  if (activeInvalidateRanges < 0) broken('INV-7', `${nameOf(mm)}: ${activeInvalidateRanges} invalidations are running`)
  if ((invalidateSeq & 1) !== 0 && activeInvalidateRanges === 0) {
    broken('INV-7', `${nameOf(mm)}: the sequence number is ${invalidateSeq} and no invalidation is running`)
  }
  if ((invalidateSeq & 1) === 0 && deferred.length > 0) {
    broken(
      'INV-7',
      `${nameOf(mm)}: ${deferred.length} subscriptions are deferred, the sequence number is ${invalidateSeq}`,
    )
  }
  for (const { value: sub } of tree) {
    if ((sub.invalidateSeq & 1) === 0) {
      broken('INV-7', `${nameOf(mm)}: a subscription to ${sub.start} has the sequence number ${sub.invalidateSeq}`)
    }
    if (sub.invalidateSeq > invalidateSeq) {
      broken('INV-7', `${nameOf(mm)}: a subscription is at ${sub.invalidateSeq}, ahead of all at ${invalidateSeq}`)
    }
    if (sub.mm !== mm) broken('MN-2', `${nameOf(mm)}: a subscription of ${nameOf(sub.mm)} is in its tree`)
  }
}
