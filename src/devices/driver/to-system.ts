// Pages on their way from the device to system memory: because the CPU touched them, because the room is needed, because the
// program asked. Three steps, and time may pass between the first and the second:
//
//   begin    setup (entries become migration entries), a locked system frame for each page, the copies are started
//   copy     only what differs from what stands behind the page; often nothing, and then there is nothing to wait for
//   end      pages and finalize: entries name the system frames, whoever waits for one of the pages is woken
//
// A page that was pinned in place returns to the frame it left (MIGRATE_PFN_UNPIN). A page that cannot be had stays where it
// is: no frame is free, somebody holds it, or the device is lost and took the only copy along.

import { type Addr, PAGE_SIZE, type Pfn } from '../../base/addr.ts'
import { EIO, ENOMEM } from '../../base/errno.ts'
import { alikeBytes, alikeFrames, setFrames } from '../../mm/frame-runs.ts'
import {
  MIGRATE_PFN_MIGRATE,
  MIGRATE_PFN_UNPIN,
  MIGRATE_PFN_VALID,
  MIGRATE_PFN_WRITE,
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  type MigrateVma,
  MOVED,
  makeMigrateVma,
  migrateDeviceFinalize,
  migrateDevicePages,
  migrateDeviceRange,
  migratePfnAt,
  migratePfnRun,
  migratePfnWords,
  migrateVmaFinalize,
  migrateVmaPages,
  migrateVmaSetup,
  setMigratePfn,
  setMigratePfns,
  unpinMigratedPage,
  validPfnAt,
} from '../../mm/migrate-device.ts'
import type { Mm } from '../../mm/mm.ts'
import { badFrame, PG_DIRTY, PG_LOCKED } from '../../mm/page.ts'
import { allocEvictionPage, putPage, unlockPage } from '../../mm/page-alloc.ts'
import { tlbUnmap } from '../../mm/tlb.ts'
import type { Vma } from '../../mm/vma.ts'
import { type DeviceParts, LOST_BYTE } from './device-parts.ts'
import { CAPTURED_FOR_WRITING, NO_COPY, ZEROES } from './frame-pool.ts'
import { HomeRuns } from './home-runs.ts'
import type { MigrationRoom, OpenMigrations } from './open-migrations.ts'
import type { Purpose } from './traffic.ts'

/** Frames that are made free at a time when memory is full. */
const UNPIN_BATCH = 32

/** One migration back, from begin to end. */
interface Return extends MigrationRoom {
  readonly mm: Mm
  /** null for one by frames. */
  readonly args: MigrateVma | null
  readonly npages: number
  readonly start: Addr
  readonly purpose: Purpose
  /** The page that was touched; the others only come along. -1 for none. */
  readonly touched: Pfn
  /** Nobody has asked for any of it yet. */
  readonly isAhead: boolean
  readonly homes: HomeRuns
}

/** How a migration back has begun. */
export interface Homecoming {
  /** 0; or why the touched page stays: -EINVAL (it cannot migrate), -ENOMEM, -EIO (lost). */
  readonly err: number
  /** Settles, without failing, when everything has ended; null if it has. */
  readonly done: Promise<void> | null
}

export class ToSystem {
  private readonly parts: DeviceParts
  private readonly open: OpenMigrations

  constructor(parts: DeviceParts, open: OpenMigrations) {
    this.parts = parts
    this.open = open
  }

  /**
   * Begins to move the device's pages in `[start, end)` of one mapping back.
   *
   * Preconditions: mmapLock is held for reading until `done` has settled. `touched` is the page of a migrateToRam that returns
   * before that, -1 for none. With `isAhead` nobody has asked for any of it yet.
   */
  bringBack(vma: Vma, start: Addr, end: Addr, touched: Pfn, purpose: Purpose, isAhead = false): Homecoming {
    const room = this.open.takeRoom((end - start) / PAGE_SIZE)
    const args = makeMigrateVma(vma, start, end, this.parts.owner, MIGRATE_VMA_SELECT_DEVICE_PRIVATE, room)
    args.faultPage = touched
    const err = migrateVmaSetup(args)
    if (err !== 0) return { err, done: null }
    return this.begin({
      mm: vma.mm,
      args,
      ...room,
      npages: args.npages,
      start,
      purpose,
      touched,
      isAhead,
      homes: new HomeRuns(),
    })
  }

  /** Moves the pages in `npages` frames from `first` on to system memory. The caller holds mmapLock of `mm` for reading. */
  async evict(mm: Mm, start: Addr, first: number, npages: number, purpose: Purpose): Promise<void> {
    const { sys, pool } = this.parts
    const room = this.open.takeRoom(npages)
    migrateDeviceRange(sys, room.src, pool.pfnOf(first), npages)
    await this.begin({
      mm,
      args: null,
      ...room,
      npages,
      start,
      purpose,
      touched: -1,
      isAhead: false,
      homes: new HomeRuns(),
    }).done
  }

