import { describe, expect, it } from 'vitest'
import {
  HMM_PFN_ERROR,
  HMM_PFN_ERROR_HI,
  HMM_PFN_FLAGS,
  HMM_PFN_REQ_FAULT,
  HMM_PFN_REQ_WRITE,
  HMM_PFN_VALID,
  HMM_PFN_VALID_HI,
  HMM_PFN_WRITE,
  HMM_PFN_WRITE_HI,
  type HmmPfn,
  hmmFlagsHi,
  hmmPfnAt,
  hmmPfnHiToMapOrder,
  hmmPfnIsError,
  hmmPfnOrderHi,
  hmmPfnToMapOrder,
  hmmPfnToPfn,
  hmmPfnToPhys,
  hmmPfnValid,
  hmmPfnWords,
  hmmPfnWordsToPfn,
  hmmPfnWritable,
  makeHmmPfn,
} from './hmm-pfn.ts'

const RW = HMM_PFN_VALID | HMM_PFN_WRITE

describe('the bits of an entry', () => {
  it('lie where Linux 6.1 has them (RF-20, RF-21)', () => {
    expect([HMM_PFN_VALID, HMM_PFN_WRITE, HMM_PFN_ERROR]).toEqual([1n << 63n, 1n << 62n, 1n << 61n])
    expect(HMM_PFN_FLAGS).toBe(0xffn << 56n)
    expect(HMM_PFN_REQ_FAULT).toBe(HMM_PFN_VALID)
    expect(HMM_PFN_REQ_WRITE).toBe(HMM_PFN_WRITE)
  })

  it('are the same in the high word, as signed numbers', () => {
    expect(HMM_PFN_VALID_HI).toBe(hmmFlagsHi(HMM_PFN_VALID))
    expect(HMM_PFN_WRITE_HI).toBe(hmmFlagsHi(HMM_PFN_WRITE))
    expect(HMM_PFN_ERROR_HI).toBe(hmmFlagsHi(HMM_PFN_ERROR))
    expect(HMM_PFN_VALID_HI).toBeLessThan(0)
  })
})

describe('makeHmmPfn()', () => {
  it('gives the worked values (RF-24, RF-121 to RF-124)', () => {
    expect(makeHmmPfn(0x1234, HMM_PFN_VALID)).toBe(0x8000000000001234n)
    expect(makeHmmPfn(0x1234, RW)).toBe(0xc000000000001234n)
    expect(makeHmmPfn(0x1234, RW, 9)).toBe(0xc900000000001234n)
    expect(makeHmmPfn(0x1234, HMM_PFN_VALID, 9)).toBe(0x8900000000001234n)
    expect(makeHmmPfn(0, HMM_PFN_ERROR)).toBe(0x2000000000000000n)
  })
})

describe('accessors', () => {
  const huge = 0xd2ff_ffff_ffff_ffffn as HmmPfn // VALID, WRITE, order 18, all 56 bits of frame number

  it('separate frame number, order and flags (RF-23)', () => {
    expect(hmmPfnToMapOrder(huge)).toBe(18)
    expect(hmmPfnToPfn(0xc900000000001234n as HmmPfn)).toBe(0x1234)
    expect(hmmPfnToPhys(0xc900000000001234n as HmmPfn)).toBe(0x1234000)
    expect([hmmPfnValid(huge), hmmPfnWritable(huge), hmmPfnIsError(huge)]).toEqual([true, true, false])
  })

  it('name the frame of an entry that is not valid too', () => {
    expect(hmmPfnToPfn(0x1234n as HmmPfn)).toBe(0x1234)
    expect(hmmPfnValid(0x1234n as HmmPfn)).toBe(false)
  })

  it('read the same from the words of an array, also from one that is part of a larger buffer', () => {
    const all = new BigUint64Array(4)
    const part = all.subarray(1, 3)
    part[1] = makeHmmPfn(0xffff_fff0, HMM_PFN_VALID, 9)
    const words = hmmPfnWords(part)
    expect(words.length).toBe(4)
    expect(words[2]).toBe(0xffff_fff0)
    expect(words[3] & HMM_PFN_VALID_HI).not.toBe(0)
    expect(hmmPfnHiToMapOrder(words[3])).toBe(9)
    expect(hmmPfnWordsToPfn(words, 1)).toBe(0xffff_fff0)
    expect(hmmPfnToPfn(hmmPfnAt(part, 1))).toBe(0xffff_fff0)
  })

  it('pack an order into a high word', () => {
    for (const order of [0, 9, 18, 31]) expect(hmmPfnHiToMapOrder(hmmPfnOrderHi(order) | HMM_PFN_WRITE_HI)).toBe(order)
  })
})
