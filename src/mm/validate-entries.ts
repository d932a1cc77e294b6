// Invariants of page-table entries: each is of a known form, lies in a mapping that allows what it allows, names a frame
// that is in use and that rmap finds again at this address; together they make the RSS counters. What they refer to is
// counted for the comparison with the frames (validate-frames.ts).

import {
  type Addr,
  HPAGE_PMD_NR,
  PAGE_SIZE,
  type Pfn,
  PGDIR_SIZE,
  PMD_SIZE,
  PTRS_PER_PTE,
  PUD_SIZE,
} from '../base/addr.ts'
import { AddressSpace } from './address-space.ts'
import { isDevicePrivatePage } from './memremap.ts'
import { MM_SWAPENTS, type Mm } from './mm.ts'
import { PG_ALLOCATED, PG_ANON_EXCLUSIVE, PG_HEAD, PG_HUGETLB, PG_HWPOISON, PG_LOCKED, PG_LRU } from './page.ts'
import type { PmdTable, PteTable } from './pgtable.ts'
import {
  PTE_DIRTY,
  PTE_DUPLICATED,
  PTE_EXCLUSIVE,
  PTE_HUGE,
  PTE_KIND_DEVICE_EXCLUSIVE,
  PTE_KIND_DEVICE_PRIVATE,
  PTE_KIND_HWPOISON,
  PTE_KIND_MARKER,
  PTE_KIND_MIGRATION,
  PTE_KIND_SWAP,
  PTE_KIND_SWAPIN_ERROR,
  PTE_PRESENT,
  PTE_PROTNONE,
  PTE_SPECIAL,
  PTE_WRITE,
  pteKind,
} from './pte.ts'
import { rssKind } from './rmap.ts'
import type { System } from './system.ts'
import { broken, formatFlags, nameOf, nameOfVma, place } from './validate-fail.ts'
import { VM_ACCESS_FLAGS, VM_HUGETLB, VM_MIXEDMAP, VM_PFNMAP, VM_WRITE } from './vm-flags.ts'
import { linearPageIndex, type Vma } from './vma.ts'

/** What a marked entry has of which somebody has to be told (share.ts). */
const UNTOLD = PTE_PRESENT | PTE_DUPLICATED | PTE_DIRTY

/** What the entries of all address spaces refer to. */
export class EntryCounts {
  /** Present and device-private small entries, by frame. */
  readonly mapped: Int32Array
  /** Present huge entries, by frame of the head. */
  readonly mappedWhole = new Map<Pfn, number>()
  /** Entries that make up a reference, by frame of the head. */
  readonly references: Int32Array
  /** Entries that give a process the page: present, device-private, device-exclusive; by frame. */
  readonly users: Int32Array
  /** Swap entries by slot. */
  readonly swapped = new Map<number, number>()
  /** Swap entries that say they are the only one, by slot. */
  readonly swappedExclusive = new Set<number>()

  constructor(sys: System) {
    const { nframes } = sys.pages
    this.mapped = new Int32Array(nframes)
    this.references = new Int32Array(nframes)
    this.users = new Int32Array(nframes)
  }
}

/** Walks the page table of one address space. What the entries refer to is added to `counts` if that is not null. */
export function validateEntries(mm: Mm, counts: EntryCounts | null): void {
  const check = new EntryCheck(mm, counts)
  const { puds } = mm.pageTable
  let npteTables = 0
  for (let i = 0; i < PTRS_PER_PTE; i++) {
    const pud = puds[i]
    if (pud === null) continue
    for (let j = 0; j < PTRS_PER_PTE; j++) {
      const pmd = pud.pmds[j]
      if (pmd !== null) npteTables += check.pmd(pmd, i * PGDIR_SIZE + j * PUD_SIZE)
    }
  }
  if (npteTables !== mm.pageTable.npteTables) {
    broken('T-5', `${nameOf(mm)}: npteTables is ${mm.pageTable.npteTables}, there are ${npteTables} tables`)
  }
  check.rssIsRight()
}

class EntryCheck {
  private readonly mm: Mm
  private readonly sys: System
  private readonly counts: EntryCounts | null
  private readonly rss = new Int32Array(4)
  /** Index of the mapping that the last entry was in: entries come in ascending order. */
  private vmaIndex = 0

  constructor(mm: Mm, counts: EntryCounts | null) {
    this.mm = mm
    this.sys = mm.sys
    this.counts = counts
  }

