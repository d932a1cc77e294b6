// Entries that a driver puts into its own mapping when it is made: ordinary pages (`vm_insert_page`) and raw frame numbers
// (`remap_pfn_range`, `vmf_insert_mixed`). Follows mm/memory.c of Linux 6.1.

import { type Addr, isPageAligned, PAGE_SIZE, type Pfn, pteIndex } from '../base/addr.ts'
import { EBUSY, EFAULT, EINVAL } from '../base/errno.ts'
import { PG_TAIL } from './page.ts'
import { getPage } from './page-alloc.ts'
import { PTE_SPECIAL } from './pte.ts'
import { pageAddFileRmap, rssKind } from './rmap.ts'
import { isCowMapping, VM_DONTDUMP, VM_DONTEXPAND, VM_IO, VM_MIXEDMAP, VM_PFNMAP } from './vm-flags.ts'
import { type Vma, vmaProtection } from './vma.ts'

/** Frame numbers have 32 bits in an entry. */
const PFN_END = 2 ** 32

/**
 * Maps an ordinary page and takes a reference on it; the mapping becomes a mixed map.
 *
 * Returns 0, -EFAULT (no page of the mapping), -EINVAL (the frame is free, anonymous memory, or a part of a page; the mapping is one
 * of raw frames) or -EBUSY (something is there).
 */
export function insertPage(vma: Vma, addr: Addr, pfn: Pfn): number {
  const { mm } = vma
  const { sys } = mm
  const { pages } = sys
  if (!isPageOf(vma, addr)) return -EFAULT
  if (!(pages.refcount[pfn] > 0) || pages.isAnon(pfn) || (pages.flags[pfn] & PG_TAIL) !== 0) return -EINVAL
  if ((vma.flags & VM_PFNMAP) !== 0) return -EINVAL
  const err = setEmptyEntry(vma, addr, pfn, 0)
  if (err !== 0) return err
  vma.flags |= VM_MIXEDMAP
  getPage(sys, pfn)
  mm.rss[rssKind(sys, pfn)]++
  pageAddFileRmap(sys, pfn)
  return 0
}

/**
 * Maps one raw frame number into a mixed map: no page structure, no reference.
 *
 * Returns 0, -EFAULT (no page of the mapping), -EINVAL (no frame number) or -EBUSY (something is there).
 */
export function insertPfnMixed(vma: Vma, addr: Addr, pfn: Pfn): number {
  if (!isPageOf(vma, addr)) return -EFAULT
  if (!isPfn(pfn)) return -EINVAL
  const err = setEmptyEntry(vma, addr, pfn, PTE_SPECIAL)
  if (err === 0) vma.flags |= VM_MIXEDMAP
  return err
}

/**
 * Maps `npages` raw frame numbers as memory-mapped I/O, all or none. A private mapping is mapped as a whole.
 *
 * Returns 0, -EINVAL (not in the mapping, not all of a private one, no frame numbers) or -EBUSY (something is there).
 */
export function remapPfnRange(vma: Vma, addr: Addr, pfn: Pfn, npages: number): number {
  if (!Number.isSafeInteger(npages) || npages <= 0 || !isPageOf(vma, addr)) return -EINVAL
  if (!isPfn(pfn) || !isPfn(pfn + npages - 1)) return -EINVAL
  const end = addr + npages * PAGE_SIZE
  if (end > vma.end) return -EINVAL
  const isCow = isCowMapping(vma.flags)
  if (isCow && (addr !== vma.start || end !== vma.end)) return -EINVAL
  for (let at = addr; at < end; at += PAGE_SIZE) {
    const table = vma.mm.pageTable.findPte(at)
    if (table !== null && table.words[2 * pteIndex(at) + 1] !== 0) return -EBUSY
  }
  if (isCow) vma.pgoff = pfn
  vma.flags |= VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP
  for (let i = 0; i < npages; i++) setEmptyEntry(vma, addr + i * PAGE_SIZE, pfn + i, PTE_SPECIAL)
  return 0
}

function isPageOf(vma: Vma, addr: Addr): boolean {
  return addr >= vma.start && addr < vma.end && isPageAligned(addr)
}

function isPfn(pfn: Pfn): boolean {
  return Number.isInteger(pfn) && pfn >= 0 && pfn < PFN_END
}

function setEmptyEntry(vma: Vma, addr: Addr, pfn: Pfn, flags: number): number {
  const table = vma.mm.pageTable.allocPte(addr)
  const i = pteIndex(addr)
  if (table.words[2 * i + 1] !== 0) return -EBUSY
  table.words[2 * i] = pfn
  table.words[2 * i + 1] = vmaProtection(vma) | flags
  return 0
}
