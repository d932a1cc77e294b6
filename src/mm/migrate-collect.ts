// The first step of a migration, setup: pages are collected, locked, unmapped and isolated (`migrate_vma_collect` and
// `migrate_vma_unmap` of mm/migrate_device.c, Linux 6.1; spec section 4). Their entries become migration entries.
//
// Both loops run for each page of each migration, so they work on the columns of `Pages` directly: what Linux does one by one, a
// reference for the migration and that of the mapping put, is one store where it cancels out. What is decided for a page is decided for its
// neighbours in the same state too. All pages in here are small.

import { type Addr, PAGE_SIZE, type Pfn, pgdAddrEnd, pmdAddrEnd, pmdIndex, pteIndex, pudAddrEnd } from '../base/addr.ts'
import { alikePages, setFrames } from './frame-runs.ts'
import { splitHugePmd } from './huge-pmd.ts'
import { splitHugePage } from './huge-split.ts'
import { isDeviceCoherentPage, isDevicePrivatePage, pagemapOf } from './memremap.ts'
import { isInCache } from './migrate-mapping.ts'
import {
  MIGRATE_PFN_MIGRATE,
  MIGRATE_PFN_PIN,
  MIGRATE_PFN_VALID,
  MIGRATE_PFN_WRITE,
  migratePfnAt,
  migratePfnRun,
  migratePfnWords,
  setMigratePfns,
} from './migrate-pfn.ts'
import {
  MIGRATE_VMA_SELECT_DEVICE_COHERENT,
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  MIGRATE_VMA_SELECT_SYSTEM,
  type MigrateVma,
} from './migrate-vma.ts'
import {
  MMU_NOTIFY_MIGRATE,
  MmuNotifierRange,
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from './mmu-notifier.ts'
import {
  badFrame,
  GUP_PIN_COUNTING_BIAS,
  PG_ANON,
  PG_ANON_EXCLUSIVE,
  PG_DIRTY,
  PG_HEAD,
  PG_LOCKED,
  PG_LRU,
  PG_SWAPCACHE,
  PG_TAIL,
} from './page.ts'
import { getPage, putPage, unlockPage } from './page-alloc.ts'
import type { PmdTable, PteTable } from './pgtable.ts'
import {
  PTE_DIRTY,
  PTE_EXCLUSIVE,
  PTE_HUGE,
  PTE_KIND_DEVICE_PRIVATE,
  PTE_KIND_MIGRATION,
  PTE_PRESENT,
  PTE_SOFT_DIRTY,
  PTE_SPECIAL,
  PTE_WRITE,
  PTE_YOUNG,
  pteKind,
  pteRun,
  setPteFlags,
} from './pte.ts'
import { removeMigrationPtes, tryToMigrate } from './rmap-walk.ts'
import type { System } from './system.ts'
import { tlbInstall, tlbUnmap } from './tlb.ts'
import type { Vma } from './vma.ts'

/**
 * Collects the range, and makes migration entries of those of its pages, under one MIGRATE event. Returns how many pages `unmapCollected`
 * has something to do for.
 */
export function collect(args: MigrateVma, vma: Vma): number {
  const { mm } = vma
  const { pageTable } = mm
  const range = new MmuNotifierRange(MMU_NOTIFY_MIGRATE, vma, mm, args.start, args.end, args.pgmapOwner)
  mmuNotifierInvalidateRangeStart(range)
  unmapSelected(args, vma)
  let nbusy = 0
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
        nbusy += collectPmd(args, vma, pmd, addr, next)
      }
    }
    addr = next
  }
  mmuNotifierInvalidateRangeEnd(range)
  args.end = args.start + args.npages * PAGE_SIZE
  return nbusy
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
    const first = pteIndex(addr)
    const npages = (end - addr) / PAGE_SIZE
    for (let k = 0; k < npages; ) {
      let next = k
      while (next < npages && isSelectedPage(sys, args.flags, table, first + next)) next++
      if (next > k) tlbUnmap(mm, addr + k * PAGE_SIZE, addr + next * PAGE_SIZE)
      k = next + 1
    }
    addr = end
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
    setEntryZero(dst, i)
    keepPin(src, i)
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

/** Clears an entry of src but for what the driver has asked for. */
function keepPin(src: Uint32Array, i: number): void {
  src[2 * i] &= MIGRATE_PFN_PIN
  src[2 * i + 1] = 0
}

function setEntryZero(words: Uint32Array, i: number): void {
  words[2 * i] = 0
  words[2 * i + 1] = 0
}

