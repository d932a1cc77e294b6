// Pages on their way to the device. What an operation is missing is brought in run by run: frames are reserved, then each
// block of at most 2 MiB is filled, either with duplicates of the system pages or with the pages themselves. A page that was on the
// device before returns to the frame that it had, if that is free. A range that has to lie in one piece, and cannot where it is,
// gets a run of frames of its own; what is on the device already moves there (gather.ts).
//
//   missing run ─> frames (room.ts) ─> what does the policy say?
//                                        duplicate      fault for reading, shareForRead, copy: all at once, without a wait
//                                        pin, migrate   setup, copy (takes time, mmapLock held), pages, finalize
//                                      ─> look again; what is still missing is faulted for, which says what is in the way
//
// Partial success is normal: pages are locked by others, on another device, in swap, shared after a fork. The device fault
// settles all of these, or names whom to wait for.

import { type Addr, addrToVpn, PAGE_SIZE, vpnToAddr } from '../../base/addr.ts'
import { EACCES, EBUSY, EFAULT, MmError } from '../../base/errno.ts'
import type { Placement } from '../../hmm/policy.ts'
import { VM_WRITE } from '../../mm/vm-flags.ts'
import type { Access } from '../../trace/events.ts'
import type { AddrRange } from '../claims.ts'
import { mmapReadLock } from '../edge.ts'
import type { Block } from './block.ts'
import { deviceFault } from './device-fault.ts'
import type { VpnRun } from './device-space.ts'
import { gatherDuplicates, gatherPages } from './gather.ts'
import { UPLOAD_PAGES_MAX } from './hardware.ts'
import { moveToDevice } from './move-to-device.ts'
import type { OpenMigrations } from './open-migrations.ts'
import type { Operation } from './operation.ts'
import type { RangeUse } from './range-use.ts'
import { duplicateSpan, spansOf } from './read-duplicates.ts'
import type { Room } from './room.ts'
import { duplicateScattered, fillScattered } from './scattered-pages.ts'

/** Holes of so many pages on average are filled one by one: what each costs besides its copies is little of it then. */
const SMALL_HOLE_PAGES = 64

/** Rounds for one block that may end without effect and without anybody to wait for. */
const FRUITLESS_ROUNDS_MAX = 16

export class ToDevice {
  private readonly room: Room
  private readonly open: OpenMigrations

  constructor(room: Room, open: OpenMigrations) {
    this.room = room
    this.open = open
  }

  /**
   * Brings in what is missing of a range and captures it. The caller holds no lock.
   *
   * Rejects with an MmError: ENOMEM (no room), EFAULT (no mapping, or a page that cannot be had), EACCES (written, and the
   * mapping is read-only), EBUSY (a page does not move), or the reason for which the operation ended.
   */
  async bringIn(op: Operation, use: RangeUse): Promise<void> {
    if (use.inOnePiece) await this.bringInOnePiece(op, use)
    else await this.bringInPieces(op, use)
  }

  private async bringInPieces(op: Operation, use: RangeUse): Promise<void> {
    const { mm } = op.space
    op.look(use)
    const missing = missingRuns(use, use.frames)
    note(op, use, missing)
    for (const { vpn, npages } of missing) {
      const beside = reserveBeside(op, use, vpn, npages)
      if (beside === null) op.warmReads()
      await this.fillAll(op, use, beside ?? (await this.room.reserve(mm, vpn, npages, false, op.purpose)), false)
    }
  }

  /**
   * Duplicates pages that lie scattered, in ascending order, of which none is on the device. `capture` as of duplicateScattered. Returns
   * false, with nothing done, if the policy wants them to come in another way.
   *
   * Rejects as `bringIn`.
   */
  async duplicate(
    op: Operation,
    vpns: readonly number[],
    capture: (vpns: readonly number[]) => readonly number[],
  ): Promise<boolean> {
    if (place(op, 'read', vpns.length) !== 'duplicate') return false
    await duplicateScattered(op, this.room, vpns, capture)
    return true
  }

  /** What is missing comes to where it belongs; where that is not free, all of the range goes to another place. */
  private async bringInOnePiece(op: Operation, use: RangeUse): Promise<void> {
    const { bankPages } = op.parts.pool
    const whole = use.access === 'read' ? op.space.duplicates.runFrom(addrToVpn(use.start), use.npages) : -1
    if (isInOneBank(whole, use.npages, bankPages)) {
      op.nresident += use.npages
      op.takeWhole(use, whole)
      return
    }
    const { first, missing } = op.find(use)
    note(op, use, missing)
    use.firstFrame = isInOneBank(first, use.npages, bankPages) ? first : -1
    const holes = use.firstFrame < 0 ? null : reserveHoles(op, use, missing)
    if (holes !== null) {
      // Captured before anybody else gets a turn.
      op.take(use, missing)
      if (await this.fillHoles(op, use, holes)) return
      // What the device may read and was not found is hardly on the device; what it may write can be there for reading.
      await this.fillAll(op, use, holes, use.access === 'write')
      return
    }
    use.frames.fill(-1)
    op.warmReads()
    const blocks = await this.room.reserve(op.space.mm, addrToVpn(use.start), use.npages, true, op.purpose)
    use.firstFrame = blocks[0].first
    await this.fillAll(op, use, blocks, true)
  }

