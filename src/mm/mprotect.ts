// mprotect (mm/mprotect.c of Linux 6.1; spec CP-40 to CP-47).

import {
  type Addr,
  isPageAligned,
  PAGE_SIZE,
  pageAlignUp,
  pgdAddrEnd,
  pmdAddrEnd,
  pmdIndex,
  pteIndex,
  pudAddrEnd,
} from '../base/addr.ts'
import { EACCES, EINVAL, ENOMEM } from '../base/errno.ts'
import { PROT_EXEC, PROT_READ, PROT_WRITE } from '../uapi/mman.ts'
import { populateVmaPageRange } from './gup.ts'
import { changeHugePmd } from './huge-pmd.ts'
import { hugetlbChangeProtection } from './hugetlb.ts'
import type { Mm } from './mm.ts'
import { protToVmFlags } from './mmap.ts'
import {
  MMU_NOTIFY_PROTECTION_VMA,
  MmuNotifierRange,
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from './mmu-notifier.ts'
import type { PmdTable, PteTable } from './pgtable.ts'
import {
  PTE_DIRTY,
  PTE_DUPLICATED,
  PTE_EXCLUSIVE,
  PTE_KIND_DEVICE_EXCLUSIVE,
  PTE_KIND_DEVICE_PRIVATE,
  PTE_KIND_MIGRATION,
  PTE_PRESENT,
  PTE_PROTNONE,
  PTE_SOFT_DIRTY,
  PTE_SPECIAL,
  PTE_WRITE,
  type PteFlags,
  pteKind,
} from './pte.ts'
import { tlbUnmap } from './tlb.ts'
import {
  VM_ACCESS_FLAGS,
  VM_ACCOUNT,
  VM_HUGETLB,
  VM_LOCKED,
  VM_NORESERVE,
  VM_SHARED,
  VM_SOFTDIRTY,
  VM_WRITE,
} from './vm-flags.ts'
import { linearPageIndex, type Vma, vmaProtection } from './vma.ts'
import { changeVmaFlags } from './vma-adjust.ts'

/**
 * Changes what `[start, start + length)` may be used for. Mappings before a hole are changed even if the call fails there.
 *
 * Returns 0, -EINVAL (unaligned, unknown bits in `prot`), -ENOMEM (a hole), -EACCES (the mapping may never have this access).
 */
export function mmMprotect(mm: Mm, start: Addr, length: number, prot: number): number {
  if (!Number.isSafeInteger(start) || !Number.isSafeInteger(length)) return -EINVAL
  if (!isPageAligned(start) || start < 0 || length < 0) return -EINVAL
  if (length === 0) return 0
  if ((prot & ~(PROT_READ | PROT_WRITE | PROT_EXEC)) !== 0 || !Number.isInteger(prot)) return -EINVAL
  const end = start + pageAlignUp(length)
  let vma = mm.vmaLookup(start)
  if (vma === null) return -ENOMEM
  let prev: Vma | null = start > vma.start ? vma : mm.prevVma(vma)
  for (let at = start; ; ) {
    const newFlags = protToVmFlags(prot) | (vma.flags & ~VM_ACCESS_FLAGS)
    if ((newFlags & ~(newFlags >> 4) & VM_ACCESS_FLAGS) !== 0) return -EACCES
    const to = Math.min(vma.end, end)
    const changed = mprotectFixup(vma, prev, at, to, newFlags)
    if (typeof changed === 'number') return changed
    prev = changed
    at = Math.max(to, changed.end)
    if (at >= end) return 0
    const next = mm.findVma(changed.end)
    if (next === null || next.start !== at) return -ENOMEM
    vma = next
  }
}

function mprotectFixup(vma: Vma, prev: Vma | null, start: Addr, end: Addr, requested: number): Vma | number {
  const oldFlags = vma.flags
  if (requested === oldFlags) return vma
  let newFlags = requested
  const countable = VM_ACCOUNT | VM_WRITE | VM_HUGETLB | VM_SHARED | VM_NORESERVE
  if ((newFlags & VM_WRITE) !== 0 && (oldFlags & countable) === 0) newFlags |= VM_ACCOUNT
  const changed = changeVmaFlags(vma, prev, start, end, newFlags, linearPageIndex(vma, start))
  if (typeof changed === 'number') return changed
  changeProtection(changed, start, end)
  const lockedBecomesWritable =
    (oldFlags & (VM_WRITE | VM_SHARED | VM_LOCKED)) === VM_LOCKED && (newFlags & VM_WRITE) !== 0
  if (lockedBecomesWritable) populateVmaPageRange(changed, start, end)
  return changed
}

/** Brings the entries of `[start, end)` in line with the mapping's flags, one event per 1 GiB that has tables (MN-65). */
export function changeProtection(vma: Vma, start: Addr, end: Addr): void {
  if ((vma.flags & VM_HUGETLB) !== 0) {
    hugetlbChangeProtection(vma, start, end)
    return
  }
  const { pageTable } = vma.mm
  for (let addr = start; addr < end; ) {
    if (pageTable.findPud(addr) === null) {
      addr = pgdAddrEnd(addr, end)
      continue
    }
    const next = pudAddrEnd(addr, end)
    const pmd = pageTable.findPmd(addr)
    if (pmd !== null) changePmdRange(vma, pmd, addr, next)
    addr = next
  }
}

function changePmdRange(vma: Vma, pmd: PmdTable, start: Addr, end: Addr): void {
  let range: MmuNotifierRange | null = null
  for (let addr = start; addr < end; ) {
    const next = pmdAddrEnd(addr, end)
    const slot = pmdIndex(addr)
    if (!pmd.isNone(slot)) {
      if (range === null) {
        range = new MmuNotifierRange(MMU_NOTIFY_PROTECTION_VMA, vma, vma.mm, addr, end)
        mmuNotifierInvalidateRangeStart(range)
        tlbUnmap(vma.mm, addr, end)
      }
      if (pmd.hugeFlags(slot) === 0 || !changeHugePmd(vma, pmd, slot, addr, next)) {
        const table = pmd.tables[slot]
        if (table !== null) changePteRange(vma, table, addr, next)
      }
    }
    addr = next
  }
  if (range !== null) mmuNotifierInvalidateRangeEnd(range)
}

function changePteRange(vma: Vma, table: PteTable, start: Addr, end: Addr): void {
  const { words } = table
  const { pages } = vma.mm.sys
  const first = pteIndex(start)
  const npages = (end - start) / PAGE_SIZE
  for (let i = first; i < first + npages; i++) {
    const flags = words[2 * i + 1]
    if (flags === 0) continue
    if ((flags & PTE_PRESENT) !== 0) {
      words[2 * i + 1] = presentWithProtection(vma, flags, words[2 * i])
      continue
    }
    if ((flags & PTE_WRITE) === 0) continue
    switch (pteKind(flags)) {
      case PTE_KIND_MIGRATION:
        words[2 * i + 1] = (flags & ~PTE_WRITE) | (pages.isAnon(words[2 * i]) ? PTE_EXCLUSIVE : 0)
        break
      case PTE_KIND_DEVICE_PRIVATE:
      case PTE_KIND_DEVICE_EXCLUSIVE:
        words[2 * i + 1] = flags & ~PTE_WRITE
        break
    }
  }
}

/** The entry with the protection of the mapping, writable at once where a write fault would do nothing else (CP-41). */
export function presentWithProtection(vma: Vma, flags: PteFlags, pfn: number): PteFlags {
  const changed = (flags & ~(PTE_WRITE | PTE_PROTNONE)) | vmaProtection(vma)
  if ((vma.flags & VM_WRITE) === 0) return changed
  // A marked page becomes writable by a fault only: it tells those who hold duplicates (share.ts).
  if ((changed & (PTE_DIRTY | PTE_SPECIAL | PTE_DUPLICATED)) !== PTE_DIRTY) return changed
  if ((vma.flags & VM_SOFTDIRTY) === 0 && (changed & PTE_SOFT_DIRTY) === 0) return changed
  if ((vma.flags & VM_SHARED) !== 0) return changed | PTE_WRITE
  const { pages } = vma.mm.sys
  return pages.isAnon(pfn) && pages.isAnonExclusive(pfn) ? changed | PTE_WRITE : changed
}
