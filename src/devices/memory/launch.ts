// A launch: a kernel that works on declared ranges of an address space, in device memory.
//
//   run() ── claim ──> granted ──> pages written, pages read ──> all uploads there ──> kernel ──> flush? ──> end of the claim
//            touches   │            taken from the CPU; from     └─ frames are fixed ────────────────────┘
//            see the   │            here on a touch of a written page waits for the end, and finds what the kernel left
//            old value ┘
//
// The kernels of a memory device are functions that get the device's bytes. One that returns a promise takes its time; the
// program goes on meanwhile, and everything that mm may do to the pages happens.

import { type Addr, addrToVpn, PAGE_SIZE } from '../../base/addr.ts'
import { formatAddr } from '../../base/assert.ts'
import { EACCES, EFAULT, ENOMEM, MmError } from '../../base/errno.ts'
import type { Placement } from '../../hmm/policy.ts'
import type { Mm } from '../../mm/mm.ts'
import { collectWrites } from '../../mm/share.ts'
import { VM_READ, VM_WRITE } from '../../mm/vm-flags.ts'
import type { AddrRange } from '../claims.ts'
import { mmapReadLock } from '../edge.ts'
import { flush } from './durable.ts'
import { LaunchMemory } from './launch-memory.ts'
import type { OpenMigrations } from './open-migrations.ts'
import { endOf, type Operation, type RangeUse } from './operation.ts'
import type { LaunchMode, LaunchReceipt, PageCounts } from './receipt.ts'
import type { ToDevice } from './to-device.ts'
import type { ToSystem } from './to-system.ts'

/** Works on the ranges of a launch. Throwing, or rejecting, ends the launch; what was written stays written. */
export type Kernel = (memory: LaunchMemory) => void | Promise<void>

export interface LaunchRequest {
  /** In receipts and errors. Default `kernel`. */
  readonly name?: string
  /** Bytes that the kernel reads. */
  readonly read?: readonly AddrRange[]
  /** Bytes that the kernel writes, or reads and writes. */
  readonly write?: readonly AddrRange[]
  /** Copy what was written to system memory before the launch ends. Default false. */
  readonly durable?: boolean
  /** How pages should come to the device; the policy knows better where it is left out. */
  readonly placement?: Placement
  /** Gives the launch up: before the kernel runs, or as soon as the kernel returns. */
  readonly signal?: AbortSignal
}

/** The parts of the device that a launch runs on. */
export interface LaunchSite {
  readonly toDevice: ToDevice
  readonly toSystem: ToSystem
  readonly migrations: OpenMigrations
  /** Settles like `work`, or rejects as soon as the device is lost. */
  unlessLost(work: Promise<void>): Promise<void>
}

/** Throws a TypeError or RangeError for ranges that are none. */
export function checkRanges(mm: Mm, ranges: readonly AddrRange[], name: string): void {
  for (const { start, end } of ranges) {
    if (typeof start !== 'number' || typeof end !== 'number') {
      throw new TypeError(`${name}: a range from ${typeof start} to ${typeof end}, wanted byte addresses`)
    }
    if (!Number.isSafeInteger(start) || !Number.isSafeInteger(end) || start < 0 || start >= end || end > mm.taskSize) {
      throw new RangeError(
        `${name}: range [${start}, ${end}), wanted at least one byte below ${formatAddr(mm.taskSize)}`,
      )
    }
  }
}

/**
 * Runs a launch that has been granted its claim. `queuedAt` is when it was handed in.
 *
 * Rejects with an MmError: ENOMEM (more pages than the device has, or than can be made free; durable: no system memory), EFAULT
 * (no mapping), EACCES (written, and the mapping is read-only), EBUSY (a page does not move); with a DeviceLostError; with
 * the reason of the signal; or with what the kernel threw.
 */
