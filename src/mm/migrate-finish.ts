// The last step of a migration, finalize: migration entries become mappings again, of the destination or of the source
// (`migrate_vma_finalize` of mm/migrate_device.c, Linux 6.1; spec MG-60 to MG-72).
//
// `finishPlain` takes the pages that make up nearly all of every migration, in one loop over the columns of `Pages`: small anonymous
// pages that one mapping has, neighbours in the same state together. It does the stores of `finishMigrated`; what is not plain goes there.

import { HPAGE_PMD_NR, type Pfn, pteIndex } from '../base/addr.ts'
import { alikeFrames, alikePages, framesOfMemory, setFrames } from './frame-runs.ts'
import { freeZoneDevicePages, isDevicePrivatePage, isZoneDevicePage } from './memremap.ts'
import {
  MIGRATE_PFN_MIGRATE,
  MIGRATE_PFN_PIN,
  MIGRATE_PFN_UNPIN,
  MIGRATE_PFN_VALID,
  MOVED,
  migratePfnAt,
  migratePfnRuns,
  migratePfnWords,
  validPfnAt,
} from './migrate-pfn.ts'
import {
  badFrame,
  GUP_PIN_COUNTING_BIAS,
  PG_ANON,
  PG_ANON_EXCLUSIVE,
  PG_DIRTY,
  PG_HEAD,
  PG_LOCKED,
  PG_LRU,
  PG_TAIL,
} from './page.ts'
import { putPage, unlockPage } from './page-alloc.ts'
import { PTE_EXCLUSIVE, PTE_KIND_MIGRATION, PTE_WRITE, pteKind, pteRun, setPtes } from './pte.ts'
import { migratedFlags, RmapCursor, removeMigrationPtes } from './rmap-walk.ts'
import type { System } from './system.ts'
import { type Vma, vmaAddress } from './vma.ts'

/** Ends a migration by frames: unlocks, maps again, and gives back what did not move (`migrate_device_finalize`). */
export function migrateDeviceFinalize(sys: System, src: BigUint64Array, dst: BigUint64Array, npages: number): void {
  const srcWords = migratePfnWords(src)
  const dstWords = migratePfnWords(dst)
  const cursor = new RmapCursor()
  const first = npages > 0 ? migratePfnAt(dstWords, 0) : -1
  if (first >= 0) cursor.find(sys, first)
  for (let i = 0; i < npages; i++) {
    if (cursor.vma !== null) i = finishPlain(sys, srcWords, dstWords, i, npages, cursor.mapping, cursor.vma)
    if (i === npages) break
    const page = migratePfnAt(srcWords, i)
    const newPage = migratePfnAt(dstWords, i)
    if (page >= 0 && newPage >= 0 && (srcWords[2 * i] & MIGRATE_PFN_MIGRATE) !== 0) {
      finishMigrated(sys, page, newPage, srcWords[2 * i], dstWords[2 * i], cursor)
      continue
    }
    if (newPage >= 0) {
      unlockPage(sys, newPage)
      // A pinned page that was to come back stays with its driver: the reference is that of the isolation.
      if (!unpins(sys, newPage, dstWords[2 * i])) putPage(sys, newPage)
    }
    if (page < 0) continue
    declineEntry(sys, srcWords, i, page) // if there was no pages step, the pin of setup is still there
    putBack(sys, page)
  }
}

/** The destination is a system page that PIN left in place; for device pages the bit means nothing. */
export function unpins(sys: System, newPage: Pfn, dstFlags: number): boolean {
  return (dstFlags & MIGRATE_PFN_UNPIN) !== 0 && sys.pages.pagemap[newPage] === 0
}

/**
 * Finishes the entries `[from, to)` up to the first that is not plain, and returns its index, or `to`. `vma` is the only mapping that pages
 * of `mapping` can have.
 */
