// A launch: a program that works on declared ranges of an address space, in device memory.
//
//   run() ── claim ──> granted ──> pages written, pages read ──> all uploads there ──> program ──> flush? ──> end of the claim
//            touches   │            taken from the CPU; from     └─ frames are fixed ─────────────────────┘
//            see the   │            here on a touch of a written page waits for the end, and finds what the program left
//            old value ┘
//
// A launch that is larger than the device is cut into slices, which run one after the other: each brings its own ranges in, and
// the hardware still works on the one before. Claims are those of the whole launch, so nobody sees half of it.

import { pageAlignDown, pageAlignUp } from '../../base/addr.ts'
import { formatAddr } from '../../base/assert.ts'
import { MmError } from '../../base/errno.ts'
import type { Access } from '../../trace/events.ts'
import type { AddrRange } from '../claims.ts'
import { allSettled } from '../edge.ts'
import { flush, readBack } from './durable.ts'
import type { ProgramMemory } from './hardware.ts'
import { checkFits, collectStores } from './launch-checks.ts'
import { type DeclaredRange, LaunchRanges } from './launch-ranges.ts'
import type { LaunchRequest, LaunchSlice, Program } from './launch-request.ts'
import type { OpenMigrations } from './open-migrations.ts'
import type { Operation } from './operation.ts'
import { prefetchAround } from './prefetch-around.ts'
import type { LaunchMode, LaunchReceipt, PageCounts } from './receipt.ts'
import type { ToDevice } from './to-device.ts'
import type { ToSystem } from './to-system.ts'

/** The parts of the device that a launch runs on. */
export interface LaunchSite {
  readonly toDevice: ToDevice
  readonly toSystem: ToSystem
  readonly migrations: OpenMigrations
  readonly room: { evictAll(purpose: Operation['purpose']): Promise<void> }
  /** Settles like `work`, or rejects as soon as the device is lost. */
  unlessLost(work: Promise<void>): Promise<void>
}

/** Slices that are brought in or that the hardware works on: it has one to work on while the next one comes. */
const SLICES_IN_FLIGHT_MAX = 2

/** Attempts to bring a slice in. Each after the first has nothing of its own in its way; only others can be. */
const ATTEMPTS_MAX = 8

/**
 * Runs a launch that has been granted its claim, slice by slice. `queuedAt` is when it was handed in.
 *
 * Rejects with an MmError: ENOMEM (more pages than the device has, or than can be made free; durable: no system memory), EFAULT
 * (no mapping), EACCES (written, and the mapping is read-only), EBUSY (a page does not move); with a DeviceLostError; with
 * the reason of the signal; or with what the program threw.
 */
export async function runLaunch<Memory extends ProgramMemory, Slice extends LaunchSlice>(
  site: LaunchSite,
  op: Operation<Memory>,
  request: LaunchRequest<Slice>,
  slices: readonly Slice[],
  program: Program<Memory, Slice>,
  queuedAt: number,
): Promise<LaunchReceipt> {
  const { name = 'kernel', durable = false, inOnePiece = false, isPatient = false, around = [] } = request
  const { clock, hardware, pool, watch } = op.parts
  const begunAt = clock.now()
  const times = { queued: begunAt - queuedAt, service: 0, transfer: 0, kernel: 0, flush: 0 }
  const shape = { mode: 'direct' as LaunchMode, why: 'each range lies in one piece' }
  for (const slice of slices) checkFits(op, slice, name, inOnePiece)
  await collectStores(op, request, name, slices.length === 1)
  const inFlight: (Promise<void> | null)[] = []
  for (const [index, slice] of slices.entries()) {
    op.check()
    const sliceAt = clock.now()
    const { deviceFaults } = op.purpose.counters.total
    const declared = await bringIn(site, op, slice, inOnePiece)
    const broughtAt = clock.now()
    await hardware.uploaded()
    op.purpose.copying.time += clock.now() - broughtAt
    op.check()
    const servedAt = clock.now()
    times.service += servedAt - sliceAt
    noteShape(shape, declared)
    const memory = hardware.memoryOf(new LaunchRanges(pool, declared, request.signal))
    try {
      const running = program(memory, slice, index)
      if (running !== undefined) await site.unlessLost(isPatient ? running : watch.wait(name, running))
      const isLast = index === slices.length - 1
      const fence = hardware.fence()
      inFlight.push(
        isLast && !durable ? allSettled([readBack(op, site.migrations), fence ?? Promise.resolve()]) : fence,
      )
      // Of several slices the next one wants the room.
      const hasMissed = op.purpose.counters.total.deviceFaults > deviceFaults && slices.length === 1
      const others = hasMissed ? prefetchAround(op, site.toDevice, around) : Promise.resolve()
      others.catch(() => {})
      const isAlone = durable || isLast
      while (inFlight.length >= (isAlone ? 1 : SLICES_IN_FLIGHT_MAX)) {
        const ended = inFlight.shift() ?? null
        if (ended !== null) await site.unlessLost(watch.wait(name, ended))
      }
      await site.unlessLost(others)
    } finally {
      memory.revoke()
      // What is still under way without its pages being kept is a mistake of the program, and nobody waits for it.
      for (const each of inFlight) each?.catch(() => {})
    }
    op.check()
    const endedAt = clock.now()
    times.kernel += endedAt - servedAt
    if (durable) await flush(op, site.toSystem, site.migrations)
    times.flush += clock.now() - endedAt
    if (index < slices.length - 1) op.release()
  }
  times.transfer = op.purpose.copying.time
  const { purpose, parts } = op
  const did = { pages: pagesOf(op), counters: purpose.counters.total }
  return { name, device: parts.name, ...shape, nslices: slices.length, thrashing: [], ...did, times }
}

