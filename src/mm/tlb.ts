// Keeps the MMU backend in step with mm's page table. A backend that walks the page table itself (simulated) needs nothing:
// its CPU sets the dirty and young bits in our entries. For the others the translations they hold are like a TLB: an entry
// is handed over when a fault completes, and taken away, with its dirty bit, before mm changes it.

import { type Addr, HPAGE_PMD_NR, PAGE_SIZE, pmdAddrEnd, pmdIndex, pteIndex } from '../base/addr.ts'
import { makeByteSet } from '../base/byte-set.ts'
import type { Mm } from './mm.ts'
import type { PmdTable, PteTable } from './pgtable.ts'
import { PTE_DIRTY, PTE_DUPLICATED, PTE_PRESENT, PTE_PROTNONE, PTE_WRITE, pteRun } from './pte.ts'

/**
 * Takes the translations of `[start, end)` away from the CPU and collects their dirty bits in the entries. Afterwards no
 * store can happen there until a fault completes again.
 */
export function tlbUnmap(mm: Mm, start: Addr, end: Addr): void {
  const { mmu } = mm.sys
  if (mmu.capabilities.walksPageTable) return
  const npages = (end - start) / PAGE_SIZE
  const dirty = bitsFor(npages)
  mmu.unmap(mm.space, start, npages, dirty)
  mergeDirty(mm, start, npages, dirty)
}

/** Takes write permission away in `[start, end)` and collects dirty bits. */
export function tlbProtect(mm: Mm, start: Addr, end: Addr): void {
  const { mmu } = mm.sys
  if (mmu.capabilities.walksPageTable) return
  const npages = (end - start) / PAGE_SIZE
  const dirty = bitsFor(npages)
  mmu.protect(mm.space, start, npages, dirty)
  mergeDirty(mm, start, npages, dirty)
}

/**
 * Collects dirty bits in `[start, end)` while the CPU goes on writing; only `collectWrites` may do that. Returns them, a byte for each
 * page and more behind them, until the next call from here; null where every store to a page that matters is a fault.
 */
export function tlbCollectDirty(mm: Mm, start: Addr, end: Addr): Uint8Array | null {
  const { mmu } = mm.sys
  if (mmu.capabilities.walksPageTable) return null
  const npages = (end - start) / PAGE_SIZE
  const dirty = bitsFor(npages)
  mmu.collectDirty(mm.space, start, npages, dirty)
  mergeDirty(mm, start, npages, dirty, true)
  return dirty
}

/**
 * Hands the entry to the CPU after a fault. Where nobody traps, nobody sees a store either: there a writable entry is handed
 * over for reading until a write fault has made it dirty, as on hardware without dirty bits.
 */
export function tlbInstall(mm: Mm, addr: Addr, table: PteTable, index: number): void {
  tlbInstallRun(mm, addr, table, index, 1)
}

/** The same for neighbouring entries of a table, in as few calls as their frames lie in runs. `addr` is where the first one is. */
export function tlbInstallRun(mm: Mm, addr: Addr, table: PteTable, first: number, npages: number): void {
  const { mmu } = mm.sys
  if (mmu.capabilities.walksPageTable) return
  const { words } = table
  const { traps } = mmu.capabilities
  for (let k = 0; k < npages; ) {
    const pfn = words[2 * (first + k)]
    const flags = words[2 * (first + k) + 1]
    const next = k + pteRun(words, first + k, npages - k)
    if ((flags & (PTE_PRESENT | PTE_PROTNONE)) === PTE_PRESENT) {
      const writable = (flags & PTE_WRITE) !== 0 && (traps || (flags & PTE_DIRTY) !== 0)
      mmu.install(mm.space, addr + k * PAGE_SIZE, pfn, next - k, writable)
    }
    k = next
  }
}

/** Hands a huge entry to the CPU; `start` is where its 2 MiB begin. */
export function tlbInstallHuge(mm: Mm, start: Addr, pmd: PmdTable, slot: number): void {
  const { mmu } = mm.sys
  if (mmu.capabilities.walksPageTable) return
  const flags = pmd.hugeFlags(slot)
  if ((flags & (PTE_PRESENT | PTE_PROTNONE)) !== PTE_PRESENT) return
  mmu.install(mm.space, start, pmd.hugePfn(slot), HPAGE_PMD_NR, (flags & PTE_WRITE) !== 0)
}

/** Room for so many dirty bits. Mostly it is about a page or a table, very often; the backend never calls us back. */
function bitsFor(npages: number): Uint8Array {
  if (npages <= few.length) return few.fill(0, 0, npages)
  if (npages > many.length) many = makeByteSet(2 * npages)
  return many.fill(0, 0, npages)
}

const few = makeByteSet(512)
let many = few

/** With `isTold` the caller tells of every page; else somebody may have to later. */
function mergeDirty(mm: Mm, start: Addr, npages: number, dirty: Uint8Array, isTold = false): void {
  let table: PteTable | null = null
  let tableEnd = 0
  for (let i = nextDirty(dirty, 0); i >= 0 && i < npages; i = nextDirty(dirty, i)) {
    const addr = start + i * PAGE_SIZE
    if (addr >= tableEnd) {
      table = mm.pageTable.findPte(addr)
      tableEnd = pmdAddrEnd(addr, Number.POSITIVE_INFINITY)
    }
    if (table === null) {
      if (mm.pageTable.hasHuge) mergeHugeDirty(mm, addr)
      i++
      continue
    }
    const { words } = table
    const stop = Math.min(npages, i + (tableEnd - addr) / PAGE_SIZE) | 0
    let seen = 0
    for (let w = 2 * pteIndex(addr) + 1; i < stop && dirty[i] === 1; i++, w += 2) {
      const flags = words[w]
      if ((flags & PTE_PRESENT) === 0) continue
      words[w] = flags | PTE_DIRTY
      seen |= flags
    }
    if ((seen & PTE_DUPLICATED) !== 0 && !isTold) table.hasUntold = true
  }
}

/** The first page from `from` on that is dirty, -1 for none. Few are, or neighbours: those take no search. */
export function nextDirty(dirty: Uint8Array, from: number): number {
  return dirty[from] === 1 ? from : dirty.indexOf(1, from)
}

function mergeHugeDirty(mm: Mm, addr: Addr): void {
  const pmd = mm.pageTable.findPmd(addr)
  const slot = pmdIndex(addr)
  const flags = pmd === null ? 0 : pmd.hugeFlags(slot)
  if (pmd !== null && (flags & PTE_PRESENT) !== 0) pmd.setHuge(slot, flags | PTE_DIRTY, pmd.hugePfn(slot))
}
