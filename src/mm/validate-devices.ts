// What devices translate, held against the page table (INV-8): a device that follows the notifiers never has more than the
// CPU, and a duplicate exists only beside an entry that is marked as duplicated.

import { type Addr, type Pfn, pmdIndex, pteIndex } from '../base/addr.ts'
import type { Mm } from './mm.ts'
import {
  PTE_DUPLICATED,
  PTE_KIND_DEVICE_EXCLUSIVE,
  PTE_KIND_DEVICE_PRIVATE,
  PTE_PRESENT,
  PTE_WRITE,
  pteKind,
} from './pte.ts'
import { broken, formatFlags, place } from './validate-fail.ts'

/** One page that a device can reach. */
export interface DeviceTranslation {
  readonly mm: Mm
  readonly addr: Addr
  /** The frame that the device uses; for a duplicate the system frame that it is a copy of. */
  readonly pfn: Pfn
  readonly writable: boolean
  /** A copy beside the system page, not the page itself. */
  readonly isDuplicate?: boolean
}

export function validateTranslations(translations: Iterable<DeviceTranslation>): void {
  for (const translation of translations) validateTranslation(translation)
}

function validateTranslation({ mm, addr, pfn, writable, isDuplicate = false }: DeviceTranslation): void {
  const { flags, frame } = entryAt(mm, addr)
  const what = isDuplicate ? 'a device has a duplicate' : 'a device translates'
  const found = `${place(mm, addr)}, the CPU has ${formatFlags(flags)} frame ${frame}`
  if (isDuplicate) {
    if (writable) broken('INV-8', `${what} of frame ${pfn} and may write it: ${found}`)
    if ((flags & PTE_PRESENT) === 0 || (flags & PTE_DUPLICATED) === 0 || frame !== pfn) {
      broken('INV-8', `${what} of frame ${pfn}: ${found}`)
    }
    return
  }
  const kind = pteKind(flags)
  const names = (flags & PTE_PRESENT) !== 0 || kind === PTE_KIND_DEVICE_PRIVATE || kind === PTE_KIND_DEVICE_EXCLUSIVE
  if (!names || frame !== pfn) broken('INV-8', `${what} to frame ${pfn}: ${found}`)
  if (writable && (flags & PTE_WRITE) === 0) broken('INV-8', `${what} to frame ${pfn} for writing: ${found}`)
}

function entryAt(mm: Mm, addr: Addr): { flags: number; frame: Pfn } {
  const pmd = mm.pageTable.findPmd(addr)
  if (pmd === null) return { flags: 0, frame: 0 }
  const slot = pmdIndex(addr)
  const i = pteIndex(addr)
  const table = pmd.tables[slot]
  if (table !== null) return { flags: table.words[2 * i + 1], frame: table.words[2 * i] }
  return { flags: pmd.hugeFlags(slot), frame: pmd.hugePfn(slot) + i }
}
