// What one migration is asked for with, and what it answers (`struct migrate_vma` of Linux 6.1). migrate-device.ts has the three steps.

import { type Addr, PAGE_SIZE, type Pfn } from '../base/addr.ts'
import type { Vma } from './vma.ts'

export const MIGRATE_VMA_SELECT_SYSTEM = 1 << 0
export const MIGRATE_VMA_SELECT_DEVICE_PRIVATE = 1 << 1
export const MIGRATE_VMA_SELECT_DEVICE_COHERENT = 1 << 2

/** Arguments and results of one migration (`struct migrate_vma`). */
export interface MigrateVma {
  vma: Vma | null
  /** One entry per page. Setup clears it, but for PIN bits that the driver set. */
  src: BigUint64Array
  /** Setup clears each entry; the driver fills it with locked destination pages that hold one reference. */
  dst: BigUint64Array
  /** Rounded down to a page by setup. */
  start: Addr
  /** Exclusive. Rounded down to a page by setup. */
  end: Addr
  /** Out: entries of src with MIGRATE. */
  cpages: number
  /** Out: entries collected. */
  npages: number
  /** Selects device pages, and owns the MIGRATE events. */
  pgmapOwner: unknown
  /** MIGRATE_VMA_SELECT_* */
  flags: number
  /** Device page that `migrateToRam` was called for, -1 for none or once that has returned: it may have one more reference. */
  faultPage: Pfn
}

/**
 * The arguments of a migration (`struct migrate_vma`) of `[start, end)`, whole pages of one mapping, with empty `src` and `dst`: new ones, or
 * those of `room`.
 */
export function makeMigrateVma(
  vma: Vma | null,
  start: Addr,
  end: Addr,
  pgmapOwner: unknown,
  flags: number,
  room?: Pick<MigrateVma, 'src' | 'dst'>,
): MigrateVma {
  const npages = Math.max(0, Math.floor((end - start) / PAGE_SIZE))
  return {
    vma,
    src: room?.src ?? new BigUint64Array(npages),
    dst: room?.dst ?? new BigUint64Array(npages),
    start,
    end,
    cpages: 0,
    npages: 0,
    pgmapOwner,
    flags,
    faultPage: -1,
  }
}
