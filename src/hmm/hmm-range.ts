// What a driver asks of a range fault, in the two forms that the kernel had: `HmmRange` of v5.7, whose entries are in bits
// that the driver chooses, and `HmmRange61` of Linux 6.1 with fixed bits (hmm-pfn.ts). Spec sections 3.1 and 3.2.
//
//   HmmRange    entry = pfn << pfnShift | flags[VALID] | flags[WRITE]      or one of values[ERROR], values[NONE], values[SPECIAL]
//   HmmRange61  entry = VALID | WRITE | order | pfn                        or ERROR, or 0
//
// Both forms decide alike; `version` brings back what v5.7 itself did differently (RF-110 to RF-113), in either form.
// The kernel names the indexes of `flags` and `values` like the bits of 6.1, HMM_PFN_VALID; here they have names of their own.

import type { Addr, Pfn } from '../base/addr.ts'
import type { MmuIntervalNotifier } from '../mm/mmu-notifier.ts'

export const HMM_VERSIONS = ['6.1', '5.7'] as const
export type HmmVersion = (typeof HMM_VERSIONS)[number]

/** How long a driver goes on beginning again (MN-45), in milliseconds. The calls here have no time bound of their own. */
export const HMM_RANGE_DEFAULT_TIMEOUT = 1000

/** Indexes of `HmmRange.flags` (`enum hmm_pfn_flag_e`). */
export const HMM_PFN_FLAG_VALID = 0
export const HMM_PFN_FLAG_WRITE = 1
export const HMM_PFN_FLAG_MAX = 2

/** Indexes of `HmmRange.values` (`enum hmm_pfn_value_e`). */
export const HMM_PFN_VALUE_ERROR = 0
export const HMM_PFN_VALUE_NONE = 1
export const HMM_PFN_VALUE_SPECIAL = 2
export const HMM_PFN_VALUE_MAX = 3

interface HmmRangeCommon {
  /** Covers `[start, end)`; its address space is the one that is walked. */
  readonly notifier: MmuIntervalNotifier
  /** From `mmuIntervalReadBegin(notifier)`. */
  notifierSeq: number
  /** Page-aligned. */
  start: Addr
  /** Exclusive. */
  end: Addr
  /** Request bits that hold for every page. */
  defaultFlags: bigint
  /** Which bits of each entry count as request; the rest of an entry is ignored. */
  pfnFlagsMask: bigint
  /** Device-private pages of this owner are reported, others are brought back if requested; null accepts none. */
  devPrivateOwner: unknown
  /** Whose behaviour; default '6.1'. */
  readonly version?: HmmVersion
}

/** The form of v5.7: the driver says how its own page-table entries look. */
export interface HmmRange extends HmmRangeCommon {
  /** One entry per page: request bits on the way in, the state of the page on the way out. */
  readonly pfns: BigUint64Array
  /** Bits of a mapped page, by HMM_PFN_FLAG_*. They lie below bit `pfnShift`, or entries cannot be decoded (RF-30). */
  readonly flags: readonly bigint[]
  /** Entries without a page, by HMM_PFN_VALUE_*. ERROR and SPECIAL may be equal, NONE differs from both. */
  readonly values: readonly bigint[]
  /** Left shift of the frame number in an entry, at most PAGE_SHIFT. */
  readonly pfnShift: number
}

/** The form of Linux 6.1: entries as in hmm-pfn.ts. */
export interface HmmRange61 extends HmmRangeCommon {
  /** One entry per page: HMM_PFN_REQ_* on the way in, the state of the page on the way out. */
  readonly hmmPfns: BigUint64Array
}

/** Frame that an entry of the 5.7 form names, or -1 if it names none (RF-31). */
export function hmmDeviceEntryToPage(range: Pick<HmmRange, 'flags' | 'values' | 'pfnShift'>, entry: bigint): Pfn {
  const { flags, values, pfnShift } = range
  if (entry === values[HMM_PFN_VALUE_NONE]) return -1
  if (entry === values[HMM_PFN_VALUE_ERROR]) return -1
  if (entry === values[HMM_PFN_VALUE_SPECIAL]) return -1
  if ((entry & flags[HMM_PFN_FLAG_VALID]) === 0n) return -1
  return Number(entry >> BigInt(pfnShift))
}

/** Entry of a readable page, as the driver writes it into its table itself (`hmm_device_entry_from_pfn`, RF-32). */
export function hmmDeviceEntryFromPfn(range: Pick<HmmRange, 'flags' | 'pfnShift'>, pfn: Pfn): bigint {
  return (BigInt(pfn) << BigInt(range.pfnShift)) | range.flags[HMM_PFN_FLAG_VALID]
}
