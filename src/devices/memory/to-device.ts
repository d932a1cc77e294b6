// Pages on their way to the device. What an operation is missing is brought in run by run: frames are reserved, then each
// block of at most 2 MiB is filled, either with duplicates of the system pages or with the pages themselves.
//
//   missing run ─> frames (room.ts) ─> what does the policy say?
//                                        duplicate      fault for reading, shareForRead, copy: all at once, without a wait
//                                        pin, migrate   setup, copy (takes time, mmapLock held), pages, finalize
//                                      ─> look again; what is still missing is faulted for, which says what is in the way
//
// Partial success is normal: pages are locked by others, on another device, in swap, shared after a fork. The device fault
// settles all of these, or names whom to wait for.

import { type Addr, PAGE_SIZE, type Pfn, vpnToAddr } from '../../base/addr.ts'
import { assert } from '../../base/assert.ts'
import { EACCES, EBUSY, EFAULT, MmError } from '../../base/errno.ts'
import { HMM_PFN_VALID_HI } from '../../hmm/hmm-pfn.ts'
import {
  HMM_COPY_TO_DEVICE,
  HMM_DEVICE_RFAULT,
  HMM_DEVICE_WFAULT,
  HmmEvent,
  hmmMirrorFault,
  hmmMirrorRangeCopied,
} from '../../hmm/mirror/index.ts'
import type { Placement } from '../../hmm/policy.ts'
import {
  MIGRATE_PFN_MIGRATE,
  MIGRATE_PFN_PIN,
  MIGRATE_PFN_VALID,
  MIGRATE_PFN_WRITE,
  MIGRATE_VMA_SELECT_SYSTEM,
  type MigrateVma,
  makeMigrateVma,
  migratePfnAt,
  migratePfnWords,
  migrateVmaFinalize,
  migrateVmaPages,
  migrateVmaSetup,
  setMigratePfn,
} from '../../mm/migrate-device.ts'
import { putPage, unlockPage } from '../../mm/page-alloc.ts'
import { shareForRead } from '../../mm/share.ts'
import { VM_WRITE } from '../../mm/vm-flags.ts'
import type { Vma } from '../../mm/vma.ts'
import type { AddrRange } from '../claims.ts'
import { mmapReadLock, waitForOther } from '../edge.ts'
import { CopyList } from './copy-engine.ts'
import type { VpnRun } from './device-space.ts'
import { type Block, FRAME_RESERVED, ZEROES } from './frame-pool.ts'
import type { OpenMigrations } from './open-migrations.ts'
import { endOf, type Operation, type RangeUse } from './operation.ts'
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
    const missing = op.look(use)
    const nmissing = missing.reduce((sum, run) => sum + run.npages, 0)
    op.nresident += use.frames.length - nmissing
    if (nmissing === 0) return
    const { mm } = op.space
    op.parts.traffic.faulted({ mm, start: use.start, end: endOf(use) }, use.access, nmissing, op.purpose)
    for (const run of missing) await this.bringInRun(op, use, run)
  }

  private async bringInRun(op: Operation, use: RangeUse, { vpn, npages }: VpnRun): Promise<void> {
    const blocks = await this.room.reserve(op.space.mm, vpn, npages, op.purpose)
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
    if (placement === 'duplicate') return await this.duplicate(op, use, block)
    const start = vpnToAddr(block.vpn)
    const end = vpnToAddr(block.vpn + block.npages)
    const isWrite = use.access === 'write'
    // Duplicated pages are write-protected: the fault ends that, and with it the duplicate.
    const waited = isWrite ? await this.faultDuplicates(op, start, end) : false
    const { mm } = op.space
    await mmapReadLock(mm)
    try {
      for (let addr = start; addr < end; ) {
        const vma = mm.vmaLookup(addr)
        if (vma === null) throw new MmError(-EFAULT, op.parts.name, { addr, detail: 'no mapping' })
        if (isWrite && (vma.flags & VM_WRITE) === 0) {
          throw new MmError(-EACCES, op.parts.name, { addr, detail: 'the mapping is read-only' })
        }
        const next = Math.min(end, vma.end)
        await this.migrate(op, use, vma, addr, next, block, placement === 'pin')
        addr = next
      }
    } finally {
      mm.mmapLock.unlockRead()
    }
    return waited
  }

  // ---- duplicates ----

  /** Copies what can be read of a block and is not on the device. Returns whether it waited for somebody instead. */
  private async duplicate(op: Operation, use: RangeUse, block: Block): Promise<boolean> {
    const { sys, pool, engine, traffic } = op.parts
    const { space } = op
    const { mm } = space
    const [start, end] = [vpnToAddr(block.vpn), vpnToAddr(block.vpn + block.npages)]
    if (faultIn(op, start, end, false) === -EBUSY) return await othersTurn(op)
    // Nothing waits from the fault to the look, so what the fault found is true, and each page is copied and captured.
    const pages = [...space.uncopied(start, end)].filter(([vpn]) => isReserved(op, block, vpn))
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
    engine.clear(zeroes)
    // Launches wait for all uploads before they begin.
    void engine.upload(copies)
    op.look(use)
    op.placed.duplicate += pages.length
    traffic.duplicated({ mm, start, end }, pages.length, op.purpose)
    traffic.copied({ mm, start, end }, 'host-to-device', copies.length, op.purpose)
    return false
  }

  private async faultDuplicates(op: Operation, start: Addr, end: Addr): Promise<boolean> {
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

  // ---- migration ----

  /** Moves what can be moved of one mapping into a block. mmapLock is held for reading, and stays held while the copy runs. */
  private async migrate(
    op: Operation,
    use: RangeUse,
    vma: Vma,
    start: Addr,
    end: Addr,
    block: Block,
    pins: boolean,
  ): Promise<void> {
    const { pool, engine, owner } = op.parts
    const args = makeMigrateVma(vma, start, end, owner, MIGRATE_VMA_SELECT_SYSTEM)
    if (pins) markPins(op, args)
    const err = migrateVmaSetup(args)
    if (err !== 0) throw new MmError(err, op.parts.name, { addr: start, detail: 'the mapping cannot move to a device' })
    this.open.add(args)
    const src = migratePfnWords(args.src)
    const dst = migratePfnWords(args.dst)
    const copies = new CopyList()
    const zeroes: number[] = []
    for (let i = 0; i < args.npages; i++) {
      if ((src[2 * i] & MIGRATE_PFN_MIGRATE) === 0) continue
      const page = migratePfnAt(src, i)
      const isWritable = page < 0 ? (vma.flags & VM_WRITE) !== 0 : (src[2 * i] & MIGRATE_PFN_WRITE) !== 0
      // Others read the page too (fork): it has to be copied for this address space first.
      if (use.access === 'write' && !isWritable) continue
      const vpn = start / PAGE_SIZE + i
      if (!isReserved(op, block, vpn)) continue
      const frame = block.first + (vpn - block.vpn)
      const target = pool.takePage(frame)
      if (page < 0) zeroes.push(frame)
      else copies.add(page, frame)
      setMigratePfn(dst, i, target, MIGRATE_PFN_VALID | (isWritable ? MIGRATE_PFN_WRITE : 0))
    }
    engine.clear(zeroes)
    let failure: unknown = null
    try {
      await engine.upload(copies)
    } catch (error) {
      failure = error
      for (let i = 0; i < args.npages; i++) decline(op, dst, i)
    }
    migrateVmaPages(args)
    const nmoved = settle(op, args)
    migrateVmaFinalize(args)
    this.open.delete(args)
    if (failure !== null) throw failure
    hmmMirrorRangeCopied(op.space.mirror, new HmmEvent(start, end, HMM_COPY_TO_DEVICE))
    // Before anybody else gets a turn: a captured page stays.
    op.look(use)
    report(op, { start, end, nmoved, ncopied: copies.length, nskipped: args.npages - nmoved })
  }
}

