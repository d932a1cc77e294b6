// Entries of a mirror page table: what a device may do with one page of the address space. Follows the hmm_pte helpers of
// the 2015 HMM patches, in the layout with device memory (MR-50); a device without memory of its own never meets the two
// bits that this layout adds. A valid entry is readable, there is no bit for it (MR-51).
//
//      63       62..52  51.............12  11......6    5      4       3         2          1          0
//   HAD_WRITE   unused   frame or address   driver    DIRTY  WRITE  SELECT  VALID_PFN  VALID_DMA  VALID_DEV
//
// Tables hold an entry as two 32-bit words, words[2 * i] (low) and words[2 * i + 1] (high); HmmPte is the same as one
// integer, for the surface, dumps and tests. HAD_WRITE is ours: it tells a late dirty report from a driver bug (MR-72).

import type { Addr, Pfn } from '../../base/addr.ts'

/** The frame belongs to the mirror's own device; the entry holds the number of the device frame. */
export const HMM_PTE_VALID_DEV = 1 << 0
/** The entry holds a bus address that the device's DMA mapper gave for a system page. */
export const HMM_PTE_VALID_DMA = 1 << 1
/** The entry holds the frame number of a system page. */
export const HMM_PTE_VALID_PFN = 1 << 2
/** Scratch mark of a migration that picks entries (MR-54). */
export const HMM_PTE_SELECT = 1 << 3
/** The device may write. */
export const HMM_PTE_WRITE = 1 << 4
/** The device wrote, or cannot tell that it did not. Set by the driver inside update(), taken over by the core. */
export const HMM_PTE_DIRTY = 1 << 5

/** Bits that the driver uses as it likes, lost when the entry becomes invalid. */
export const HMM_PTE_PRIVATE_SHIFT = 6
export const HMM_PTE_PRIVATE_MASK = 0xfc0

/** At most one of the three is set; any of them makes the entry valid. */
export const HMM_PTE_VALID = HMM_PTE_VALID_DEV | HMM_PTE_VALID_DMA | HMM_PTE_VALID_PFN

/** High word: the entry has had WRITE since it became valid, so that a dirty report without WRITE can be a late one. */
export const HMM_PTE_HAD_WRITE_HI = 1 << 31

const FRAME_LOW_SHIFT = 12
const FRAME_HIGH_UNIT = 2 ** 20 // frames counted by one step of the high word
const FRAME_HIGH_MASK = 0xf_ffff // bits 51 to 32
const FRAME_BITS = 0x000f_ffff_ffff_f000n
const FLAG_BITS = 0xfff

declare const brand: unique symbol

/** One entry as a 64-bit integer, 0 if invalid. */
export type HmmPte = bigint & { readonly [brand]: 'HmmPte' }

/** Whether a bit of entry `index` is set; `words` has two words per entry, the low one first. */
export function hmmPteTestBit(words: Uint32Array, index: number, bit: number): boolean {
  return (words[2 * index] & bit) !== 0
}

/** Sets a bit of the low word of entry `index`. */
export function hmmPteSetBit(words: Uint32Array, index: number, bit: number): void {
  words[2 * index] |= bit
}

/** Clears a bit of the low word of entry `index`. */
export function hmmPteClearBit(words: Uint32Array, index: number, bit: number): void {
  words[2 * index] &= ~bit
}

/** Sets the bit and returns whether it was set before. */
export function hmmPteTestAndSetBit(words: Uint32Array, index: number, bit: number): boolean {
  const was = (words[2 * index] & bit) !== 0
  words[2 * index] |= bit
  return was
}

/** Clears the bit and returns whether it was set before. */
export function hmmPteTestAndClearBit(words: Uint32Array, index: number, bit: number): boolean {
  const was = (words[2 * index] & bit) !== 0
  words[2 * index] &= ~bit
  return was
}

/** Whether entry `index` maps anything: a system page, a page of a device or a bus address. */
export function hmmPteIsValid(words: Uint32Array, index: number): boolean {
  return (words[2 * index] & HMM_PTE_VALID) !== 0
}

/** What the address field says, in pages: a frame number, or a bus address divided by 4096. */
export function hmmPteFrame(words: Uint32Array, index: number): Pfn {
  return (words[2 * index + 1] & FRAME_HIGH_MASK) * FRAME_HIGH_UNIT + (words[2 * index] >>> FRAME_LOW_SHIFT)
}

/** The same compared with a frame number below 2^32, which is faster than to ask for it. */
export function hmmPteHasFrame(words: Uint32Array, index: number, frame: Pfn): boolean {
  const difference = (words[2 * index] ^ (frame << FRAME_LOW_SHIFT)) & ~FLAG_BITS
  return difference === 0 && (words[2 * index + 1] & FRAME_HIGH_MASK) === frame >>> (32 - FRAME_LOW_SHIFT)
}

/** Writes a whole entry; `frame` is below 2^40, `flags` are the low bits. HAD_WRITE follows from WRITE. */
export function hmmPteStore(words: Uint32Array, index: number, frame: Pfn, flags: number): void {
  words[2 * index] = (frame << FRAME_LOW_SHIFT) | flags
  const high = frame < 2 ** 32 ? frame >>> (32 - FRAME_LOW_SHIFT) : Math.floor(frame / FRAME_HIGH_UNIT)
  words[2 * index + 1] = (flags & HMM_PTE_WRITE) !== 0 ? high | HMM_PTE_HAD_WRITE_HI : high
}