  /** Returns the number of last-level tables. */
  pmd(pmd: PmdTable, base: Addr): number {
    const { tables } = pmd
    let npteTables = 0
    for (let k = 0; k < PTRS_PER_PTE; k++) {
      const table = tables[k]
      if (table === null && pmd.huge === null) continue
      const addr = base + k * PMD_SIZE
      if (table !== null) {
        npteTables++
        if (pmd.hugeFlags(k) !== 0) broken('T-10', `${place(this.mm, addr)} has a table and a huge entry`)
        this.table(table, addr)
      } else if (pmd.hugeFlags(k) !== 0) {
        this.huge(pmd, k, addr)
      }
    }
    return npteTables
  }

  private table({ words, hasUntold }: PteTable, base: Addr): void {
    for (let i = 0; i < PTRS_PER_PTE; i++) {
      const flags = words[2 * i + 1]
      const low = words[2 * i]
      if (flags === 0) {
        if (low !== 0) broken('T-10', `${place(this.mm, base + i * PAGE_SIZE)}: empty entry with low word ${low}`)
        continue
      }
      this.entry(base + i * PAGE_SIZE, flags, low)
      if (!hasUntold && (flags & UNTOLD) === UNTOLD) {
        broken('INV-8', `${place(this.mm, base + i * PAGE_SIZE)}: ${formatFlags(flags)}, and nobody is going to tell`)
      }
    }
  }

  private entry(addr: Addr, flags: number, low: number): void {
    const vma = this.vmaAt(addr, PAGE_SIZE)
    if ((flags & PTE_HUGE) !== 0) broken('T-10', `${place(this.mm, addr)}: small ${formatFlags(flags)} marked huge`)
    this.permissions(vma, addr, flags)
    if ((flags & PTE_PRESENT) !== 0) {
      if (pteKind(flags) !== 0) broken('T-10', `${place(this.mm, addr)}: present ${formatFlags(flags)} of another kind`)
      if ((flags & PTE_SPECIAL) !== 0) this.special(vma, addr, flags, low)
      else this.mapping(vma, addr, flags, low)
      return
    }
    switch (pteKind(flags)) {
      case PTE_KIND_DEVICE_PRIVATE:
        if (!this.isFrame(low) || !isDevicePrivatePage(this.sys, low)) {
          broken('DM-8', `${place(this.mm, addr)}: device-private entry of frame ${low}, which is not private memory`)
        }
        this.mapping(vma, addr, flags, low)
        break
      case PTE_KIND_DEVICE_EXCLUSIVE:
        this.mapping(vma, addr, flags, low)
        break
      case PTE_KIND_MIGRATION:
        this.migration(addr, low, 1)
        break
      case PTE_KIND_SWAP:
        this.swap(addr, flags, low)
        break
      case PTE_KIND_HWPOISON:
        if (!this.isFrame(low) || (this.sys.pages.flags[this.sys.pages.head(low)] & PG_HWPOISON) === 0) {
          broken('T-19', `${place(this.mm, addr)}: poison entry of frame ${low}, which is not poisoned`)
        }
        break
      case PTE_KIND_SWAPIN_ERROR:
      case PTE_KIND_MARKER:
        break
      default:
        broken('T-10', `${place(this.mm, addr)}: ${formatFlags(flags)} is of no known kind`)
    }
  }

  private huge(pmd: PmdTable, slot: number, addr: Addr): void {
    const { sys, mm } = this
    const flags = pmd.hugeFlags(slot)
    const head = pmd.hugePfn(slot)
    const vma = this.vmaAt(addr, PMD_SIZE)
    this.permissions(vma, addr, flags)
    if ((flags & PTE_PRESENT) === 0) {
      if (pteKind(flags) === PTE_KIND_MIGRATION) {
        this.migration(addr, head, (vma.flags & VM_HUGETLB) !== 0 ? 0 : HPAGE_PMD_NR)
      } else if (pteKind(flags) !== PTE_KIND_HWPOISON && pteKind(flags) !== PTE_KIND_SWAPIN_ERROR) {
        broken('T-24', `${place(mm, addr)}: huge ${formatFlags(flags)} is neither present nor migrating`)
      }
      return
    }
    if (head === sys.hugeZeroPfn) {
      if ((flags & PTE_WRITE) !== 0) broken('T-13', `${place(mm, addr)}: the huge zero page is writable`)
      return
    }
    if (!this.isFrame(head) || (sys.pages.flags[head] & PG_HEAD) === 0) {
      broken('T-23', `${place(mm, addr)}: huge entry of frame ${head}, which is not the head of a compound page`)
    }
    this.inUse(addr, flags, head)
    if (sys.pages.isAnon(head)) this.anonymous(vma, addr, flags, head)
    else this.ofFile(vma, addr, head)
    if ((sys.pages.flags[head] & PG_HUGETLB) === 0) this.rss[rssKind(sys, head)] += HPAGE_PMD_NR
    if (this.counts === null) return
    this.counts.mappedWhole.set(head, (this.counts.mappedWhole.get(head) ?? 0) + 1)
    this.counts.references[head]++
    this.counts.users[head]++
  }

