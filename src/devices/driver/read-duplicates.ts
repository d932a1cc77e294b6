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
import { CopyList, forEachRun } from './copy-list.ts'
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
  const vpns: number[] = []
  const pfns: Pfn[] = []
  space.forEachUncopied(start, end, (vpn, pfn) => {
    if (!pool.isReserved(block.first + (vpn - block.vpn))) return
    vpns.push(vpn)
    pfns.push(pfn)
  })
  assert(mm.mmapLock.tryRead(true), 'a fault that succeeded just now found no writer')
  forEachRun(vpns, 0, vpns.length, (vpn, npages) => shareForRead(mm, vpnToAddr(vpn), vpnToAddr(vpn + npages)))
  mm.mmapLock.unlockRead()
  const copies = new CopyList()
  const zeroes: number[] = []
  forEachRun(vpns, 0, vpns.length, (vpn, npages, at) => {
    const first = block.first + (vpn - block.vpn)
    pool.takeDuplicates(first, npages)
    space.duplicates.add(vpn, first, npages)
    for (let i = 0; i < npages; i++) {
      const pfn = pfns[at + i]
      if (pfn === sys.zeroPfn) zeroes.push(first + i)
      else copies.add(pfn, first + i)
      if (mayChangeUnnoticed(op, pfn)) op.transient.push(vpn + i)
    }
  })
  hardware.clear(zeroes)
  // Launches wait for all uploads before they begin.
  const begunAt = clock.now()
  void hardware.upload(copies)
  op.purpose.copying.time += clock.now() - begunAt
  op.look(use, start, end)
  op.placed.duplicate += vpns.length
  traffic.duplicated({ mm, start, end }, vpns.length, op.purpose)
  traffic.copied({ mm, start, end }, 'host-to-device', copies.length, op.purpose)
  return false
}

/**
 * A copy of this page may become old without an event: it belongs to a file, which others write through mappings of their
 * own, or it is pinned for somebody's DMA.
 */
function mayChangeUnnoticed(op: Operation, pfn: Pfn): boolean {
  const { sys } = op.parts
  if (pfn === sys.zeroPfn) return false
  return !sys.pages.isAnon(pfn) || sys.pages.maybeDmaPinned(pfn)
}
