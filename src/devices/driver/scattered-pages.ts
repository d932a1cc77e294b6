// Duplicates of pages that lie scattered, as kernels miss them that go through a page table. What a run of pages costs besides its copies
// (read-duplicates.ts) is ten times the copy where a run is one page; here it is paid once for all, which are a range with holes:
//
//   missed   . . x . . . x x . . . x ........................ x . . x . x       one fault, one event, one list of copies
//
// Otherwise nothing is different: frames first, and from the fault to the capture nothing waits.

import { type Pfn, vpnToAddr } from '../../base/addr.ts'
import { assert } from '../../base/assert.ts'
import { EBUSY, MmError } from '../../base/errno.ts'
import { type PageRuns, runsOfPages } from '../../base/page-runs.ts'
import { shareForRead } from '../../mm/share.ts'
import { CopyList } from './copy-list.ts'
import { faultIn, othersTurn } from './device-fault.ts'
import { UPLOAD_PAGES_MAX } from './hardware.ts'
import type { Operation } from './operation.ts'
import { mayChangeUnnoticed } from './read-duplicates.ts'
import type { Room } from './room.ts'

/** Rounds that may end without effect and without anybody to wait for. */
const FRUITLESS_ROUNDS_MAX = 16

/**
 * Copies pages that can be read and are not on the device, in ascending order. `capture` is called for some of them at a time, as soon as
 * they can be there and before anybody else gets a turn; it returns those that are not. The caller holds no lock.
 *
 * Rejects with an MmError as ToDevice.bringIn; what was captured by then is there.
 */
export async function duplicateScattered(
  op: Operation,
  room: Room,
  vpns: readonly number[],
  capture: (vpns: readonly number[]) => readonly number[],
): Promise<void> {
  const { traffic, pool } = op.parts
  const { mm } = op.space
  traffic.forEachTold(mm, vpns, (run, npages) => traffic.faulted(run, 'read', npages, op.purpose))
  for (let at = 0; at < vpns.length; at += UPLOAD_PAGES_MAX) {
    const part = vpns.slice(at, at + UPLOAD_PAGES_MAX)
    const blocks = await room.reserveScattered(mm, part, op.purpose)
    const frames = new Map<number, number>()
    for (const { vpn, first, npages } of blocks) for (let i = 0; i < npages; i++) frames.set(vpn + i, first + i)
    try {
      await fillScattered(op, part, (vpn) => frames.get(vpn) ?? -1, capture)
    } finally {
      for (const block of blocks) pool.close(block)
    }
  }
}

/** The same for at most UPLOAD_PAGES_MAX pages whose frames are reserved: `frameOf` says which. The caller closes their blocks. */
export async function fillScattered(
  op: Operation,
  vpns: readonly number[],
  frameOf: (vpn: number) => number,
  capture: (vpns: readonly number[]) => readonly number[],
): Promise<void> {
  const { hardware, traffic, name } = op.parts
  const { mm } = op.space
  let fruitless = 0
  for (let missing = vpns; ; ) {
    op.check()
    await hardware.ready()
    const isBusy = faultScattered(op, missing) === -EBUSY
    if (isBusy && (await othersTurn(op))) fruitless = 0
    if (!isBusy) copyScattered(op, missing, frameOf)
    const left = capture(missing)
    if (left.length === 0) return
    traffic.replayed({ mm, start: vpnToAddr(left[0]), end: vpnToAddr(left[0] + 1) }, left.length, op.purpose)
    fruitless = left.length < missing.length ? 0 : fruitless + 1
    if (fruitless === FRUITLESS_ROUNDS_MAX) {
      throw new MmError(-EBUSY, name, { addr: vpnToAddr(left[0]), detail: 'the page is not copied to the device' })
    }
    missing = left
  }
}

/** Returns 0, or -EBUSY when somebody else must finish first. */
function faultScattered(op: Operation, vpns: readonly number[]): number {
  const runs = runsOf(vpns)
  return faultIn(op, runs[0], runs[runs.length - 1], false, runs)
}

function copyScattered(op: Operation, vpns: readonly number[], frameOf: (vpn: number) => number): void {
  const { traffic, pool } = op.parts
  const { mm, nended } = op.space
  const findUncopied = (): Uncopied => {
    const found: Uncopied = { vpns: [], pfns: [], frames: [] }
    op.space.forEachOf(vpns, 'uncopied', (k, pfn) => {
      const frame = frameOf(vpns[k])
      if (pool.isReserved(frame)) add(found, vpns[k], pfn, frame)
    })
    return found
  }
  let found = findUncopied()
  share(op, found.vpns)
  // Pages that were shared before, and written since, have just lost their entries: they come in the next round.
  if (op.space.nended !== nended) found = findUncopied()
  const ncopied = duplicate(op, found)
  let nleft = ncopied
  traffic.forEachTold(mm, found.vpns, (run, npages) => {
    traffic.duplicated(run, npages, op.purpose)
    // Which of them are all zeroes makes no difference to anybody.
    const n = Math.min(nleft, npages)
    traffic.copied(run, 'host-to-device', n, op.purpose)
    nleft -= n
  })
}

/** Pages to be copied: where they are, and reserved frames. */
interface Uncopied {
  readonly vpns: number[]
  readonly pfns: Pfn[]
  readonly frames: number[]
}

function add({ vpns, pfns, frames }: Uncopied, vpn: number, pfn: Pfn, frame: number): void {
  vpns.push(vpn)
  pfns.push(pfn)
  frames.push(frame)
}

/** Write-protects pages, in ascending order. */
function share(op: Operation, vpns: readonly number[]): void {
  const { mm } = op.space
  if (vpns.length === 0) return
  assert(mm.mmapLock.tryRead(true), 'a fault that succeeded just now found no writer')
  const runs = runsOf(vpns)
  shareForRead(mm, runs[0], runs[runs.length - 1], runs)
  mm.mmapLock.unlockRead()
}

/** Copies pages that are write-protected. Returns how many were not all zeroes. */
function duplicate(op: Operation, { vpns, pfns, frames }: Uncopied): number {
  const { sys, pool, hardware, clock } = op.parts
  const { duplicates } = op.space
  if (vpns.length === 0) return 0
  const copies = new CopyList()
  const zeroes: number[] = []
  for (let at = 0; at < vpns.length; ) {
    const block = pool.blockAt(frames[at])
    let end = at + 1
    while (end < vpns.length && frames[end] === frames[end - 1] + 1 && pool.isOf(block, frames[end])) end++
    pool.takeDuplicates(frames[at], end - at)
    duplicates.add(vpns[at], frames[at], end - at)
    for (; at < end; at++) {
      if (pfns[at] === sys.zeroPfn) zeroes.push(frames[at])
      else copies.add(pfns[at], frames[at])
      if (mayChangeUnnoticed(op, pfns[at])) op.transient.push(vpns[at])
    }
  }
  hardware.clear(zeroes)
  // Launches wait for all uploads before they begin.
  const begunAt = clock.now()
  void hardware.upload(copies)
  op.purpose.copying.time += clock.now() - begunAt
  op.placed.duplicate += vpns.length
  return copies.length
}

function runsOf(vpns: readonly number[]): PageRuns {
  return runsOfPages(vpns.map(vpnToAddr))
}
