// Reading ahead. When touches walk over pages of the device, the next window comes while the program uses this one, so the walk
// seldom waits for a copy, and hardware that copies beside this thread does so while the pages of this window are mapped.
//
//   has come |m=========== comes ===========|m ...
//
// The first page of each window (m) is left behind: its touch tells that the walk goes on, and by how much. It brings along what
// comes after the window. Nothing that a launch has claimed is read ahead, nor what would take the last frames of memory.

import { addrToVpn, HPAGE_PMD_NR, vpnToAddr } from '../../base/addr.ts'
import { HMM_PFN_VALID_HI } from '../../hmm/hmm-pfn.ts'
import { isClaimed } from '../claims.ts'
import { withUser } from '../edge.ts'
import type { DeviceParts } from './device-parts.ts'
import type { DeviceSpace } from './device-space.ts'
import { CAPTURED_FOR_WRITING, FRAME_PAGE } from './frame-pool.ts'
import type { ToSystem } from './to-system.ts'
import { makePurpose } from './traffic.ts'

/** Pages of one migration: the copies of the first may begin while the second is prepared. */
const PIECE = 2 * HPAGE_PMD_NR

/**
 * Begins to bring pages back behind the page `first`, up to `first + npages`, as far as pieces begin with a page of the device that
 * can leave.
 */
export function readAhead(
  parts: DeviceParts,
  toSystem: ToSystem,
  space: DeviceSpace,
  first: number,
  npages: number,
): void {
  const { mm, touches } = space
  if (!mm.mmapLock.tryRead()) return
  const vma = mm.vmaLookup(vpnToAddr(first))
  const limit = vma === null ? first : Math.min(first + npages, addrToVpn(vma.end))
  const coming: Promise<void>[] = []
  for (let at = first; vma !== null && at < limit && canLeave(parts, space, at); at += PIECE) {
    const start = Math.max(at, first + 1)
    const end = Math.min(at + PIECE, limit)
    if (start >= end || isClaimed(mm, { start: vpnToAddr(start), end: vpnToAddr(end) })) break
    const { done } = toSystem.bringBack(vma, vpnToAddr(start), vpnToAddr(end), -1, makePurpose('prefetch'), true)
    if (done !== null) coming.push(done)
    touches.readAhead(end)
    touches.moved(start, end, 'host', parts.clock.now())
  }
  if (coming.length === 0) mm.mmapLock.unlockRead()
  else void withUser(mm, () => Promise.all(coming)).finally(() => mm.mmapLock.unlockRead())
}

/** The page is with the device, and no operation writes it. */
function canLeave({ pool }: DeviceParts, space: DeviceSpace, vpn: number): boolean {
  const words = space.snapshot(vpnToAddr(vpn), vpnToAddr(vpn + 1))
  const frame = (words[1] & HMM_PFN_VALID_HI) === 0 ? -1 : pool.frameOf(words[0])
  if (!(frame >= 0 && frame < pool.npages)) return false
  return pool.state[frame] === FRAME_PAGE && (pool.captured[frame] & CAPTURED_FOR_WRITING) === 0
}
