// Page faults of the device, for an operation that misses pages. What is in the way of a page is settled by the fault or named
// by it: on another device, in swap, shared after a fork, locked by somebody who moves it.

import type { Addr } from '../../base/addr.ts'
import { EBUSY, MmError } from '../../base/errno.ts'
import { firstPageIn, type PageRuns } from '../../base/page-runs.ts'
import { HMM_DEVICE_RFAULT, HMM_DEVICE_WFAULT, HmmEvent, hmmMirrorFault } from '../../hmm/mirror/index.ts'
import { asDeviceFault, waitForOther } from '../edge.ts'
import type { Operation } from './operation.ts'

/** Faults a range as the device does. Returns whether it waited for somebody. Throws an MmError for what cannot be had. */
export async function deviceFault(op: Operation, start: Addr, end: Addr, write: boolean): Promise<boolean> {
  return faultIn(op, start, end, write) === -EBUSY ? await othersTurn(op) : false
}

/** Returns 0, or -EBUSY when somebody else must finish first. With `wanted` only these pages are faulted in. */
export function faultIn(op: Operation, start: Addr, end: Addr, write: boolean, wanted: PageRuns | null = null): number {
  const { parts, space } = op
  const event = new HmmEvent(start, end, write ? HMM_DEVICE_WFAULT : HMM_DEVICE_RFAULT)
  while (event.start < end) {
    parts.sys.waitFor = null
    parts.isFaulting = true
    let err: number
    try {
      err = asDeviceFault(parts.sys, () => hmmMirrorFault(space.mirror, event, wanted))
    } finally {
      parts.isFaulting = false
    }
    if (err === -EBUSY) return err
    if (err !== 0)
      throw new MmError(err, parts.name, { addr: event.start, detail: write ? 'to be written' : 'to be read' })
    event.start = event.end
    // The next mapping may not begin here, where nothing is wanted.
    event.start = firstPageIn(wanted, event.start, end)
    event.end = end
  }
  return 0
}

/** Waits for whom the fault just before named. Returns whether it named anybody. */
export async function othersTurn(op: Operation): Promise<boolean> {
  const { sys } = op.parts
  if (sys.waitFor === null) return false
  await waitForOther(sys)
  op.check()
  return true
}