  private begin(back: Return): Homecoming {
    const { hardware, clock } = this.parts
    this.open.add(back)
    const err = this.chooseHomes(back)
    const begunAt = clock.now()
    const copied = back.copies.length === 0 ? null : hardware.download(back.copies, back.isAhead)
    if (copied === null) {
      this.end(back)
      return { err, done: null }
    }
    const done = copied.then(
      () => {
        back.purpose.copying.time += clock.now() - begunAt
        this.endLater(back)
      },
      () => {
        this.giveUp(back)
        this.endLater(back)
      },
    )
    return { err, done }
  }

  /** Gives each page that can leave a locked frame, and lists what has to be copied. Returns what becomes of the touched page. */
  private chooseHomes(back: Return): number {
    const { sys, pool, failure, onLost } = this.parts
    const { mm, npages, copies, touched, isAhead, homes } = back
    const { captured, dirty, backing: backings } = pool
    const { flags } = sys.pages
    const base = pool.pagemap.pfn
    const src = migratePfnWords(back.src)
    const dst = migratePfnWords(back.dst)
    let err = 0
    for (let i = 0, n = 1; i < npages; i += n) {
      n = 1
      if ((src[2 * i] & MOVED) !== MOVED) continue
      const page = validPfnAt(src, i)
      const frame = page - base
      const backing = backings[frame]
      if (page === touched) homes.touchedAt = i
      // What nobody has asked for takes nothing from others.
      const isInUse = (captured[frame] & CAPTURED_FOR_WRITING) !== 0 || (backing < 0 && sys.nfree <= sys.reservePages)
      const isDirty = backing === NO_COPY || dirty[frame] !== 0 || (flags[page] & PG_DIRTY) !== 0
      const isLost = isDirty && failure !== null
      const stays = (isAhead && isInUse) || (isLost && onLost === 'sigbus')
      const home = stays ? -1 : backing >= 0 ? backing : this.allocHome(mm, page)
      if (home < 0) {
        homes.nhomeless++
        if (page === touched) err = isLost ? -EIO : -ENOMEM
        continue
      }
      // Neighbours that were left in place behind it go home with it, in the same way.
      if (backing >= 0 && !isLost) n = migratePfnRun(src, i, npages)
      if (n > 1) {
        n = pool.alike(frame, n)
        n = alikeFrames(flags, page, n)
        n = alikeFrames(flags, home, n)
        if (isAhead) n = alikeBytes(captured, frame, n)
        if (page === touched) n = 1
        else if (touched > page && touched < page + n) n = touched - page
      }
      if ((flags[home] & PG_LOCKED) !== 0) badFrame(home, "is the driver's, and locked by somebody else")
      setFrames(flags, flags[home] | PG_LOCKED, home, n)
      if (isLost) this.fill(mm, home, page)
      else if (isDirty) copies.addRun(home, frame, n)
      else if (backing === ZEROES) sys.mmu.clearFrame(home)
      const unpin = backing >= 0 ? MIGRATE_PFN_UNPIN : 0
      setMigratePfns(dst, i, n, home, MIGRATE_PFN_VALID | unpin | (src[2 * i] & MIGRATE_PFN_WRITE))
      homes.add({ at: i, npages: n, frame, home, isPinned: backing >= 0, isCopied: isDirty && !isLost })
    }
    return err
  }

  /** A system frame for a page of the device. Where memory is full, pages that are pinned in place give theirs up. */
  private allocHome(mm: Mm, page: Pfn): Pfn {
    const { sys } = this.parts
    const addr = sys.pages.index[page] * PAGE_SIZE
    const home = allocEvictionPage(mm, addr)
    if (home >= 0 || this.unpin(UNPIN_BATCH) === 0) return home
    return allocEvictionPage(mm, addr)
  }

  /**
   * Frees system frames that are kept for pages of the device: those pages are only there then. Takes from the blocks that
   * were not used for the longest time. Returns the number of frames.
   */
  unpin(npages: number): number {
    const { sys, pool } = this.parts
    let nfreed = 0
    for (const block of pool.evictable().sort((a, b) => a.lastUse - b.lastUse)) {
      for (const frame of pool.idleFrames(block)) {
        if (nfreed === npages) return nfreed
        const backing = pool.backing[frame]
        if (backing < 0 || sys.pages.isLocked(pool.pfnOf(frame))) continue
        pool.setBacking(frame, NO_COPY)
        unpinMigratedPage(sys, backing)
        nfreed++
      }
    }
    return nfreed
  }

