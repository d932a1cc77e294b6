// How the walk of a range fault reads requests from the driver's array and writes states into it. The walk speaks of states
// in the high word of the 6.1 form (hmm-pfn.ts): VALID, WRITE and the order; an encoding, chosen once per range, turns them
// into words. In the 6.1 form there is nothing to turn. Both work on 32-bit words, because a BigInt in a loop costs more
// than the rest of the walk.
//
// `takePlain` is the hot path: it takes page-table entries as long as they need no thought.

import type { Pfn } from '../base/addr.ts'
import { assert } from '../base/assert.ts'
import { PTE_PRESENT, PTE_PROTNONE, PTE_SPECIAL, PTE_WRITE, pteKind } from '../mm/pte.ts'
import {
  HMM_PFN_ERROR,
  HMM_PFN_REQ_FAULT_HI,
  HMM_PFN_REQ_WRITE_HI,
  HMM_PFN_VALID_HI,
  HMM_PFN_WRITE_HI,
  hmmFlagsHi,
  hmmPfnWords,
} from './hmm-pfn.ts'
import {
  HMM_PFN_FLAG_VALID,
  HMM_PFN_FLAG_WRITE,
  HMM_PFN_VALUE_ERROR,
  HMM_PFN_VALUE_NONE,
  HMM_PFN_VALUE_SPECIAL,
  type HmmRange,
  type HmmRange61,
} from './hmm-range.ts'

const REQ_BOTH = HMM_PFN_REQ_FAULT_HI | HMM_PFN_REQ_WRITE_HI
/** A plain entry has of these only PTE_PRESENT. */
const NOT_PLAIN = PTE_PRESENT | PTE_SPECIAL | PTE_PROTNONE | pteKind(~0)

/** Pages are named by their index in the range. */
export interface HmmEncoding {
  /** Entries of the array. */
  readonly npages: number
  /** Some page may ask for a fault; otherwise the walk is a snapshot and no entry is read (RF-36). */
  readonly mayFault: boolean
  /** Entries do not matter: every page has the request `commonRequest`. */
  readonly isUniform: boolean
  /** In REQ_*_HI bits; what holds for every page whatever its entry says. */
  readonly commonRequest: number
  /** Effective request of a page (RF-34), in REQ_*_HI bits; others may be set too. */
  requestOf(index: number): number
  /** Writes `npages` pages in consecutive frames, all in the state `high`. */
  putPages(index: number, npages: number, pfn: Pfn, high: number): void
  /** Nothing is mapped there now. */
  fillNone(index: number, npages: number): void
  /** Not accessible. */
  fillError(index: number, npages: number): void
  /** Mapped, but there is no page behind it. */
  putSpecial(index: number): void
  /**
   * Takes entries of a last-level table, from entry `at` on: present ones (the zero page included) that satisfy their
   * request, and empty ones that nobody asked for. Returns how many it took; it stops before the first that needs more.
   */
  takePlain(index: number, npages: number, table: Uint32Array, at: number, zeroPfn: Pfn): number
}

/** The fixed bits of Linux 6.1. */
export class HmmEncoding61 implements HmmEncoding {
  readonly npages: number
  readonly mayFault: boolean
  readonly isUniform: boolean
  readonly commonRequest: number
  private readonly entries: BigUint64Array
  private readonly words: Uint32Array
  private readonly defaultHi: number
  private readonly maskHi: number

  constructor(range: HmmRange61) {
    this.entries = range.hmmPfns
    this.npages = range.hmmPfns.length
    this.words = hmmPfnWords(range.hmmPfns)
    this.defaultHi = hmmFlagsHi(range.defaultFlags)
    this.maskHi = hmmFlagsHi(range.pfnFlagsMask)
    this.mayFault = ((this.defaultHi | this.maskHi) & HMM_PFN_REQ_FAULT_HI) !== 0
    this.isUniform = !this.mayFault || (this.maskHi & REQ_BOTH) === 0
    this.commonRequest = this.defaultHi & REQ_BOTH
  }

  requestOf(index: number): number {
    return (this.words[2 * index + 1] & this.maskHi) | this.defaultHi
  }

