// Pages that lie on the device in several pieces, and are wanted in one. They move from frame to frame on the device itself: what
// stands behind them in system memory stays there, and so does what is known about stores.
//
//   before   frames  x0 x1 -- y0 x2 ...        after   frames  -- -- -- y0 -- ... x0 x1 x2 x3
//
// A page goes through a migration like any other (it may be touched, unmapped, held by somebody); a duplicate is the driver's own
// and moves at once.

import { type Addr, addrToVpn, PAGE_SIZE, vpnToAddr } from '../../base/addr.ts'
import { MmError } from '../../base/errno.ts'
import { HMM_PFN_VALID_HI } from '../../hmm/hmm-pfn.ts'
import { HMM_COPY_TO_DEVICE, HmmEvent, hmmMirrorRangeCopied } from '../../hmm/mirror/index.ts'
import {
  MIGRATE_PFN_MIGRATE,
  MIGRATE_PFN_VALID,
  MIGRATE_PFN_WRITE,
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  makeMigrateVma,
  migratePfnAt,
  migratePfnWords,
  migrateVmaFinalize,
  migrateVmaPages,
  migrateVmaSetup,
  setMigratePfn,
} from '../../mm/migrate-device.ts'
import type { Vma } from '../../mm/vma.ts'
import type { Block } from './block.ts'
import { FRAME_DUPLICATE, NO_COPY } from './frame-pool.ts'
import type { OpenMigrations } from './open-migrations.ts'
import type { Operation } from './operation.ts'
import type { RangeUse } from './range-use.ts'

/** Moves the duplicates of a block's pages that lie elsewhere on the device into the block. */
export function gatherDuplicates(op: Operation, block: Block): void {
  const { pool, hardware, traffic } = op.parts
  const { mm, duplicates } = op.space
  const from: number[] = []
  const to: number[] = []
  for (let i = 0; i < block.npages; i++) {
    const frame = duplicates.find(block.vpn + i)
    const target = block.first + i
    if (frame < 0 || frame === target || !pool.isReserved(target) || pool.state[frame] !== FRAME_DUPLICATE) continue
    from.push(frame)
    to.push(target)
    pool.takeDuplicates(target, 1)
    duplicates.replace(block.vpn + i, target)
    pool.dropDuplicates(frame, 1)
  }
  hardware.move(from, to)
  const run = { mm, start: vpnToAddr(block.vpn), end: vpnToAddr(block.vpn + block.npages) }
  traffic.copied(run, 'device-to-device', to.length, op.purpose)
}

/** The same for pages of one mapping, as far as they can move. mmapLock is held for reading. */
export function gatherPages(
  open: OpenMigrations,
  op: Operation,
  use: RangeUse,
  vma: Vma,
  start: Addr,
  end: Addr,
  block: Block,
): void {
  // Nothing but what moves, as the events of a migration end the duplicates beside it.
  for (const [from, to] of runsElsewhere(op, start, end, block)) gatherRun(open, op, vma, from, to, block)
  // Before anybody else gets a turn: a captured page stays.
  op.look(use, start, end)
}

function gatherRun(open: OpenMigrations, op: Operation, vma: Vma, start: Addr, end: Addr, block: Block): void {
  const { pool, hardware, owner, traffic } = op.parts
  const { mm, mirror } = op.space
  const args = makeMigrateVma(vma, start, end, owner, MIGRATE_VMA_SELECT_DEVICE_PRIVATE)
  const err = migrateVmaSetup(args)
  if (err !== 0) throw new MmError(err, op.parts.name, { addr: start, detail: 'the mapping cannot move on the device' })
  open.add(args)
  const src = migratePfnWords(args.src)
  const dst = migratePfnWords(args.dst)
  const from: number[] = []
  const to: number[] = []
  for (let i = 0; i < args.npages; i++) {
    const page = migratePfnAt(src, i)
    const target = block.first + (addrToVpn(start) + i - block.vpn)
    if (page < 0 || (src[2 * i] & MIGRATE_PFN_MIGRATE) === 0 || !pool.isReserved(target)) continue
    from.push(pool.frameOf(page))
    to.push(target)
    setMigratePfn(dst, i, pool.takePages(target, 1), MIGRATE_PFN_VALID | (src[2 * i] & MIGRATE_PFN_WRITE))
  }
  hardware.move(from, to)
  migrateVmaPages(args)
  for (let i = 0; i < args.npages; i++) {
    const target = migratePfnAt(dst, i)
    if (target < 0 || (src[2 * i] & MIGRATE_PFN_MIGRATE) === 0) continue
    const frame = pool.frameOf(migratePfnAt(src, i))
    const backing = pool.backing[frame]
    pool.setBacking(frame, NO_COPY)
    pool.setBacking(pool.frameOf(target), backing)
  }
  migrateVmaFinalize(args)
  open.delete(args)
  hmmMirrorRangeCopied(mirror, new HmmEvent(start, end, HMM_COPY_TO_DEVICE))
  traffic.copied({ mm, start, end }, 'device-to-device', to.length, op.purpose)
}

/** Runs `[from, to)` of pages that are on the device and not in their place in the block. */
function runsElsewhere(op: Operation, start: Addr, end: Addr, block: Block): [from: Addr, to: Addr][] {
  const { pool, owner, sys } = op.parts
  const words = op.space.snapshot(start, end)
  const runs: [from: Addr, to: Addr][] = []
  for (let addr = start; addr < end; addr += PAGE_SIZE) {
    const i = 2 * addrToVpn(addr - start)
    const isPage = (words[i + 1] & HMM_PFN_VALID_HI) !== 0
    if (!isPage || sys.pagemaps[sys.pages.pagemap[words[i]]]?.owner !== owner) continue
    if (pool.frameOf(words[i]) === block.first + (addrToVpn(addr) - block.vpn)) continue
    const last = runs[runs.length - 1]
    if (last !== undefined && last[1] === addr) last[1] += PAGE_SIZE
    else runs.push([addr, addr + PAGE_SIZE])
  }
  return runs
}
