// The CPU of the simulated machine: turns a virtual address into a frame by walking the page table, as the hardware does, and
// sets the accessed and dirty bits on the way. Follows the four-level walk of x86-64. It differs in that it keeps nothing: no
// TLB, so there is nothing to flush, and an entry that mm changed counts from the next access on.

import { type Addr, addrToVpn, HPAGE_PMD_NR, type Pfn, pmdIndex, pteIndex } from '../base/addr.ts'
import type { PageTable } from '../mm/pgtable.ts'
import { PTE_DIRTY, PTE_HUGE, PTE_PRESENT, PTE_PROTNONE, PTE_WRITE, PTE_YOUNG } from '../mm/pte.ts'

/** The access raises a page fault: nothing there, or no permission. */
export const PAGE_FAULT = -1

/** The frame behind `addr`, or PAGE_FAULT. A successful walk marks the entry as used, and as dirty if the access writes. */
export function translate(pageTable: PageTable, addr: Addr, write: boolean): Pfn {
  const table = pageTable.findPte(addr)
  if (table !== null) {
    const i = 2 * pteIndex(addr)
    const words = table.words
    const flags = touch(words[i + 1], write)
    if (flags === 0) return PAGE_FAULT
    words[i + 1] = flags
    return words[i]
  }
  const huge = pageTable.findPmd(addr)?.huge ?? null
  if (huge === null) return PAGE_FAULT
  const i = 2 * pmdIndex(addr)
  if ((huge[i + 1] & PTE_HUGE) === 0) return PAGE_FAULT
  const flags = touch(huge[i + 1], write)
  if (flags === 0) return PAGE_FAULT
  huge[i + 1] = flags
  return huge[i] + (addrToVpn(addr) % HPAGE_PMD_NR)
}

/** The flags of an entry after an access through it; 0 if it does not allow the access. */
function touch(flags: number, write: boolean): number {
  if ((flags & (PTE_PRESENT | PTE_PROTNONE)) !== PTE_PRESENT) return 0
  if (!write) return flags | PTE_YOUNG
  return (flags & PTE_WRITE) !== 0 ? flags | PTE_YOUNG | PTE_DIRTY : 0
}
