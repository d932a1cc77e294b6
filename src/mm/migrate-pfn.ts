// Entries of a migration: what setup says of each page in `src`, and what the driver answers in `dst` (include/linux/migrate.h
// of Linux 6.1; spec MG-6). One 64-bit word per page.
//
//   63 ............ 6   5  4            3      2       1        0
//   page frame number      PIN/UNPIN    WRITE  LOCKED  MIGRATE  VALID
//
// This is the only file that knows where the bits are. The entries are a BigUint64Array at the API; loops, in mm and in
// drivers, work on the two 32-bit words of each entry, `words[2 * i]` (low, with all flags) and `words[2 * i + 1]` (high),
// because a BigInt per page costs more than moving the page.

import type { Pfn } from '../base/addr.ts'

export const MIGRATE_PFN_VALID = 1 << 0
export const MIGRATE_PFN_MIGRATE = 1 << 1
/** Accepted in dst and ignored (MG-14). */
export const MIGRATE_PFN_LOCKED = 1 << 2
export const MIGRATE_PFN_WRITE = 1 << 3
/** In src, set by the driver before setup: unmap the page and leave it in place. */
export const MIGRATE_PFN_PIN = 1 << 4
/** In dst: the destination is a page that PIN left in place. */
export const MIGRATE_PFN_UNPIN = 1 << 4

/** In src: a page that moves, or has moved. A hole that moves is not VALID. */
export const MOVED = MIGRATE_PFN_VALID | MIGRATE_PFN_MIGRATE

const MIGRATE_PFN_SHIFT = 6
/** What the low words of neighbouring frames differ by. */
const MIGRATE_PFN_ONE = 1 << MIGRATE_PFN_SHIFT
/** What the high word counts: frames above those that fit beside the flags in the low word. */
const PFNS_PER_HIGH = 2 ** (32 - MIGRATE_PFN_SHIFT)

/** An entry of src or dst. */
export type MigratePfn = bigint

/** The entry for a frame (`migrate_pfn`). */
export function migratePfn(pfn: Pfn, flags = 0): MigratePfn {
  return (BigInt(pfn) << BigInt(MIGRATE_PFN_SHIFT)) | BigInt(MIGRATE_PFN_VALID | flags)
}

/** The frame of an entry, -1 if it names none (`migrate_pfn_to_page`). */
export function migratePfnToPfn(entry: MigratePfn): Pfn {
  return (entry & 1n) === 0n ? -1 : Number(entry >> BigInt(MIGRATE_PFN_SHIFT))
}

/** The two 32-bit words of each entry; they share the memory of the array. */
export function migratePfnWords(entries: BigUint64Array): Uint32Array {
  return new Uint32Array(entries.buffer, entries.byteOffset, entries.length * 2)
}

/** Sets entry `i` of an array given as words. Nothing is added to `flags`: VALID makes the entry name the frame. */
export function setMigratePfn(words: Uint32Array, i: number, pfn: Pfn, flags: number): void {
  words[2 * i] = (pfn << MIGRATE_PFN_SHIFT) | flags
  words[2 * i + 1] = pfn >>> (32 - MIGRATE_PFN_SHIFT)
}

/** Sets `n` entries from `i` on to neighbouring frames. */
export function setMigratePfns(words: Uint32Array, i: number, n: number, pfn: Pfn, flags: number): void {
  const first = (2 * i) | 0
  const end = (first + 2 * n) | 0
  for (let w = first, at = pfn | 0; w < end; w += 2, at++) {
    words[w] = (at << MIGRATE_PFN_SHIFT) | flags
    words[w + 1] = at >>> (32 - MIGRATE_PFN_SHIFT)
  }
}

/** How many entries from `i` on, before `to`, name neighbouring frames with the same flags. Entry `i` is one of them, whatever it names. */
export function migratePfnRun(words: Uint32Array, i: number, to: number): number {
  const first = (2 * i) | 0
  let low = words[first] | 0
  const high = words[first + 1] | 0
  const end = (2 * Math.min(to, i + pfnsBelowHigh(low))) | 0
  let w = first + 2
  for (; w < end; w += 2) {
    low = (low + MIGRATE_PFN_ONE) | 0
    if (((words[w] ^ low) | (words[w + 1] ^ high)) !== 0) break
  }
  return (w - first) >>> 1
}

/** The same for two arrays at once: how many entries are a run in both. */
export function migratePfnRuns(src: Uint32Array, dst: Uint32Array, i: number, to: number): number {
  const first = (2 * i) | 0
  let srcLow = src[first] | 0
  let dstLow = dst[first] | 0
  const srcHigh = src[first + 1] | 0
  const dstHigh = dst[first + 1] | 0
  const end = (2 * Math.min(to, i + Math.min(pfnsBelowHigh(srcLow), pfnsBelowHigh(dstLow)))) | 0
  let w = first + 2
  for (; w < end; w += 2) {
    srcLow = (srcLow + MIGRATE_PFN_ONE) | 0
    dstLow = (dstLow + MIGRATE_PFN_ONE) | 0
    if (((src[w] ^ srcLow) | (src[w + 1] ^ srcHigh) | (dst[w] ^ dstLow) | (dst[w + 1] ^ dstHigh)) !== 0) break
  }
  return (w - first) >>> 1
}

/** Frames from that of an entry on whose entries have the same high word. */
function pfnsBelowHigh(low: number): number {
  return PFNS_PER_HIGH - (low >>> MIGRATE_PFN_SHIFT)
}

/** The frame of entry `i` of an array given as words, -1 if it names none. */
export function migratePfnAt(words: Uint32Array, i: number): Pfn {
  const low = words[2 * i]
  if ((low & MIGRATE_PFN_VALID) === 0) return -1
  return words[2 * i + 1] * PFNS_PER_HIGH + (low >>> MIGRATE_PFN_SHIFT)
}

/** The frame of entry `i`, which names one. For loops that have looked at its flags: frame numbers have 31 bits, so it takes no division. */
export function validPfnAt(words: Uint32Array, i: number): Pfn {
  return (words[2 * i + 1] << (32 - MIGRATE_PFN_SHIFT)) | (words[2 * i] >>> MIGRATE_PFN_SHIFT)
}
