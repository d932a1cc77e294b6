// Page-table entries. One entry is a 64-bit word, kept as two 32-bit words in a Uint32Array: words[2 * i] (low) is a frame
// number or a swap offset, words[2 * i + 1] (high) holds the kind and the flags below. An empty entry is all zero.
//
//   63 ............................................... 32  31 ........................ 0
//   flags and kind (the PTE_* constants, high word)         frame number / swap offset
//
// Follows the states of arch/x86/include/asm/pgtable.h and include/linux/swapops.h of Linux 6.1. It differs in layout only:
// the kernel packs type, offset and flags of a non-present entry into the bits that the hardware ignores.

import type { Pfn } from '../base/addr.ts'

export const PTE_PRESENT = 1 << 0
/** Present: the CPU may write. Migration and device kinds: the entry was writable. */
export const PTE_WRITE = 1 << 1
/** The CPU wrote through this entry since the bit was last cleared. Migration kinds remember it. */
export const PTE_DIRTY = 1 << 2
/** The CPU used this entry since the bit was last cleared. Migration kinds remember it. */
export const PTE_YOUNG = 1 << 3
/** Present, but `vmNormalPage` has no page for it: zero page, raw frame number. */
export const PTE_SPECIAL = 1 << 4
/** Present in the page-table sense, not usable by the CPU (PROT_NONE). */
export const PTE_PROTNONE = 1 << 5
/** Maps 2 MiB (only in a middle-level slot). */
export const PTE_HUGE = 1 << 6
/** Swap kind: the only reference to the slot. Migration kind: the page was anonymous-exclusive (readable-exclusive). */
export const PTE_EXCLUSIVE = 1 << 7
/** Extension (mm/share.ts): a device holds a read duplicate beside this present entry. Never set in a conformance run. */
export const PTE_DUPLICATED = 1 << 12
/**
 * The page was written, mapped or moved here since soft-dirty bits were last cleared (mm/soft-dirty.ts). mm sets it with the
 * dirty bit, the CPU does not; it survives cleaning and stays in entries of every other kind.
 */
export const PTE_SOFT_DIRTY = 1 << 13
/** What a write fault leaves in the entry (`pte_mkdirty`). */
export const PTE_MKDIRTY = PTE_DIRTY | PTE_SOFT_DIRTY

const KIND_SHIFT = 8
const KIND_MASK = 0xf << KIND_SHIFT

export const PTE_KIND_SWAP = 1 << KIND_SHIFT
export const PTE_KIND_MIGRATION = 2 << KIND_SHIFT
export const PTE_KIND_DEVICE_PRIVATE = 3 << KIND_SHIFT
export const PTE_KIND_DEVICE_EXCLUSIVE = 4 << KIND_SHIFT
export const PTE_KIND_HWPOISON = 5 << KIND_SHIFT
export const PTE_KIND_SWAPIN_ERROR = 6 << KIND_SHIFT
export const PTE_KIND_MARKER = 7 << KIND_SHIFT

/** Flags of the high word of one entry. */
export type PteFlags = number

/** What an entry that is not present stands for: PTE_KIND_*. */
export function pteKind(flags: PteFlags): number {
  return flags & KIND_MASK
}

/** The CPU can use the entry (`pte_present`). */
export function ptePresent(flags: PteFlags): boolean {
  return (flags & PTE_PRESENT) !== 0
}

/** Nothing was ever there, or it is gone (`pte_none`). */
export function pteNone(flags: PteFlags): boolean {
  return flags === 0
}

/** Neither empty nor present: swap, migration, device, poison or marker. */
export function pteIsSwapKind(flags: PteFlags): boolean {
  return (flags & KIND_MASK) !== 0
}

/** The CPU may write through the entry (`pte_write`). */
export function pteWritable(flags: PteFlags): boolean {
  return (flags & PTE_WRITE) !== 0
}

/** The kinds that name a frame although the CPU cannot use them (`is_pfn_swap_entry`). */
export function pteNamesFrame(flags: PteFlags): boolean {
  const kind = flags & KIND_MASK
  return kind >= PTE_KIND_MIGRATION && kind <= PTE_KIND_HWPOISON
}

/** How many entries from entry `i` on, at most `max`, name neighbouring frames with the same flags. At least one. */
export function pteRun(words: Uint32Array, i: number, max: number): number {
  const first = (2 * i) | 0
  const end = (first + 2 * max) | 0
  const flags = words[first + 1] | 0
  let pfn = words[first] | 0
  let w = first + 2
  for (; w < end; w += 2) {
    pfn = (pfn + 1) | 0
    if (((words[w] ^ pfn) | (words[w + 1] ^ flags)) !== 0) break
  }
  return (w - first) >>> 1
}

/** Gives `n` entries from entry `i` on the same flags. */
export function setPteFlags(words: Uint32Array, i: number, n: number, flags: PteFlags): void {
  const first = (2 * i) | 0
  const end = (first + 2 * n) | 0
  for (let w = first + 1; w < end; w += 2) words[w] = flags
}

/** Makes `n` entries from entry `i` on name neighbouring frames, with the same flags. */
export function setPtes(words: Uint32Array, i: number, n: number, pfn: number, flags: PteFlags): void {
  const first = (2 * i) | 0
  const end = (first + 2 * n) | 0
  for (let w = first, at = pfn | 0; w < end; w += 2, at++) {
    words[w] = at
    words[w + 1] = flags
  }
}

/** The same packed as one 64-bit integer, for dumps and tests. */
export function makePteValue(flags: PteFlags, pfn: Pfn): bigint {
  return (BigInt(flags >>> 0) << 32n) | BigInt(pfn >>> 0)
}
