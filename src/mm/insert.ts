// Entries that a driver puts into its own mapping when it is made: ordinary pages (`vm_insert_page`) and raw frame numbers
// (`remap_pfn_range`, `vmf_insert_mixed`). Follows mm/memory.c of Linux 6.1.

import { type Addr, PAGE_SIZE, type Pfn, pteIndex } from '../base/addr.ts'
import { EBUSY, EINVAL } from '../base/errno.ts'
import { getPage } from './page-alloc.ts'
import { PTE_SPECIAL } from './pte.ts'
import { pageAddFileRmap, rssKind } from './rmap.ts'
import { isCowMapping, VM_DONTDUMP, VM_DONTEXPAND, VM_IO, VM_MIXEDMAP, VM_PFNMAP } from './vm-flags.ts'
import { type Vma, vmaProtection } from './vma.ts'

/** Maps an ordinary page and takes a reference on it; the mapping becomes a mixed map. Returns 0, -EINVAL or -EBUSY. */
export function insertPage(vma: Vma, addr: Addr, pfn: Pfn): number {
  const { mm } = vma
  const { sys } = mm
  if (addr < vma.start || addr >= vma.end || sys.pages.refcount[pfn] === 0) return -EINVAL
  vma.flags |= VM_MIXEDMAP
  const err = setEmptyEntry(vma, addr, pfn, 0)
  if (err !== 0) return err
  getPage(sys, pfn)
  mm.rss[rssKind(sys, pfn)]++
  pageAddFileRmap(sys, pfn)
  return 0
}

/** Maps one raw frame number into a mixed map: no page structure, no reference. Returns 0, -EINVAL or -EBUSY. */
export function insertPfnMixed(vma: Vma, addr: Addr, pfn: Pfn): number {
  if (addr < vma.start || addr >= vma.end) return -EINVAL
  vma.flags |= VM_MIXEDMAP
  return setEmptyEntry(vma, addr, pfn, PTE_SPECIAL)
}

/** Maps `npages` raw frame numbers as memory-mapped I/O. A private mapping is mapped as a whole. Returns 0, -EINVAL or -EBUSY. */
export function remapPfnRange(vma: Vma, addr: Addr, pfn: Pfn, npages: number): number {
  const end = addr + npages * PAGE_SIZE
  if (addr < vma.start || end > vma.end) return -EINVAL
  if (isCowMapping(vma.flags)) {
    if (addr !== vma.start || end !== vma.end) return -EINVAL
    vma.pgoff = pfn
  }
  vma.flags |= VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP
  for (let i = 0; i < npages; i++) {
    const err = setEmptyEntry(vma, addr + i * PAGE_SIZE, pfn + i, PTE_SPECIAL)
    if (err !== 0) return err
  }
  return 0
}

function setEmptyEntry(vma: Vma, addr: Addr, pfn: Pfn, flags: number): number {
  const table = vma.mm.pageTable.allocPte(addr)
  const i = pteIndex(addr)
  if (table.words[2 * i + 1] !== 0) return -EBUSY
  table.words[2 * i] = pfn
  table.words[2 * i + 1] = vmaProtection(vma) | flags
  return 0
}
