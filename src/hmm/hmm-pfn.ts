// Entries of a range fault in the form of Linux 6.1 (include/linux/hmm.h; spec RF-20 to RF-25): one 64-bit word per page.
//
//   63     62     61     60....56  55.....................0
//   VALID  WRITE  ERROR  order     page frame number
//
// This is the only file that knows where the bits are. The entries are a BigUint64Array at the API; loops read and write the
// two 32-bit words of an entry, `words[2 * i]` (low) and `words[2 * i + 1]` (high), and test the `_HI` constants, which are
// signed like every result of `&` and `|`. Frame numbers lie below 2^32, so the low word is the frame number. The word order
// is that of little-endian machines, the only ones that run JavaScript engines today.
//
// It differs from the kernel in the accessors: a page is named by its frame number, there is no pointer to a page structure.

import { type Pfn, pfnToPhys } from '../base/addr.ts'

declare const hmmPfnBrand: unique symbol

/** One entry of `HmmRange61.hmmPfns`. */
export type HmmPfn = bigint & { readonly [hmmPfnBrand]: true }

/** The entry names a page, and the CPU may read it. */
export const HMM_PFN_VALID = 1n << 63n
/** The CPU may write the page. */
export const HMM_PFN_WRITE = 1n << 62n
/** The address cannot be accessed: no mapping, no read permission, or no page behind it. */
export const HMM_PFN_ERROR = 1n << 61n
/** Request: fault the page in if the CPU cannot read it. The same bit as VALID (RF-21). */
export const HMM_PFN_REQ_FAULT = HMM_PFN_VALID
/** Request, together with REQ_FAULT: fault the page in if the CPU cannot write it. The same bit as WRITE. */
export const HMM_PFN_REQ_WRITE = HMM_PFN_WRITE

const HMM_PFN_ORDER_SHIFT = 56n
const HMM_PFN_ORDER_MASK = 0x1fn
/** Everything that is not frame number (RF-20). */
export const HMM_PFN_FLAGS = 0xffn << HMM_PFN_ORDER_SHIFT

export const HMM_PFN_VALID_HI = 1 << 31
export const HMM_PFN_WRITE_HI = 1 << 30
export const HMM_PFN_ERROR_HI = 1 << 29
export const HMM_PFN_REQ_FAULT_HI = HMM_PFN_VALID_HI
export const HMM_PFN_REQ_WRITE_HI = HMM_PFN_WRITE_HI

const HMM_PFN_ORDER_SHIFT_HI = 24
const HMM_PFN_ORDER_MASK_HI = 0x1f << HMM_PFN_ORDER_SHIFT_HI
const HMM_PFN_FLAGS_HI = 0xff << HMM_PFN_ORDER_SHIFT_HI

/** Packs an entry. `flags` is a union of HMM_PFN_VALID, WRITE and ERROR; `order` is that of the CPU's mapping. */
export function makeHmmPfn(pfn: Pfn, flags: bigint, order = 0): HmmPfn {
  return (BigInt(pfn) | flags | (BigInt(order) << HMM_PFN_ORDER_SHIFT)) as HmmPfn
}

/** Entry `index` of an array that `hmmRangeFault` filled. */
export function hmmPfnAt(hmmPfns: BigUint64Array, index: number): HmmPfn {
  return hmmPfns[index] as HmmPfn
}

/** The entry names a frame that can be read (HMM_PFN_VALID). */
export function hmmPfnValid(entry: HmmPfn): boolean {
  return (entry & HMM_PFN_VALID) !== 0n
}

/** The frame can be written too (HMM_PFN_WRITE). */
export function hmmPfnWritable(entry: HmmPfn): boolean {
  return (entry & HMM_PFN_WRITE) !== 0n
}

/** The page cannot be had: poisoned, or no memory at all (HMM_PFN_ERROR). */
export function hmmPfnIsError(entry: HmmPfn): boolean {
  return (entry & HMM_PFN_ERROR) !== 0n
}

/** Frame of an entry, without asking whether it is valid (`hmm_pfn_to_page`). */
export function hmmPfnToPfn(entry: HmmPfn): Pfn {
  return Number(entry & ~HMM_PFN_FLAGS)
}

/** Physical byte address of the frame of an entry, without asking whether it is valid. */
export function hmmPfnToPhys(entry: HmmPfn): number {
  return pfnToPhys(hmmPfnToPfn(entry))
}

/** The CPU maps the page as part of 2^order pages with equal permission; they may reach beyond the range (RF-24). */
export function hmmPfnToMapOrder(entry: HmmPfn): number {
  return Number((entry >> HMM_PFN_ORDER_SHIFT) & HMM_PFN_ORDER_MASK)
}

/** High word of an entry with this order and no flag. */
export function hmmPfnOrderHi(order: number): number {
  return order << HMM_PFN_ORDER_SHIFT_HI
}

/** Order of an entry, from its high word. */
export function hmmPfnHiToMapOrder(high: number): number {
  return (high & HMM_PFN_ORDER_MASK_HI) >>> HMM_PFN_ORDER_SHIFT_HI
}

/** Frame of entry `index` of an array given as words, without asking whether it is valid. */
export function hmmPfnWordsToPfn(words: Uint32Array, index: number): Pfn {
  return (words[2 * index + 1] & ~HMM_PFN_FLAGS_HI) * 2 ** 32 + words[2 * index]
}

/** The two 32-bit words of each entry; they share the memory of the array. */
export function hmmPfnWords(hmmPfns: BigUint64Array): Uint32Array {
  return new Uint32Array(hmmPfns.buffer, hmmPfns.byteOffset, 2 * hmmPfns.length)
}

/** Flags of a 64-bit mask that lie in the high word, as a signed 32-bit number. */
export function hmmFlagsHi(flags: bigint): number {
  return Number(BigInt.asIntN(32, flags >> 32n))
}
