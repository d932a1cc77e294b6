import { describe, expect, it } from 'vitest'
import { PAGE_SIZE } from '../../base/addr.ts'
import { MmError } from '../../base/errno.ts'
import { type DirectKernel, type DirectLimits, planSlices, rangesOfCall, type Slice } from './direct-kernel.ts'

const LIMITS: DirectLimits = { npages: 64, bankPages: 64, pieceBytesMax: 2 ** 27, workgroups: 65535 }

function kernel(...strides: number[]): DirectKernel {
  const args = strides.map((stride, k) => {
    const access = k === 0 ? ('readWrite' as const) : ('read' as const)
    return { name: 'abcdefghij'[k], access, stride }
  })
  return { name: 'test', code: '', workgroupSize: 64, args, uniformBytes: 0 }
}

const range = (page: number, nbytes: number, offset = 0) => ({ addr: page * PAGE_SIZE + offset, nbytes })
const whole = (start: number, end: number) => ({ start: start * PAGE_SIZE, end: end * PAGE_SIZE })

/** Pages of all ranges together; they have none in common. */
function countPages({ args }: Slice): number {
  return args.reduce((sum, { start, end }) => sum + Math.ceil(end / PAGE_SIZE) - Math.floor(start / PAGE_SIZE), 0)
}

describe('planSlices()', () => {
  it('makes one slice of what fits', () => {
    const call = { ranges: [range(1, 8 * PAGE_SIZE), range(20, 4 * PAGE_SIZE)], count: 1024 }
    expect(planSlices(kernel(8, 4), call, LIMITS)).toEqual([
      {
        first: 0,
        count: 1024,
        args: [
          { ...whole(1, 3), access: 'write' },
          { ...whole(20, 21), access: 'read' },
        ],
        write: [{ ...whole(1, 3), access: 'write' }],
        read: [{ ...whole(20, 21), access: 'read' }],
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
      expect(countPages(slice)).toBeLessThanOrEqual(32)
      expect(slice.args.map(({ start }) => start)).toEqual([
        PAGE_SIZE + 4 + 4 * slice.first,
        200 * PAGE_SIZE + 4 * slice.first,
      ])
    }
    expect(first).toBe(count)
  })

  it('makes do with a page per argument, and cuts where pages end', () => {
    const call = { ranges: [range(1, 6 * PAGE_SIZE, 1000), range(20, 6 * PAGE_SIZE)], count: 3000 }
    const slices = planSlices(kernel(4, 4), call, { ...LIMITS, npages: 2, bankPages: 2 })
    expect(slices.map(({ count }) => count)).toEqual([774, 250, 774, 250, 774, 178])
    expect(slices.map(countPages)).toEqual([2, 2, 2, 2, 2, 2])
    const aligned = { ranges: [range(1, 6 * PAGE_SIZE), range(20, 6 * PAGE_SIZE)], count: 6000 }
    expect(planSlices(kernel(4, 4), aligned, { ...LIMITS, npages: 9, bankPages: 9 }).map(({ count }) => count)).toEqual(
      [2048, 2048, 1904],
    )
  })

  it('takes all of an argument into each slice that every invocation may use', () => {
    const count = 64 * 1024
    const call = { ranges: [range(1, 4 * count), range(100, 10 * PAGE_SIZE)], count }
    for (const slice of planSlices(kernel(4, 0), call, LIMITS)) {
      expect(slice.args[1]).toEqual({ ...whole(100, 110), access: 'read' })
    }
  })

  it('counts a page that two arguments share once, and refuses arguments that overlap', () => {
    const call = {
      ranges: [range(5, 3 * PAGE_SIZE), range(8, PAGE_SIZE, 512), range(3, 2 * PAGE_SIZE + 256)],
      count: 1,
    }
    expect(() => planSlices(kernel(4, 4, 0), call, LIMITS)).toThrow(/c and a of test overlap/)
    const shared = { ranges: [range(5, 2 * PAGE_SIZE + 128), range(7, 64, 256)], count: 1 }
    const small = { ...LIMITS, npages: 3, bankPages: 3 }
    expect(planSlices(kernel(0, 4), shared, small)).toHaveLength(1)
    expect(() => planSlices(kernel(0, 4), shared, { ...small, npages: 2, bankPages: 2 })).toThrow('needs 3 pages')
  })

  it('takes no piece of more than half of a bank where there are several', () => {
    const count = 64 * 1024
    const call = { ranges: [range(1, 4 * count), range(100, 4 * count)], count }
    const slices = planSlices(kernel(4, 4), call, { ...LIMITS, npages: 40, bankPages: 10 })
    expect(slices.every((slice) => slice.args.every(({ start, end }) => end - start <= 5 * PAGE_SIZE))).toBe(true)
  })

  it('keeps slices below what one binding and one dispatch can take', () => {
    const count = 8 * 1024
    const call = { ranges: [range(1, 4 * count)], count }
    const bound = planSlices(kernel(4), call, { ...LIMITS, pieceBytesMax: 9000 })
    expect(bound.map(({ count }) => count)).toEqual([2048, 2048, 2048, 2048])
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

  it('rangesOfCall() is what all slices use together', () => {
    const call = { ranges: [range(1, 8 * PAGE_SIZE), range(20, 4 * PAGE_SIZE)], count: 1025 }
    const { read, write } = rangesOfCall(kernel(4, 0), call)
    expect(read).toMatchObject([whole(20, 24)])
    expect(write).toMatchObject([{ start: PAGE_SIZE, end: PAGE_SIZE + 4 * 1025 }])
    expect(rangesOfCall(kernel(4, 0), { ...call, count: 0 })).toMatchObject({ write: [], read: [whole(20, 24)] })
  })
})