/** Returns as `collectTable` does. */
function collectPmd(args: MigrateVma, vma: Vma, pmd: PmdTable, start: Addr, end: Addr): number {
  const { sys } = vma.mm
  const slot = pmdIndex(start)
  const huge = pmd.hugeFlags(slot)
  if (huge !== 0) {
    if ((huge & (PTE_PRESENT | PTE_HUGE)) !== (PTE_PRESENT | PTE_HUGE)) {
      collectSkip(args, start, end)
      return 0
    }
    const head = pmd.hugePfn(slot)
    if (head === sys.hugeZeroPfn) {
      splitHugePmd(vma, pmd, slot, start)
    } else {
      getPage(sys, head)
      if (!sys.pages.trylock(head)) {
        putPage(sys, head)
        collectSkip(args, start, end)
        return 0
      }
      const err = splitHugePage(sys, head)
      unlockPage(sys, head)
      putPage(sys, head)
      if (err !== 0) {
        collectSkip(args, start, end)
        return 0
      }
    }
  }
  const table = pmd.tables[slot]
  if (table !== null) return collectTable(args, vma, table, start, end)
  collectHole(args, vma, start, end)
  return 0
}

/**
 * Collects the entries of a table. A page that is small has `Pages` hold all of its state: it is locked, its mapping is counted off, and
 * the reference that the migration takes is the one that the mapping had. That is all there is to do for private memory that nobody else
 * maps or holds. Returns how many pages are not like that.
 */
function collectTable(args: MigrateVma, vma: Vma, table: PteTable, start: Addr, end: Addr): number {
  const { sys } = vma.mm
  const { flags: pageFlags, refcount, mapcount, mapping, pagemap } = sys.pages
  const { words } = table
  const src = migratePfnWords(args.src)
  const dst = migratePfnWords(args.dst)
  const selectSystem = (args.flags & MIGRATE_VMA_SELECT_SYSTEM) !== 0
  const selectPrivate = (args.flags & MIGRATE_VMA_SELECT_DEVICE_PRIVATE) !== 0
  const selectCoherent = (args.flags & MIGRATE_VMA_SELECT_DEVICE_COHERENT) !== 0
  const { isAnonymous } = vma
  const { zeroPfn } = sys
  const first = args.npages
  const npages = (end - start) / PAGE_SIZE
  /** Device memory that was found to be the owner's. */
  let own = 0
  let cpages = 0
  let nbusy = 0
  let w = 2 * pteIndex(start)
  dst.fill(0, 2 * first, 2 * (first + npages))
  for (let i = first, n = 1; i < first + npages; i += n, w += 2 * n) {
    n = 1
    keepPin(src, i)
    const flags = words[w + 1]
    if (flags === 0) {
      if (isAnonymous && (src[2 * i] & MIGRATE_PFN_PIN) === 0) {
        src[2 * i] |= MIGRATE_PFN_MIGRATE
        cpages++
      }
      continue
    }
    const pfn = words[w]
    const isPresent = (flags & PTE_PRESENT) !== 0
    const device = pagemap[pfn]
    if (!isPresent) {
      if (pteKind(flags) !== PTE_KIND_DEVICE_PRIVATE || !selectPrivate) continue
      if (device !== own && pagemapOf(sys, pfn)?.owner !== args.pgmapOwner) continue
      own = device
    } else {
      if (pfn === zeroPfn && selectSystem) {
        // A zero page has nothing to pin: it migrates like a hole, PIN or not (PN-2).
        src[2 * i] = MIGRATE_PFN_MIGRATE
        cpages++
        continue
      }
      if ((flags & PTE_SPECIAL) !== 0) continue
      if (device === 0) {
        if (!selectSystem) continue
      } else if (isDeviceCoherentPage(sys, pfn)) {
        if (!selectCoherent || pagemapOf(sys, pfn)?.owner !== args.pgmapOwner) continue
      }
    }
    const found = pageFlags[pfn]
    let state = found
    if (mapping[pfn] === 0 || (state & (PG_HEAD | PG_TAIL | PG_LOCKED)) !== 0) {
      tlbInstall(vma.mm, start + (i - first) * PAGE_SIZE, table, w >>> 1)
      continue
    }
    if (!(refcount[pfn] > 0)) badFrame(pfn, 'is free when a reference is taken')
    if (!(mapcount[pfn] > 0)) badFrame(pfn, 'is not mapped')
    const anonExclusive = (state & (PG_ANON | PG_ANON_EXCLUSIVE)) === (PG_ANON | PG_ANON_EXCLUSIVE)
    if (anonExclusive) {
      // Its lock would be free again at once (`page_try_share_anon_rmap`).
      if (refcount[pfn] + 1 >= GUP_PIN_COUNTING_BIAS && !isDevicePrivatePage(sys, pfn)) {
        tlbInstall(vma.mm, start + (i - first) * PAGE_SIZE, table, w >>> 1)
        continue
      }
      state &= ~PG_ANON_EXCLUSIVE
    }
    let entry = PTE_KIND_MIGRATION | (flags & PTE_SOFT_DIRTY)
    if ((flags & PTE_WRITE) !== 0) entry |= PTE_WRITE
    else if (anonExclusive) entry |= PTE_EXCLUSIVE
    if (isPresent) {
      if ((flags & PTE_DIRTY) !== 0) state |= PG_DIRTY
      entry |= flags & (PTE_YOUNG | PTE_DIRTY)
    }
    state |= PG_LOCKED
    const write = (flags & PTE_WRITE) !== 0 ? MIGRATE_PFN_WRITE : 0
    // PIN means nothing for a device page.
    const pins = device === 0 ? MIGRATE_PFN_PIN : 0
    // What was decided for this page is decided for the neighbours behind it that are in the same state.
    const pin = src[2 * i] & pins
    const mappings = mapcount[pfn]
    const isAlone = (found & (PG_ANON | PG_SWAPCACHE)) === PG_ANON && mappings === 1 && refcount[pfn] === 1
    n = alikePages(sys, pfn, pteRun(words, w >>> 1, first + npages - i))
    if (pins !== 0) n = alikePins(src, i, n)
    setPteFlags(words, w >>> 1, n, entry)
    setFrames(pageFlags, state, pfn, n)
    setFrames(mapcount, mappings - 1, pfn, n)
    setMigratePfns(src, i, n, pfn, MIGRATE_PFN_VALID | MIGRATE_PFN_MIGRATE | write | pin)
    cpages += n
    if (device === 0 || !isAlone) nbusy += n
  }
  args.npages += npages
  args.cpages += cpages
  return nbusy
}

