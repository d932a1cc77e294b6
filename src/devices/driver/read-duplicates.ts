// Read duplicates: copies beside the system pages, which the CPU goes on reading (mm/share.ts). From the fault that makes the
// pages present to the capture of their copies nothing waits: no store can come in between, so no round is in vain.
//
//   fault for reading ─> shareForRead: write-protected, marked ─> copy ─> capture
//                        a store from here on raises CLEAR, which ends the duplicate

import { type Pfn, vpnToAddr } from '../../base/addr.ts'
import { assert } from '../../base/assert.ts'
import { EBUSY } from '../../base/errno.ts'
import { shareForRead } from '../../mm/share.ts'
import type { Block } from './block.ts'
import { CopyList } from './copy-list.ts'
import { faultIn, othersTurn } from './device-fault.ts'
import type { Operation } from './operation.ts'
import type { RangeUse } from './range-use.ts'

/** Copies what can be read of a block and is not on the device. Returns whether it waited for somebody instead. */
export async function duplicateBlock(op: Operation, use: RangeUse, block: Block): Promise<boolean> {
  const { sys, pool, hardware, traffic, clock } = op.parts
  const { space } = op
  const { mm } = space
  const [start, end] = [vpnToAddr(block.vpn), vpnToAddr(block.vpn + block.npages)]
  await hardware.ready()
  if (faultIn(op, start, end, false) === -EBUSY) return await othersTurn(op)
  // Nothing waits from the fault to the look, so what the fault found is true, and each page is copied and captured.
  const pfns = new Int32Array(block.npages)
  space.findUncopied(start, pfns)
  for (let i = 0; i < pfns.length; i++) if (!pool.isReserved(block.first + i)) pfns[i] = -1
  assert(mm.mmapLock.tryRead(true), 'a fault that succeeded just now found no writer')
  let nduplicated = 0
  let nshared = 0
  forEachPresent(pfns, (from, to) => {
    nduplicated += to - from
    nshared += shareForRead(mm, vpnToAddr(block.vpn + from), vpnToAddr(block.vpn + to))
  })
  mm.mmapLock.unlockRead()
  const copies = new CopyList(block.npages)
  const zeroes: number[] = []
  forEachPresent(pfns, (from, to) => {
    pool.takeDuplicates(block.first + from, to - from)
    space.duplicates.add(block.vpn + from, block.first + from, to - from)
    for (let i = from; i < to; i++) {
      if (pfns[i] === sys.zeroPfn) zeroes.push(block.first + i)
      else copies.add(pfns[i], block.first + i)
      // What is shared is anonymous memory that nobody has pinned.
      if (nshared < nduplicated && mayChangeUnnoticed(op, pfns[i])) op.transient.push(block.vpn + i)
    }
  })
  hardware.clear(zeroes)
  // Launches wait for all uploads before they begin.
  const begunAt = clock.now()
  void hardware.upload(copies)
  op.purpose.copying.time += clock.now() - begunAt
  op.look(use, start, end)
  op.placed.duplicate += nduplicated
  traffic.duplicated({ mm, start, end }, nduplicated, op.purpose)
  traffic.copied({ mm, start, end }, 'host-to-device', copies.length, op.purpose)
  return false
}

/** Visits the runs `[from, to)` of entries that name a page. */
function forEachPresent(pfns: Int32Array, visit: (from: number, to: number) => void): void {
  for (let from = 0; from < pfns.length; ) {
    let to = from
    while (to < pfns.length && pfns[to] >= 0) to++
    if (to > from) visit(from, to)
    from = to + 1
  }
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
