// Moving pages between system and device memory (mm/migrate_device.c of Linux 6.1; spec section 4). Three steps, with the
// driver's copy between the first and the second:
//
//   migrateVmaSetup     collects, locks, unmaps and isolates what can move; entries become migration entries
//   (driver)            allocates destinations, copies, fills dst
//   migrateVmaPages     moves the identity of each page to its destination, fills holes
//   migrateVmaFinalize  turns migration entries into mappings of the destination, or of the source where that failed
//
// An extension beyond 6.1 is MIGRATE_PFN_PIN / UNPIN (spec 4.11): the page is unmapped and stays where it is, owned by the
// device, and comes back without a copy.

import { type Addr, PAGE_SIZE, type Pfn, pgdAddrEnd, pmdAddrEnd, pmdIndex, pteIndex, pudAddrEnd } from '../base/addr.ts'
import { assert } from '../base/assert.ts'
import { EAGAIN, EBUSY, EINVAL } from '../base/errno.ts'
import { anonVmaPrepare } from './anon-vma.ts'
import { splitHugePmd } from './huge-pmd.ts'
import { splitHugePage } from './huge-split.ts'
import { isDeviceCoherentPage, isDevicePrivatePage, isZoneDevicePage, pagemapOf } from './memremap.ts'
import { idleReferences, isInCache, moveIdentity } from './migrate-mapping.ts'
import {
  MIGRATE_PFN_MIGRATE,
  MIGRATE_PFN_PIN,
  MIGRATE_PFN_UNPIN,
  MIGRATE_PFN_VALID,
  MIGRATE_PFN_WRITE,
  migratePfn,
  migratePfnAt,
  migratePfnWords,
  setMigratePfn,
} from './migrate-pfn.ts'
import { MM_ANONPAGES } from './mm.ts'
import {
  MMU_NOTIFY_MIGRATE,
  MmuNotifierRange,
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from './mmu-notifier.ts'
import { GUP_PIN_COUNTING_BIAS, PG_ANON, PG_LRU, PG_SWAPCACHE, PG_UPTODATE } from './page.ts'
import { allocEvictionPage, allocKernelPage, getPage, putPage, unlockPage, waitForPage } from './page-alloc.ts'
import type { PmdTable, PteTable } from './pgtable.ts'
import {
  PTE_DIRTY,
  PTE_EXCLUSIVE,
  PTE_HUGE,
  PTE_KIND_DEVICE_PRIVATE,
  PTE_KIND_MIGRATION,
  PTE_MKDIRTY,
  PTE_PRESENT,
  PTE_SOFT_DIRTY,
  PTE_SPECIAL,
  PTE_WRITE,
  PTE_YOUNG,
  pteKind,
} from './pte.ts'
import { pageAddNewAnonRmap, pageRemoveRmap, pageTryShareAnonRmap } from './rmap.ts'
import { RmapCursor, removeMigrationPtes, rmapWalk, tryToMigrate } from './rmap-walk.ts'
import { freeSwapOfPage } from './swap.ts'
import type { System } from './system.ts'
import { tlbInstall, tlbUnmap } from './tlb.ts'
import { VM_HUGETLB, VM_SPECIAL, VM_WRITE } from './vm-flags.ts'
import { type Vma, vmaProtection } from './vma.ts'

export * from './migrate-pfn.ts'

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

/** The arguments of a migration (`struct migrate_vma`) of `[start, end)`, whole pages of one mapping, with empty `src` and `dst`. */
export function makeMigrateVma(
  vma: Vma | null,
  start: Addr,
  end: Addr,
  pgmapOwner: unknown,
  flags: number,
): MigrateVma {
  const npages = Math.max(0, Math.floor((end - start) / PAGE_SIZE))
  return {
    vma,
    src: new BigUint64Array(npages),
    dst: new BigUint64Array(npages),
    start,
    end,
    cpages: 0,
    npages: 0,
    pgmapOwner,
    flags,
    faultPage: -1,
  }
}

/**
 * Collects, locks, unmaps and isolates the pages of `[args.start, args.end)` that can migrate.
 *
 * Preconditions: mmapLock is held for reading, until after finalize (MG-9).
 *
 * Returns 0, also when nothing can migrate (`args.cpages` is 0 then), or -EINVAL for a range or mapping that cannot be
 * migrated at all (MG-21).
 */
export function migrateVmaSetup(args: MigrateVma): number {
  const npages = Math.floor((args.end - args.start) / PAGE_SIZE)
  args.start -= args.start % PAGE_SIZE
  args.end -= args.end % PAGE_SIZE
  const { vma, start, end } = args
  if (vma === null || (vma.flags & (VM_HUGETLB | VM_SPECIAL)) !== 0) return -EINVAL
  if (!(npages > 0) || start < vma.start || start >= vma.end || end <= vma.start || end > vma.end) return -EINVAL
  // An unaligned range may cover one page more than its length says.
  const ncovered = (end - start) / PAGE_SIZE
  if (!(args.src.length >= ncovered && args.dst.length >= ncovered)) return -EINVAL
  if (args.faultPage >= 0 && !isDevicePrivatePage(vma.mm.sys, args.faultPage)) return -EINVAL
  if (vma.mm.vmaLookup(start) !== vma) return -EINVAL // it was unmapped, or merged with another
  assert(vma.mm.mmapLock.isHeld, 'migrateVmaSetup: the mmapLock is not held')

  const src = migratePfnWords(args.src)
  for (let i = 0; i < ncovered; i++) {
    src[2 * i] &= MIGRATE_PFN_PIN
    src[2 * i + 1] = 0
  }
  args.cpages = 0
  args.npages = 0
  collect(args, vma)
  if (args.cpages > 0) {
    args.cpages = unmapCollected(vma.mm.sys, args.src, args.npages, args.faultPage)
  }
  return 0
}

/** Moves the identity of each page that has a destination, and puts destinations into holes. */
export function migrateVmaPages(args: MigrateVma): void {
  const { vma } = args
  assert(vma !== null, 'setup succeeded')
  moveAll(vma.mm.sys, args.src, args.dst, args.npages, args)
}

/**
 * Ends the migration: every migration entry becomes a mapping again, of the destination or of the source. What was not
 * migrated lets its destination go, with the driver's reference; but a page that was to come back with UNPIN is only unlocked:
 * the driver still owns it, with its pin, and its device page still stands for it. A driver may give up before the pages step
 * if it leaves dst empty.
 */
export function migrateVmaFinalize(args: MigrateVma): void {
  const { vma } = args
  assert(vma !== null, 'setup succeeded')
  migrateDeviceFinalize(vma.mm.sys, args.src, args.dst, args.npages)
}

/**
 * Setup for `npages` device frames from `pfn` on, wherever they are mapped: eviction (MG-100). No lock is needed.
 *
 * Returns 0, or -EINVAL if they are not frames of one device, or src is too short.
 */
export function migrateDeviceRange(sys: System, src: BigUint64Array, pfn: Pfn, npages: number): number {
  const { pages } = sys
  const pagemap = pagemapOf(sys, pfn) ?? null
  if (pagemap === null || !Number.isInteger(npages) || npages < 0 || src.length < npages) return -EINVAL
  if (pfn + npages > pagemap.pfn + pagemap.npages) return -EINVAL
  const words = migratePfnWords(src)
  for (let i = 0; i < npages; i++) {
    words[2 * i] = 0
    words[2 * i + 1] = 0
    if (pages.refcount[pfn + i] === 0) continue
    getPage(sys, pfn + i)
    if (!pages.trylock(pfn + i)) {
      putPage(sys, pfn + i)
      continue
    }
    setMigratePfn(words, i, pfn + i, MIGRATE_PFN_VALID | MIGRATE_PFN_MIGRATE)
  }
  unmapCollected(sys, src, npages, -1)
  return 0
}

/**
 * A frame for a page that leaves the device by frame, from the reserve if need be. Who maps the page says what address it is
 * for, as pages may have home frames. Returns -1 if there is none.
 */
export function allocEvictionTarget(sys: System, pfn: Pfn): Pfn {
  let target = -1
  let isMapped = false
  rmapWalk(sys, pfn, false, (vma, addr) => {
    const table = vma.mm.pageTable.findPte(addr)
    if (table === null || table.words[2 * pteIndex(addr)] !== pfn) return true
    isMapped = true
    target = allocEvictionPage(vma.mm, addr)
    return false
  })
  return isMapped ? target : allocKernelPage(sys, true)
}

/** Moves what `src` and `dst` pair up, frame by frame, as `migrateVmaPages` does within a mapping (`migrate_device_pages`). */
export function migrateDevicePages(sys: System, src: BigUint64Array, dst: BigUint64Array, npages: number): void {
  moveAll(sys, src, dst, npages, null)
}

/** Ends a migration by frames: unlocks, maps again, and gives back what did not move (`migrate_device_finalize`). */
export function migrateDeviceFinalize(sys: System, src: BigUint64Array, dst: BigUint64Array, npages: number): void {
  const srcWords = migratePfnWords(src)
  const dstWords = migratePfnWords(dst)
  const cursor = new RmapCursor()
  for (let i = 0; i < npages; i++) {
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
function unpins(sys: System, newPage: Pfn, dstFlags: number): boolean {
  return (dstFlags & MIGRATE_PFN_UNPIN) !== 0 && sys.pages.pagemap[newPage] === 0
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

/**
 * A page that PIN left in place is not needed any more, as its device page was freed without a fault (munmap, exit): drops
 * the pin and the reference of its isolation (PN-11). For `pageFree`; a page that comes back with UNPIN the driver forgets
 * before `migrateVmaFinalize`, which ends the pin itself and then frees the device page.
 */
export function unpinMigratedPage(sys: System, pfn: Pfn): void {
  const { pages } = sys
  assert(pages.refcount[pfn] > GUP_PIN_COUNTING_BIAS, () => `frame ${pfn} is pinned in place`)
  const left = pages.refcount[pfn] - GUP_PIN_COUNTING_BIAS - 1
  if (left > 0 && (pages.flags[pfn] & PG_LRU) === 0) sys.lru.add(pfn)
  putPage(sys, pfn, GUP_PIN_COUNTING_BIAS + 1)
}

/**
 * Moves one coherent device page to system memory, for a long-term pin (MG-102). Takes over a reference of the caller.
 *
 * Returns 0, -EBUSY if somebody else holds the page or memory is full, or -EAGAIN with `sys.waitFor` set while it is locked.
 */
export function migrateDeviceCoherentPage(sys: System, pfn: Pfn): number {
  if (!sys.pages.trylock(pfn)) {
    waitForPage(sys, pfn)
    putPage(sys, pfn)
    return -EAGAIN
  }
  const src = new BigUint64Array([migratePfn(pfn, MIGRATE_PFN_MIGRATE)])
  const dst = new BigUint64Array(1)
  unmapCollected(sys, src, 1, -1)
  const words = migratePfnWords(src)
  if (words[0] === 0 && words[1] === 0) return -EBUSY
  const target = allocKernelPage(sys)
  if (target >= 0) {
    sys.pages.trylock(target)
    dst[0] = migratePfn(target)
  }
  migrateDevicePages(sys, src, dst, 1)
  const moved = (words[0] & MIGRATE_PFN_MIGRATE) !== 0
  if (moved) sys.mmu.copyFrame(target, pfn)
  migrateDeviceFinalize(sys, src, dst, 1)
  return moved ? 0 : -EBUSY
}

// ---- collection ----

function collect(args: MigrateVma, vma: Vma): void {
  const { mm } = vma
  const { pageTable } = mm
  const range = new MmuNotifierRange(MMU_NOTIFY_MIGRATE, vma, mm, args.start, args.end, args.pgmapOwner)
  mmuNotifierInvalidateRangeStart(range)
  unmapSelected(args, vma)
  for (let addr = args.start; addr < args.end; ) {
    let next: Addr
    if (pageTable.findPud(addr) === null) {
      next = pgdAddrEnd(addr, args.end)
      collectHole(args, vma, addr, next)
    } else {
      const pmd = pageTable.findPmd(addr)
      if (pmd === null) {
        next = pudAddrEnd(addr, args.end)
        collectHole(args, vma, addr, next)
      } else {
        next = pmdAddrEnd(addr, args.end)
        collectPmd(args, vma, pmd, addr, next)
      }
    }
    addr = next
  }
  mmuNotifierInvalidateRangeEnd(range)
  args.end = args.start + args.npages * PAGE_SIZE
}

/** Takes the pages that are selected from the CPU and collects their dirty bits. The CPU goes on using the others. */
function unmapSelected(args: MigrateVma, vma: Vma): void {
  const { mm } = vma
  const { sys, pageTable } = mm
  if (sys.mmu.capabilities.walksPageTable) return
  // The CPU has no translation of private memory.
  if ((args.flags & (MIGRATE_VMA_SELECT_SYSTEM | MIGRATE_VMA_SELECT_DEVICE_COHERENT)) === 0 && !pageTable.hasHuge)
    return
  for (let addr = args.start; addr < args.end; ) {
    const end = pmdAddrEnd(addr, args.end)
    const table = pageTable.findPte(addr)
    if (table === null) {
      if (pageTable.hasHuge) tlbUnmap(mm, addr, end)
      addr = end
      continue
    }
    const isSelected = (at: Addr): boolean => isSelectedPage(sys, args.flags, table, pteIndex(at))
    while (addr < end) {
      if (!isSelected(addr)) {
        addr += PAGE_SIZE
        continue
      }
      const start = addr
      while (addr < end && isSelected(addr)) addr += PAGE_SIZE
      tlbUnmap(mm, start, addr)
    }
  }
}

/** The entry is present and of a kind of memory that `flags` selects. */
function isSelectedPage(sys: System, flags: number, table: PteTable, i: number): boolean {
  const entry = table.words[2 * i + 1]
  if ((entry & PTE_PRESENT) === 0) return false
  const isSystem = sys.pages.pagemap[table.words[2 * i]] === 0
  return (flags & (isSystem ? MIGRATE_VMA_SELECT_SYSTEM : MIGRATE_VMA_SELECT_DEVICE_COHERENT)) !== 0
}

/** No table: fresh pages may be put there if the mapping is anonymous (MG-24). */
function collectHole(args: MigrateVma, vma: Vma, start: Addr, end: Addr): void {
  const src = migratePfnWords(args.src)
  const dst = migratePfnWords(args.dst)
  for (let addr = start; addr < end; addr += PAGE_SIZE) {
    const i = args.npages++
    dst[2 * i] = 0
    dst[2 * i + 1] = 0
    if (vma.isAnonymous && (src[2 * i] & MIGRATE_PFN_PIN) === 0) {
      src[2 * i] |= MIGRATE_PFN_MIGRATE
      args.cpages++
    }
  }
}

function collectSkip(args: MigrateVma, start: Addr, end: Addr): void {
  const src = migratePfnWords(args.src)
  const dst = migratePfnWords(args.dst)
  for (let addr = start; addr < end; addr += PAGE_SIZE) {
    const i = args.npages++
    setEntryZero(src, i)
    setEntryZero(dst, i)
  }
}

function setEntryZero(words: Uint32Array, i: number): void {
  words[2 * i] = 0
  words[2 * i + 1] = 0
}

function collectPmd(args: MigrateVma, vma: Vma, pmd: PmdTable, start: Addr, end: Addr): void {
  const { sys } = vma.mm
  const slot = pmdIndex(start)
  const huge = pmd.hugeFlags(slot)
  if (huge !== 0) {
    if ((huge & (PTE_PRESENT | PTE_HUGE)) !== (PTE_PRESENT | PTE_HUGE)) {
      collectSkip(args, start, end)
      return
    }
    const head = pmd.hugePfn(slot)
    if (head === sys.hugeZeroPfn) {
      splitHugePmd(vma, pmd, slot, start)
    } else {
      getPage(sys, head)
      if (!sys.pages.trylock(head)) {
        putPage(sys, head)
        collectSkip(args, start, end)
        return
      }
      const err = splitHugePage(sys, head)
      unlockPage(sys, head)
      putPage(sys, head)
      if (err !== 0) {
        collectSkip(args, start, end)
        return
      }
    }
  }
  const table = pmd.tables[slot]
  if (table === null) collectHole(args, vma, start, end)
  else collectTable(args, vma, table, start, end)
}

function collectTable(args: MigrateVma, vma: Vma, table: PteTable, start: Addr, end: Addr): void {
  const { sys } = vma.mm
  const { pages } = sys
  const { words } = table
  const src = migratePfnWords(args.src)
  const dst = migratePfnWords(args.dst)
  const selectSystem = (args.flags & MIGRATE_VMA_SELECT_SYSTEM) !== 0
  const selectPrivate = (args.flags & MIGRATE_VMA_SELECT_DEVICE_PRIVATE) !== 0
  const selectCoherent = (args.flags & MIGRATE_VMA_SELECT_DEVICE_COHERENT) !== 0
  const anonymous = vma.isAnonymous
  const zeroPfn = sys.zeroPfn
  const npages = (end - start) / PAGE_SIZE
  let k = pteIndex(start)
  for (let n = 0; n < npages; n++, k++) {
    const i = args.npages++
    dst[2 * i] = 0
    dst[2 * i + 1] = 0
    const flags = words[2 * k + 1]
    if (flags === 0) {
      if (anonymous && (src[2 * i] & MIGRATE_PFN_PIN) === 0) {
        src[2 * i] |= MIGRATE_PFN_MIGRATE
        args.cpages++
      }
      continue
    }
    const pfn = words[2 * k]
    if ((flags & PTE_PRESENT) === 0) {
      if (pteKind(flags) !== PTE_KIND_DEVICE_PRIVATE || !selectPrivate) continue
      if (pagemapOf(sys, pfn)?.owner !== args.pgmapOwner) continue
    } else {
      if (pfn === zeroPfn && selectSystem) {
        // A zero page has nothing to pin: it migrates like a hole, PIN or not (PN-2).
        src[2 * i] = MIGRATE_PFN_MIGRATE
        args.cpages++
        continue
      }
      if ((flags & PTE_SPECIAL) !== 0) continue
      if (pages.pagemap[pfn] === 0) {
        if (!selectSystem) continue
      } else if (isDeviceCoherentPage(sys, pfn)) {
        if (!selectCoherent || pagemapOf(sys, pfn)?.owner !== args.pgmapOwner) continue
      }
    }
    if (pages.mapping[pfn] === 0 || pages.isCompound(pfn) || !pages.trylock(pfn)) {
      tlbInstall(vma.mm, start + n * PAGE_SIZE, table, k)
      continue
    }
    getPage(sys, pfn)
    const anonExclusive = (pages.flags[pfn] & PG_ANON) !== 0 && pages.isAnonExclusive(pfn)
    if (anonExclusive && !pageTryShareAnonRmap(sys, pfn)) {
      unlockPage(sys, pfn)
      putPage(sys, pfn)
      tlbInstall(vma.mm, start + n * PAGE_SIZE, table, k)
      continue
    }
    args.cpages++
    let entry = PTE_KIND_MIGRATION | (flags & PTE_SOFT_DIRTY)
    if ((flags & PTE_WRITE) !== 0) entry |= PTE_WRITE
    else if (anonExclusive) entry |= PTE_EXCLUSIVE
    if ((flags & PTE_PRESENT) !== 0) {
      if ((flags & PTE_DIRTY) !== 0) pages.setDirty(pfn)
      entry |= flags & (PTE_YOUNG | PTE_DIRTY)
    }
    words[2 * k + 1] = entry
    pageRemoveRmap(sys, pfn)
    putPage(sys, pfn)
    const write = (flags & PTE_WRITE) !== 0 ? MIGRATE_PFN_WRITE : 0
    // PIN means nothing for a device page.
    const pin = pages.pagemap[pfn] === 0 ? src[2 * i] & MIGRATE_PFN_PIN : 0
    setMigratePfn(src, i, pfn, MIGRATE_PFN_VALID | MIGRATE_PFN_MIGRATE | write | pin)
  }
}

// ---- unmapping ----

/**
 * Isolates collected pages from the LRU, unmaps their other mappings, and checks that nobody else uses them. What fails is
 * restored and gets src 0. Returns the number of entries with MIGRATE.
 */
function unmapCollected(sys: System, src: BigUint64Array, npages: number, faultPage: Pfn): number {
  const { pages } = sys
  const words = migratePfnWords(src)
  let unmapped = 0
  let restore = 0
  for (let i = 0; i < npages; i++) {
    const pfn = migratePfnAt(words, i)
    if (pfn < 0) {
      if ((words[2 * i] & MIGRATE_PFN_MIGRATE) !== 0) unmapped++
      continue
    }
    const isDevice = pages.pagemap[pfn] !== 0
    if (!isDevice) {
      if (!sys.lru.isolate(pfn)) {
        words[2 * i] &= ~MIGRATE_PFN_MIGRATE
        restore++
        continue
      }
      putPage(sys, pfn)
    }
    if (pages.isMapped(pfn)) tryToMigrate(sys, pfn)
    const pin = (words[2 * i] & MIGRATE_PFN_PIN) !== 0
    const busy = pages.isMapped(pfn) || (pin ? pages.maybeDmaPinned(pfn) : hasExtraReferences(sys, pfn, faultPage))
    if (busy) {
      if (!isDevice) sys.lru.add(pfn)
      words[2 * i] &= ~MIGRATE_PFN_MIGRATE
      restore++
      continue
    }
    if (pin) pages.refcount[pfn] += GUP_PIN_COUNTING_BIAS
    unmapped++
  }
  for (let i = 0; i < npages && restore > 0; i++) {
    const pfn = migratePfnAt(words, i)
    if (pfn < 0 || (words[2 * i] & MIGRATE_PFN_MIGRATE) !== 0) continue
    removeMigrationPtes(sys, pfn, pfn)
    setEntryZero(words, i)
    unlockPage(sys, pfn)
    putPage(sys, pfn)
    restore--
  }
  return unmapped
}

/** Somebody beyond the mappings, the caches and the migration itself holds the page (MG-39). */
function hasExtraReferences(sys: System, pfn: Pfn, faultPage: Pfn): boolean {
  const { pages } = sys
  if (pages.isCompound(pfn)) return true
  let allowed = 1
  if (pfn === faultPage) allowed++
  if (pages.pagemap[pfn] !== 0) allowed++
  if (isInCache(sys, pfn)) allowed++
  return pages.refcount[pfn] - allowed > pages.mapcount[pfn]
}

// ---- moving ----

function moveAll(sys: System, src: BigUint64Array, dst: BigUint64Array, npages: number, args: MigrateVma | null): void {
  const srcWords = migratePfnWords(src)
  const dstWords = migratePfnWords(dst)
  let notified: MmuNotifierRange | null = null
  for (let i = 0; i < npages; i++) {
    const newPage = migratePfnAt(dstWords, i)
    const page = migratePfnAt(srcWords, i)
    if (newPage < 0) {
      declineEntry(sys, srcWords, i, page)
      continue
    }
    if (page < 0) {
      if ((srcWords[2 * i] & MIGRATE_PFN_MIGRATE) === 0) continue
      assert(args !== null && args.vma !== null, 'only a range of a mapping has holes')
      const addr = args.start + i * PAGE_SIZE
      if (notified === null) {
        notified = new MmuNotifierRange(MMU_NOTIFY_MIGRATE, args.vma, args.vma.mm, addr, args.end, args.pgmapOwner)
        mmuNotifierInvalidateRangeStart(notified)
      }
      // A page that was left in place can only take the place of its device page.
      const inserted = !unpins(sys, newPage, dstWords[2 * i]) && insertIntoHole(args.vma, addr, newPage)
      srcWords[2 * i] = inserted ? MIGRATE_PFN_MIGRATE : srcWords[2 * i] & ~MIGRATE_PFN_MIGRATE
      continue
    }
    if ((srcWords[2 * i] & MIGRATE_PFN_MIGRATE) === 0) continue
    if (unpins(sys, newPage, dstWords[2 * i])) {
      assert(sys.pages.refcount[newPage] > GUP_PIN_COUNTING_BIAS, () => `frame ${newPage} is pinned in place`)
    }
    const pin = (srcWords[2 * i] & MIGRATE_PFN_PIN) !== 0
    const moved = movePage(sys, page, newPage, args !== null && args.faultPage === page ? 1 : 0, pin)
    if (moved !== 0) declineEntry(sys, srcWords, i, page)
  }
  if (notified !== null) mmuNotifierInvalidateRangeEnd(notified)
}

/** The entry does not migrate after all; a pin that setup took for it is dropped. */
function declineEntry(sys: System, srcWords: Uint32Array, i: number, page: Pfn): void {
  const flags = srcWords[2 * i]
  const pinned = (flags & (MIGRATE_PFN_MIGRATE | MIGRATE_PFN_PIN)) === (MIGRATE_PFN_MIGRATE | MIGRATE_PFN_PIN)
  if (pinned && page >= 0) sys.pages.refcount[page] -= GUP_PIN_COUNTING_BIAS
  srcWords[2 * i] = flags & ~(MIGRATE_PFN_MIGRATE | MIGRATE_PFN_PIN)
}

/** Moves what makes `page` what it is to `newPage`; its contents are the driver's task. Returns 0 or -EAGAIN (MG-52, MG-53). */
function movePage(sys: System, page: Pfn, newPage: Pfn, extraRefs: number, pin: boolean): number {
  const { pages } = sys
  if ((pages.flags[page] & (PG_ANON | PG_SWAPCACHE)) === PG_ANON && pages.pagemap[newPage] === 0) {
    // The most frequent case: anonymous memory that no cache has, on its way back from a device.
    if (!pin && pages.refcount[page] !== 1 + extraRefs) return -EAGAIN
    moveIdentity(sys, page, newPage)
    return 0
  }
  const toDevice = isZoneDevicePage(sys, newPage)
  // Clean pages stay in the cache of a slow swap device after they were read, and must not be kept from devices by it.
  // Later kernels do the same.
  if ((toDevice || pin) && sys.swap?.device.isSynchronous === false) freeSwapOfPage(sys, page)
  const inCache = isInCache(sys, page)
  if (toDevice && (inCache || !(isDevicePrivatePage(sys, newPage) || isDeviceCoherentPage(sys, newPage)))) {
    return -EAGAIN
  }
  if (pin && inCache) return -EAGAIN
  if (!pin && sys.pages.refcount[page] !== idleReferences(sys, page) + extraRefs) return -EAGAIN
  moveIdentity(sys, page, newPage)
  return 0
}

/** Puts a fresh page where there is none yet, or only the zero page (MG-56, MG-57). */
function insertIntoHole(vma: Vma, addr: Addr, pfn: Pfn): boolean {
  if (!vma.isAnonymous) return false
  const { mm } = vma
  const { sys } = mm
  const { pages } = sys
  const isDevice = isZoneDevicePage(sys, pfn)
  const isPrivate = isDevicePrivatePage(sys, pfn)
  const pmd = mm.pageTable.allocPmd(addr)
  if (pmd.hugeFlags(pmdIndex(addr)) !== 0) return false
  const table = mm.pageTable.allocPte(addr)
  anonVmaPrepare(vma)
  pages.flags[pfn] |= PG_UPTODATE
  if (isDevice && !isPrivate && !isDeviceCoherentPage(sys, pfn)) return false
  const k = pteIndex(addr)
  const old = table.words[2 * k + 1]
  if (old !== 0 && ((old & PTE_PRESENT) === 0 || table.words[2 * k] !== sys.zeroPfn)) return false
  if (mm.isUnstable) return false
  const writable = (vma.flags & VM_WRITE) !== 0
  tlbUnmap(mm, addr, addr + PAGE_SIZE)
  mm.rss[MM_ANONPAGES]++
  pageAddNewAnonRmap(vma, pfn, addr)
  getPage(sys, pfn)
  table.words[2 * k] = pfn
  table.words[2 * k + 1] = isPrivate
    ? PTE_KIND_DEVICE_PRIVATE | (writable ? PTE_WRITE : 0)
    : vmaProtection(vma) | (writable ? PTE_WRITE | PTE_MKDIRTY : 0)
  return true
}
