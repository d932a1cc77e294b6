// Moving pages between system memory and the pool of a WebGPU device: migrate_vma and migrate_device with a copy that takes
// real time in the middle.
//
//   setup ──> destinations ──> copy ────────────────> pages ──> finalize
//             └────── mmapLock is held for reading, pages are locked, entries are migration entries ──────┘
//
// A page that goes to the device is pinned in place (MIGRATE_PFN_PIN) unless the driver was told to free it. It comes back
// into the frame it left (UNPIN), and only what the device has written is copied. The mirror table says what was written:
// it is settled (`hmmMirrorRangeDiscard`, or the CLEAR event of eviction) before PG_DIRTY of a device page is looked at.
// PG_DIRTY of a device page with a copy behind it means "differs from that copy"; what the copy owes to swap it knows itself.

import { type Addr, PAGE_SIZE, type Pfn } from '../../base/addr.ts'
import { assert } from '../../base/assert.ts'
import { EACCES, EFAULT, EIO, ENOMEM } from '../../base/errno.ts'
import { hmmRangeFault } from '../../hmm/hmm.ts'
import { HMM_PFN_VALID_HI, hmmPfnWords, hmmPfnWordsToPfn } from '../../hmm/hmm-pfn.ts'
import {
  HMM_COPY_TO_DEVICE,
  HmmEvent,
  type HmmMirror,
  hmmMirrorRangeCopied,
  hmmMirrorRangeDiscard,
} from '../../hmm/mirror/index.ts'
import { isZoneDevicePage } from '../../mm/memremap.ts'
import {
  MIGRATE_PFN_MIGRATE,
  MIGRATE_PFN_PIN,
  MIGRATE_PFN_UNPIN,
  MIGRATE_PFN_VALID,
  MIGRATE_PFN_WRITE,
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  MIGRATE_VMA_SELECT_SYSTEM,
  type MigrateVma,
  makeMigrateVma,
  migrateDeviceFinalize,
  migrateDevicePages,
  migrateDeviceRange,
  migratePfnAt,
  migratePfnWords,
  migrateVmaFinalize,
  migrateVmaPages,
  migrateVmaSetup,
  setMigratePfn,
} from '../../mm/migrate-device.ts'
import type { Mm } from '../../mm/mm.ts'
import { mmuIntervalReadBegin } from '../../mm/mmu-notifier.ts'
import { PG_DIRTY } from '../../mm/page.ts'
import { allocEvictionPage, putPage, unlockPage } from '../../mm/page-alloc.ts'
import type { System } from '../../mm/system.ts'
import { VM_WRITE } from '../../mm/vm-flags.ts'
import type { Vma } from '../../mm/vma.ts'
import type { Cause, Direction } from '../../trace/events.ts'
import type { Tracer } from '../../trace/tracer.ts'
import { type Block, NO_COPY, type WebGpuMemory, ZEROES } from './device-memory.ts'
import { type GpuContext, GpuError } from './gpu-context.ts'
import { CopyList, type Transfers } from './transfers.ts'

/** What the moves of one operation came to. */
export interface MoveCounts {
  /** Pages that went to the device, and came back. */
  npagesIn: number
  npagesOut: number
  /** Bytes copied; a page that moves without a copy adds none. */
  bytesHostToDevice: number
  bytesDeviceToHost: number
  bytesDeviceToDevice: number
}

export function makeMoveCounts(): MoveCounts {
  return { npagesIn: 0, npagesOut: 0, bytesHostToDevice: 0, bytesDeviceToHost: 0, bytesDeviceToDevice: 0 }
}

/** Why pages move, and where that is counted. */
export interface Move {
  readonly cause: Cause
  readonly counts: MoveCounts
}

export interface MigratorOptions {
  readonly sys: System
  /** Of the device, in events. */
  readonly name: string
  readonly owner: unknown
  readonly context: GpuContext
  readonly memory: WebGpuMemory
  readonly transfers: Transfers
  readonly tracer: Tracer
  /** Leave system pages in place while the device has their contents. */
  readonly pinsSystemPages: boolean
}

