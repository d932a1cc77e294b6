// Pages move to the device: migrate_vma, with a copy in the middle that takes its time. Meanwhile mmapLock is held, the pages are
// locked, and their entries are migration entries, so a touch waits and mappings stay.
//
//   setup ─> frames, copy ─────> pages ─> finalize ─> mirror table ─> capture
//
// With `pins` a page leaves its system frame in place (MIGRATE_PFN_PIN), and nothing has to be copied back that the device
// does not write. A page that never was comes from nowhere: its frame is cleared.

import { type Addr, addrToVpn, PAGE_SIZE } from '../../base/addr.ts'
import { MmError } from '../../base/errno.ts'
import { HMM_PFN_VALID_HI } from '../../hmm/hmm-pfn.ts'
import { HMM_COPY_TO_DEVICE, HmmEvent, hmmMirrorRangeCopied } from '../../hmm/mirror/index.ts'
import {
  MIGRATE_PFN_MIGRATE,
  MIGRATE_PFN_PIN,
  MIGRATE_PFN_VALID,
  MIGRATE_PFN_WRITE,
  MIGRATE_VMA_SELECT_SYSTEM,
  type MigrateVma,
  makeMigrateVma,
  migratePfnAt,
  migratePfnRun,
  migratePfnRuns,
  migratePfnWords,
  migrateVmaFinalize,
  migrateVmaPages,
  migrateVmaSetup,
  setMigratePfn,
  setMigratePfns,
  validPfnAt,
} from '../../mm/migrate-device.ts'
import { putPage, unlockPage } from '../../mm/page-alloc.ts'
import { VM_WRITE } from '../../mm/vm-flags.ts'
import type { Vma } from '../../mm/vma.ts'
import type { Block } from './block.ts'
import type { CopyList } from './copy-list.ts'
import { ZEROES } from './frame-pool.ts'
import type { OpenMigrations } from './open-migrations.ts'
import type { Operation } from './operation.ts'
import type { RangeUse } from './range-use.ts'

/** Moves what can be moved of one mapping into a block. mmapLock is held for reading, and stays held while the copy runs. */
export async function moveToDevice(
  open: OpenMigrations,
  op: Operation,
  use: RangeUse,
  vma: Vma,
  start: Addr,
  end: Addr,
  block: Block,
  pins: boolean,
): Promise<void> {
  const { hardware, owner, clock } = op.parts
  await hardware.ready()
  const room = open.takeRoom((end - start) / PAGE_SIZE)
  const { copies } = room
  const args = makeMigrateVma(vma, start, end, owner, MIGRATE_VMA_SELECT_SYSTEM, room)
  if (pins) markPins(op, args)
  const err = migrateVmaSetup(args)
  if (err !== 0) throw new MmError(err, op.parts.name, { addr: start, detail: 'the mapping cannot move to a device' })
  open.add(args)
  hardware.clear(chooseFrames(op, use, vma, args, block, copies))
  let failure: unknown = null
  const begunAt = clock.now()
  try {
    await hardware.upload(copies)
    op.purpose.copying.time += clock.now() - begunAt
  } catch (error) {
    failure = error
    declineAll(op, args)
  }
  migrateVmaPages(args)
  const nmoved = settle(op, args)
  migrateVmaFinalize(args)
  open.delete(args)
  if (failure !== null) throw failure
  hmmMirrorRangeCopied(op.space.mirror, new HmmEvent(start, end, HMM_COPY_TO_DEVICE))
  // Before anybody else gets a turn: a captured page stays.
  op.look(use, start, end)
  report(op, { start, end, nmoved, ncopied: copies.length, nskipped: args.npages - nmoved })
  open.giveBackRoom(room)
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

/** Gives each page that can move a frame of the block, and lists what has to be copied. Returns the frames that have to be cleared. */
function chooseFrames(
  op: Operation,
  use: RangeUse,
  vma: Vma,
  args: MigrateVma,
  block: Block,
  copies: CopyList,
): readonly number[] {
  const { pool } = op.parts
  const src = migratePfnWords(args.src)
  const dst = migratePfnWords(args.dst)
  const zeroes: number[] = []
  const first = block.first + (addrToVpn(args.start) - block.vpn)
  const isMappedForWriting = (vma.flags & VM_WRITE) !== 0
  let ntaken = 0
  const take = (end: number): void => {
    if (ntaken > 0) pool.takePages(first + end - ntaken, ntaken)
    ntaken = 0
  }
  for (let i = 0, n = 1; i < args.npages; i += n) {
    n = 1
    const page = migratePfnAt(src, i)
    const isWritable = page < 0 ? isMappedForWriting : (src[2 * i] & MIGRATE_PFN_WRITE) !== 0
    const canMove =
      (src[2 * i] & MIGRATE_PFN_MIGRATE) !== 0 &&
      // Others may read the page too (fork): it has to be copied for this address space first.
      (isWritable || use.access === 'read') &&
      // The frame of a page that was here and left may still be in use.
      pool.isReserved(first + i)
    if (!canMove) {
      take(i)
      continue
    }
    if (page < 0) zeroes.push(first + i)
    else {
      n = pool.nreserved(first + i, migratePfnRun(src, i, args.npages))
      copies.addRun(page, first + i, n)
    }
    ntaken += n
    setMigratePfns(dst, i, n, pool.pfnOf(first + i), MIGRATE_PFN_VALID | (isWritable ? MIGRATE_PFN_WRITE : 0))
  }
  take(args.npages)
  return zeroes
}

/** Notes what stands behind each page that moved. Returns how many did. */
function settle(op: Operation, args: MigrateVma): number {
  const { pool } = op.parts
  const src = migratePfnWords(args.src)
  const dst = migratePfnWords(args.dst)
  let nmoved = 0
  let npinned = 0
  for (let i = 0, n = 1; i < args.npages; i += n) {
    n = 1
    const flags = src[2 * i]
    if ((dst[2 * i] & MIGRATE_PFN_VALID) === 0 || (flags & MIGRATE_PFN_MIGRATE) === 0) continue
    const isHole = (flags & MIGRATE_PFN_VALID) === 0
    if (!isHole) n = migratePfnRuns(src, dst, i, args.npages)
    nmoved += n
    const isPinned = !isHole && (flags & MIGRATE_PFN_PIN) !== 0
    if (isPinned) npinned += n
    else if (!isHole) continue
    const frame = pool.frameOf(validPfnAt(dst, i))
    pool.setBackings(frame, n, isPinned ? validPfnAt(src, i) : ZEROES)
    // What the page owes to swap, the frame that stays knows itself.
    for (let k = 0; k < n; k++) pool.setClean(frame + k)
  }
  op.placed.pin += npinned
  op.placed.migrate += nmoved - npinned
  return nmoved
}

/** Nothing migrates after all: the destinations are free again. */
function declineAll(op: Operation, args: MigrateVma): void {
  const { sys } = op.parts
  const dst = migratePfnWords(args.dst)
  for (let i = 0; i < args.npages; i++) {
    const target = migratePfnAt(dst, i)
    if (target < 0) continue
    setMigratePfn(dst, i, 0, 0)
    unlockPage(sys, target)
    putPage(sys, target)
  }
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
