// The migrations that a device has begun and not ended, in either direction. They keep references and pins that nobody sees in
// an entry, so whoever adds references up asks here; and who finds no free frame waits for one of them.

import { HPAGE_PMD_NR, type Pfn } from '../../base/addr.ts'
import { WaitQueue } from '../../base/wait-queue.ts'
import {
  MIGRATE_PFN_PIN,
  MIGRATE_PFN_UNPIN,
  MIGRATE_PFN_VALID,
  migratePfnAt,
  migratePfnWords,
} from '../../mm/migrate-device.ts'
import { GUP_PIN_COUNTING_BIAS } from '../../mm/page.ts'
import type { System } from '../../mm/system.ts'
import { CopyList } from './copy-list.ts'

export interface OpenMigration {
  readonly src: BigUint64Array
  readonly dst: BigUint64Array
  readonly npages: number
}

/** What a migration is worked out in. */
export interface MigrationRoom {
  readonly src: BigUint64Array
  readonly dst: BigUint64Array
  readonly copies: CopyList
}

/** Rooms that are kept: a few parts of an array, or blocks, are on their way at a time. */
const SPARE_MAX = 4

export class OpenMigrations {
  /** Woken when one ends. */
  readonly ended = new WaitQueue()
  private readonly sys: System
  private readonly all = new Set<OpenMigration>()
  /** Rooms for 2 MiB and more that nobody uses: new ones for each block would keep the garbage collector busy. */
  private readonly spare: MigrationRoom[] = []

  constructor(sys: System) {
    this.sys = sys
  }

  get size(): number {
    return this.all.size
  }

  /** Room for a migration of so many pages, all of it empty. */
  takeRoom(npages: number): MigrationRoom {
    const at = this.spare.findIndex(({ src }) => src.length === npages)
    if (at < 0)
      return { src: new BigUint64Array(npages), dst: new BigUint64Array(npages), copies: new CopyList(npages) }
    const [room] = this.spare.splice(at, 1)
    room.src.fill(0n)
    room.dst.fill(0n)
    room.copies.clear()
    return room
  }

  /** The migration in there has ended, and nobody looks at it any more. */
  giveBackRoom({ src, dst, copies }: MigrationRoom): void {
    if (src.length < HPAGE_PMD_NR) return
    this.spare.push({ src, dst, copies })
    if (this.spare.length > SPARE_MAX) this.spare.shift()
  }

  add(migration: OpenMigration): void {
    this.all.add(migration)
  }

  delete(migration: OpenMigration): void {
    this.all.delete(migration)
    this.ended.wake()
  }

  /** References on frames that belong to open migrations, added to `held`. Frames pinned in place are in there already. */
  addReferences(held: Map<Pfn, number>): void {
    const add = (pfn: Pfn, count: number): void => {
      held.set(pfn, (held.get(pfn) ?? 0) + count)
    }
    for (const { src, dst, npages } of this.all) {
      const srcWords = migratePfnWords(src)
      const dstWords = migratePfnWords(dst)
      for (let i = 0; i < npages; i++) {
        const page = migratePfnAt(srcWords, i)
        const isPinned = (srcWords[2 * i] & MIGRATE_PFN_PIN) !== 0 && page >= 0 && this.sys.pages.pagemap[page] === 0
        if (page >= 0) add(page, isPinned ? 1 + GUP_PIN_COUNTING_BIAS : 1)
        const target = migratePfnAt(dstWords, i)
        const isHome =
          target >= 0 && this.sys.pages.pagemap[target] === 0 && (dstWords[2 * i] & MIGRATE_PFN_UNPIN) !== 0
        if ((dstWords[2 * i] & MIGRATE_PFN_VALID) !== 0 && !isHome) add(target, 1)
      }
    }
  }
}