  putPages(index: number, npages: number, pfn: Pfn, high: number): void {
    const words = this.words
    for (let i = 2 * index, end = i + 2 * npages; i < end; i += 2) {
      words[i] = pfn++
      words[i + 1] = high
    }
  }

  fillNone(index: number, npages: number): void {
    this.entries.fill(0n, index, index + npages)
  }

  fillError(index: number, npages: number): void {
    this.entries.fill(HMM_PFN_ERROR, index, index + npages)
  }

  putSpecial(index: number): void {
    this.entries[index] = HMM_PFN_ERROR
  }

  takePlain(index: number, npages: number, table: Uint32Array, at: number, zeroPfn: Pfn): number {
    const { words, defaultHi, maskHi, isUniform } = this
    // Addresses are floating point numbers, and so is what was worked out from them; the loop counts in integers.
    let i = (2 * index) | 0
    let t = (2 * at) | 0
    const end = (t + 2 * npages) | 0
    for (; t < end; t += 2, i += 2) {
      const flags = table[t + 1] | 0
      const pfn = table[t]
      const request = (words[i + 1] & maskHi) | defaultHi
      if ((flags & NOT_PLAIN) !== PTE_PRESENT) {
        if (flags === 0) {
          if ((request & HMM_PFN_REQ_FAULT_HI) !== 0) break
          words[i] = 0
          words[i + 1] = 0
          continue
        }
        if ((flags & NOT_PLAIN) !== (PTE_PRESENT | PTE_SPECIAL) || pfn !== zeroPfn) break
      }
      let high = HMM_PFN_VALID_HI
      if ((flags & PTE_WRITE) !== 0) high |= HMM_PFN_WRITE_HI
      else if ((request & REQ_BOTH) === REQ_BOTH) break
      words[i] = pfn
      words[i + 1] = high
      if (!isUniform || pfn === zeroPfn) continue
      // Neighbours in the same state need no thought.
      for (let next = (pfn + 1) | 0; t + 2 < end; next++) {
        if (((table[t + 2] ^ next) | (table[t + 3] ^ flags)) !== 0) break
        t += 2
        i += 2
        words[i] = next
        words[i + 1] = high
      }
    }
    return npages - ((end - t) >> 1)
  }
}

/** The bits of a driver, as `HmmRange` describes them. */
export class HmmEncoding57 implements HmmEncoding {
  readonly npages: number
  readonly mayFault: boolean
  readonly isUniform: boolean
  readonly commonRequest: number
  private readonly entries: BigUint64Array
  private readonly words: Uint32Array
  private readonly shift: number
  private readonly none: bigint
  private readonly error: bigint
  private readonly special: bigint
  private readonly noneLo: number
  private readonly noneHi: number
  private readonly validLo: number
  private readonly validHi: number
  private readonly writeLo: number
  private readonly writeHi: number
  private readonly defaultLo: number
  private readonly defaultHi: number
  private readonly maskLo: number
  private readonly maskHi: number

  constructor(range: HmmRange) {
    const { pfns, flags, values, pfnShift, defaultFlags, pfnFlagsMask } = range
    assert(pfnShift >= 0 && pfnShift < 32, () => `hmm range: pfnShift is ${pfnShift}, wanted 0 to 12`)
    const valid = flags[HMM_PFN_FLAG_VALID]
    const write = flags[HMM_PFN_FLAG_WRITE]
    this.entries = pfns
    this.npages = pfns.length
    this.words = hmmPfnWords(pfns)
    this.shift = pfnShift
    this.none = values[HMM_PFN_VALUE_NONE]
    this.error = values[HMM_PFN_VALUE_ERROR]
    this.special = values[HMM_PFN_VALUE_SPECIAL]
    this.noneLo = flagsLo(this.none)
    this.noneHi = hmmFlagsHi(this.none)
    this.validLo = flagsLo(valid)
    this.validHi = hmmFlagsHi(valid)
    this.writeLo = flagsLo(write)
    this.writeHi = hmmFlagsHi(write)
    this.defaultLo = flagsLo(defaultFlags)
    this.defaultHi = hmmFlagsHi(defaultFlags)
    this.maskLo = flagsLo(pfnFlagsMask)
    this.maskHi = hmmFlagsHi(pfnFlagsMask)
    this.mayFault = ((defaultFlags | pfnFlagsMask) & valid) !== 0n
    this.isUniform = !this.mayFault || (pfnFlagsMask & (valid | write)) === 0n
    this.commonRequest = this.toRequest(this.defaultLo, this.defaultHi)
  }

