// The page table of one address space: four levels of 512 slots, as on x86-64. Tables are made on first use and freed when
// no mapping is left in the region that they cover (`free_pgtables`, mm/memory.c of Linux 6.1), which is visible: a range
// fault treats a missing table as one hole, mprotect passes it by without an event.
//
//   PgdTable 512 GiB ──> PudTable 1 GiB ──> PmdTable 2 MiB ──> PteTable 4 KiB
//                                           or a huge entry

import {
  type Addr,
  PGDIR_SIZE,
  PMD_SIZE,
  PUD_SIZE,
  pgdAlignDown,
  pgdIndex,
  pmdAlignDown,
  pmdIndex,
  pudAlignDown,
  pudIndex,
} from '../base/addr.ts'

/** 512 entries, two words each: see pte.ts. */
export class PteTable {
  readonly words = new Uint32Array(1024)
  /** Duplicated entries may have become dirty without anybody being told (share.ts). */
  hasUntold = false
}

export class PmdTable {
  readonly tables: (PteTable | null)[] = new Array(512).fill(null)
  /** Huge and huge-migration entries, in the words of pte.ts; made when the first one is set. */
  huge: Uint32Array | null = null

  hugeFlags(index: number): number {
    return this.huge === null ? 0 : this.huge[2 * index + 1]
  }

  hugePfn(index: number): number {
    return this.huge === null ? 0 : this.huge[2 * index]
  }

  setHuge(index: number, flags: number, pfn: number): void {
    if (this.huge === null) this.huge = new Uint32Array(1024)
    this.huge[2 * index] = pfn
    this.huge[2 * index + 1] = flags
  }

  isNone(index: number): boolean {
    return this.tables[index] === null && this.hugeFlags(index) === 0
  }
}

export class PudTable {
  readonly pmds: (PmdTable | null)[] = new Array(512).fill(null)
}

export class PageTable {
  readonly puds: (PudTable | null)[] = new Array(512).fill(null)
  /** Last-level tables in existence. */
  npteTables = 0
  /** A huge entry was set once; without one, faults need not look for it. */
  hasHuge = false
  // The table that the last look-up found: faults and walks go through neighbouring addresses.
  private cachedBase = -1
  private cachedTable: PteTable | null = null

  findPud(addr: Addr): PudTable | null {
    return this.puds[pgdIndex(addr)]
  }

  findPmd(addr: Addr): PmdTable | null {
    const pud = this.puds[pgdIndex(addr)]
    return pud === null ? null : pud.pmds[pudIndex(addr)]
  }

  /** Last-level table of the address, null if it is missing or the slot holds a huge entry. */
  findPte(addr: Addr): PteTable | null {
    const base = pmdAlignDown(addr)
    if (base === this.cachedBase) return this.cachedTable
    const pmd = this.findPmd(addr)
    if (pmd === null) return null
    const table = pmd.tables[pmdIndex(addr)]
    if (table !== null) {
      this.cachedBase = base
      this.cachedTable = table
    }
    return table
  }

  allocPmd(addr: Addr): PmdTable {
    const i = pgdIndex(addr)
    let pud = this.puds[i]
    if (pud === null) {
      pud = new PudTable()
      this.puds[i] = pud
    }
    const j = pudIndex(addr)
    let pmd = pud.pmds[j]
    if (pmd === null) {
      pmd = new PmdTable()
      pud.pmds[j] = pmd
    }
    return pmd
  }

  /** Last-level table of the address, made if it is missing. The slot must not hold a huge entry. */
  allocPte(addr: Addr): PteTable {
    const found = this.findPte(addr)
    if (found !== null) return found
    const table = new PteTable()
    this.allocPmd(addr).tables[pmdIndex(addr)] = table
    this.npteTables++
    return table
  }

  /** Puts a ready table into an empty slot (the split of a huge entry). */
  setPteTable(pmd: PmdTable, index: number, table: PteTable): void {
    pmd.tables[index] = table
    this.npteTables++
  }

  /** Takes the last-level table out of its slot, entries and all. */
  clearPteTable(pmd: PmdTable, index: number): void {
    if (pmd.tables[index] === null) return
    pmd.tables[index] = null
    this.npteTables--
    this.cachedBase = -1
    this.cachedTable = null
  }

  /**
   * Frees the tables that only served `[addr, end)`: `floor` and `ceiling` are the end of the mapping before and the start of
   * the mapping after (0 for none). A table goes when its whole region lies between them.
   */
  free(addr: Addr, end: Addr, floor: Addr, ceiling: Addr): void {
    const top = ceiling === 0 ? Number.POSITIVE_INFINITY : ceiling
    let from = pmdAlignDown(addr)
    if (from < floor) from += PMD_SIZE
    const pmdTop = top === Number.POSITIVE_INFINITY ? top : pmdAlignDown(top)
    let to = end
    if (to > pmdTop) to -= PMD_SIZE
    if (from >= to) return
    for (let at = from; at < to; ) {
      const pgdEnd = Math.min(pgdAlignDown(at) + PGDIR_SIZE, to)
      const pud = this.puds[pgdIndex(at)]
      if (pud !== null) {
        this.freePuds(pud, at, pgdEnd, floor, pmdTop)
        if (regionIsFree(at, pgdEnd, PGDIR_SIZE, floor, pmdTop)) this.puds[pgdIndex(at)] = null
      }
      at = pgdEnd
    }
  }

  private freePuds(pud: PudTable, addr: Addr, end: Addr, floor: Addr, top: Addr): void {
    for (let at = addr; at < end; ) {
      const pudEnd = Math.min(pudAlignDown(at) + PUD_SIZE, end)
      const pmd = pud.pmds[pudIndex(at)]
      if (pmd !== null) {
        for (let block = at; block < pudEnd; block = pmdAlignDown(block) + PMD_SIZE) {
          this.clearPteTable(pmd, pmdIndex(block))
        }
        if (regionIsFree(at, pudEnd, PUD_SIZE, floor, top)) pud.pmds[pudIndex(at)] = null
      }
      at = pudEnd
    }
  }
}

/** No other mapping lies in the aligned region of `size` bytes around `[addr, end)`. */
function regionIsFree(addr: Addr, end: Addr, size: number, floor: Addr, top: Addr): boolean {
  if (addr - (addr % size) < floor) return false
  const limit = top === Number.POSITIVE_INFINITY ? top : top - (top % size)
  return end <= limit
}
