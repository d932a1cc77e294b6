// Read duplicates: copies beside the system pages, which the CPU goes on reading (mm/share.ts). From the fault that makes the
// pages present to the capture of their copies nothing waits: no store can come in between, so no round is in vain.
//
//   fault for reading ─> shareForRead: write-protected, marked ─> copy ─> capture
//                        a store from here on raises CLEAR, which ends the duplicate
//
// Blocks that lie side by side in both memories are one span, and what can be done for a run of pages is not done for each: most
// pages have neighbours that are alike.

import { type Pfn, vpnToAddr } from '../../base/addr.ts'
import { assert } from '../../base/assert.ts'
import { EBUSY } from '../../base/errno.ts'
import { shareForRead } from '../../mm/share.ts'
import type { Block } from './block.ts'
import { CopyList } from './copy-list.ts'
import { faultIn, othersTurn } from './device-fault.ts'
import type { Operation } from './operation.ts'
import type { RangeUse } from './range-use.ts'

/** Reserved frames from `first` on for as many pages from `vpn` on: a block, or several side by side. */
export type Span = Pick<Block, 'vpn' | 'first' | 'npages'>

/** Neighbours in both memories. */
interface CopyRun extends Span {
  readonly pfn: Pfn
}

/** What hardware is given to copy: it has read the list when it returns, and nothing waits in between. */
const copies = new CopyList()

/** Joins blocks in ascending order to as few spans as they lie in, of at most so many pages, or a block. */
export function spansOf(blocks: readonly Block[], npagesMax: number): Span[] {
  const spans: { vpn: number; first: number; npages: number }[] = []
  for (const { vpn, first, npages } of blocks) {
    const last = spans.at(-1)
    const isBeside = last !== undefined && last.vpn + last.npages === vpn && last.first + last.npages === first
    if (isBeside && last.npages + npages <= npagesMax) last.npages += npages
    else spans.push({ vpn, first, npages })
  }
  return spans
}

/** Copies what can be read of a span and is not on the device. Returns whether it waited for somebody instead. */
export async function duplicateSpan(op: Operation, use: RangeUse, { vpn, first, npages }: Span): Promise<boolean> {
  const { sys, pool, hardware, traffic, clock } = op.parts
  const { space } = op
  const { mm } = space
  const [start, end] = [vpnToAddr(vpn), vpnToAddr(vpn + npages)]
  await hardware.ready()
  if (faultIn(op, start, end, false) === -EBUSY) return await othersTurn(op)
  // Nothing waits from the fault to the look, so what the fault found is true, and each page is copied and captured.
  let runs = uncopiedRuns(op, start, end, first - vpn)
  const { nended } = space
  const nshared = share(op, runs)
  // Pages that were shared before, and written since, have just lost their entries: they come in the next round.
  if (space.nended !== nended) runs = uncopiedRuns(op, start, end, first - vpn)
  const nduplicated = runs.reduce((sum, run) => sum + run.npages, 0)
  copies.clear()
  const zeroes: number[] = []
  for (const run of runs) {
    pool.takeDuplicates(run.first, run.npages)
    space.duplicates.add(run.vpn, run.first, run.npages)
    if (run.pfn === sys.zeroPfn) zeroes.push(run.first)
    else copies.addRun(run.pfn, run.first, run.npages)
    // What is shared is anonymous memory that nobody has pinned.
    if (nshared === nduplicated) continue
    for (let i = 0; i < run.npages; i++) if (mayChangeUnnoticed(op, run.pfn + i)) op.transient.push(run.vpn + i)
  }
  hardware.clear(zeroes)
  // Launches wait for all uploads before they begin.
  const begunAt = clock.now()
  void hardware.upload(copies)
  op.purpose.copying.time += clock.now() - begunAt
  // What was reserved for a page and is still free at the fault, no use has.
  if (nduplicated === npages) op.gain(use, vpn, first, npages)
  else op.look(use, start, end)
  op.placed.duplicate += nduplicated
  traffic.duplicated({ mm, start, end }, nduplicated, op.purpose)
  traffic.copied({ mm, start, end }, 'host-to-device', copies.length, op.purpose)
  return false
}

/** Pages that are present and not on the device, as far as their frames are reserved. The frame of page `vpn` is `vpn + offset`. */
function uncopiedRuns({ parts, space }: Operation, start: number, end: number, offset: number): CopyRun[] {
  const { pool, sys } = parts
  const runs: CopyRun[] = []
  space.forEachSystemRun(start, end, (vpn, pfn, duplicate, npages) => {
    if (duplicate >= 0) return
    for (let k = 0, n = 1; k < npages; k += n) {
      n = 1
      const first = vpn + k + offset
      if (!pool.isReserved(first)) continue
      // The page that is all zeroes is not copied, and may be the neighbour of another.
      const toZeroes = sys.zeroPfn - (pfn + k)
      const max = toZeroes > 0 && toZeroes < npages - k ? toZeroes : npages - k
      n = toZeroes === 0 ? 1 : pool.nreserved(first, max)
      runs.push({ vpn: vpn + k, first, npages: n, pfn: pfn + k })
    }
  })
  return runs
}

/** Write-protects pages. Returns how many of them tell of every store. */
function share({ space: { mm } }: Operation, runs: readonly CopyRun[]): number {
  assert(mm.mmapLock.tryRead(true), 'a fault that succeeded just now found no writer')
  let nshared = 0
  for (let i = 0; i < runs.length; ) {
    const { vpn } = runs[i]
    let end = vpn
    for (; i < runs.length && runs[i].vpn === end; i++) end += runs[i].npages
    nshared += shareForRead(mm, vpnToAddr(vpn), vpnToAddr(end))
  }
  mm.mmapLock.unlockRead()
  return nshared
}

/**
 * A copy of this page may become old without an event: it belongs to a file, which others write through mappings of their
 * own, or it is pinned for somebody's DMA.
 */
export function mayChangeUnnoticed(op: Operation, pfn: Pfn): boolean {
  const { sys } = op.parts
  if (pfn === sys.zeroPfn) return false
  return !sys.pages.isAnon(pfn) || sys.pages.maybeDmaPinned(pfn)
}
