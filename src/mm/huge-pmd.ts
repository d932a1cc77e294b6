// Huge entries: what happens to one middle-level entry that maps a transparent huge page, a compound page of 2 MiB, as
// a whole. Follows mm/huge_memory.c of Linux 6.1 (spec T-23, T-24, MN-76, MN-90, CP-46, CP-76) for anonymous memory. An
// operation on a part of the 2 MiB splits the entry first: 512 small entries then map the same pages, and the compound
// page stays one page (huge-split.ts takes that apart).
//
//   middle-level slot         compound page           after splitHugePmd      compound page
//   [P] ───────────────────>  head, 511 tails         [table] ─> w w w ... ─> head, 511 tails
//   1 reference               whole mapped 1 time                             each frame mapped 1 time, 512 references
//
// The huge zero page counts neither references nor mappings; split, it becomes 512 entries of the small zero page.

import { type Addr, HPAGE_PMD_NR, type Pfn, PMD_SIZE, pmdAlignDown, pmdIndex } from '../base/addr.ts'
import { assert } from '../base/assert.ts'
import { MM_ANONPAGES, type Mm } from './mm.ts'
import {
  MMU_NOTIFY_CLEAR,
  MmuNotifierRange,
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from './mmu-notifier.ts'
import { PG_ANON_EXCLUSIVE, PG_DIRTY } from './page.ts'
import { getPage, putPage } from './page-alloc.ts'
import { type PmdTable, PteTable } from './pgtable.ts'
import {
  PTE_DIRTY,
  PTE_EXCLUSIVE,
  PTE_HUGE,
  PTE_KIND_MIGRATION,
  PTE_MKDIRTY,
  PTE_PRESENT,
  PTE_PROTNONE,
  PTE_SOFT_DIRTY,
  PTE_SPECIAL,
  PTE_WRITE,
  PTE_YOUNG,
  type PteFlags,
  pteKind,
} from './pte.ts'
import { compoundAddAnonRmap, compoundRemoveRmap, compoundTryDupAnonRmap, pageTryShareAnonRmap } from './rmap.ts'
import { tlbUnmap } from './tlb.ts'
import { VM_WRITE } from './vm-flags.ts'
import { type Vma, vmaProtection } from './vma.ts'

/** Flags of a new huge entry of the mapping, clean and not writable. */
export function hugeProtection(vma: Vma): PteFlags {
  return (vmaProtection(vma) & ~PTE_WRITE) | PTE_HUGE
}

// ---- splitting ----

/** Splits the huge entry in `slot` under a CLEAR event over its 2 MiB (MN-76). `addr` may lie anywhere in them. */
export function splitHugePmd(vma: Vma, pmd: PmdTable, slot: number, addr: Addr): void {
  const start = pmdAlignDown(addr)
  const range = new MmuNotifierRange(MMU_NOTIFY_CLEAR, vma, vma.mm, start, start + PMD_SIZE)
  mmuNotifierInvalidateRangeStart(range)
  if (pmd.hugeFlags(slot) !== 0) splitEntry(vma, pmd, slot, start, false)
  mmuNotifierInvalidateRangeEnd(range)
}

export interface SplitAddressOptions {
  /** Split only an entry of this compound page. Default: any. */
  readonly head?: Pfn
  /** Make migration entries of the small entries, unless the page may be pinned. */
  readonly freeze?: boolean
}

/**
 * Splits the huge entry around `addr`. Where the table above exists, the CLEAR event comes even if the slot holds no
 * huge entry at all (MN-90): unless `System.splitEvents` is off, the kernel's look is repeated event for event.
 */
export function splitHugePmdAddress(vma: Vma, addr: Addr, options: SplitAddressOptions = {}): void {
  const { mm } = vma
  const pmd = mm.pageTable.findPmd(addr)
  if (pmd === null) return
  const slot = pmdIndex(addr)
  const isHuge = pmd.hugeFlags(slot) !== 0
  if (!isHuge && !mm.sys.splitEvents) return
  const start = pmdAlignDown(addr)
  const range = new MmuNotifierRange(MMU_NOTIFY_CLEAR, vma, mm, start, start + PMD_SIZE)
  mmuNotifierInvalidateRangeStart(range)
  if (isHuge && (options.head === undefined || pmd.hugePfn(slot) === options.head)) {
    splitEntry(vma, pmd, slot, start, options.freeze === true)
  }
  mmuNotifierInvalidateRangeEnd(range)
}

function splitEntry(vma: Vma, pmd: PmdTable, slot: number, start: Addr, freeze: boolean): void {
  const { pageTable } = vma.mm
  tlbUnmap(vma.mm, start, start + PMD_SIZE)
  const flags = pmd.hugeFlags(slot)
  const head = pmd.hugePfn(slot)
  const table = new PteTable()
  if ((flags & PTE_SPECIAL) !== 0) {
    fillZero(vma, table)
  } else if ((flags & PTE_PRESENT) === 0) {
    fill(table, head, flags & ~PTE_HUGE)
  } else if (freeze) {
    splitFrozen(vma, table, head, flags)
  } else {
    splitPresent(vma, table, head, flags)
  }
  pmd.setHuge(slot, 0, 0)
  pageTable.setPteTable(pmd, slot, table)
}

function fill(table: PteTable, head: Pfn, flags: PteFlags): void {
  const { words } = table
  for (let i = 0; i < HPAGE_PMD_NR; i++) {
    words[2 * i] = head + i
    words[2 * i + 1] = flags
  }
}

function fillZero(vma: Vma, table: PteTable): void {
  const { words } = table
  const flags = (vmaProtection(vma) & ~PTE_WRITE) | PTE_SPECIAL | PTE_YOUNG
  for (let i = 0; i < HPAGE_PMD_NR; i++) {
    words[2 * i] = vma.mm.sys.zeroPfn
    words[2 * i + 1] = flags
  }
}

/** The mapping of the whole becomes a mapping of each frame; every frame is exclusive if the whole was. */
function splitPresent(vma: Vma, table: PteTable, head: Pfn, flags: PteFlags): void {
  const { sys } = vma.mm
  const { pages } = sys
  let small = (vmaProtection(vma) & ~PTE_WRITE) | (flags & (PTE_YOUNG | PTE_MKDIRTY))
  if ((flags & PTE_WRITE) !== 0 && (vma.flags & VM_WRITE) !== 0) small |= PTE_WRITE
  if ((flags & PTE_DIRTY) !== 0) pages.setDirty(head)
  fill(table, head, small)
  const exclusive = pages.flags[head] & PG_ANON_EXCLUSIVE
  for (let i = 0; i < HPAGE_PMD_NR; i++) {
    pages.mapcount[head + i]++
    pages.flags[head + i] |= exclusive
  }
  pages.refcount[head] += HPAGE_PMD_NR - 1
  compoundRemoveRmap(sys, head)
}

/** The mapping of the whole becomes a migration entry for each frame, which hold no reference. */
function splitFrozen(vma: Vma, table: PteTable, head: Pfn, flags: PteFlags): void {
  const { sys } = vma.mm
  const exclusive = sys.pages.isAnonExclusive(head)
  if (exclusive && !pageTryShareAnonRmap(sys, head)) {
    splitPresent(vma, table, head, flags)
    return
  }
  fill(table, head, migrationFlags(flags, exclusive))
  if ((flags & PTE_DIRTY) !== 0) sys.pages.setDirty(head)
  compoundRemoveRmap(sys, head)
  putPage(sys, head)
}

/** Kind of the migration entry that takes the place of a present entry (T-25). */
function migrationFlags(flags: PteFlags, exclusive: boolean): PteFlags {
  let entry = PTE_KIND_MIGRATION | (flags & (PTE_YOUNG | PTE_MKDIRTY))
  if ((flags & PTE_WRITE) !== 0) entry |= PTE_WRITE
  else if (exclusive) entry |= PTE_EXCLUSIVE
  return entry
}

// ---- system calls ----

/**
 * Zaps `[start, end)` of the 2 MiB; the caller has raised the event (`zap_huge_pmd`). True if that was the whole entry;
 * false if it was split and the small entries are to be zapped.
 */
export function zapHugePmd(vma: Vma, pmd: PmdTable, slot: number, start: Addr, end: Addr): boolean {
  if (end - start !== PMD_SIZE) {
    splitHugePmd(vma, pmd, slot, start)
    return false
  }
  const { mm } = vma
  const flags = pmd.hugeFlags(slot)
  const head = pmd.hugePfn(slot)
  pmd.setHuge(slot, 0, 0)
  if ((flags & PTE_SPECIAL) !== 0) return true
  mm.rss[MM_ANONPAGES] -= HPAGE_PMD_NR
  if ((flags & PTE_PRESENT) !== 0) {
    compoundRemoveRmap(mm.sys, head)
    putPage(mm.sys, head)
  }
  return true
}

/**
 * Gives `[start, end)` of the 2 MiB the protection of the mapping (`change_huge_pmd`, CP-46). A huge entry never
 * becomes writable here: the next write fault does that. True if that was the whole entry; false if it was split and
 * the small entries are to be changed.
 */
export function changeHugePmd(vma: Vma, pmd: PmdTable, slot: number, start: Addr, end: Addr): boolean {
  if (end - start !== PMD_SIZE) {
    splitHugePmd(vma, pmd, slot, start)
    return false
  }
  const flags = pmd.hugeFlags(slot)
  const head = pmd.hugePfn(slot)
  if ((flags & PTE_PRESENT) !== 0) {
    const kept = flags & ~(PTE_WRITE | PTE_PROTNONE)
    pmd.setHuge(slot, kept | (vmaProtection(vma) & ~PTE_WRITE), head)
  } else if ((flags & PTE_WRITE) !== 0) {
    pmd.setHuge(slot, (flags & ~PTE_WRITE) | PTE_EXCLUSIVE, head)
  }
  return true
}

/**
 * Copies a huge entry to the child; both sides become read-only (`copy_huge_pmd`). True if done; false if the page may
 * be pinned: the entry was split then, and the small entries are to be copied.
 */
export function copyHugePmd(dst: Vma, src: Vma, pmd: PmdTable, slot: number, addr: Addr): boolean {
  if (!dst.isAnonymous) return true
  const { sys } = src.mm
  let flags = pmd.hugeFlags(slot)
  const head = pmd.hugePfn(slot)
  if ((flags & PTE_SPECIAL) === 0) {
    if ((flags & PTE_PRESENT) === 0) {
      flags &= ~(PTE_WRITE | PTE_EXCLUSIVE)
    } else {
      if (!compoundTryDupAnonRmap(src, head)) {
        splitHugePmd(src, pmd, slot, addr)
        return false
      }
      getPage(sys, head)
    }
    dst.mm.rss[MM_ANONPAGES] += HPAGE_PMD_NR
  }
  flags &= ~PTE_WRITE
  pmd.setHuge(slot, flags, head)
  const { pageTable } = dst.mm
  const copy = (flags & PTE_PRESENT) !== 0 ? flags & ~PTE_YOUNG : flags
  pageTable.allocPmd(addr).setHuge(slot, copy, head)
  pageTable.hasHuge = true
  return true
}

// ---- migration of a whole page ----

/** A huge entry at `addr` maps the compound page. */
export function hugePmdMaps(mm: Mm, addr: Addr, head: Pfn): boolean {
  const pmd = mm.pageTable.findPmd(addr)
  if (pmd === null) return false
  const slot = pmdIndex(addr)
  return (pmd.hugeFlags(slot) & PTE_PRESENT) !== 0 && pmd.hugePfn(slot) === head
}

/** Turns the huge entry into a migration entry (T-24); false if the page may be pinned. */
export function setHugeMigrationEntry(vma: Vma, addr: Addr, head: Pfn): boolean {
  const { sys } = vma.mm
  const pmd = vma.mm.pageTable.findPmd(addr)
  assert(pmd !== null, 'a huge entry has a table')
  const slot = pmdIndex(addr)
  const flags = pmd.hugeFlags(slot)
  const exclusive = sys.pages.isAnonExclusive(head)
  if (exclusive && !pageTryShareAnonRmap(sys, head)) return false
  if ((flags & PTE_DIRTY) !== 0) sys.pages.setDirty(head)
  pmd.setHuge(slot, migrationFlags(flags, exclusive) | PTE_HUGE, head)
  compoundRemoveRmap(sys, head)
  putPage(sys, head)
  return true
}

/** Turns a huge migration entry of `from` into a mapping of `to`; false if there is none at `addr`. */
export function removeHugeMigrationEntry(vma: Vma, addr: Addr, from: Pfn, to: Pfn): boolean {
  const { sys, pageTable } = vma.mm
  const pmd = pageTable.findPmd(addr)
  if (pmd === null) return false
  const slot = pmdIndex(addr)
  const old = pmd.hugeFlags(slot)
  if (pteKind(old) !== PTE_KIND_MIGRATION || pmd.hugePfn(slot) !== from) return false
  getPage(sys, to)
  let flags = hugeProtection(vma) | (old & (PTE_YOUNG | PTE_SOFT_DIRTY))
  if ((old & PTE_DIRTY) !== 0 && (sys.pages.flags[to] & PG_DIRTY) !== 0) flags |= PTE_MKDIRTY
  if ((old & PTE_WRITE) !== 0 && (vma.flags & VM_WRITE) !== 0) flags |= PTE_WRITE
  compoundAddAnonRmap(vma, to, addr, (old & (PTE_WRITE | PTE_EXCLUSIVE)) !== 0)
  pmd.setHuge(slot, flags, to)
  return true
}