  requestOf(index: number): number {
    const { words } = this
    return this.toRequest(
      (words[2 * index] & this.maskLo) | this.defaultLo,
      (words[2 * index + 1] & this.maskHi) | this.defaultHi,
    )
  }

  putPages(index: number, npages: number, pfn: Pfn, high: number): void {
    const { words, shift } = this
    const isValid = (high & HMM_PFN_VALID_HI) !== 0
    const isWritable = (high & HMM_PFN_WRITE_HI) !== 0
    const lo = (isValid ? this.validLo : 0) | (isWritable ? this.writeLo : 0)
    const hi = (isValid ? this.validHi : 0) | (isWritable ? this.writeHi : 0)
    for (let i = 2 * index, end = i + 2 * npages; i < end; i += 2, pfn++) {
      words[i] = (pfn << shift) | lo
      words[i + 1] = pfnAboveShift(pfn, shift) | hi
    }
  }

  fillNone(index: number, npages: number): void {
    this.entries.fill(this.none, index, index + npages)
  }

  fillError(index: number, npages: number): void {
    this.entries.fill(this.error, index, index + npages)
  }

  putSpecial(index: number): void {
    this.entries[index] = this.special
  }

  takePlain(index: number, npages: number, table: Uint32Array, at: number, zeroPfn: Pfn): number {
    const { words, shift, validLo, validHi, writeLo, writeHi, noneLo, noneHi } = this
    const { isUniform, commonRequest } = this
    let t = 2 * at
    let i = 2 * index
    const end = t + 2 * npages
    for (; t < end; t += 2, i += 2) {
      const flags = table[t + 1]
      const pfn = table[t]
      const request = isUniform ? commonRequest : this.requestOf(i >> 1)
      if ((flags & NOT_PLAIN) !== PTE_PRESENT) {
        if (flags === 0) {
          if ((request & HMM_PFN_REQ_FAULT_HI) !== 0) break
          words[i] = noneLo
          words[i + 1] = noneHi
          continue
        }
        if ((flags & NOT_PLAIN) !== (PTE_PRESENT | PTE_SPECIAL) || pfn !== zeroPfn) break
      }
      if ((flags & PTE_WRITE) === 0) {
        if ((request & REQ_BOTH) === REQ_BOTH) break
        words[i] = (pfn << shift) | validLo
        words[i + 1] = pfnAboveShift(pfn, shift) | validHi
      } else {
        words[i] = (pfn << shift) | validLo | writeLo
        words[i + 1] = pfnAboveShift(pfn, shift) | validHi | writeHi
      }
    }
    return npages - (end - t) / 2
  }

  /** A driver's request in REQ_*_HI bits. Any bit of a flag counts as the flag. */
  private toRequest(lo: number, hi: number): number {
    let request = 0
    if (((lo & this.validLo) | (hi & this.validHi)) !== 0) request |= HMM_PFN_REQ_FAULT_HI
    if (((lo & this.writeLo) | (hi & this.writeHi)) !== 0) request |= HMM_PFN_REQ_WRITE_HI
    return request
  }
}

/** Chooses the encoding that the form of the range asks for. */
export function hmmEncodingOf(range: HmmRange | HmmRange61): HmmEncoding {
  return 'hmmPfns' in range ? new HmmEncoding61(range) : new HmmEncoding57(range)
}

/** High word of `pfn << shift`; right for a shift of 0 too, where `pfn >>> 32` would be `pfn`. */
function pfnAboveShift(pfn: Pfn, shift: number): number {
  return (pfn >>> (31 - shift)) >>> 1
}

function flagsLo(flags: bigint): number {
  return Number(BigInt.asIntN(32, flags))
}
