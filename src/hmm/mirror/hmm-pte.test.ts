import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import * as p from './hmm-pte.ts'

const BITS = [
  ['VALID_DEV', p.HMM_PTE_VALID_DEV, 0],
  ['VALID_DMA', p.HMM_PTE_VALID_DMA, 1],
  ['VALID_PFN', p.HMM_PTE_VALID_PFN, 2],
  ['SELECT', p.HMM_PTE_SELECT, 3],
  ['WRITE', p.HMM_PTE_WRITE, 4],
  ['DIRTY', p.HMM_PTE_DIRTY, 5],
] as const

const anyPfn = fc.oneof(fc.nat({ max: 2 ** 31 - 1 }), fc.integer({ min: 2 ** 31, max: 2 ** 40 - 1 }))

describe('layout (MR-50)', () => {
  it.each(BITS)('%s is bit %3$i', (_name, bit, position) => {
    expect(bit).toBe(1 << position)
  })

  it('leaves bits 6 to 11 to the driver', () => {
    expect(p.HMM_PTE_PRIVATE_MASK).toBe(0b1111_1100_0000)
    expect(p.HMM_PTE_PRIVATE_SHIFT).toBe(6)
  })

  it('has no read bit: any of the three valid bits makes an entry valid (MR-51)', () => {
    for (const [, bit] of BITS) {
      const words = Uint32Array.of(bit, 0)
      expect(p.hmmPteIsValid(words, 0)).toBe((bit & 0b111) !== 0)
    }
  })
})

describe.each(BITS)('helpers of %s (MR-52)', (_name, bit) => {
  it('change this bit of this entry and nothing else, and tell what it was', () => {
    const words = Uint32Array.of(0xffff_ffff, 0xffff_ffff, 0xffff_ffff & ~bit, 1)
    expect(p.hmmPteTestBit(words, 0, bit)).toBe(true)
    expect(p.hmmPteTestBit(words, 1, bit)).toBe(false)

    expect(p.hmmPteTestAndSetBit(words, 1, bit)).toBe(false)
    expect(p.hmmPteTestAndSetBit(words, 1, bit)).toBe(true)
    expect(words[2]).toBe(0xffff_ffff)
    expect(p.hmmPteTestAndClearBit(words, 1, bit)).toBe(true)
    expect(p.hmmPteTestAndClearBit(words, 1, bit)).toBe(false)
    expect(words[2]).toBe((0xffff_ffff & ~bit) >>> 0)

    p.hmmPteClearBit(words, 0, bit)
    expect(words[0]).toBe((0xffff_ffff & ~bit) >>> 0)
    p.hmmPteSetBit(words, 0, bit)
    expect([...words]).toEqual([0xffff_ffff, 0xffff_ffff, (0xffff_ffff & ~bit) >>> 0, 1])
  })
})

describe('frame numbers and addresses (MR-52)', () => {
  it('go into an entry and come out, pfn << 12 above the flags', () => {
    fc.assert(
      fc.property(anyPfn, (pfn) => {
        const pte = p.hmmPteFromPfn(pfn)
        expect(pte).toBe((BigInt(pfn) << 12n) | 4n)
        expect(p.hmmPtePfn(pte)).toBe(pfn)
        expect(p.hmmPteDevPfn(p.hmmPteFromDevPfn(pfn))).toBe(pfn)
        expect(p.hmmPteDmaAddr(p.hmmPteFromDmaAddr(pfn * 4096))).toBe(pfn * 4096)
      }),
    )
  })

  it('hmmPtePfn() of an entry without VALID_PFN is 0, and so for the other two kinds', () => {
    expect(p.hmmPtePfn(p.hmmPteFromDmaAddr(0x5000))).toBe(0)
    expect(p.hmmPtePfn(p.hmmPteFromDevPfn(5))).toBe(0)
    expect(p.hmmPteDmaAddr(p.hmmPteFromPfn(5))).toBe(0)
    expect(p.hmmPteDevPfn(p.hmmPteFromPfn(5))).toBe(0)
  })

  it('words and integer say the same', () => {
    const words = new Uint32Array(2)
    fc.assert(
      fc.property(anyPfn, fc.nat({ max: 0xfff }), (pfn, flags) => {
        p.hmmPteStore(words, 0, pfn, flags)
        const pte = p.hmmPteRead(words, 0)
        expect(pte).toBe((BigInt(pfn) << 12n) | BigInt(flags))
        expect(p.hmmPteFrame(words, 0)).toBe(pfn)
        expect(p.hmmPteFlags(pte)).toBe(flags)
      }),
    )
  })

  it('hmmPteHasFrame() compares frame numbers below 2^32, whatever the flags', () => {
    const words = new Uint32Array(2)
    const pfn = fc.nat({ max: 2 ** 32 - 1 })
    fc.assert(
      fc.property(pfn, pfn, fc.nat({ max: 0xfff }), (stored, other, flags) => {
        p.hmmPteStore(words, 0, stored, flags)
        expect(p.hmmPteHasFrame(words, 0, stored)).toBe(true)
        expect(p.hmmPteHasFrame(words, 0, other)).toBe(stored === other)
        expect(p.hmmPteHasFrame(words, 0, (stored ^ (2 ** 31)) >>> 0)).toBe(false)
      }),
    )
  })

  it('hmmPteStore() remembers in HAD_WRITE that the entry had WRITE, which is no part of the value', () => {
    const words = new Uint32Array(2)
    p.hmmPteStore(words, 0, 7, p.HMM_PTE_VALID_PFN | p.HMM_PTE_WRITE)
    expect(words[1] >>> 31).toBe(1)
    expect(p.hmmPteRead(words, 0) >> 32n).toBe(0n)
    p.hmmPteStore(words, 0, 7, p.HMM_PTE_VALID_PFN)
    expect(words[1]).toBe(0)
  })
})

describe('formatHmmPte()', () => {
  it('names what the entry holds', () => {
    const words = new Uint32Array(2)
    const format = (frame: number, flags: number) => {
      p.hmmPteStore(words, 0, frame, flags)
      return p.formatHmmPte(p.hmmPteRead(words, 0))
    }
    expect(format(0x1f, p.HMM_PTE_VALID_PFN | p.HMM_PTE_WRITE | p.HMM_PTE_DIRTY)).toBe('pfn 0x1f W D')
    expect(format(0x40, p.HMM_PTE_VALID_DEV)).toBe('dev 0x40')
    expect(format(7, p.HMM_PTE_VALID_DMA | p.HMM_PTE_SELECT | (3 << p.HMM_PTE_PRIVATE_SHIFT))).toBe(
      'dma 0x7000 S driver 3',
    )
    expect(format(7, p.HMM_PTE_WRITE)).toBe('-')
  })
})