  /** Fills holes of a range that are many and small, all at once. Returns false, with nothing done, if they are not, or not to be duplicates. */
  private async fillHoles(op: Operation, use: RangeUse, holes: readonly Block[]): Promise<boolean> {
    const npages = holes.reduce((sum, hole) => sum + hole.npages, 0)
    if (holes.length < 2 || npages > SMALL_HOLE_PAGES * holes.length) return false
    if (use.access === 'write' || place(op, 'read', npages) !== 'duplicate') return false
    try {
      const vpns: number[] = []
      for (const { vpn, npages: n } of holes) for (let i = 0; i < n; i++) vpns.push(vpn + i)
      const first = addrToVpn(use.start)
      for (let at = 0; at < vpns.length; at += UPLOAD_PAGES_MAX) {
        const part = vpns.slice(at, at + UPLOAD_PAGES_MAX)
        await fillScattered(
          op,
          part,
          (vpn) => use.firstFrame + vpn - first,
          (some) => op.lookAt(use, some),
        )
      }
    } finally {
      for (const hole of holes) op.parts.pool.close(hole)
    }
    return true
  }

  /** `gathers`: some of the pages may lie elsewhere on the device. */
  private async fillAll(op: Operation, use: RangeUse, blocks: readonly Block[], gathers: boolean): Promise<void> {
    try {
      const spans = use.access === 'read' && !gathers ? spansOf(blocks, op.parts.hardware.uploadPages) : []
      for (const span of spans) {
        if (place(op, 'read', span.npages) === 'duplicate') await duplicateSpan(op, use, span)
      }
      for (const block of blocks) await this.fill(op, use, block, gathers)
    } finally {
      for (const block of blocks) op.parts.pool.close(block)
    }
  }

  /** Fills one block, in as many rounds as it takes. */
  private async fill(op: Operation, use: RangeUse, block: Block, gathers: boolean): Promise<void> {
    const { traffic, name } = op.parts
    const { mm } = op.space
    let missing = missingIn(use, block)
    if (missing === null) return
    let placement = place(op, use.access, block.npages)
    for (let fruitless = 0; missing !== null; ) {
      op.check()
      const waited = await this.fillOnce(op, use, block, placement, gathers)
      const left = missingIn(use, block)
      if (left === null) return
      traffic.replayed({ mm, start: left.start, end: left.end }, left.npages, op.purpose)
      fruitless = left.npages < missing.npages || waited ? 0 : fruitless + 1
      if (fruitless === FRUITLESS_ROUNDS_MAX) {
        throw new MmError(-EBUSY, name, { addr: left.start, detail: 'the page does not move to the device' })
      }
      missing = left
      // The device's table may have forgotten a page that it has, after mremap for one.
      gathers = use.inOnePiece
      // What cannot move, like the page of a file, can still be copied.
      if (use.access === 'read') placement = 'duplicate'
      else if (await deviceFault(op, left.start, left.end, true)) fruitless = 0
    }
  }

  /** One attempt. Returns whether it waited for somebody. */
  private async fillOnce(
    op: Operation,
    use: RangeUse,
    block: Block,
    placement: Placement,
    gathers: boolean,
  ): Promise<boolean> {
    const start = vpnToAddr(block.vpn)
    const end = vpnToAddr(block.vpn + block.npages)
    const isWrite = use.access === 'write'
    // Duplicated pages are write-protected: the fault ends that, and with it the duplicate.
    const waited = isWrite ? await faultDuplicates(op, start, end) : false
    if (gathers && !isWrite) gatherDuplicates(op, block)
    if (gathers || placement !== 'duplicate') await this.moveBlock(op, use, block, placement, gathers)
    return placement === 'duplicate' ? await duplicateSpan(op, use, block) : waited
  }

  /** Moves the pages of a block into it, those that are on the device as well as, unless they are to be copied, the others. */
  private async moveBlock(
    op: Operation,
    use: RangeUse,
    block: Block,
    placement: Placement,
    gathers: boolean,
  ): Promise<void> {
    const { mm } = op.space
    const end = vpnToAddr(block.vpn + block.npages)
    await mmapReadLock(mm)
    try {
      for (let addr = vpnToAddr(block.vpn); addr < end; ) {
        const vma = mm.vmaLookup(addr)
        if (vma === null) throw new MmError(-EFAULT, op.parts.name, { addr, detail: 'no mapping' })
        if (use.access === 'write' && (vma.flags & VM_WRITE) === 0) {
          throw new MmError(-EACCES, op.parts.name, { addr, detail: 'the mapping is read-only' })
        }
        const next = Math.min(end, vma.end)
        if (gathers) gatherPages(this.open, op, use, vma, addr, next, block)
        if (placement !== 'duplicate') {
          await moveToDevice(this.open, op, use, vma, addr, next, block, placement === 'pin')
        }
        addr = next
      }
    } finally {
      mm.mmapLock.unlockRead()
    }
  }
}