export class Migrator {
  private readonly options: MigratorOptions
  private readonly sys: System
  private readonly memory: WebGpuMemory
  private readonly transfers: Transfers

  constructor(options: MigratorOptions) {
    this.options = options
    this.sys = options.sys
    this.memory = options.memory
    this.transfers = options.transfers
  }

  /**
   * Fills a block with the pages of `[start, end)`, as many as the block has: from system memory, from nowhere, and from
   * elsewhere on the device. Partial success is normal: pages that somebody else is moving stay out.
   *
   * Preconditions: mmapLock is held for reading and is kept until the promise settles; the block is open.
   *
   * Returns 0, or with the mappings before filled
   * - -EFAULT no mapping there
   * - -EACCES `write`, and the mapping is read-only
   * - -EINVAL the mapping cannot migrate at all
   * - -EIO    the device failed; the pages are where they were
   */
  async fill(mirror: HmmMirror, block: Block, start: Addr, end: Addr, write: boolean, move: Move): Promise<number> {
    const { mm } = mirror.hmm
    for (let addr = start; addr < end; ) {
      const vma = mm.vmaLookup(addr)
      if (vma === null) return -EFAULT
      if (write && (vma.flags & VM_WRITE) === 0) return -EACCES
      const next = Math.min(end, vma.end)
      const err = await this.fillFrom(mirror, vma, addr, next, block, (addr - start) / PAGE_SIZE, move)
      if (err !== 0) return err
      addr = next
    }
    return 0
  }

  /**
   * Moves the device's pages in `[start, end)` of one mapping back. The first part runs before the call returns; `done` is the
   * rest, or null if there was nothing to wait for. The bystanders of the range are left alone.
   *
   * Preconditions: mmapLock is held for reading and is kept until `done` settles. `faultPage` is that of a migrateToRam which
   * returns before `done` goes on, -1 for none.
   */
  bringBack(mirror: HmmMirror | null, vma: Vma, start: Addr, end: Addr, faultPage: Pfn, move: Move): BringBack {
    const args = makeMigrateVma(vma, start, end, this.options.owner, MIGRATE_VMA_SELECT_DEVICE_PRIVATE)
    args.faultPage = faultPage
    const err = migrateVmaSetup(args)
    if (err !== 0) return { err, missed: true, done: null }
    if (mirror !== null) hmmMirrorRangeDiscard(mirror, args.start, args.end)
    const copies = this.chooseHomes(vma.mm, args.src, args.dst, args.npages)
    const stuck = this.withoutHome(args)
    const missed = stuck.includes(faultPage)
    if (copies.length === 0) {
      this.endBack(args, args.src, args.dst, args.npages, move)
      return { err: stuck.length === 0 ? 0 : this.reasonToStay(), missed, done: null }
    }
    return { err: 0, missed, done: this.copyBack(args, copies, stuck.length, move) }
  }

  /** Moves all pages of a block to system memory. Returns the number of pages that left. */
  async evict(block: Block, move: Move): Promise<number> {
    const { memory } = this
    let nleft = 0
    const frames = memory.framesOf(block)
    for (let from = 0; from < frames.length; ) {
      let to = from + 1
      while (to < frames.length && frames[to] === frames[to - 1] + 1) to++
      nleft += await this.evictRun(block.mm, frames[from], to - from, move)
      from = to
    }
    return nleft
  }

  // ---- to the device ----

