// What an access to a page would find, without making one: the walk through page table, swap, page cache and device memory
// that a fault would make, changing nothing. So every page of every process can be compared with what it should hold after
// every step, and mistakes show at the step that made them.

import { type Addr, PAGE_SIZE, type Pfn, pmdIndex, pteIndex } from '../../src/base/addr.ts'
import { DmirrorDevice } from '../../src/devices/dmirror/index.ts'
import type { AddressSpace } from '../../src/mm/address-space.ts'
import { HugetlbVmaState } from '../../src/mm/hugetlb-reserve.ts'
import { pagemapOf } from '../../src/mm/memremap.ts'
import type { Mm } from '../../src/mm/mm.ts'
import { PG_HWPOISON } from '../../src/mm/page.ts'
import {
  PTE_HUGE,
  PTE_KIND_DEVICE_EXCLUSIVE,
  PTE_KIND_DEVICE_PRIVATE,
  PTE_KIND_HWPOISON,
  PTE_KIND_MIGRATION,
  PTE_KIND_SWAP,
  PTE_PRESENT,
  PTE_SPECIAL,
  pteKind,
} from '../../src/mm/pte.ts'
import { MemorySwapDevice } from '../../src/mm/swap-device.ts'
import type { System } from '../../src/mm/system.ts'
import { linearPageIndex, type Vma } from '../../src/mm/vma.ts'
import { AsyncDevice } from './async-device.ts'

/** An access would end with a signal: no page there. */
export const NOTHING = 0
/** An access would find `seen.first` and `seen.last`. */
export const CONTENT = 1
/** An access would end with the signal for broken memory. */
export const BROKEN = 2
/** The page could not be read back from swap. */
export const LOST = 3

/** What the last look saw: one object for all, as there are many looks. */
export const seen = {
  first: 0,
  last: 0,
  /** The process has a page of its own here: not one of a file, nor the zero page. */
  isOwn: false,
  /** Frame behind the entry, -1 if there is none. */
  pfn: -1,
}

/** Looks at the page at `addr`, which lies in a mapping. Returns one of the constants above. */
export function look(mm: Mm, addr: Addr): number {
  const { sys, pageTable } = mm
  seen.isOwn = false
  seen.pfn = -1
  const pmd = pageTable.findPmd(addr)
  if (pmd === null) return lookBehindEmptyEntry(mm, addr)
  const table = pmd.tables[pmdIndex(addr)]
  const i = pteIndex(addr)
  if (table !== null) return lookAtEntry(mm, addr, table.words[2 * i + 1], table.words[2 * i])
  const flags = pmd.hugeFlags(pmdIndex(addr))
  if (flags === 0) return lookBehindEmptyEntry(mm, addr)
  if (pteKind(flags & ~PTE_HUGE) === PTE_KIND_HWPOISON) return BROKEN
  return readFrame(sys, pmd.hugePfn(pmdIndex(addr)) + i)
}

function lookAtEntry(mm: Mm, addr: Addr, flags: number, low: number): number {
  const { sys } = mm
  if (flags === 0) return lookBehindEmptyEntry(mm, addr)
  if ((flags & PTE_PRESENT) !== 0) {
    if ((flags & PTE_SPECIAL) === 0) return readFrame(sys, low)
    return low === sys.zeroPfn ? zeroes() : readBytes(sys.mmu.bytes(low))
  }
  switch (pteKind(flags)) {
    case PTE_KIND_SWAP:
      seen.isOwn = true
      return readSlot(sys, low)
    case PTE_KIND_DEVICE_PRIVATE:
    case PTE_KIND_DEVICE_EXCLUSIVE:
    case PTE_KIND_MIGRATION:
      return readFrame(sys, low)
    case PTE_KIND_HWPOISON:
      return BROKEN
    default:
      return LOST
  }
}

