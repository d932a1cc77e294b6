// After a durable launch nothing is on the device alone: what it wrote is copied to system memory, so that a lost device costs
// time and no data. A page that was pinned in place is copied to its frame and stays on the device; one that has no frame
// there goes back. Other launches do the first part for results that are going to be asked for (read-backs.ts).

import { vpnToAddr } from '../../base/addr.ts'
import { ENOMEM, MmError } from '../../base/errno.ts'
import { migratePfn } from '../../mm/migrate-pfn.ts'
import { getPage, putPage } from '../../mm/page-alloc.ts'
import type { Cause } from '../../trace/events.ts'
import { allSettled, mmapReadLock } from '../edge.ts'
import { CopyList } from './copy-list.ts'
import { FRAME_PAGE } from './frame-pool.ts'
import type { OpenMigrations } from './open-migrations.ts'
import type { Operation } from './operation.ts'
import type { RangeUse } from './range-use.ts'
import type { ToSystem } from './to-system.ts'

/**
 * Makes what an operation wrote safe. Its pages are captured, so nobody takes them meanwhile.
 *
 * Rejects with an MmError ENOMEM if there is no system memory for all of it, and when the device is lost.
 */
export async function flush(op: Operation, toSystem: ToSystem, open: OpenMigrations): Promise<void> {
  const { mm } = op.space
  await mmapReadLock(mm)
  try {
    for (const use of op.uses) {
      if (use.access !== 'write') continue
      for (const frame of await flushInPlace(op, use, open, 'user')) await bringHome(op, toSystem, frame)
    }
  } finally {
    mm.mmapLock.unlockRead()
  }
}

/**
 * Copies, right behind the launch, what the program is going to ask for as far as the policy can tell. Its pages are captured, as above.
 *
 * Rejects when the device is lost.
 */
export async function readBack(op: Operation, open: OpenMigrations): Promise<void> {
  const { policy } = op.parts
  const { readBacks } = op.space
  const copying: Promise<unknown>[] = []
  for (const use of op.uses) {
    if (use.access !== 'write') continue
    if (!policy.readBack(readBacks.written(use.start, use.end, use.npages))) continue
    copying.push(flushInPlace(op, use, open, 'prefetch'))
  }
  await allSettled(copying)
}

/** Copies what has a frame in system memory. Returns the other frames of the device that have to be saved. */
async function flushInPlace(op: Operation, use: RangeUse, open: OpenMigrations, cause: Cause): Promise<number[]> {
  const { sys, pool, hardware, traffic } = op.parts
  const copies = new CopyList()
  const homeless: number[] = []
  for (const frame of use.frames) {
    if (pool.state[frame] !== FRAME_PAGE || !pool.mustBeCopied(frame)) continue
    const home = pool.backing[frame]
    if (home >= 0) copies.add(home, frame)
    else homeless.push(frame)
  }
  // A page that is freed meanwhile would take its frame in system memory along, so it is held.
  const held = {
    src: BigUint64Array.from(copies.frames, (frame) => migratePfn(pool.pfnOf(frame))),
    dst: new BigUint64Array(copies.length),
    npages: copies.length,
  }
  for (const frame of copies.frames) getPage(sys, pool.pfnOf(frame))
  open.add(held)
  try {
    await hardware.download(copies)
    for (let i = 0; i < copies.length; i++) {
      sys.pages.setDirty(copies.pfns[i])
      pool.setClean(copies.frames[i])
    }
  } finally {
    open.delete(held)
    for (const frame of copies.frames) putPage(sys, pool.pfnOf(frame))
  }
  const run = { mm: op.space.mm, start: use.start, end: use.end }
  traffic.copied(run, 'device-to-host', copies.length, { ...op.purpose, cause })
  return homeless
}

async function bringHome(op: Operation, toSystem: ToSystem, frame: number): Promise<void> {
  const { pool, name } = op.parts
  const addr = vpnToAddr(pool.vpnOf(frame))
  await toSystem.evict(op.space.mm, addr, frame, 1, { ...op.purpose, cause: 'user' })
  op.check()
  if (pool.state[frame] !== FRAME_PAGE) return
  throw new MmError(-ENOMEM, name, { addr, detail: 'no system memory to make a durable launch safe' })
}