  private async fillFrom(
    mirror: HmmMirror,
    vma: Vma,
    start: Addr,
    end: Addr,
    block: Block,
    offset: number,
    move: Move,
  ): Promise<number> {
    const { memory, transfers, options } = this
    const select = MIGRATE_VMA_SELECT_SYSTEM | MIGRATE_VMA_SELECT_DEVICE_PRIVATE
    const args = makeMigrateVma(vma, start, end, options.owner, select)
    if (options.pinsSystemPages) this.markPins(mirror, args)
    const err = migrateVmaSetup(args)
    if (err !== 0) return err
    hmmMirrorRangeDiscard(mirror, args.start, args.end)

    const src = migratePfnWords(args.src)
    const dst = migratePfnWords(args.dst)
    const uploads = new CopyList()
    const zeroes: number[] = []
    const movesFrom: number[] = []
    const movesTo: number[] = []
    for (let i = 0; i < args.npages; i++) {
      if ((src[2 * i] & MIGRATE_PFN_MIGRATE) === 0) continue
      const spage = migratePfnAt(src, i)
      const dpage = memory.takePage(block, offset + i)
      const frame = memory.frameOf(dpage)
      let writable = (src[2 * i] & MIGRATE_PFN_WRITE) !== 0
      if (spage < 0) {
        zeroes.push(frame)
        writable = (vma.flags & VM_WRITE) !== 0
      } else if (isZoneDevicePage(this.sys, spage)) {
        movesFrom.push(memory.frameOf(spage))
        movesTo.push(frame)
      } else uploads.add(spage, frame)
      setMigratePfn(dst, i, dpage, MIGRATE_PFN_VALID | (writable ? MIGRATE_PFN_WRITE : 0))
    }
    const failure = await attempt(async () => {
      await transfers.upload(uploads)
      transfers.clear(zeroes)
      transfers.move(movesFrom, movesTo)
    })
    if (failure !== null) for (let i = 0; i < args.npages; i++) this.declineDestination(dst, i)
    migrateVmaPages(args)
    const nmoved = this.settleFilled(args)
    migrateVmaFinalize(args)
    hmmMirrorRangeCopied(mirror, new HmmEvent(args.start, args.end, HMM_COPY_TO_DEVICE))
    this.report('host-to-device', args.start, args.end, nmoved, args.npages - nmoved, move)
    if (failure !== null) return errnoOf(failure)
    this.reportBytes('host-to-device', args.start, args.end, uploads.length, move)
    this.reportBytes('device-to-device', args.start, args.end, movesTo.length, move)
    return 0
  }

  /** Marks the pages that are in system memory: what is pinned in place. A hole has nothing to pin (PN-2). */
  private markPins(mirror: HmmMirror, args: MigrateVma): void {
    const { notifier } = mirror.hmm
    assert(notifier !== null, 'a registered mirror has a notifier')
    const { pages } = this.sys
    const npages = (args.end - args.start) / PAGE_SIZE
    const hmmPfns = new BigUint64Array(npages)
    const notifierSeq = mmuIntervalReadBegin(notifier)
    const { start, end } = args
    const owner = this.options.owner
    const range = { notifier, notifierSeq, start, end, hmmPfns, defaultFlags: 0n, pfnFlagsMask: 0n }
    // Nothing is asked for, so nothing is faulted, and nothing happens between this look and setup.
    const err = hmmRangeFault({ ...range, devPrivateOwner: owner })
    assert(err === 0, () => `a look at the page table ended with ${err}`)
    const words = hmmPfnWords(hmmPfns)
    const src = migratePfnWords(args.src)
    for (let i = 0; i < npages; i++) {
      if ((words[2 * i + 1] & HMM_PFN_VALID_HI) === 0) continue
      if (pages.pagemap[hmmPfnWordsToPfn(words, i)] === 0) src[2 * i] = MIGRATE_PFN_PIN
    }
  }

  /** Notes what stands behind each page that moved. Returns how many did. */
  private settleFilled(args: MigrateVma): number {
    const { memory } = this
    const { pages } = this.sys
    const { backing } = memory
    const src = migratePfnWords(args.src)
    const dst = migratePfnWords(args.dst)
    let nmoved = 0
    for (let i = 0; i < args.npages; i++) {
      const dpage = migratePfnAt(dst, i)
      if (dpage < 0 || (src[2 * i] & MIGRATE_PFN_MIGRATE) === 0) continue
      nmoved++
      const spage = migratePfnAt(src, i)
      const frame = memory.frameOf(dpage)
      if (spage < 0) backing[frame] = ZEROES
      else if (isZoneDevicePage(this.sys, spage)) {
        const from = memory.frameOf(spage)
        backing[frame] = backing[from]
        backing[from] = NO_COPY
      } else if ((src[2 * i] & MIGRATE_PFN_PIN) !== 0) {
        backing[frame] = spage
        pages.clearDirty(dpage)
      }
    }
    return nmoved
  }

