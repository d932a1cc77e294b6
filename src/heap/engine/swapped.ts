// What an engine has to know about pages in swap: which could not be read back, and whether any are on their way.

import { type Addr, addrToVpn, PAGE_SIZE, pteIndex } from '../../base/addr.ts'
import { EBADMSG, ESTALE, errnoName, hasErrnoName } from '../../base/errno.ts'
import type { Mm } from '../../mm/mm.ts'
import { PTE_KIND_SWAP, pteKind, ptePresent } from '../../mm/pte.ts'
import { isInFlight } from '../../mm/swap-io.ts'
import type { System } from '../../mm/system.ts'

/** The first page of `[start, end)` whose contents in swap are lost, and why, as a phrase; null if there is none. */
export function lostInSwap(mm: Mm, start: Addr, end: Addr): { readonly addr: Addr; readonly why: string } | null {
  const { swap } = mm.sys
  if (swap === null || swap.lost.size === 0) return null
  for (let addr = start; addr < end; addr += PAGE_SIZE) {
    const slot = swapSlotAt(mm, addr)
    const err = slot < 0 ? undefined : swap.lost.get(slot)
    if (err !== undefined) return { addr, why: explain(err) }
  }
  return null
}

/** The entry of a page says that it is in swap. */
export function isSwapped(mm: Mm, addr: Addr): boolean {
  return swapSlotAt(mm, addr) >= 0
}

/** The page is in swap, and its contents are in memory too: a fault on it waits for nobody. */
export function isSwapCached(mm: Mm, addr: Addr): boolean {
  const pfn = mm.sys.swap?.cache.get(swapSlotAt(mm, addr))
  return pfn !== undefined && !isInFlight(mm.sys, pfn)
}

/** Resolves when nothing that was at the address is on its way to or from swap; null if that is so now. For pages with home frames. */
export function whenSwapIdle(sys: System, start: Addr, end: Addr): Promise<void> | null {
  const { swap } = sys
  if (swap === null || !isBusy(sys, start, end)) return null
  const wait = async (): Promise<void> => {
    while (isBusy(sys, start, end)) await swap.progress.promise()
  }
  return wait()
}

function isBusy(sys: System, start: Addr, end: Addr): boolean {
  if (sys.swap === null || sys.swap.ninFlight === 0) return false
  for (let pfn = addrToVpn(start); pfn < addrToVpn(end); pfn++) if (isInFlight(sys, pfn)) return true
  return false
}

function swapSlotAt(mm: Mm, addr: Addr): number {
  const table = mm.pageTable.findPte(addr)
  if (table === null) return -1
  const i = pteIndex(addr)
  const flags = table.words[2 * i + 1]
  return flags !== 0 && !ptePresent(flags) && pteKind(flags) === PTE_KIND_SWAP ? table.words[2 * i] : -1
}

function explain(err: number): string {
  if (err === -EBADMSG) return 'what the swap file has of it is not what was written'
  if (err === -ESTALE) return 'its file was changed after it was mapped'
  return `reading it back failed with ${hasErrnoName(err) ? errnoName(err) : `error ${-err}`}`
}
