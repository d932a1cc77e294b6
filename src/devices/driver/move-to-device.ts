// Pages move to the device: migrate_vma, with a copy in the middle that takes its time. Meanwhile mmapLock is held, the pages are
// locked, and their entries are migration entries, so a touch waits and mappings stay.
//
//   setup ─> frames, copy ─────> pages ─> finalize ─> mirror table ─> capture
//
// With `pins` a page leaves its system frame in place (MIGRATE_PFN_PIN), and nothing has to be copied back that the device
// does not write. A page that never was comes from nowhere: its frame is cleared.

import { type Addr, PAGE_SIZE } from '../../base/addr.ts'
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
  migratePfnWords,
  migrateVmaFinalize,
  migrateVmaPages,
  migrateVmaSetup,
  setMigratePfn,
} from '../../mm/migrate-device.ts'
import { putPage, unlockPage } from '../../mm/page-alloc.ts'
import { VM_WRITE } from '../../mm/vm-flags.ts'
import type { Vma } from '../../mm/vma.ts'
import type { Block } from './block.ts'
import { CopyList } from './copy-list.ts'
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
  const { pool, hardware, owner, clock } = op.parts
  await hardware.ready()
  const args = makeMigrateVma(vma, start, end, owner, MIGRATE_VMA_SELECT_SYSTEM)
  if (pins) markPins(op, args)
  const err = migrateVmaSetup(args)
  if (err !== 0) throw new MmError(err, op.parts.name, { addr: start, detail: 'the mapping cannot move to a device' })
  open.add(args)
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
    const frame = block.first + (vpn - block.vpn)
    // The frame of a page that was here and left may still be in use.
    if (!pool.isReserved(frame)) continue
    const target = pool.takePage(frame)
    if (page < 0) zeroes.push(frame)
    else copies.add(page, frame)
    setMigratePfn(dst, i, target, MIGRATE_PFN_VALID | (isWritable ? MIGRATE_PFN_WRITE : 0))
  }
  hardware.clear(zeroes)
  let failure: unknown = null
  const begunAt = clock.now()
  try {
    await hardware.upload(copies)
    op.purpose.copying.time += clock.now() - begunAt
  } catch (error) {
    failure = error
    for (let i = 0; i < args.npages; i++) decline(op, dst, i)
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
  const target = migratePfnAt(dst, i)
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