/** How many entries from `i` on, at most `max`, are alike in what the driver has asked for. At least one. */
function alikePins(src: Uint32Array, i: number, max: number): number {
  let n = 1
  while (n < max && ((src[2 * (i + n)] ^ src[2 * i]) & MIGRATE_PFN_PIN) === 0) n++
  return n
}

/**
 * Isolates collected pages from the LRU, unmaps their other mappings, and checks that nobody else uses them. What fails is
 * restored and gets src 0. Returns the number of entries with MIGRATE.
 */
export function unmapCollected(sys: System, src: BigUint64Array, npages: number, faultPage: Pfn): number {
  const { pages, lru } = sys
  const { flags: pageFlags, refcount, mapcount, pagemap } = pages
  const words = migratePfnWords(src)
  let unmapped = 0
  let restore = 0
  for (let i = 0, n = 1; i < npages; i += n) {
    n = 1
    const pfn = migratePfnAt(words, i)
    if (pfn < 0) {
      if ((words[2 * i] & MIGRATE_PFN_MIGRATE) !== 0) unmapped++
      continue
    }
    const isDevice = pagemap[pfn] !== 0
    const state = pageFlags[pfn]
    const pin = (words[2 * i] & MIGRATE_PFN_PIN) !== 0
    // Mostly it is private memory that nobody else maps or holds, which takes no walk to find out, and so are those that follow it.
    const isAlone =
      (state & (PG_ANON | PG_SWAPCACHE | PG_HEAD | PG_TAIL)) === PG_ANON && mapcount[pfn] === 0 && refcount[pfn] === 1
    if (isAlone) n = alikePages(sys, pfn, migratePfnRun(words, i, npages))
    if (!isDevice) {
      if ((state & PG_LRU) === 0) {
        n = 1
        words[2 * i] &= ~MIGRATE_PFN_MIGRATE
        restore++
        continue
      }
      // Their isolation takes a reference, which the migration has already.
      lru.removeRun(pfn, n)
    }
    if (!isAlone) {
      if (pages.isMapped(pfn)) tryToMigrate(sys, pfn)
      const busy = pages.isMapped(pfn) || (pin ? pages.maybeDmaPinned(pfn) : hasExtraReferences(sys, pfn, faultPage))
      if (busy) {
        if (!isDevice) lru.add(pfn)
        words[2 * i] &= ~MIGRATE_PFN_MIGRATE
        restore++
        continue
      }
    }
    if (pin) refcount.fill(refcount[pfn] + GUP_PIN_COUNTING_BIAS, pfn, pfn + n)
    unmapped += n
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
