// Faults on neighbouring pages that are all there: who is given a range, page by page, causes one for each. What such a fault does is
// in its entry alone (the present entries of `handle_pte_fault`, and the pages that `do_wp_page` reuses, mm/memory.c of Linux 6.1), so
// it is done in one loop over the entries of a table. fault.ts has all the others.

import { type Addr, PAGE_SIZE, pmdAddrEnd, pteIndex } from '../base/addr.ts'
import { alikeFrames } from './frame-runs.ts'
import { PG_ANON, PG_ANON_EXCLUSIVE, PG_HEAD, PG_TAIL } from './page.ts'
import {
  PTE_DUPLICATED,
  PTE_MKDIRTY,
  PTE_PRESENT,
  PTE_PROTNONE,
  PTE_SPECIAL,
  PTE_WRITE,
  PTE_YOUNG,
  pteRun,
  setPteFlags,
} from './pte.ts'
import { tlbInstallRun } from './tlb.ts'
import { FAULT_FLAG_UNSHARE, FAULT_FLAG_WRITE } from './vm-fault.ts'
import { VM_HUGETLB, VM_WRITE } from './vm-flags.ts'
import type { Vma } from './vma.ts'

/** A small page that one process has for itself. */
const EXCLUSIVE = PG_ANON | PG_ANON_EXCLUSIVE

/**
 * Does what `handleMmFault` does for each page from `start` on, up to the first one, or the end of a table, for which that is more than a
 * change of its entry. The same preconditions; `[start, end)` lies in the mapping and is page aligned.
 *
 * Returns where it stopped: `start` if there was nothing to do for it.
 */
export function handlePresentFaults(vma: Vma, start: Addr, end: Addr, flags: number): Addr {
  const { mm } = vma
  const { sys, pageTable } = mm
  const isSimple = (vma.flags & VM_HUGETLB) === 0 && (flags & FAULT_FLAG_UNSHARE) === 0 && sys.thp === 'never'
  const table = isSimple && !pageTable.hasHuge ? pageTable.findPte(start) : null
  if (table === null) return start
  const { words } = table
  const { flags: pageFlags } = sys.pages
  const write = (flags & FAULT_FLAG_WRITE) !== 0
  const isMappedForWriting = (vma.flags & VM_WRITE) !== 0
  const set = write ? PTE_YOUNG | PTE_MKDIRTY : PTE_YOUNG
  const first = pteIndex(start)
  const npages = (pmdAddrEnd(start, end) - start) / PAGE_SIZE
  let n = 0
  for (let run = 1; n < npages; n += run) {
    const pfn = words[2 * (first + n)]
    let entry = words[2 * (first + n) + 1]
    if ((entry & (PTE_PRESENT | PTE_PROTNONE)) !== PTE_PRESENT) break
    run = pteRun(words, first + n, npages - n)
    if (write && (entry & PTE_WRITE) === 0) {
      // A marked page ends its duplicates first, and one that others may have is copied or taken over.
      if ((entry & (PTE_SPECIAL | PTE_DUPLICATED)) !== 0 || !isMappedForWriting) break
      if ((pageFlags[pfn] & (EXCLUSIVE | PG_HEAD | PG_TAIL)) !== EXCLUSIVE) break
      run = alikeFrames(pageFlags, pfn, run)
      entry |= PTE_WRITE
    }
    setPteFlags(words, first + n, run, entry | set)
  }
  if (n > 0) tlbInstallRun(mm, start, table, first, n)
  return start + n * PAGE_SIZE
}