/** How many entries from `index` on, at most `max`, name neighbouring frames with the same bits besides. At least one. */
export function hmmPteRun(words: Uint32Array, index: number, max: number): number {
  const first = (2 * index) | 0
  let low = words[first] | 0
  const high = words[first + 1] | 0
  // Frames whose entries have the same high word.
  const end = (first + 2 * Math.min(max, FRAME_HIGH_UNIT - (low >>> FRAME_LOW_SHIFT))) | 0
  let w = first + 2
  for (; w < end; w += 2) {
    low = (low + (1 << FRAME_LOW_SHIFT)) | 0
    if (((words[w] ^ low) | (words[w + 1] ^ high)) !== 0) break
  }
  return (w - first) >>> 1
}

/** How many entries from `index` on, at most `max`, are invalid. */
export function hmmPteInvalidRun(words: Uint32Array, index: number, max: number): number {
  const first = (2 * index) | 0
  const end = (first + 2 * max) | 0
  let w = first
  while (w < end && (words[w] & HMM_PTE_VALID) === 0) w += 2
  return (w - first) >> 1
}

/** Writes `npages` entries for neighbouring frames, as `hmmPteStore` does; the frames are below 2^31. */
export function hmmPteStoreRun(words: Uint32Array, index: number, npages: number, first: Pfn, flags: number): void {
  const hadWrite = (flags & HMM_PTE_WRITE) !== 0 ? HMM_PTE_HAD_WRITE_HI : 0
  const end = (2 * (index + npages)) | 0
  for (let w = (2 * index) | 0, frame = first | 0; w < end; w += 2, frame++) {
    words[w] = (frame << FRAME_LOW_SHIFT) | flags
    words[w + 1] = (frame >>> (32 - FRAME_LOW_SHIFT)) | hadWrite
  }
}

/** The entry as one integer, without what only the core looks at. */
export function hmmPteRead(words: Uint32Array, index: number): HmmPte {
  return ((BigInt(words[2 * index + 1] & ~HMM_PTE_HAD_WRITE_HI) << 32n) | BigInt(words[2 * index])) as HmmPte
}

/** An entry for a frame of system memory (`hmm_pte_from_pfn`), not writable. */
export function hmmPteFromPfn(pfn: Pfn): HmmPte {
  return ((BigInt(pfn) << 12n) | BigInt(HMM_PTE_VALID_PFN)) as HmmPte
}

/** Frame number of a system page, 0 unless VALID_PFN. */
export function hmmPtePfn(pte: HmmPte): Pfn {
  return hasFlag(pte, HMM_PTE_VALID_PFN) ? frameOf(pte) : 0
}

/** An entry for a frame of the mirror's own device (`hmm_pte_from_dev_pfn`), not writable. */
export function hmmPteFromDevPfn(pfn: Pfn): HmmPte {
  return ((BigInt(pfn) << 12n) | BigInt(HMM_PTE_VALID_DEV)) as HmmPte
}

/** Frame number of a page of the mirror's own device, 0 unless VALID_DEV. */
export function hmmPteDevPfn(pte: HmmPte): Pfn {
  return hasFlag(pte, HMM_PTE_VALID_DEV) ? frameOf(pte) : 0
}

/** `dmaAddr` is page aligned; the offset inside a page has no room in an entry and is dropped. */
export function hmmPteFromDmaAddr(dmaAddr: Addr): HmmPte {
  return ((BigInt(dmaAddr) & FRAME_BITS) | BigInt(HMM_PTE_VALID_DMA)) as HmmPte
}

/** Bus address of a system page in bytes, 0 unless VALID_DMA. */
export function hmmPteDmaAddr(pte: HmmPte): Addr {
  return hasFlag(pte, HMM_PTE_VALID_DMA) ? Number(pte & FRAME_BITS) : 0
}

/** The low bits of an entry. */
export function hmmPteFlags(pte: HmmPte): number {
  return Number(pte & BigInt(FLAG_BITS))
}

/** One entry in words: `pfn 0x1f W D`, `dev 0x40`, `dma 0x7000 W`, `-` for an invalid one. */
export function formatHmmPte(pte: HmmPte): string {
  const flags = hmmPteFlags(pte)
  if ((flags & HMM_PTE_VALID) === 0) return '-'
  const parts: string[] = []
  if ((flags & HMM_PTE_VALID_DEV) !== 0) parts.push(`dev 0x${frameOf(pte).toString(16)}`)
  if ((flags & HMM_PTE_VALID_DMA) !== 0) parts.push(`dma 0x${hmmPteDmaAddr(pte).toString(16)}`)
  if ((flags & HMM_PTE_VALID_PFN) !== 0) parts.push(`pfn 0x${frameOf(pte).toString(16)}`)
  if ((flags & HMM_PTE_SELECT) !== 0) parts.push('S')
  if ((flags & HMM_PTE_WRITE) !== 0) parts.push('W')
  if ((flags & HMM_PTE_DIRTY) !== 0) parts.push('D')
  const driver = (flags & HMM_PTE_PRIVATE_MASK) >>> HMM_PTE_PRIVATE_SHIFT
  if (driver !== 0) parts.push(`driver ${driver}`)
  return parts.join(' ')
}

function hasFlag(pte: HmmPte, bit: number): boolean {
  return (pte & BigInt(bit)) !== 0n
}

function frameOf(pte: HmmPte): Pfn {
  return Number((pte & FRAME_BITS) >> 12n)
}
