// What the CPU page table holds for one address, small and huge entries alike. For the few places of the mirror layer that
// look at single pages; ranges are read through hmmRangeFault.

import { type Addr, type Pfn, pmdIndex, pteIndex } from '../../base/addr.ts'
import type { Mm } from '../../mm/mm.ts'
import { PTE_SPECIAL, type PteFlags, pteNamesFrame, ptePresent } from '../../mm/pte.ts'

/** Flags of the entry for `addr`, 0 if there is none (pte.ts). */
export function cpuEntryFlags(mm: Mm, addr: Addr): PteFlags {
  const table = mm.pageTable.findPte(addr)
  if (table !== null) return table.words[2 * pteIndex(addr) + 1]
  return mm.pageTable.findPmd(addr)?.hugeFlags(pmdIndex(addr)) ?? 0
}

/** Frame that the entry for `addr` names, whatever the CPU may do with it; -1 for none (empty, swap). */
export function cpuEntryFrame(mm: Mm, addr: Addr): Pfn {
  const flags = cpuEntryFlags(mm, addr)
  if (!ptePresent(flags) && !pteNamesFrame(flags)) return -1
  const table = mm.pageTable.findPte(addr)
  if (table !== null) return table.words[2 * pteIndex(addr)]
  return (mm.pageTable.findPmd(addr)?.hugePfn(pmdIndex(addr)) ?? 0) + pteIndex(addr)
}

/** The same if a page stands behind it; -1 for the zero page and raw frame numbers too. */
export function cpuEntryPage(mm: Mm, addr: Addr): Pfn {
  const flags = cpuEntryFlags(mm, addr)
  return ptePresent(flags) && (flags & PTE_SPECIAL) !== 0 ? -1 : cpuEntryFrame(mm, addr)
}
