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
  const pages = [...space.uncopied(start, end)].filter(([vpn]) => pool.isReserved(block.first + (vpn - block.vpn)))
  assert(mm.mmapLock.tryRead(true), 'a fault that succeeded just now found no writer')
  for (const [from, to] of runsOf(pages)) shareForRead(mm, vpnToAddr(from), vpnToAddr(to))
  mm.mmapLock.unlockRead()
  const copies = new CopyList()
  const zeroes: number[] = []
  for (const [vpn, pfn] of pages) {
    const frame = block.first + (vpn - block.vpn)
    pool.takeDuplicate(frame)
    space.duplicates.add(vpn, frame)
    if (pfn === sys.zeroPfn) zeroes.push(frame)
    else copies.add(pfn, frame)
    if (mayChangeUnnoticed(op, pfn)) op.transient.push(vpn)
  }
  hardware.clear(zeroes)
  // Launches wait for all uploads before they begin.
  const begunAt = clock.now()
  void hardware.upload(copies)
  op.purpose.copying.time += clock.now() - begunAt
  op.look(use, start, end)
  op.placed.duplicate += pages.length
  traffic.duplicated({ mm, start, end }, pages.length, op.purpose)
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

/** Runs `[first, end)` of neighbouring page numbers. */
function runsOf(pages: readonly (readonly [vpn: number, pfn: Pfn])[]): [number, number][] {
  const runs: [number, number][] = []
  for (const [vpn] of pages) {
    const last = runs[runs.length - 1]
    if (last !== undefined && last[1] === vpn) last[1]++
    else runs.push([vpn, vpn + 1])
  }
  return runs
}
