// Where the pages of a heap are, as mm's page table and the backend have it.

import { type Addr, PAGE_SIZE, pteIndex } from '../../base/addr.ts'
import { pagemapOf } from '../../mm/memremap.ts'
import type { Mm } from '../../mm/mm.ts'
import { PTE_KIND_DEVICE_PRIVATE, PTE_KIND_MIGRATION, pteKind, ptePresent } from '../../mm/pte.ts'
import type { HeapBackend } from './backend.ts'
import type { EngineDevice } from './device.ts'
import { entryFlags } from './hand-over.ts'
import type { Place, PlaceRun } from './protocol.ts'
import { isSwapCached, isSwapped } from './swapped.ts'

export class Places {
  readonly #mm: Mm
  readonly #backend: HeapBackend
  readonly #devices: readonly EngineDevice[]

  /** `devices` may grow. */
  constructor(mm: Mm, backend: HeapBackend, devices: readonly EngineDevice[]) {
    this.#mm = mm
    this.#backend = backend
    this.#devices = devices
  }

  /** The pages from `firstPage` to `endPage`, neighbours in one place together. */
  runs(firstPage: Addr, endPage: Addr): readonly PlaceRun[] {
    const runs: { place: Place; device?: string; pages: number }[] = []
    for (let addr = firstPage; addr < endPage; addr += PAGE_SIZE) {
      const { place, device } = this.#placeOf(addr)
      const last = runs.at(-1)
      if (last !== undefined && last.place === place && last.device === device) last.pages++
      else runs.push(device === undefined ? { place, pages: 1 } : { place, device, pages: 1 })
    }
    return runs
  }

  /** Pages of a range that devices have. */
  countAway(firstPage: Addr, endPage: Addr): number {
    let count = 0
    for (let addr = firstPage; addr < endPage; addr += PAGE_SIZE) if (this.#deviceAt(addr) !== undefined) count++
    return count
  }

  /** The devices that have pages of a range. */
  devicesIn(firstPage: Addr, endPage: Addr): Set<EngineDevice> {
    const found = new Set<EngineDevice>()
    for (let addr = firstPage; addr < endPage && found.size < this.#devices.length; addr += PAGE_SIZE) {
      const device = this.#deviceAt(addr)
      if (device !== undefined) found.add(device)
    }
    return found
  }

  #placeOf(addr: Addr): { place: Place; device?: string } {
    switch (this.#backend.cpuAccess(this.#mm, addr)) {
      case 'write':
        return { place: 'cpu' }
      case 'read':
        return { place: 'shared' }
    }
    const flags = entryFlags(this.#mm, addr)
    if (ptePresent(flags)) return { place: 'system' }
    if (pteKind(flags) === PTE_KIND_MIGRATION) return { place: 'moving' }
    if (isSwapped(this.#mm, addr)) return { place: isSwapCached(this.#mm, addr) ? 'system' : 'swap' }
    const device = this.#deviceAt(addr)
    return device === undefined ? { place: 'system' } : { place: 'device', device: device.name }
  }

  /** The device that has a page. */
  #deviceAt(addr: Addr): EngineDevice | undefined {
    const { pageTable, sys } = this.#mm
    const table = pageTable.findPte(addr)
    if (table === null) return undefined
    const at = 2 * pteIndex(addr)
    const flags = table.words[at + 1]
    if (ptePresent(flags) || pteKind(flags) !== PTE_KIND_DEVICE_PRIVATE) return undefined
    const owner = pagemapOf(sys, table.words[at])?.owner
    return this.#devices.find((device) => device.owner === owner)
  }
}