function finishPlain(
  sys: System,
  src: Uint32Array,
  dst: Uint32Array,
  from: number,
  to: number,
  mapping: number,
  vma: Vma,
): number {
  const { pages, lru, pageWaits } = sys
  const { flags: pageFlags, refcount, mapcount, index, pagemap, mapping: mappings } = pages
  const { pageTable } = vma.mm
  const hasWaiters = pageWaits.size > 0
  // The table that the page before was in: which page its first entry is for, and the part of it that the mapping covers.
  let words: Uint32Array | null = null
  let basePgoff = 0
  let firstPgoff = 0
  let endPgoff = 0
  // Neighbouring frames of a device that are free now, and not given back yet.
  let freed = -1
  let nfreed = 0
  let i = from
  while (i < to) {
    if ((src[2 * i] & MOVED) !== MOVED || (dst[2 * i] & MIGRATE_PFN_VALID) === 0) break
    const page = validPfnAt(src, i)
    const target = validPfnAt(dst, i)
    const pageState = pageFlags[page]
    const state = pageFlags[target]
    if (((pageState | state) & (PG_HEAD | PG_TAIL)) !== 0 || (pageState & state & PG_LOCKED) === 0) break
    if ((state & PG_ANON) === 0 || mappings[target] !== mapping) break
    if (hasWaiters && (pageWaits.has(page) || pageWaits.has(target))) break
    const device = pagemap[target]
    const isDevice = device !== 0
    if (isDevice && !isDevicePrivatePage(sys, target)) break
    const pgoff = index[target]
    if (words === null || pgoff < firstPgoff || pgoff >= endPgoff) {
      const addr = vmaAddress(vma, pgoff)
      const table = addr < 0 ? null : pageTable.findPte(addr)
      if (table === null) break
      words = table.words
      basePgoff = pgoff - pteIndex(addr)
      firstPgoff = Math.max(basePgoff, vma.pgoff)
      endPgoff = Math.min(basePgoff + HPAGE_PMD_NR, vma.lastPgoff + 1)
    }
    const entry = (pgoff - basePgoff) | 0
    const old = words[2 * entry + 1]
    if (words[2 * entry] !== page || pteKind(old) !== PTE_KIND_MIGRATION) break
    const isFreed = (src[2 * i] & MIGRATE_PFN_PIN) === 0
    if (isFreed && refcount[page] !== 1) break
    const references = refcount[target]
    const isUnpinned = !isDevice && (dst[2 * i] & MIGRATE_PFN_UNPIN) !== 0
    // The reference of its mapping takes the place of the driver's.
    const left = isUnpinned ? references - GUP_PIN_COUNTING_BIAS : references
    if (!(left > 0)) badFrame(target, 'is free when a reference is taken')
    const flags = migratedFlags(vma, old, isDevice, (state & PG_DIRTY) !== 0)
    const exclusive = (old & (PTE_WRITE | PTE_EXCLUSIVE)) !== 0 ? PG_ANON_EXCLUSIVE : 0
    const newState = (state | exclusive) & ~PG_LOCKED
    const memory = pagemap[page]

    // What was decided for this page is decided for those behind it that are in the same state, and whose entries lie behind its own.
    let n = migratePfnRuns(src, dst, i, Math.min(to, i + endPgoff - pgoff))
    if (n > 1) {
      n = pteRun(words, entry, n)
      if (hasWaiters) n = Math.min(firstAwaited(sys, page, n), firstAwaited(sys, target, n))
      n = alikeFrames(refcount, page, alikeFrames(pageFlags, page, framesOfMemory(sys, page, n)))
      n = alikePages(sys, target, n)
    }
    setPtes(words, entry, n, target, flags)
    setFrames(refcount, left, target, n)
    setFrames(mapcount, mapcount[target] + 1, target, n)
    setFrames(pageFlags, newState, target, n)
    setFrames(pageFlags, pageState & ~PG_LOCKED, page, n)
    if (!isDevice && (state & PG_LRU) === 0) lru.addRun(target, n)
    i += n
    if (!isFreed) continue
    if (memory === 0) {
      for (let k = 0; k < n; k++) putPage(sys, page + k)
      continue
    }
    setFrames(refcount, 0, page, n)
    if (page !== freed + nfreed || memory !== pagemap[freed]) {
      if (nfreed > 0) freeZoneDevicePages(sys, freed, nfreed)
      freed = page
      nfreed = 0
    }
    nfreed += n
  }
  if (nfreed > 0) freeZoneDevicePages(sys, freed, nfreed)
  return i
}

/** How many frames from `first` on, at most `max`, come before one behind the first that somebody waits for. */
function firstAwaited(sys: System, first: Pfn, max: number): number {
  let n = max
  for (const pfn of sys.pageWaits.keys()) if (pfn > first && pfn < first + n) n = pfn - first
  return n
}

/** The source stays: its migration entries map it again (MG-61). */
function putBack(sys: System, page: Pfn): void {
  if (!isZoneDevicePage(sys, page) && (sys.pages.flags[page] & PG_LRU) === 0) sys.lru.add(page)
  removeMigrationPtes(sys, page, page)
  unlockPage(sys, page)
  putPage(sys, page)
}

function finishMigrated(
  sys: System,
  page: Pfn,
  newPage: Pfn,
  srcFlags: number,
  dstFlags: number,
  cursor: RmapCursor,
): void {
  const { pages } = sys
  const isDevice = isZoneDevicePage(sys, newPage)
  if (unpins(sys, newPage, dstFlags)) pages.refcount[newPage] -= GUP_PIN_COUNTING_BIAS
  if (!isDevice && (pages.flags[newPage] & PG_LRU) === 0) sys.lru.add(newPage)
  removeMigrationPtes(sys, page, newPage, cursor)
  unlockPage(sys, page)
  // A pinned source belongs to the driver now, with the reference of its isolation and the pin.
  if ((srcFlags & MIGRATE_PFN_PIN) === 0) putPage(sys, page)
  unlockPage(sys, newPage)
  putPage(sys, newPage)
}

/** The entry does not migrate after all; a pin that setup took for it is dropped. */
export function declineEntry(sys: System, srcWords: Uint32Array, i: number, page: Pfn): void {
  const flags = srcWords[2 * i]
  const pinned = (flags & (MIGRATE_PFN_MIGRATE | MIGRATE_PFN_PIN)) === (MIGRATE_PFN_MIGRATE | MIGRATE_PFN_PIN)
  if (pinned && page >= 0) sys.pages.refcount[page] -= GUP_PIN_COUNTING_BIAS
  srcWords[2 * i] = flags & ~(MIGRATE_PFN_MIGRATE | MIGRATE_PFN_PIN)
}