/** A fault would bring a page of the file, or one of zeroes. */
function lookBehindEmptyEntry(mm: Mm, addr: Addr): number {
  const vma = mm.vmaLookup(addr)
  if (vma === null) return NOTHING
  if (vma.ops === null) return zeroes()
  const mapping = vma.file?.mapping ?? null
  if (mapping === null || vma.ops.fault === undefined) {
    return mapping?.isHugetlb === true ? lookAtHugetlbFile(mm.sys, vma, mapping, addr) : NOTHING
  }
  return readFile(mm.sys, mapping, linearPageIndex(vma, addr))
}

function lookAtHugetlbFile(sys: System, vma: Vma, mapping: AddressSpace, addr: Addr): number {
  const state = vma.privateData
  if (state instanceof HugetlbVmaState && state.unmappedForParent) return NOTHING
  const pgoff = linearPageIndex(vma, addr)
  const head = mapping.pages.get(pgoff - (pgoff % 512))
  if (head !== undefined) return readCached(sys, head + (pgoff % 512))
  return pgoff < mapping.npages ? zeroes() : NOTHING
}

/** A page of a file in memory. */
export function readFile(sys: System, mapping: AddressSpace, pgoff: number): number {
  seen.isOwn = false
  if (pgoff >= mapping.npages) return NOTHING
  const cached = mapping.pages.get(pgoff)
  if (cached !== undefined) return readCached(sys, cached)
  const slot = mapping.swapped.get(pgoff)
  return slot === undefined ? zeroes() : readSlot(sys, slot)
}

function readSlot(sys: System, slot: number): number {
  const cached = sys.swap?.cache.get(slot)
  if (cached !== undefined) return readCached(sys, cached)
  const bytes = swapContents(sys)?.get(slot)
  return bytes === undefined ? zeroes() : readBytes(bytes)
}

/** What is in the slots of a machine whose swap device is memory. */
function swapContents({ swap }: System): ReadonlyMap<number, Uint8Array> | undefined {
  return swap?.device instanceof MemorySwapDevice ? swap.device.contents : undefined
}

/** A page of the page cache or the swap cache, which a fault looks at before it maps it. */
function readCached(sys: System, pfn: Pfn): number {
  const { pages } = sys
  const flags = pages.flags[pfn] | pages.flags[pages.head(pfn)]
  return (flags & PG_HWPOISON) !== 0 ? BROKEN : readFrame(sys, pfn)
}

/** A page that an entry names: what could not be taken from its users when it broke is in use all the same. */
function readFrame(sys: System, pfn: Pfn): number {
  const { pages } = sys
  if (pages.head(pfn) === sys.hugeZeroPfn) return zeroes()
  seen.pfn = pfn
  if (pages.isAnon(pfn)) seen.isOwn = true
  return readBytes(bytesOf(sys, pfn))
}

/** The bytes of any frame, wherever its device keeps them. */
export function bytesOf(sys: System, pfn: Pfn): Uint8Array {
  const owner = pagemapOf(sys, pfn)?.owner
  if (owner instanceof AsyncDevice) return owner.data(pfn)
  if (owner instanceof DmirrorDevice) return sys.mmu.bytes(owner.memory.dataPage(pfn))
  return sys.mmu.bytes(pfn)
}

function zeroes(): number {
  seen.first = 0
  seen.last = 0
  return CONTENT
}

function readBytes(bytes: Uint8Array): number {
  seen.first = wordAt(bytes, 0)
  seen.last = wordAt(bytes, PAGE_SIZE - 4)
  return CONTENT
}

export function wordAt(bytes: Uint8Array, offset: number): number {
  return (bytes[offset] | (bytes[offset + 1] << 8) | (bytes[offset + 2] << 16) | (bytes[offset + 3] << 24)) >>> 0
}

export function setWord(bytes: Uint8Array, offset: number, value: number): void {
  bytes[offset] = value
  bytes[offset + 1] = value >>> 8
  bytes[offset + 2] = value >>> 16
  bytes[offset + 3] = value >>> 24
}
