// Pages on their way to the device. What an operation is missing is brought in run by run: frames are reserved, then each
// block of at most 2 MiB is filled, either with duplicates of the system pages or with the pages themselves. A range that has
// to lie in one piece, and does not, gets a run of frames of its own; what is on the device already moves there (gather.ts).
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
import type { AddrRange } from '../claims.ts'
import { mmapReadLock } from '../edge.ts'
import { deviceFault } from './device-fault.ts'
import type { VpnRun } from './device-space.ts'
import type { Block } from './frame-pool.ts'
import { gatherDuplicates, gatherPages } from './gather.ts'
import { moveToDevice } from './move-to-device.ts'
import type { OpenMigrations } from './open-migrations.ts'
import type { Operation } from './operation.ts'
import { endOf, type RangeUse } from './range-use.ts'
import { duplicateBlock } from './read-duplicates.ts'
import type { Room } from './room.ts'

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
    if (use.inOnePiece && mustBeJoined(op, use)) {
      await this.join(op, use)
      return
    }
    const missing = op.look(use)
    const nmissing = missing.reduce((sum, run) => sum + run.npages, 0)
    op.nresident += use.frames.length - nmissing
    if (nmissing === 0) return
    const { mm } = op.space
    op.parts.traffic.faulted({ mm, start: use.start, end: endOf(use) }, use.access, nmissing, op.purpose)
    for (const run of missing) await this.bringInRun(op, use, run)
  }

  /** Brings a range in that has to lie in one piece and does not. */
  private async join(op: Operation, use: RangeUse): Promise<void> {
    const npages = use.frames.length
    const nmissing = op.peek(use).reduce((count, frame) => (frame < 0 ? count + 1 : count), 0)
    op.nresident += npages - nmissing
    const run = { mm: op.space.mm, start: use.start, end: endOf(use) }
    if (nmissing > 0) op.parts.traffic.faulted(run, use.access, nmissing, op.purpose)
    await this.bringInRun(op, use, { vpn: addrToVpn(use.start), npages })
  }

  private async bringInRun(op: Operation, use: RangeUse, { vpn, npages }: VpnRun): Promise<void> {
    const blocks = await this.room.reserve(op.space.mm, vpn, npages, use.inOnePiece, op.purpose)
    if (use.inOnePiece) use.firstFrame = blocks[0].first
    try {
      for (const block of blocks) await this.fill(op, use, block)
    } finally {
      for (const block of blocks) op.parts.pool.close(block)
    }
  }

  /** Fills one block, in as many rounds as it takes. */
  private async fill(op: Operation, use: RangeUse, block: Block): Promise<void> {
    const { traffic, name } = op.parts
    const { mm } = op.space
    let placement = place(op, use, block)
    let missing = missingIn(use, block)
    for (let fruitless = 0; missing !== null; ) {
      op.check()
      const waited = await this.fillOnce(op, use, block, placement)
      const left = missingIn(use, block)
      if (left === null) return
      traffic.replayed({ mm, start: left.start, end: left.end }, left.npages, op.purpose)
      fruitless = left.npages < missing.npages || waited ? 0 : fruitless + 1
      if (fruitless === FRUITLESS_ROUNDS_MAX) {
        throw new MmError(-EBUSY, name, { addr: left.start, detail: 'the page does not move to the device' })
      }
      missing = left
      // What cannot move, like the page of a file, can still be copied.
      if (use.access === 'read') placement = 'duplicate'
      else if (await deviceFault(op, left.start, left.end, true)) fruitless = 0
    }
  }

  /** One attempt. Returns whether it waited for somebody. */
  private async fillOnce(op: Operation, use: RangeUse, block: Block, placement: Placement): Promise<boolean> {
    const start = vpnToAddr(block.vpn)
    const end = vpnToAddr(block.vpn + block.npages)
    const isWrite = use.access === 'write'
    // Duplicated pages are write-protected: the fault ends that, and with it the duplicate.
    const waited = isWrite ? await faultDuplicates(op, start, end) : false
    if (use.inOnePiece && !isWrite) gatherDuplicates(op, block)
    if (use.inOnePiece || placement !== 'duplicate') await this.moveBlock(op, use, block, placement)
    return placement === 'duplicate' ? await duplicateBlock(op, use, block) : waited
  }

  /** Moves the pages of a block into it, those that are on the device as well as, unless they are to be copied, the others. */
  private async moveBlock(op: Operation, use: RangeUse, block: Block, placement: Placement): Promise<void> {
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
        if (use.inOnePiece) gatherPages(this.open, op, use, vma, addr, next, block)
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

/** Some of a range that has to lie in one piece is on the device, and it does not lie in one piece. */
function mustBeJoined(op: Operation, use: RangeUse): boolean {
  const found = op.peek(use)
  const first = found[0]
  const { bankPages } = op.parts.pool
  const isOneBank = Math.floor(first / bankPages) === Math.floor((first + found.length - 1) / bankPages)
  const isOneRun = first >= 0 && isOneBank && found.every((frame, i) => frame === first + i)
  return !isOneRun && found.some((frame) => frame >= 0)
}

/** What the policy says about a block. A page that is written cannot be a duplicate. */
function place(op: Operation, use: RangeUse, block: Block): Placement {
  const { sys, pool, policy } = op.parts
  const placement = policy.place({
    access: use.access,
    npages: block.npages,
    systemPages: sys.memoryPages,
    systemFree: sys.nfree,
    systemReserve: sys.reservePages,
    npinned: pool.npinned,
    hint: op.hint,
  })
  return placement === 'duplicate' && use.access === 'write' ? 'pin' : placement
}

/** From the first to the last page of a block that a use has no frame for, and how many there are; null for none. */
function missingIn({ start, frames }: RangeUse, block: Block): (AddrRange & { readonly npages: number }) | null {
  const at = block.vpn - start / PAGE_SIZE
  let first = -1
  let last = -1
  let npages = 0
  for (let i = at; i < at + block.npages; i++) {
    if (frames[i] >= 0) continue
    if (first < 0) first = i
    last = i
    npages++
  }
  return npages === 0 ? null : { start: start + first * PAGE_SIZE, end: start + (last + 1) * PAGE_SIZE, npages }
}