/** What the policy says about a block. A page that is written cannot be a duplicate. */
function place(op: Operation, use: RangeUse, block: Block): Placement {
  const { sys, pool, policy } = op.parts
  const placement = policy.place({
    access: use.access,
    npages: block.npages,
    systemPages: sys.mmu.nframes,
    systemFree: sys.mmu.nfree,
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

/** The frame for a page is free to be taken. The one of a page that left again may still be in use. */
function isReserved(op: Operation, block: Block, vpn: number): boolean {
  return op.parts.pool.state[block.first + (vpn - block.vpn)] === FRAME_RESERVED
}

/** Faults a range as the device does. Returns whether it waited for somebody. Throws an MmError for what cannot be had. */
async function deviceFault(op: Operation, start: Addr, end: Addr, write: boolean): Promise<boolean> {
  return faultIn(op, start, end, write) === -EBUSY ? await othersTurn(op) : false
}

/** Returns 0, or -EBUSY when somebody else must finish first. */
function faultIn(op: Operation, start: Addr, end: Addr, write: boolean): number {
  const { parts, space } = op
  const event = new HmmEvent(start, end, write ? HMM_DEVICE_WFAULT : HMM_DEVICE_RFAULT)
  while (event.start < end) {
    parts.sys.waitFor = null
    parts.isFaulting = true
    let err: number
    try {
      err = hmmMirrorFault(space.mirror, event)
    } finally {
      parts.isFaulting = false
    }
    if (err === -EBUSY) return err
    if (err !== 0)
      throw new MmError(err, parts.name, { addr: event.start, detail: write ? 'to be written' : 'to be read' })
    event.start = event.end
    event.end = end
  }
  return 0
}

/** Waits for whom the fault just before named. Returns whether it named anybody. */
async function othersTurn(op: Operation): Promise<boolean> {
  const { sys } = op.parts
  if (sys.waitFor === null) return false
  await waitForOther(sys)
  op.check()
  return true
}

/** Marks the system pages of a range to be pinned in place. A hole has nothing to pin (PN-2). */
function markPins(op: Operation, args: MigrateVma): void {
  const { pages } = op.parts.sys
  const words = op.space.snapshot(args.start, args.end)
  const src = migratePfnWords(args.src)
  for (let i = 0; i < args.src.length; i++) {
    if ((words[2 * i + 1] & HMM_PFN_VALID_HI) !== 0 && pages.pagemap[words[2 * i]] === 0) src[2 * i] = MIGRATE_PFN_PIN
  }
}

/** Notes what stands behind each page that moved. Returns how many did. */
function settle(op: Operation, args: MigrateVma): number {
  const { pool } = op.parts
  const src = migratePfnWords(args.src)
  const dst = migratePfnWords(args.dst)
  let nmoved = 0
  for (let i = 0; i < args.npages; i++) {
    const target = migratePfnAt(dst, i)
    if (target < 0 || (src[2 * i] & MIGRATE_PFN_MIGRATE) === 0) continue
    nmoved++
    const page = migratePfnAt(src, i)
    const frame = pool.frameOf(target)
    const isPinned = page >= 0 && (src[2 * i] & MIGRATE_PFN_PIN) !== 0
    op.placed[isPinned ? 'pin' : 'migrate']++
    if (isPinned || page < 0) {
      pool.setBacking(frame, isPinned ? page : ZEROES)
      // What the page owes to swap, the frame that stays knows itself.
      pool.setClean(frame)
    }
  }
  return nmoved
}

/** Entry `i` does not migrate after all: its destination is free again. */
function decline(op: Operation, dst: Uint32Array, i: number): void {
  const target: Pfn = migratePfnAt(dst, i)
  if (target < 0) return
  setMigratePfn(dst, i, 0, 0)
  unlockPage(op.parts.sys, target)
  putPage(op.parts.sys, target)
}

interface Moved {
  readonly start: Addr
  readonly end: Addr
  readonly nmoved: number
  readonly ncopied: number
  readonly nskipped: number
}

function report(op: Operation, { start, end, nmoved, ncopied, nskipped }: Moved): void {
  const { traffic, clock } = op.parts
  const { mm, touches } = op.space
  const run = { mm, start, end }
  traffic.migrated(run, 'host-to-device', nmoved, nskipped, op.purpose)
  traffic.copied(run, 'host-to-device', ncopied, op.purpose)
  if (nmoved > 0) touches.moved(start / PAGE_SIZE, end / PAGE_SIZE, 'device', clock.now())
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
