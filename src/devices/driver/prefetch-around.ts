// What comes along with the pages of a launch that declared its ranges: those around them, where their arrays go on (density-tree.ts).
// They come while the hardware works on the launch, into free memory, and nobody waits for them or for the launch because of them.

import { type Addr, addrToVpn, HPAGE_PMD_NR, pageAlignDown, vpnToAddr } from '../../base/addr.ts'
import { type AddrRange, isClaimed } from '../claims.ts'
import { aheadOf, bringAhead, runsOf } from './ahead.ts'
import { partsAround } from './density-tree.ts'
import type { VpnRun } from './device-space.ts'
import type { Operation } from './operation.ts'
import type { RangeUse } from './range-use.ts'
import type { ToDevice } from './to-device.ts'

/**
 * Brings pages of `arrays` around what an operation uses. Whoever calls it knows that something was missing.
 *
 * Rejects when the device is lost; what cannot be had stays where it is.
 */
export async function prefetchAround(op: Operation, toDevice: ToDevice, arrays: readonly AddrRange[]): Promise<void> {
  const { parts, space } = op
  const ahead = aheadOf(op, false)
  try {
    for (const use of op.uses) {
      const array = arrays.find(({ start, end }) => start <= use.start && use.start < end)
      // Where all of it is used, nothing is around.
      if (array === undefined || (use.start <= array.start && array.end <= use.end)) continue
      for (const run of runsAround(ahead, use, array)) {
        const npages = Math.min(run.npages, parts.pool.nfree)
        if (npages === 0 || isClaimed(space.mm, rangeOf(run))) continue
        const range = withNeighbour({ vpn: run.vpn, npages }, use)
        await bringAhead(toDevice, ahead, ahead.use(range, use.access))
      }
    }
    await parts.hardware.uploaded()
  } finally {
    ahead.release()
  }
}

/** Pages of an array that come along with a use and are not there, as runs. */
function runsAround(op: Operation, use: RangeUse, array: AddrRange): VpnRun[] {
  const first = addrToVpn(use.start)
  const last = addrToVpn(use.end) - 1
  const vpn = addrToVpn(pageAlignDown(array.start))
  const within = { vpn, npages: addrToVpn(array.end - 1) + 1 - vpn }
  const missed = first === last ? [first] : [first, last]
  const present = new Set(missed.flatMap((page) => presentAround(op, page, use)))
  const isPresent = (page: number): boolean => present.has(page)
  const density = { missed, nmissed: use.npages, within, isPresent, isThrashing: false }
  const missing = new Map<number, boolean>()
  for (const part of partsAround(op.parts.policy, density)) {
    for (let page = part.vpn; page < part.vpn + part.npages; page++) if (!isPresent(page)) missing.set(page, false)
  }
  return runsOf(missing)
}

/** Pages of the 2 MiB around a page that are on the device. */
function presentAround(op: Operation, page: number, { access }: RangeUse): number[] {
  const vpn = page - (page % HPAGE_PMD_NR)
  const start: Addr = vpnToAddr(vpn)
  const found = op.peek({ access, start, npages: HPAGE_PMD_NR })
  return [...found.keys()].filter((i) => found[i] >= 0).map((i) => vpn + i)
}

/** A run, and the page of the use beside it: so it comes to the frames beside that page's, if those are free. */
function withNeighbour({ vpn, npages }: VpnRun, use: RangeUse): AddrRange {
  const [first, end] = [addrToVpn(use.start), addrToVpn(use.end)]
  const from = vpn === end ? vpn - 1 : vpn
  const to = vpn + npages === first ? first + 1 : vpn + npages
  return { start: vpnToAddr(from), end: vpnToAddr(to) }
}

const rangeOf = ({ vpn, npages }: VpnRun): AddrRange => ({ start: vpnToAddr(vpn), end: vpnToAddr(vpn + npages) })
