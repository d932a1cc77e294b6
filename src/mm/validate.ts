// The invariants of mm as code: what holds between any two operations, whatever came before. Tests run it after each step.
// A breach is an AssertionError that starts with the number of the statement in the specification and names the address,
// the frame and the values.
//
//   INV-1    mapcount is the number of present and device-private entries; refcount covers all that refers to the page
//   INV-2    an anon-exclusive page has one entry          INV-3   a writable anonymous entry has an exclusive page
//   INV-4    what is on the LRU                            INV-5   RSS counters
//   INV-6    migration entries only while a migration is open (their page is locked)
//   INV-7    sequence numbers of interval notifiers        INV-8   what a device translates, see `translations`
//   INV-12   nothing refers to a free page                 INV-13  cpages and src of a migration
//   T-2      mappings are ordered and disjoint             T-5     no entry outside a mapping
//   T-6      entries allow no more than their mapping      T-7     anonymous pages have an AnonVma
//   T-10     entries are of a known form                   T-13    zero pages          T-22  raw frame numbers
//   T-23     compound pages                                T-31    page caches         T-36  rmap finds every entry
//   CP-55    use counts of swap slots                      DM-5    device memory       DM-8  private device pages
//
// Two levels: 'cheap' looks at mappings and counters and stays below a microsecond per mapping; 'full' walks page tables
// and all frames. `validateMm` looks at one address space alone, `validateSystem` also at what they share.

import { PAGE_SIZE } from '../base/addr.ts'
import { AddressSpace } from './address-space.ts'
import { AnonVma } from './anon-vma.ts'
import { MIGRATE_PFN_MIGRATE, MIGRATE_PFN_VALID, type MigrateVma } from './migrate-device.ts'
import type { Mm } from './mm.ts'
import type { System } from './system.ts'
import { type DeviceTranslation, validateTranslations } from './validate-devices.ts'
import { EntryCounts, validateEntries } from './validate-entries.ts'
import { broken, nameOf } from './validate-fail.ts'
import {
  validateFrames,
  validateHugetlbPool,
  validateLru,
  validatePageCache,
  validatePagemaps,
  validateSwap,
} from './validate-frames.ts'
import { validateAnonVma, validateFileTree, validateMappings } from './validate-mappings.ts'
import { validateNotifiers } from './validate-notifiers.ts'

export const VALIDATE_LEVELS = ['cheap', 'full'] as const
export type ValidateLevel = (typeof VALIDATE_LEVELS)[number]

/** How thoroughly to look. */
export interface ValidateOptions {
  /** Default 'cheap'. */
  readonly level?: ValidateLevel
  /**
   * References that somebody holds besides entries and caches: pins, drivers, open migrations. With it, the refcount of
   * every frame has to be exact, which finds leaks; without it, it has to be large enough. Only at level 'full'.
   */
  readonly heldReferences?: (pfn: number) => number
  /** What devices translate now, outside invalidations (INV-8). */
  readonly translations?: Iterable<DeviceTranslation>
}

/** Throws an AssertionError if an invariant of one address space does not hold. */
export function validateMm(mm: Mm, level: ValidateLevel = 'cheap'): void {
  validateMappings(mm)
  validateNotifiers(mm)
  validateCounters(mm)
  if (level === 'full') validateEntries(mm, null)
}

/** Throws an AssertionError if an invariant of any address space, or of what they share, does not hold. */
export function validateSystem(sys: System, options: ValidateOptions = {}): void {
  const { level = 'cheap', heldReferences = null, translations = [] } = options
  for (const mm of sys.mms) validateMm(mm)
  validatePagemaps(sys, level)
  validateHugetlbPool(sys, level)
  if (level === 'full') {
    const counts = new EntryCounts(sys)
    for (const mm of sys.mms) validateEntries(mm, counts)
    for (const mapping of sys.mappings.values()) {
      if (mapping instanceof AnonVma) validateAnonVma(sys, mapping)
      if (mapping instanceof AddressSpace) {
        validateFileTree(sys, mapping)
        validatePageCache(sys, mapping)
      }
    }
    validateLru(sys)
    validateSwap(sys, counts)
    validateFrames(sys, counts, heldReferences)
  }
  validateTranslations(translations)
}

/** Throws an AssertionError if `cpages` is not the number of src entries with MIGRATE; to be called after setup (INV-13). */
export function validateMigrateVma(args: MigrateVma): void {
  let migrating = 0
  for (let i = 0; i < args.npages; i++) {
    const low = Number(args.src[i] & 0x3fn)
    if ((low & MIGRATE_PFN_MIGRATE) !== 0) migrating++
    else if ((low & MIGRATE_PFN_VALID) !== 0) {
      broken('INV-13', `src[${i}] is valid after setup without migrating: 0x${args.src[i].toString(16)}`)
    }
  }
  if (migrating !== args.cpages) broken('INV-13', `cpages is ${args.cpages}, ${migrating} entries of src migrate`)
  if (args.end - args.start !== args.npages * PAGE_SIZE) {
    broken('INV-13', `${args.npages} pages were collected of [${args.start}, ${args.end})`)
  }
}

function validateCounters(mm: Mm): void {
  const { mmapLock, rss, users, count } = mm
  for (let kind = 0; kind < rss.length; kind++) {
    if (rss[kind] < 0) broken('INV-5', `${nameOf(mm)}: rss[${kind}] is ${rss[kind]}`)
  }
  if (users < 0 || count < 1) broken('T-1', `${nameOf(mm)}: ${users} users, ${count} references`)
  if (mmapLock.readers < 0 || (mmapLock.writer && mmapLock.readers > 0)) {
    broken('T-1', `${nameOf(mm)}: mmapLock has ${mmapLock.readers} readers${mmapLock.writer ? ' and a writer' : ''}`)
  }
}