export async function runLaunch(
  site: LaunchSite,
  op: Operation,
  request: LaunchRequest,
  kernel: Kernel,
  queuedAt: number,
): Promise<LaunchReceipt> {
  const { name = 'kernel', read = [], write = [], durable = false, signal } = request
  const { clock, engine, pool } = op.parts
  const begunAt = clock.now()
  const writes = write.map((range) => op.use(range, 'write'))
  const reads = read.map((range) => op.use(range, 'read'))
  const memory = new LaunchMemory(pool, op.uses, signal)
  try {
    checkFits(op, name)
    await collectStores(op, name)
    for (const use of reads) op.warm(use)
    for (const use of writes) await site.toDevice.bringIn(op, use)
    // After those that are written: a page that is both is one page.
    for (const use of reads) await site.toDevice.bringIn(op, use)
    await engine.uploaded()
    op.check()
    const servedAt = clock.now()
    const running = kernel(memory)
    if (running !== undefined) await site.unlessLost(running)
    memory.revoke()
    op.check()
    const kernelEndedAt = clock.now()
    if (durable) await flush(op, site.toSystem, site.migrations)
    const times = {
      queued: begunAt - queuedAt,
      service: servedAt - begunAt,
      kernel: kernelEndedAt - servedAt,
      flush: clock.now() - kernelEndedAt,
    }
    const device = op.parts.name
    return { name, device, ...modeOf(op.uses), pages: pagesOf(op), counters: op.purpose.counters.total, times }
  } finally {
    memory.revoke()
  }
}

/** How the pages of an operation came to be on the device. */
export function pagesOf({ nresident, placed }: Operation): PageCounts {
  return { resident: nresident, duplicated: placed.duplicate, pinned: placed.pin, migrated: placed.migrate }
}

/** Everything has to be on the device at once. */
function checkFits(op: Operation, name: string): void {
  const { pool } = op.parts
  const npages = countPages(op.uses)
  if (npages <= pool.npages) return
  throw new MmError(-ENOMEM, name, { detail: `needs ${npages} pages at once, ${op.parts.name} has ${pool.npages}` })
}

/** Pages of all uses; one that several use counts once. */
function countPages(uses: readonly RangeUse[]): number {
  const ranges = uses.map(({ start, frames }) => ({ first: addrToVpn(start), end: addrToVpn(start) + frames.length }))
  ranges.sort((a, b) => a.first - b.first)
  let npages = 0
  let counted = 0
  for (const { first, end } of ranges) {
    npages += Math.max(0, end - Math.max(first, counted))
    counted = Math.max(counted, end)
  }
  return npages
}

/**
 * Checks that the ranges are mapped as they are used, and drops duplicates of pages that were written without a fault (rule of
 * mm/share.ts): every launch does that first.
 */
async function collectStores(op: Operation, name: string): Promise<void> {
  const { mm } = op.space
  await mmapReadLock(mm)
  try {
    for (const use of op.uses) {
      checkMapped(mm, use.start, endOf(use), use.access === 'write' ? VM_WRITE : VM_READ, name)
      collectWrites(mm, use.start, endOf(use))
    }
  } finally {
    mm.mmapLock.unlockRead()
  }
}

function checkMapped(mm: Mm, start: Addr, end: Addr, wanted: number, name: string): void {
  for (let addr = start; addr < end; ) {
    const vma = mm.vmaLookup(addr)
    if (vma === null) throw new MmError(-EFAULT, name, { addr, detail: 'no mapping' })
    if ((vma.flags & wanted) === 0) {
      throw new MmError(-EACCES, name, {
        addr,
        detail: `the mapping cannot be ${wanted === VM_WRITE ? 'written' : 'read'}`,
      })
    }
    addr = vma.end
  }
}

function modeOf(uses: readonly RangeUse[]): { mode: LaunchMode; why: string } {
  for (const { start, frames } of uses) {
    const npieces = frames.reduce((n, frame, i) => (i > 0 && frame === frames[i - 1] + 1 ? n : n + 1), 0)
    if (npieces > 1) return { mode: 'paged', why: `the range at ${formatAddr(start)} lies in ${npieces} pieces` }
  }
  const npages = uses.reduce((sum, { frames }) => sum + frames.length, 0)
  return { mode: 'direct', why: `each range lies in one piece, ${npages * PAGE_SIZE} bytes in all` }
}