/** Takes the write protection of duplicated pages away. Returns whether it waited for somebody. */
async function faultDuplicates(op: Operation, start: Addr, end: Addr): Promise<boolean> {
  const { duplicates } = op.space
  let waited = false
  for (let addr = start; addr < end; addr += PAGE_SIZE) {
    if (duplicates.find(addr / PAGE_SIZE) < 0) continue
    let next = addr + PAGE_SIZE
    while (next < end && duplicates.find(next / PAGE_SIZE) >= 0) next += PAGE_SIZE
    if (await deviceFault(op, addr, next, true)) waited = true
    addr = next - PAGE_SIZE
  }
  return waited
}

/** Counts what is there, and reports what is not. */
function note(op: Operation, use: RangeUse, missing: readonly VpnRun[]): void {
  const nmissing = missing.reduce((sum, { npages }) => sum + npages, 0)
  op.nresident += use.npages - nmissing
  if (nmissing === 0) return
  const run = { mm: op.space.mm, start: use.start, end: use.end }
  op.parts.traffic.faulted(run, use.access, nmissing, op.purpose)
}

/** Runs of pages that have no frame. */
function missingRuns({ start }: RangeUse, frames: Int32Array): VpnRun[] {
  const first = addrToVpn(start)
  const runs: VpnRun[] = []
  for (let i = frames.indexOf(-1); i >= 0; ) {
    let next = i + 1
    while (next < frames.length && frames[next] < 0) next++
    runs.push({ vpn: first + i, npages: next - i })
    i = frames.indexOf(-1, next)
  }
  return runs
}

/** Whether a run of frames is one that a range in one piece can have. */
function isInOneBank(first: number, npages: number, bankPages: number): boolean {
  return first >= 0 && Math.floor(first / bankPages) === Math.floor((first + npages - 1) / bankPages)
}

/** Reserves the frames at which the missing pages of a range belong; null if some are not free. */
function reserveHoles(op: Operation, use: RangeUse, missing: readonly VpnRun[]): Block[] | null {
  const { pool } = op.parts
  const reserved: Block[] = []
  for (const { vpn, npages } of missing) {
    const blocks = pool.reserveAt(op.space.mm, vpn, npages, use.firstFrame + vpn - addrToVpn(use.start))
    if (blocks === null) {
      for (const block of reserved) pool.close(block)
      return null
    }
    reserved.push(...blocks)
  }
  return reserved
}

/** Reserves the frames beside those of the pages before or after a run; null if they are not free. */
function reserveBeside(op: Operation, { start, frames }: RangeUse, vpn: number, npages: number): Block[] | null {
  const { pool } = op.parts
  const at = vpn - addrToVpn(start)
  const after = at + npages < frames.length ? frames[at + npages] - npages : -1
  const before = at > 0 ? frames[at - 1] + 1 : -1
  if (before > 0 && before % pool.bankPages !== 0) {
    const blocks = pool.reserveAt(op.space.mm, vpn, npages, before)
    if (blocks !== null) return blocks
  }
  return after >= 0 ? pool.reserveAt(op.space.mm, vpn, npages, after) : null
}

/** What the policy says about some pages. A page that is written cannot be a duplicate. */
function place(op: Operation, access: Access, npages: number): Placement {
  const { sys, pool, policy } = op.parts
  const placement = policy.place({
    access,
    npages,
    systemPages: sys.memoryPages,
    systemFree: sys.nfree,
    systemReserve: sys.reservePages,
    npinned: pool.npinned,
    hint: op.hint,
  })
  return placement === 'duplicate' && access === 'write' ? 'pin' : placement
}

/** From the first to the last page of a block that a use has no frame for, and how many there are; null for none. */
function missingIn({ start, frames }: RangeUse, block: Block): (AddrRange & { readonly npages: number }) | null {
  const at = block.vpn - start / PAGE_SIZE
  const found = frames.subarray(at, at + block.npages)
  const hole = found.indexOf(-1)
  if (hole < 0) return null
  const first = at + hole
  let last = first
  let npages = 0
  for (let i = hole; i < found.length; i++) {
    if (found[i] >= 0) continue
    last = at + i
    npages++
  }
  return { start: start + first * PAGE_SIZE, end: start + (last + 1) * PAGE_SIZE, npages }
}