  // ---- back to system memory ----

  private async evictRun(mm: Mm, first: number, npages: number, move: Move): Promise<number> {
    const src = new BigUint64Array(npages)
    const dst = new BigUint64Array(npages)
    // The CLEAR event of each page settles its dirty bit.
    migrateDeviceRange(this.sys, src, this.memory.pfnOf(first), npages)
    const copies = this.chooseHomes(mm, src, dst, npages)
    const failure = await this.copyDown(copies, src, dst, npages)
    const nleft = this.endBack(null, src, dst, npages, move, failure === null ? copies.length : 0)
    if (failure !== null) errnoOf(failure)
    return nleft
  }

  private async copyBack(args: MigrateVma, copies: CopyList, nstuck: number, move: Move): Promise<number> {
    const failure = await this.copyDown(copies, args.src, args.dst, args.npages)
    // The fault that began this has returned, and its reference on the page is gone.
    args.faultPage = -1
    this.endBack(args, args.src, args.dst, args.npages, move, failure === null ? copies.length : 0)
    if (failure !== null) return errnoOf(failure)
    return nstuck === 0 ? 0 : this.reasonToStay()
  }

  /**
   * Gives every page that leaves the device a locked destination: the frame it left, or a new one. Returns what has to be
   * copied. A page that cannot be had (no frame; device lost) gets none and stays.
   */
  private chooseHomes(mm: Mm, src: BigUint64Array, dst: BigUint64Array, npages: number): CopyList {
    const { memory, sys } = this
    const { pages } = sys
    const srcWords = migratePfnWords(src)
    const dstWords = migratePfnWords(dst)
    const copies = new CopyList()
    for (let i = 0; i < npages; i++) {
      const spage = migratePfnAt(srcWords, i)
      if (spage < 0 || (srcWords[2 * i] & MIGRATE_PFN_MIGRATE) === 0) continue
      const frame = memory.frameOf(spage)
      const backing = memory.backing[frame]
      const needsCopy = backing === NO_COPY || (pages.flags[spage] & PG_DIRTY) !== 0
      if (needsCopy && this.options.context.isLost) continue
      const home = backing >= 0 ? backing : allocEvictionPage(mm, pages.index[spage] * PAGE_SIZE)
      if (home < 0) continue
      assert(pages.trylock(home), () => `nobody else locks frame ${home}, which belongs to the driver`)
      if (needsCopy) copies.add(home, frame)
      else if (backing === ZEROES) sys.mmu.clearFrame(home)
      const unpin = backing >= 0 ? MIGRATE_PFN_UNPIN : 0
      setMigratePfn(dstWords, i, home, MIGRATE_PFN_VALID | unpin | (srcWords[2 * i] & MIGRATE_PFN_WRITE))
    }
    return copies
  }

  /** Copies. If that fails all pages that had to be copied stay on the device; returns what was thrown, or null. */
  private async copyDown(copies: CopyList, src: BigUint64Array, dst: BigUint64Array, npages: number): Promise<unknown> {
    const failure = await attempt(() => this.transfers.download(copies))
    if (failure === null) return null
    const unread = new Set(copies.pfns)
    const srcWords = migratePfnWords(src)
    const dstWords = migratePfnWords(dst)
    for (let i = 0; i < npages; i++) {
      if (migratePfnAt(srcWords, i) >= 0 && unread.has(migratePfnAt(dstWords, i))) this.declineDestination(dstWords, i)
    }
    return failure
  }