  private fill(mm: Mm, home: Pfn, page: Pfn): void {
    const { sys, onFilled } = this.parts
    sys.mmu.bytes(home).fill(LOST_BYTE)
    onFilled(mm, sys.pages.index[page] * PAGE_SIZE)
  }

  /** The copies failed, as the device is gone: its pages are filled, or stay with it. */
  private giveUp(back: Return): void {
    const { sys, onLost } = this.parts
    const src = migratePfnWords(back.src)
    const dst = migratePfnWords(back.dst)
    const missing = new Set(back.copies.pfns)
    for (let i = 0; i < back.npages; i++) {
      const home = migratePfnAt(dst, i)
      if (migratePfnAt(src, i) < 0 || !missing.has(home)) continue
      if (onLost === 'fill') {
        this.fill(back.mm, home, migratePfnAt(src, i))
        continue
      }
      const isPinned = (dst[2 * i] & MIGRATE_PFN_UNPIN) !== 0
      setMigratePfn(dst, i, 0, 0)
      unlockPage(sys, home)
      if (!isPinned) putPage(sys, home)
    }
    back.copies.clear()
  }

  /** The fault that began this has returned, and its reference on the page is gone. */
  private endLater(back: Return): void {
    if (back.args !== null) back.args.faultPage = -1
    this.end(back)
  }

  private end(back: Return): void {
    const { sys } = this.parts
    const { args, src, dst, npages } = back
    const nmoved = args !== null ? migrateVmaPages(args) : migrateDevicePages(sys, src, dst, npages)
    this.settle(back, nmoved)
    if (args !== null) migrateVmaFinalize(args)
    else migrateDeviceFinalize(sys, src, dst, npages)
    this.open.delete(back)
    this.open.giveBackRoom(back)
  }

  /**
   * Forgets what stood behind the pages that moved, `nmoved` of them, and reports them: the touched one moved because of a fault, the others
   * by foresight.
   */
  private settle(back: Return, nmoved: number): void {
    const { mm, start, npages, purpose, touched, homes } = back
    const { traffic } = this.parts
    const { touchedAt } = homes
    const around = touched < 0 ? purpose : { ...purpose, cause: 'prefetch' as const }
    // What was to be copied was not if the device failed.
    const areCopied = back.copies.length > 0
    const src = migratePfnWords(back.src)
    const dst = migratePfnWords(back.dst)
    let nothers = 0
    let ncopied = 0
    let touchedMoved = 0
    let touchedCopied = 0
    for (const { at, npages: n, frame, home, isCopied } of homes.runs) {
      // Mostly all of them moved.
      const step = nmoved === homes.nhomes ? n : 1
      for (let k = 0; k < n; k += step) {
        const i = at + k
        if ((dst[2 * i] & MIGRATE_PFN_VALID) === 0) continue
        if ((src[2 * i] & MIGRATE_PFN_MIGRATE) === 0) {
          // It stays, and whoever copied it may have shown it to the CPU already.
          if (back.isAhead) tlbUnmap(mm, start + i * PAGE_SIZE, start + (i + 1) * PAGE_SIZE)
          continue
        }
        this.forget(frame + k, home + k, step)
        if (i === touchedAt) {
          touchedMoved = 1
          touchedCopied = isCopied && areCopied ? 1 : 0
          continue
        }
        nothers += step
        if (isCopied && areCopied) ncopied += step
      }
    }
    if (touchedAt >= 0) {
      const run = { mm, start: start + touchedAt * PAGE_SIZE, end: start + (touchedAt + 1) * PAGE_SIZE }
      traffic.migrated(run, 'device-to-host', touchedMoved, 1 - touchedMoved, purpose)
      traffic.copied(run, 'device-to-host', touchedCopied, purpose)
    }
    const run = { mm, start, end: start + npages * PAGE_SIZE }
    const nskipped = homes.nhomeless + homes.nhomes - nothers - (touchedAt >= 0 ? 1 : 0)
    traffic.migrated(run, 'device-to-host', nothers, nskipped, around)
    traffic.copied(run, 'device-to-host', ncopied, around)
  }

  /** Neighbouring pages have moved from frames of the device to their homes. */
  private forget(first: number, home: Pfn, npages: number): void {
    const { sys, pool } = this.parts
    const { flags } = sys.pages
    for (let k = 0, n = 1; k < npages; k += n) {
      n = alikeBytes(pool.dirty, first + k, npages - k)
      if (pool.dirty[first + k] === 0) continue
      for (let pfn = (home + k) | 0, end = (pfn + n) | 0; pfn < end; pfn++) flags[pfn] |= PG_DIRTY
    }
    // The pin ends with finalize, not when the frame of the device is freed.
    pool.clearBackings(first, npages)
  }
}
