import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import * as a from './addr.ts'

/** Addresses of user space, with the neighbourhood of the table boundaries drawn often. */
const anyAddr = fc.oneof(
  fc.nat({ max: a.TASK_SIZE - 1 }),
  fc
    .tuple(
      fc.constantFrom(a.PAGE_SIZE, a.PMD_SIZE, a.PUD_SIZE, a.PGDIR_SIZE),
      fc.nat(255),
      fc.integer({ min: -2, max: 2 }),
    )
    .map(([size, n, off]) => Math.max(0, size * n + off)),
)

const LEVELS = [
  { name: 'page', size: a.PAGE_SIZE, down: a.pageAlignDown, up: a.pageAlignUp },
  { name: 'pmd', size: a.PMD_SIZE, down: a.pmdAlignDown, up: a.pmdAlignUp },
  { name: 'pud', size: a.PUD_SIZE, down: a.pudAlignDown, up: a.pudAlignUp },
  { name: 'pgd', size: a.PGDIR_SIZE, down: a.pgdAlignDown, up: a.pgdAlignUp },
]

describe('sizes', () => {
  it('are the powers of two of x86-64 with four levels', () => {
    expect(a.PAGE_SIZE).toBe(2 ** a.PAGE_SHIFT)
    expect(a.PMD_SIZE).toBe(2 ** a.PMD_SHIFT)
    expect(a.PUD_SIZE).toBe(2 ** a.PUD_SHIFT)
    expect(a.PGDIR_SIZE).toBe(2 ** a.PGDIR_SHIFT)
    expect(a.PMD_SIZE).toBe(a.PAGE_SIZE * 2 ** a.PMD_ORDER)
    expect(a.PUD_SIZE).toBe(a.PAGE_SIZE * 2 ** a.PUD_ORDER)
    expect(a.HPAGE_PMD_NR).toBe(a.PMD_SIZE / a.PAGE_SIZE)
    expect(a.TASK_SIZE).toBe(2 ** 47 - a.PAGE_SIZE)
  })
})

describe.each(LEVELS)('$name alignment', ({ size, down, up }) => {
  it('agrees with BigInt arithmetic for every user address', () => {
    fc.assert(
      fc.property(anyAddr, (addr) => {
        const unit = BigInt(size)
        expect(BigInt(down(addr))).toBe((BigInt(addr) / unit) * unit)
        expect(BigInt(up(addr))).toBe(((BigInt(addr) + unit - 1n) / unit) * unit)
      }),
    )
  })
})

describe('table indices', () => {
  it('are the four groups of nine bits above the page offset', () => {
    fc.assert(
      fc.property(anyAddr, (addr) => {
        const bits = BigInt(addr)
        expect(a.pageOffset(addr)).toBe(Number(bits & 0xfffn))
        expect(a.pteIndex(addr)).toBe(Number((bits >> 12n) & 511n))
        expect(a.pmdIndex(addr)).toBe(Number((bits >> 21n) & 511n))
        expect(a.pudIndex(addr)).toBe(Number((bits >> 30n) & 511n))
        expect(a.pgdIndex(addr)).toBe(Number((bits >> 39n) & 511n))
      }),
    )
  })

  it('of 0x7f1234567000 are 254, 72, 418 and 359', () => {
    const addr = 0x7f12_3456_7000
    expect([a.pgdIndex(addr), a.pudIndex(addr), a.pmdIndex(addr), a.pteIndex(addr)]).toEqual([254, 72, 418, 359])
  })
})

describe('isPageAligned(), isPmdAligned() and isPudAligned()', () => {
  it('say whether aligning down changes nothing', () => {
    fc.assert(
      fc.property(anyAddr, (addr) => {
        expect(a.isPageAligned(addr)).toBe(a.pageAlignDown(addr) === addr)
        expect(a.isPmdAligned(addr)).toBe(a.pmdAlignDown(addr) === addr)
        expect(a.isPudAligned(addr)).toBe(a.pudAlignDown(addr) === addr)
      }),
    )
  })
})

describe('page numbers', () => {
  it('go to an address and back', () => {
    fc.assert(
      fc.property(anyAddr, (addr) => {
        expect(a.vpnToAddr(a.addrToVpn(addr))).toBe(a.pageAlignDown(addr))
        expect(a.pfnToPhys(a.physToPfn(addr))).toBe(a.pageAlignDown(addr))
      }),
    )
  })

  it('nbytesToPages() counts the page that is only begun', () => {
    expect([0, 1, 4096, 4097, 3 * 2 ** 40].map(a.nbytesToPages)).toEqual([0, 1, 1, 2, 3 * 2 ** 28])
  })
})

describe.each([
  { name: 'pmdAddrEnd', size: a.PMD_SIZE, addrEnd: a.pmdAddrEnd },
  { name: 'pudAddrEnd', size: a.PUD_SIZE, addrEnd: a.pudAddrEnd },
  { name: 'pgdAddrEnd', size: a.PGDIR_SIZE, addrEnd: a.pgdAddrEnd },
])('$name()', ({ size, addrEnd }) => {
  it('stops at the end of the range inside one entry', () => {
    expect(addrEnd(5 * size + 4096, 5 * size + 8192)).toBe(5 * size + 8192)
    expect(addrEnd(5 * size, 6 * size)).toBe(6 * size)
  })

  it('stops at the next boundary, also when it starts on one', () => {
    expect(addrEnd(5 * size, 9 * size)).toBe(6 * size)
    expect(addrEnd(6 * size - 4096, 9 * size)).toBe(6 * size)
  })
})
