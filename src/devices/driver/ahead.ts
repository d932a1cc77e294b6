// What comes ahead of its use, beside an operation that missed other pages: it counts for that operation, with a cause of its own, and
// what cannot be had stays where it is.

import { MmError } from '../../base/errno.ts'
import type { VpnRun } from './device-space.ts'
import { Operation } from './operation.ts'
import type { RangeUse } from './range-use.ts'
import type { ToDevice } from './to-device.ts'

/** An operation for what comes along with another one's pages; with `holdsPages` it stays as long as these. */
export function aheadOf({ parts, space, purpose }: Operation, holdsPages: boolean): Operation {
  return new Operation({
    ...{ parts, space, holdsPages, signal: undefined, hint: undefined },
    purpose: { ...purpose, cause: 'prefetch' },
  })
}

/** Brings as much of a use as can be had. Rejects only when the device is lost. */
export async function bringAhead(toDevice: ToDevice, ahead: Operation, use: RangeUse): Promise<void> {
  try {
    await toDevice.bringIn(ahead, use)
  } catch (error) {
    if (!(error instanceof MmError)) throw error
  }
}

export interface PageRun extends VpnRun {
  readonly isWrite: boolean
}

/** Runs of neighbouring pages that are wanted in the same way: for writing, or not. */
export function runsOf(pages: ReadonlyMap<number, boolean>): PageRun[] {
  const runs: { vpn: number; npages: number; isWrite: boolean }[] = []
  for (const vpn of [...pages.keys()].sort((a, b) => a - b)) {
    const isWrite = pages.get(vpn) === true
    const last = runs.at(-1)
    if (last !== undefined && last.vpn + last.npages === vpn && last.isWrite === isWrite) last.npages++
    else runs.push({ vpn, npages: 1, isWrite })
  }
  return runs
}
