// Migration to device memory and back by range, as the driver of a GPU does it: setup, destinations, pages, finalize,
// in pieces of 2 MiB, with one notifier on the whole range. Everything but the copies.

import { type Addr, PAGE_SIZE, PMD_SIZE } from '../../src/base/addr.ts'
import {
  MIGRATE_PFN_MIGRATE,
  MIGRATE_PFN_VALID,
  MIGRATE_PFN_WRITE,
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  MIGRATE_VMA_SELECT_SYSTEM,
  type MigrateVma,
  makeMigrateVma,
  migratePfnWords,
  migrateVmaFinalize,
  migrateVmaPages,
  migrateVmaSetup,
  setMigratePfn,
} from '../../src/mm/migrate-device.ts'
import { allocPage } from '../../src/mm/page-alloc.ts'
import type { Vma } from '../../src/mm/vma.ts'
import { cpuTimeNs, type Measure } from '../harness.ts'
import { type Arena, type ArenaOptions, check, makePopulatedArena } from './arena.ts'
import { BenchDevice } from './device.ts'
import { subscribe } from './subscription.ts'

const BATCH_BYTES = PMD_SIZE
const BATCH_PAGES = BATCH_BYTES / PAGE_SIZE

/**
 * Rounds move `pagesPerRound` pages (default: all) of a populated arena to the device and back, twice `repeats` times; each
 * round takes the next part of the arena. In nanoseconds per page for both ways together.
 *
 * Twice, since a device that uses the frame that was freed last hands them out in descending order every other time: then no page has
 * its neighbour behind it, and each is moved alone.
 */
export function prepareMigration(options: ArenaOptions, { pagesPerRound = options.npages, repeats = 1 } = {}): Measure {
  const arena = makePopulatedArena(options)
  const { mm, start, end } = arena
  subscribe(mm, start, end)
  check(mm.mmapLock.tryRead(), 'the mmapLock')
  const migrator = new Migrator(arena, pagesPerRound)
  const bytesPerRound = ((end - start) / options.npages) * pagesPerRound

  let at = start
  return () => {
    if (at >= end) at = start
    const partEnd = Math.min(at + bytesPerRound, end)
    const ns = cpuTimeNs(() => {
      for (let i = 0; i < 2 * repeats; i++) {
        check(migrator.toDevice(at, partEnd) === pagesPerRound, 'the number of pages migrated to the device')
        check(migrator.toSystem(at, partEnd) === pagesPerRound, 'the number of pages migrated back')
      }
    })
    at = partEnd
    return ns / (2 * repeats * pagesPerRound)
  }
}

/** The driver's side. Its arrays live as long as it does. */
class Migrator {
  readonly #arena: Arena
  readonly #device: BenchDevice
  readonly #args: MigrateVma
  readonly #src: Uint32Array
  readonly #dst: Uint32Array

  constructor(arena: Arena, devicePages: number) {
    this.#arena = arena
    this.#device = new BenchDevice(arena.sys, devicePages)
    this.#args = makeMigrateVma(null, 0, BATCH_BYTES, this.#device, 0)
    this.#src = migratePfnWords(this.#args.src)
    this.#dst = migratePfnWords(this.#args.dst)
  }

  /** Returns the number of pages migrated. */
  toDevice(start: Addr, end: Addr): number {
    const before = this.#device.nfree
    this.#forEachBatch(start, end, MIGRATE_VMA_SELECT_SYSTEM, (args) => {
      const { npages } = args
      for (let i = 0; i < npages; i++) if (this.#isCollected(i)) this.#setDestination(i, this.#device.alloc())
      migrateVmaPages(args)
      migrateVmaFinalize(args)
    })
    return before - this.#device.nfree
  }

  /** Returns the number of pages migrated. */
  toSystem(start: Addr, end: Addr): number {
    const { mm, sys } = this.#arena
    const before = this.#device.nfree
    this.#forEachBatch(start, end, MIGRATE_VMA_SELECT_DEVICE_PRIVATE, (args, addr) => {
      const { npages } = args
      for (let i = 0; i < npages; i++) {
        if (!this.#isCollected(i)) continue
        const pfn = allocPage(mm, addr + i * PAGE_SIZE)
        sys.pages.trylock(pfn)
        this.#setDestination(i, pfn)
      }
      migrateVmaPages(args)
      migrateVmaFinalize(args)
    })
    return this.#device.nfree - before
  }

  #forEachBatch(start: Addr, end: Addr, flags: number, finish: (args: MigrateVma, addr: Addr) => void): void {
    const args = this.#args
    const { mm } = this.#arena
    args.flags = flags
    for (let addr = start; addr < end; ) {
      const vma = mm.findVma(addr)
      if (vma === null || vma.start >= end) return
      const from = Math.max(addr, vma.start)
      const to = batchEnd(vma, from, end)
      args.vma = vma
      args.start = from
      args.end = to
      check(migrateVmaSetup(args) === 0, 'the result of the setup')
      finish(args, from)
      addr = to
    }
  }

  #isCollected(i: number): boolean {
    return (this.#src[2 * i] & MIGRATE_PFN_MIGRATE) !== 0
  }

  #setDestination(i: number, pfn: number): void {
    setMigratePfn(this.#dst, i, pfn, MIGRATE_PFN_VALID | (this.#src[2 * i] & MIGRATE_PFN_WRITE))
  }
}

function batchEnd(vma: Vma, from: Addr, end: Addr): Addr {
  return Math.min(vma.end, end, from + BATCH_PAGES * PAGE_SIZE)
}
