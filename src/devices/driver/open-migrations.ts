// The migrations that a device has begun and not ended, in either direction. They keep references and pins that nobody sees in
// an entry, so whoever adds references up asks here; and who finds no free frame waits for one of them.

import type { Pfn } from '../../base/addr.ts'
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

export interface OpenMigration {
  readonly src: BigUint64Array
  readonly dst: BigUint64Array
  readonly npages: number
}

export class OpenMigrations {
  /** Woken when one ends. */
  readonly ended = new WaitQueue()
  private readonly sys: System
  private readonly all = new Set<OpenMigration>()

  constructor(sys: System) {
    this.sys = sys
  }

  get size(): number {
    return this.all.size
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