/** How the pages of an operation came to be on the device. */
export function pagesOf({ nresident, placed }: Operation): PageCounts {
  return { resident: nresident, duplicated: placed.duplicate, pinned: placed.pin, migrated: placed.migrate }
}

/**
 * Brings the ranges of a slice to the device. It begins again when its own frames are in its way: those of pages that left while
 * it held them, or, where a range has to lie in one piece, those between which the free ones lie.
 */
async function bringIn(
  site: LaunchSite,
  op: Operation,
  slice: LaunchSlice,
  inOnePiece: boolean,
): Promise<readonly DeclaredRange[]> {
  for (let attempt = 1; ; attempt++) {
    const declared = declare(op, slice, inOnePiece)
    // What this slice has in common with the one before is not in its way (Operation.warmReads); the rest of that one is.
    op.parts.pool.uses++
    try {
      // Those that are written come first: a page that is both is one page.
      for (const use of op.uses) if (use.access === 'write') await site.toDevice.bringIn(op, use)
      for (const use of op.uses) if (use.access === 'read') await site.toDevice.bringIn(op, use)
      return declared
    } catch (error) {
      const isOwnFault = error instanceof MmError && error.code === 'ENOMEM' && op.holdsFrames
      if (!isOwnFault || attempt === ATTEMPTS_MAX) throw error
    }
    op.release()
    if (inOnePiece) await site.room.evictAll({ ...op.purpose, cause: 'eviction' })
  }
}

/**
 * Adds the ranges of a slice to the operation. Ranges that have to lie in one piece and share a page are one piece together, as
 * a page is in one place.
 */
function declare(op: Operation, { read = [], write = [] }: LaunchSlice, inOnePiece: boolean): readonly DeclaredRange[] {
  const declared: { range: AddrRange; access: Access }[] = [
    ...write.map((range) => ({ range, access: 'write' as const })),
    ...read.map((range) => ({ range, access: 'read' as const })),
  ]
  if (!inOnePiece) return declared.map((each) => ({ ...each, use: op.use(each.range, each.access) }))
  const joined: DeclaredRange[] = []
  declared.sort((a, b) => a.range.start - b.range.start)
  for (let i = 0; i < declared.length; ) {
    let { end } = declared[i].range
    let next = i + 1
    for (; next < declared.length && pageAlignDown(declared[next].range.start) < pageAlignUp(end); next++) {
      end = Math.max(end, declared[next].range.end)
    }
    const together = declared.slice(i, next)
    const access = together.some((each) => each.access === 'write') ? 'write' : 'read'
    const use = op.use({ start: declared[i].range.start, end }, access, true)
    for (const each of together) joined.push({ ...each, use })
    i = next
  }
  return joined
}

/** Notes the first range that does not lie in one piece. */
function noteShape(shape: { mode: LaunchMode; why: string }, declared: readonly DeclaredRange[]): void {
  for (const { use } of declared) {
    if (shape.mode === 'paged') return
    if (use.firstFrame >= 0) continue
    let npieces = 1
    for (let i = 1; i < use.npages; i++) if (use.frames[i] !== use.frames[i - 1] + 1) npieces++
    if (npieces === 1) continue
    shape.mode = 'paged'
    shape.why = `the range at ${formatAddr(use.start)} lies in ${npieces} pieces`
  }
}