  rssIsRight(): void {
    for (let kind = 0; kind < this.rss.length; kind++) {
      if (this.mm.rss[kind] !== this.rss[kind]) {
        const invariant = kind === MM_SWAPENTS ? 'CP-70' : 'INV-5'
        broken(invariant, `${nameOf(this.mm)}: rss[${kind}] is ${this.mm.rss[kind]}, entries make ${this.rss[kind]}`)
      }
    }
  }

  /** The mapping that covers `[addr, addr + nbytes)`. */
  private vmaAt(addr: Addr, nbytes: number): Vma {
    const { vmas } = this.mm
    while (this.vmaIndex < vmas.length && vmas[this.vmaIndex].end <= addr) this.vmaIndex++
    const vma = vmas[this.vmaIndex]
    if (vma === undefined || vma.start > addr || vma.end < addr + nbytes) {
      broken('T-5', `${place(this.mm, addr)}: an entry lies outside the mappings`)
    }
    return vma
  }

  /** What the entry allows, its mapping allows (T-6). */
  private permissions(vma: Vma, addr: Addr, flags: number): void {
    if ((flags & PTE_WRITE) !== 0 && (vma.flags & VM_WRITE) === 0) {
      broken('T-6', `${place(this.mm, addr)}: writable ${formatFlags(flags)} in ${nameOfVma(vma)}, which is not`)
    }
    if ((flags & PTE_DUPLICATED) !== 0 && (flags & (PTE_PRESENT | PTE_SPECIAL | PTE_WRITE)) !== PTE_PRESENT) {
      broken('INV-8', `${place(this.mm, addr)}: ${formatFlags(flags)} is marked as duplicated and may change unnoticed`)
    }
    if ((flags & PTE_PRESENT) === 0) return
    const noAccess = (vma.flags & VM_ACCESS_FLAGS) === 0
    if (noAccess && (flags & PTE_PROTNONE) === 0) {
      broken('T-14', `${place(this.mm, addr)}: accessible ${formatFlags(flags)} in ${nameOfVma(vma)}, which is not`)
    }
  }

  /** The zero page, or a frame number without a page. */
  private special(vma: Vma, addr: Addr, flags: number, pfn: Pfn): void {
    if (pfn === this.sys.zeroPfn) {
      if ((flags & PTE_WRITE) !== 0) broken('T-13', `${place(this.mm, addr)}: the zero page is writable`)
    } else if ((vma.flags & (VM_PFNMAP | VM_MIXEDMAP)) === 0) {
      broken('T-22', `${place(this.mm, addr)}: frame number ${pfn} without a page in ${nameOfVma(vma)}`)
    }
  }

  /** An entry that holds a reference: present, device-private or device-exclusive. */
  private mapping(vma: Vma, addr: Addr, flags: number, pfn: Pfn): void {
    const { sys, counts } = this
    const { pages } = sys
    if (!this.isFrame(pfn)) broken('INV-12', `${place(this.mm, addr)}: ${formatFlags(flags)} names frame ${pfn}`)
    if (pfn === sys.zeroPfn) broken('T-13', `${place(this.mm, addr)}: the zero page is not marked special`)
    this.inUse(addr, flags, pfn)
    const present = (flags & PTE_PRESENT) !== 0
    if (present && isDevicePrivatePage(sys, pfn)) {
      broken('DM-8', `${place(this.mm, addr)}: frame ${pfn} is private device memory and present`)
    }
    if (pages.isAnon(pfn)) this.anonymous(vma, addr, flags, pfn)
    else if (present) this.ofFile(vma, addr, pfn)
    else broken('EX-3', `${place(this.mm, addr)}: ${formatFlags(flags)} of frame ${pfn}, which is not anonymous`)
    this.rss[rssKind(sys, pfn)]++
    if (counts === null) return
    if (present || pteKind(flags) === PTE_KIND_DEVICE_PRIVATE) counts.mapped[pfn]++
    counts.references[pages.head(pfn)]++
    counts.users[pfn]++
  }

