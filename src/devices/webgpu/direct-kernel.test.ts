import { describe, expect, it } from 'vitest'
import { PAGE_SIZE } from '../../base/addr.ts'
import { MmError } from '../../base/errno.ts'
import { type DirectKernel, type DirectLimits, pagesOfCall, planSlices } from './direct-kernel.ts'

const LIMITS: DirectLimits = { npages: 64, bindingBytes: 2 ** 27, workgroups: 65535 }

function kernel(...strides: number[]): DirectKernel {
  const args = strides.map((stride, k) => {
    const access = k === 0 ? ('readWrite' as const) : ('read' as const)
    return { name: 'abcdefghij'[k], access, stride }
  })
  return { name: 'test', code: '', workgroupSize: 64, args, uniformBytes: 0 }
}

const range = (page: number, nbytes: number, offset = 0) => ({ addr: page * PAGE_SIZE + offset, nbytes })
const pages = (start: number, end: number, write: boolean) => ({
  start: start * PAGE_SIZE,
  end: end * PAGE_SIZE,
  write,
})

describe('planSlices()', () => {
  it('makes one slice of what fits', () => {
    const call = { ranges: [range(1, 8 * PAGE_SIZE), range(20, 4 * PAGE_SIZE)], count: 1024 }
    expect(planSlices(kernel(8, 4), call, LIMITS)).toEqual([
      {
        first: 0,
        count: 1024,
        args: [
          { start: PAGE_SIZE, end: 3 * PAGE_SIZE, write: true },
          { start: 20 * PAGE_SIZE, end: 21 * PAGE_SIZE, write: false },
        ],
        pages: [pages(1, 3, true), pages(20, 21, false)],
      },
    ])
  })

  it('cuts what does not fit into slices of at most half of the memory, without gap or overlap', () => {
    const count = 100 * 1024
    const call = { ranges: [range(1, 4 * count, 4), range(200, 4 * count)], count }
    const slices = planSlices(kernel(4, 4), call, LIMITS)
    expect(slices.length).toBeGreaterThan(6)
    let first = 0
    for (const slice of slices) {
      expect(slice.first).toBe(first)
      first += slice.count
      const npages = slice.pages.reduce((sum, { start, end }) => sum + (end - start) / PAGE_SIZE, 0)
      expect(npages).toBeLessThanOrEqual(32)
      expect(slice.args.map(({ start }) => start)).toEqual([
        PAGE_SIZE + 4 + 4 * slice.first,
        200 * PAGE_SIZE + 4 * slice.first,
      ])
    }
    expect(first).toBe(count)
  })

  it('makes do with a page per argument, and cuts where pages end', () => {
    const call = { ranges: [range(1, 6 * PAGE_SIZE, 1000), range(20, 6 * PAGE_SIZE)], count: 3000 }
    const slices = planSlices(kernel(4, 4), call, { ...LIMITS, npages: 2 })
    expect(slices.map(({ count }) => count)).toEqual([774, 250, 774, 250, 774, 178])
    expect(slices.every(({ pages: [x, y] }) => x.end - x.start === PAGE_SIZE && y.end - y.start === PAGE_SIZE)).toBe(
      true,
    )
    const aligned = { ranges: [range(1, 6 * PAGE_SIZE), range(20, 6 * PAGE_SIZE)], count: 6000 }
    expect(planSlices(kernel(4, 4), aligned, { ...LIMITS, npages: 9 }).map(({ count }) => count)).toEqual([
      2048, 2048, 1904,
    ])
  })

  it('takes all of an argument into each slice that every invocation may use', () => {
    const count = 64 * 1024
    const call = { ranges: [range(1, 4 * count), range(100, 10 * PAGE_SIZE)], count }
    for (const slice of planSlices(kernel(4, 0), call, LIMITS)) {
      expect(slice.pages).toContainEqual(pages(100, 110, false))
      expect(slice.args[1]).toEqual({ start: 100 * PAGE_SIZE, end: 110 * PAGE_SIZE, write: false })
    }
  })

  it('lets arguments that share a page share a range of pages', () => {
    const call = {
      ranges: [range(5, 3 * PAGE_SIZE), range(8, PAGE_SIZE, 512), range(3, 2 * PAGE_SIZE + 256, 0)],
      count: 1,
    }
    expect(() => planSlices(kernel(4, 4, 0), call, LIMITS)).toThrow(/c and a of test overlap/)
    call.ranges[2] = range(3, 2 * PAGE_SIZE, 0)
    expect(planSlices(kernel(0, 4, 0), call, LIMITS)[0].pages).toEqual([
      pages(3, 5, false),
      pages(5, 8, true),
      pages(8, 9, false),
    ])
    call.ranges[1] = range(7, 64, 256)
    call.ranges[0] = range(5, 2 * PAGE_SIZE + 128)
    expect(planSlices(kernel(0, 4, 0), call, LIMITS)[0].pages).toEqual([pages(3, 5, false), pages(5, 8, true)])
  })

  it('keeps slices below what one binding and one dispatch can take', () => {
    const count = 8 * 1024
    const call = { ranges: [range(1, 4 * count)], count }
    const bound = planSlices(kernel(4), call, { ...LIMITS, bindingBytes: 5000 })
    expect(bound.every(({ args }) => args[0].end - args[0].start <= 5000 - 256)).toBe(true)
    const narrow = planSlices(kernel(4), call, { ...LIMITS, workgroups: 2 })
    expect(narrow.map((slice) => slice.count)).toEqual(new Array(64).fill(128))
  })

  it('uses all of the memory where half is too little, and names what is missing where all is', () => {
    const call = { ranges: [range(1, 50 * PAGE_SIZE), range(100, 40 * PAGE_SIZE)], count: 40 * 1024 }
    const slices = planSlices(kernel(0, 4), call, LIMITS)
    expect([slices[0].count, slices.reduce((sum, { count }) => sum + count, 0)]).toEqual([14 * 1024, call.count])
    const large = { ranges: [range(1, 64 * PAGE_SIZE), range(100, 4)], count: 1 }
    expect(() => planSlices(kernel(0, 4), large, LIMITS)).toThrow(MmError)
    expect(() => planSlices(kernel(0, 4), large, LIMITS)).toThrow(
      'ENOMEM: out of memory, launch: invocation 0 of test needs 65 pages, the device has 64',
    )
  })

  it('of no invocations is no slice', () => {
    expect(planSlices(kernel(4), { ranges: [range(1, 4)], count: 0 }, LIMITS)).toEqual([])
  })

  it.each([
    ['too few ranges', { ranges: [], count: 1 }, TypeError],
    ['a count that is no whole number', { ranges: [range(1, 64)], count: 1.5 }, RangeError],
    ['a negative count', { ranges: [range(1, 64)], count: -1 }, RangeError],
    ['more invocations than a number has', { ranges: [range(1, 64)], count: 2 ** 33 }, RangeError],
    ['a range that is too short', { ranges: [range(1, 64)], count: 17 }, RangeError],
    ['an address within a word', { ranges: [range(1, 64, 2)], count: 1 }, RangeError],
    ['an address that is none', { ranges: [{ addr: Number.NaN, nbytes: 64 }], count: 1 }, RangeError],
    ['a negative address', { ranges: [{ addr: -4, nbytes: 64 }], count: 1 }, RangeError],
    ['a size within a word', { ranges: [range(1, 63)], count: 1 }, RangeError],
    ['no bytes', { ranges: [range(1, 0)], count: 0 }, RangeError],
    [
      'uniforms that the kernel does not have',
      { ranges: [range(1, 64)], count: 1, uniforms: new Uint8Array(4) },
      RangeError,
    ],
  ])('refuses %s', (_, call, error) => {
    expect(() => planSlices(kernel(4), call, LIMITS)).toThrow(error)
  })

  it('refuses kernels with no or too many arguments, and strides within a word', () => {
    const many = new Array(9).fill(4)
    const ranges = many.map((_, k) => range(10 * k + 1, 64))
    expect(() => planSlices(kernel(...many), { ranges, count: 1 }, LIMITS)).toThrow(RangeError)
    expect(() => planSlices(kernel(), { ranges: [], count: 1 }, LIMITS)).toThrow(RangeError)
    expect(() => planSlices(kernel(2), { ranges: [range(1, 64)], count: 1 }, LIMITS)).toThrow(RangeError)
  })

  it('pagesOfCall() is what all slices use together', () => {
    const call = { ranges: [range(1, 8 * PAGE_SIZE), range(20, 4 * PAGE_SIZE)], count: 1025 }
    expect(pagesOfCall(kernel(4, 0), call)).toEqual([pages(1, 3, true), pages(20, 24, false)])
  })
})
