/**
 * Addresses, page sizes and the four levels of an x86-64 page table, as plain number arithmetic.
 *
 * Follows the user half of Linux on x86-64 with four levels and 4 KiB pages (asm/page_types.h, asm/pgtable_64_types.h).
 * An address is a number below 2^53, so it is exact; bit operators see its low 32 bits only. That is enough for the
 * offset inside a page, a PMD or a PUD entry and for the two lowest table indices, everything above needs a division.
 * Page arithmetic on addresses lives in this file alone, so that the rule has to be remembered once.
 */

/** A byte address. */
export type Addr = number

/** The number of a physical page frame. */
export type Pfn = number

export const PAGE_SHIFT = 12
export const PAGE_SIZE = 4096 // bytes
export const PMD_SHIFT = 21
export const PMD_SIZE = 0x20_0000 // bytes, 2 MiB: what one PMD entry maps
export const PUD_SHIFT = 30
export const PUD_SIZE = 0x4000_0000 // bytes, 1 GiB
export const PGDIR_SHIFT = 39
export const PGDIR_SIZE = 0x80_0000_0000 // bytes, 512 GiB

/** Entries per table, at every level. */
export const PTRS_PER_PTE = 512

/** Page orders of what one PMD entry and one PUD entry map. */
export const PMD_ORDER = 9
export const PUD_ORDER = 18

/** Small pages in one huge page of PMD size. */
export const HPAGE_PMD_NR = 512

/** First address that user space cannot map: 2^47 less one guard page. */
export const TASK_SIZE: Addr = 0x7fff_ffff_f000

const INDEX_MASK = PTRS_PER_PTE - 1

/** Whether a byte address begins a page of 4 KiB. */
export function isPageAligned(addr: Addr): boolean {
  return (addr & (PAGE_SIZE - 1)) === 0
}

/** Whether a byte address begins what an entry of a PMD maps, 2 MiB. */
export function isPmdAligned(addr: Addr): boolean {
  return (addr & (PMD_SIZE - 1)) === 0
}

/** Whether a byte address begins what an entry of a PUD maps, 1 GiB. */
export function isPudAligned(addr: Addr): boolean {
  return (addr & (PUD_SIZE - 1)) === 0
}

/** The beginning of the page of 4 KiB that a byte address lies in. */
export function pageAlignDown(addr: Addr): Addr {
  return addr - (addr & (PAGE_SIZE - 1))
}

/** The first beginning of a page of 4 KiB that is not below a byte address. */
export function pageAlignUp(addr: Addr): Addr {
  return pageAlignDown(addr + (PAGE_SIZE - 1))
}

/** The beginning of the 2 MiB that a byte address lies in. */
export function pmdAlignDown(addr: Addr): Addr {
  return addr - (addr & (PMD_SIZE - 1))
}

/** The first multiple of 2 MiB that is not below a byte address. */
export function pmdAlignUp(addr: Addr): Addr {
  return pmdAlignDown(addr + (PMD_SIZE - 1))
}

/** The beginning of the 1 GiB that a byte address lies in. */
export function pudAlignDown(addr: Addr): Addr {
  return addr - (addr & (PUD_SIZE - 1))
}

/** The first multiple of 1 GiB that is not below a byte address. */
export function pudAlignUp(addr: Addr): Addr {
  return pudAlignDown(addr + (PUD_SIZE - 1))
}

/** The beginning of the 512 GiB, an entry of a PGD, that a byte address lies in. */
export function pgdAlignDown(addr: Addr): Addr {
  return Math.floor(addr / PGDIR_SIZE) * PGDIR_SIZE
}

/** The first multiple of 512 GiB that is not below a byte address. */
export function pgdAlignUp(addr: Addr): Addr {
  return pgdAlignDown(addr + (PGDIR_SIZE - 1))
}

/** Byte offset of an address inside its page. */
export function pageOffset(addr: Addr): number {
  return addr & (PAGE_SIZE - 1)
}

/** Index into the last-level table. */
export function pteIndex(addr: Addr): number {
  return (addr >>> PAGE_SHIFT) & INDEX_MASK
}

/** Index into the PMD table. */
export function pmdIndex(addr: Addr): number {
  return (addr >>> PMD_SHIFT) & INDEX_MASK
}

/** Index into the PUD table. Its bits 30 to 38 lie across bit 32, so no shift reaches them. */
export function pudIndex(addr: Addr): number {
  return Math.floor(addr / PUD_SIZE) & INDEX_MASK
}

/** Index into the top-level table. */
export function pgdIndex(addr: Addr): number {
  return Math.floor(addr / PGDIR_SIZE) & INDEX_MASK
}

/** Virtual page number of an address, whatever its offset. */
export function addrToVpn(addr: Addr): number {
  return Math.floor(addr / PAGE_SIZE)
}

/** First byte address of a virtual page. */
export function vpnToAddr(vpn: number): Addr {
  return vpn * PAGE_SIZE
}

/** Frame number of a physical byte address. */
export function physToPfn(phys: number): Pfn {
  return Math.floor(phys / PAGE_SIZE)
}

/** First physical byte address of a frame. */
export function pfnToPhys(pfn: Pfn): number {
  return pfn * PAGE_SIZE
}

/** Pages needed to hold `nbytes` bytes. */
export function nbytesToPages(nbytes: number): number {
  return Math.ceil(nbytes / PAGE_SIZE)
}

/** End of the part of `[addr, end)` that the PMD entry of `addr` maps. */
export function pmdAddrEnd(addr: Addr, end: Addr): Addr {
  const next = pmdAlignDown(addr) + PMD_SIZE
  return next < end ? next : end
}

/** End of the part of `[addr, end)` that the PUD entry of `addr` maps. */
export function pudAddrEnd(addr: Addr, end: Addr): Addr {
  const next = pudAlignDown(addr) + PUD_SIZE
  return next < end ? next : end
}

/** End of the part of `[addr, end)` that the top-level entry of `addr` maps. */
export function pgdAddrEnd(addr: Addr, end: Addr): Addr {
  const next = pgdAlignDown(addr) + PGDIR_SIZE
  return next < end ? next : end
}
