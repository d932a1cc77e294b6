// Soft-dirty bits: which pages were written since somebody asked last, for checkpoints and debuggers that copy only those.
// Follows `clear_refs_write` and the soft-dirty part of fs/proc/task_mmu.c, Linux 6.1 (spec MN-77, CP-78).
//
// Clearing takes write permission away everywhere, so that the next write is a fault, and the fault leaves the bit in the
// entry; dumpSoftDirty (dump.ts) shows it. A mapping that is newer than the last clearing counts as written as a whole (VM_SOFTDIRTY). As in Linux a page
// that is on a device or migrating meanwhile comes back writable if it was: what is written then goes unnoticed.

import { type Addr, PAGE_SIZE, pgdAddrEnd, pmdAddrEnd, pmdIndex, pteIndex, pudAddrEnd } from '../base/addr.ts'
import type { Mm } from './mm.ts'
import {
  ADDR_MAX,
  MMU_NOTIFY_SOFT_DIRTY,
  MmuNotifierRange,
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from './mmu-notifier.ts'
import type { PmdTable, PteTable } from './pgtable.ts'
import { PTE_PRESENT, PTE_SOFT_DIRTY, PTE_SPECIAL, PTE_WRITE } from './pte.ts'
import { tlbProtect } from './tlb.ts'
import { isCowMapping, VM_HUGETLB, VM_PFNMAP, VM_SOFTDIRTY } from './vm-flags.ts'
import type { Vma } from './vma.ts'

/**
 * Forgets which pages were written (a 4 written to /proc/PID/clear_refs), under one SOFT_DIRTY event over everything. Pages
 * that may be pinned for DMA keep their bit and their permission: they can be written at any time. The caller holds mmapLock
 * for writing.
 */
export function clearSoftDirty(mm: Mm): void {
  for (const vma of mm.vmas) vma.flags &= ~VM_SOFTDIRTY
  const range = new MmuNotifierRange(MMU_NOTIFY_SOFT_DIRTY, null, mm, 0, ADDR_MAX)
  mmuNotifierInvalidateRangeStart(range)
  for (const vma of mm.vmas) if ((vma.flags & (VM_PFNMAP | VM_HUGETLB)) === 0) clearVma(vma)
  mmuNotifierInvalidateRangeEnd(range)
}

function clearVma(vma: Vma): void {
  const { mm, end } = vma
  const { pageTable } = mm
  for (let addr = vma.start; addr < end; ) {
    if (pageTable.findPud(addr) === null) {
      addr = pgdAddrEnd(addr, end)
      continue
    }
    const pmd = pageTable.findPmd(addr)
    if (pmd === null) {
      addr = pudAddrEnd(addr, end)
      continue
    }
    const next = pmdAddrEnd(addr, end)
    clearBlock(vma, pmd, addr, next)
    addr = next
  }
}

function clearBlock(vma: Vma, pmd: PmdTable, start: Addr, end: Addr): void {
  const slot = pmdIndex(start)
  const huge = pmd.hugeFlags(slot)
  const table = pmd.tables[slot]
  if (huge === 0 && table === null) return
  tlbProtect(vma.mm, start, end)
  if (huge !== 0) pmd.setHuge(slot, cleared(huge), pmd.hugePfn(slot))
  else if (table !== null) clearPteRange(vma, table, pteIndex(start), (end - start) / PAGE_SIZE)
}

function clearPteRange(vma: Vma, { words }: PteTable, first: number, npages: number): void {
  const mayBePinned = vma.mm.hasPinned && isCowMapping(vma.flags)
  for (let i = first; i < first + npages; i++) {
    const flags = words[2 * i + 1]
    if (flags === 0) continue
    if (mayBePinned && isPinned(vma, flags, words[2 * i])) continue
    words[2 * i + 1] = cleared(flags)
  }
}

/** Only present entries lose write permission. */
function cleared(flags: number): number {
  return flags & ~((flags & PTE_PRESENT) !== 0 ? PTE_WRITE | PTE_SOFT_DIRTY : PTE_SOFT_DIRTY)
}

function isPinned(vma: Vma, flags: number, pfn: number): boolean {
  return (flags & (PTE_PRESENT | PTE_SPECIAL)) === PTE_PRESENT && vma.mm.sys.pages.maybeDmaPinned(pfn)
}