  /** Pages and finalize. Returns the number of pages that moved. */
  private endBack(
    args: MigrateVma | null,
    src: BigUint64Array,
    dst: BigUint64Array,
    npages: number,
    move: Move,
    ncopied = 0,
  ): number {
    const { memory, sys } = this
    if (args !== null) migrateVmaPages(args)
    else migrateDevicePages(sys, src, dst, npages)
    const srcWords = migratePfnWords(src)
    const dstWords = migratePfnWords(dst)
    let nmoved = 0
    let nwanted = 0
    let first = Number.POSITIVE_INFINITY
    let end = 0
    for (let i = 0; i < npages; i++) {
      const spage = migratePfnAt(srcWords, i)
      if (spage < 0) continue
      nwanted++
      const addr = sys.pages.index[spage] * PAGE_SIZE
      first = Math.min(first, addr)
      end = Math.max(end, addr + PAGE_SIZE)
      if ((srcWords[2 * i] & MIGRATE_PFN_MIGRATE) === 0 || migratePfnAt(dstWords, i) < 0) continue
      nmoved++
      // The pin ends with finalize, not when the device page is freed.
      memory.backing[memory.frameOf(spage)] = NO_COPY
    }
    if (args !== null) migrateVmaFinalize(args)
    else migrateDeviceFinalize(sys, src, dst, npages)
    if (nwanted === 0) return 0
    this.report('device-to-host', first, end, nmoved, nwanted - nmoved, move)
    this.reportBytes('device-to-host', first, end, ncopied, move)
    return nmoved
  }

  /** Device pages that could leave, and have nowhere to go. */
  private withoutHome(args: MigrateVma): Pfn[] {
    const src = migratePfnWords(args.src)
    const dst = migratePfnWords(args.dst)
    const stuck: Pfn[] = []
    for (let i = 0; i < args.npages; i++) {
      const spage = migratePfnAt(src, i)
      if (spage >= 0 && migratePfnAt(dst, i) < 0) stuck.push(spage)
    }
    return stuck
  }

  /** -EIO if only the lost device has the contents, else -ENOMEM. */
  private reasonToStay(): number {
    return this.options.context.isLost ? -EIO : -ENOMEM
  }

  /** Entry `i` does not migrate after all: lets its destination go. */
  private declineDestination(dst: Uint32Array, i: number): void {
    const page = migratePfnAt(dst, i)
    if (page < 0) return
    const isPinned = !isZoneDevicePage(this.sys, page) && (dst[2 * i] & MIGRATE_PFN_UNPIN) !== 0
    dst[2 * i] = 0
    dst[2 * i + 1] = 0
    unlockPage(this.sys, page)
    if (!isPinned) putPage(this.sys, page)
  }

  // ---- events ----

  private report(direction: Direction, start: Addr, end: Addr, npages: number, nskipped: number, move: Move): void {
    if (direction === 'host-to-device') move.counts.npagesIn += npages
    else move.counts.npagesOut += npages
    const { tracer, name } = this.options
    const { cause } = move
    if (tracer.on) tracer.emit({ kind: 'migration', cause, direction, start, end, device: name, npages, nskipped })
  }

  private reportBytes(direction: Direction, start: Addr, end: Addr, npages: number, move: Move): void {
    if (npages === 0) return
    const { counts, cause } = move
    const nbytes = npages * PAGE_SIZE
    if (direction === 'host-to-device') counts.bytesHostToDevice += nbytes
    else if (direction === 'device-to-host') counts.bytesDeviceToHost += nbytes
    else counts.bytesDeviceToDevice += nbytes
    const { tracer, name } = this.options
    if (tracer.on) tracer.emit({ kind: 'transfer', cause, direction, start, end, device: name, nbytes })
  }
}

/** Of `Migrator.bringBack`. */
export interface BringBack {
  /** 0, -EINVAL from setup, or if everything is done -EIO or -ENOMEM for pages that had to stay (lost, no frame). */
  readonly err: number
  /** The page of the fault stays on the device. */
  readonly missed: boolean
  /** Resolves to 0, -EIO or -ENOMEM. null if everything is done. */
  readonly done: Promise<number> | null
}

/** Runs a copy. Returns what it threw, or null: whatever happens, the migration around it has to come to its end. */
async function attempt(copy: () => Promise<void>): Promise<unknown> {
  try {
    await copy()
    return null
  } catch (error) {
    return error ?? new GpuError('a copy failed without a reason')
  }
}

/** -EIO for a failure of the device; anything else is a mistake of ours and goes on as it is. */
function errnoOf(failure: unknown): number {
  if (failure instanceof GpuError) return -EIO
  throw failure
}