  private anonymous(vma: Vma, addr: Addr, flags: number, pfn: Pfn): void {
    const { sys } = this
    const { pages } = sys
    if ((flags & PTE_WRITE) !== 0 && (pages.flags[pfn] & PG_ANON_EXCLUSIVE) === 0) {
      broken('INV-3', `${place(this.mm, addr)}: writable ${formatFlags(flags)} of frame ${pfn}, which is not exclusive`)
    }
    const id = pages.mapping[pages.head(pfn)]
    if (!vma.anonVmaChain.some((link) => link.anonVma.id === id)) {
      broken('T-36', `${place(this.mm, addr)}: frame ${pfn} belongs to AnonVma ${id}, ${nameOfVma(vma)} does not`)
    }
    this.atItsIndex(vma, addr, pfn)
  }

  private ofFile(vma: Vma, addr: Addr, pfn: Pfn): void {
    const { pages, mappings } = this.sys
    const id = pages.mapping[pages.head(pfn)]
    if (id === 0) return // a driver's own page
    const mapping = mappings.get(id)
    if (!(mapping instanceof AddressSpace) || vma.file?.mapping !== mapping) {
      broken('T-36', `${place(this.mm, addr)}: frame ${pfn} belongs to file ${id}, ${nameOfVma(vma)} does not map it`)
    }
    this.atItsIndex(vma, addr, pfn)
  }

  private atItsIndex(vma: Vma, addr: Addr, pfn: Pfn): void {
    const { pages } = this.sys
    const head = pages.head(pfn)
    const index = pages.index[head] + (pfn - head)
    if (linearPageIndex(vma, addr) !== index) {
      broken(
        'T-36',
        `${place(this.mm, addr)}: frame ${pfn} has index ${index}, the address is page ${linearPageIndex(vma, addr)}`,
      )
    }
  }

  /** The page is on its way: locked by whoever moves it, and off the LRU (INV-4, INV-6). */
  private migration(addr: Addr, pfn: Pfn, npages: number): void {
    const { pages } = this.sys
    if (!this.isFrame(pfn)) broken('INV-12', `${place(this.mm, addr)}: a migration entry names frame ${pfn}`)
    const head = pages.head(pfn)
    if ((pages.flags[head] & PG_LOCKED) === 0) {
      broken('INV-6', `${place(this.mm, addr)}: migration entry of frame ${pfn}, which nobody is migrating`)
    }
    if ((pages.flags[head] & PG_LRU) !== 0) {
      broken('INV-4', `${place(this.mm, addr)}: frame ${pfn} is migrating and on the LRU`)
    }
    this.inUse(addr, PTE_KIND_MIGRATION, pfn)
    this.rss[rssKind(this.sys, pfn)] += npages
  }

  private swap(addr: Addr, flags: number, slot: number): void {
    const { swap } = this.sys
    if (swap === null || slot < 1 || slot > swap.npages || !(swap.counts[slot] > 0)) {
      broken('CP-55', `${place(this.mm, addr)}: swap entry of slot ${slot}, which is not in use`)
    }
    this.rss[MM_SWAPENTS]++
    if (this.counts === null) return
    const { swapped, swappedExclusive } = this.counts
    swapped.set(slot, (swapped.get(slot) ?? 0) + 1)
    if ((flags & PTE_EXCLUSIVE) !== 0) swappedExclusive.add(slot)
  }

  private isFrame(pfn: Pfn): boolean {
    return pfn < this.sys.pages.nframes
  }

  private inUse(addr: Addr, flags: number, pfn: Pfn): void {
    const { pages } = this.sys
    const head = pages.head(pfn)
    if ((pages.flags[pfn] & PG_ALLOCATED) === 0 || pages.refcount[head] <= 0) {
      broken('INV-12', `${place(this.mm, addr)}: ${formatFlags(flags)} refers to frame ${pfn}, which is free`)
    }
  }
}
