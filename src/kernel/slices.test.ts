import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { PAGE_SIZE } from '../base/addr.ts'
import { gridOfCount } from './grid.ts'
import type { KernelLaunch, KernelProgram, LaunchArgument, LaunchSlicing } from './program.ts'
import { countPages, launchBlock, planSlices } from './slices.ts'

const LINEAR: LaunchSlicing = { per: 'invocation', stride: 1, low: 0, high: 0 }
const MANY = { npages: 1e6, bindingBytes: 2 ** 30 }

/** One argument after the other, each in its own binding, of elements of so many bytes; the first one is written. */
function launchOf(
  args: readonly (Partial<LaunchArgument> & { length: number; stride?: number })[],
  count: number | readonly [number, number],
  { indexed = 'code', direct = 'code' }: { indexed?: string | null; direct?: string | null } = {},
): KernelLaunch {
  const workgroupSize = typeof count === 'number' ? ([64, 1, 1] as const) : ([8, 8, 1] as const)
  const program: KernelProgram = {
    name: 'test',
    workgroupSize,
    bindings: args.map((_, binding) => ({ binding, args: [`a${binding}`], write: binding === 0 })),
    args: args.map(({ stride = 4 }, binding) => ({ name: `a${binding}`, write: binding === 0, binding, stride })),
    launchBinding: args.length,
    uniforms: [],
    faultBinding: null,
    constants: {},
    whole: direct,
    direct,
    indexed,
    whyNotIndexed: indexed === null ? '"a0" is passed on as a whole in line 3' : null,
    paged: null,
    whyNotPaged: null,
  }
  return {
    program,
    ranges: args.map(({ length, skip = 0, stride = 4 }, k) => {
      const start = (k + 1) * 2 ** 32
      return { start, end: start + Math.ceil(((skip + length) * stride) / 4) * 4 }
    }),
    args: args.map(({ length, skip = 0, slicing = [LINEAR, null, null] }) => ({
      length,
      skip,
      slicing,
      isOverwritten: false,
    })),
    uniforms: new Uint8Array(0),
    grid: gridOfCount(count, workgroupSize, 'count'),
    reach: [],
  }
}

describe('planSlices()', () => {
  it('leaves a launch that fits in one piece, in the direct form', () => {
    const [slice, ...rest] = planSlices(launchOf([{ length: 1000 }, { length: 1000 }], 1000), MANY)
    expect(rest).toEqual([])
    expect(slice.direct).toBe(true)
    expect(slice.box).toEqual({ first: [0, 0, 0], size: [16, 1, 1] })
    expect(slice.ranges.map(({ start, end, write }) => [start % 2 ** 32, end % 2 ** 32, write])).toEqual([
      [0, 4000, true],
      [0, 4000, false],
    ])
    expect(slice.args).toEqual([
      { first: 0, last: 999, offset: 0, length: 1000 },
      { first: 0, last: 999, offset: 0, length: 1000 },
    ])
  })

  it('a part of an array, or one whose length its binding does not have, needs the indexed form', () => {
    expect(planSlices(launchOf([{ length: 100, skip: 3 }], 100), MANY)[0]).toMatchObject({
      direct: false,
      args: [{ first: 0, last: 99, offset: 3, length: 100 }],
    })
    expect(planSlices(launchOf([{ length: 101, stride: 2 }], 100), MANY)[0].direct).toBe(false)
    expect(planSlices(launchOf([{ length: 102, stride: 2 }], 100), MANY)[0].direct).toBe(true)
  })

  it('has no slices for no invocations', () => {
    expect(planSlices(launchOf([{ length: 10 }], 0), MANY)).toEqual([])
  })

  it('what every slice needs whole is in every slice', () => {
    const table = { length: 2048, slicing: [null, null, null] } as const
    const slices = planSlices(launchOf([{ length: 50_000 }, table], 50_000), { ...MANY, npages: 20 })
    expect(slices.length).toBeGreaterThan(3)
    for (const { ranges, args } of slices) {
      expect(ranges[1]).toMatchObject({ start: 2 * 2 ** 32, end: 2 * 2 ** 32 + 8192 })
      expect(args[1]).toEqual({ first: 0, last: 2047, offset: 0, length: 2048 })
    }
  })

  it('cuts along the dimension that needs the least', () => {
    const rows = { per: 'invocation', stride: 200, low: 0, high: 199 } as const
    const columns = { per: 'invocation', stride: 1, low: 0, high: 199 * 200 } as const
    const image = { length: 200 * 200, slicing: [columns, rows, null] } as const
    const slices = planSlices(launchOf([image, image], [200, 200]), { ...MANY, npages: 30 })
    expect(slices.map(({ box }) => box.size[0])).toEqual(slices.map(() => 25))
    expect(slices.reduce((sum, { box }) => sum + box.size[1], 0)).toBe(25)
    expect(slices[1].args[0].first).toBe(slices[0].box.size[1] * 8 * 200)
  })

  it.each([
    ['pages', { npages: 1, bindingBytes: 2 ** 30 }, {}, 'one workgroup of test needs 2 pages, the device has 1'],
    [
      'a binding',
      { npages: 100, bindingBytes: 128 },
      {},
      'a0 of test takes a binding of 256 bytes, the device has 128',
    ],
    [
      'no form',
      { npages: 100, bindingBytes: 2 ** 30 },
      { indexed: null },
      'test has to be cut to fit the device, and cannot be: "a0" is passed on as a whole in line 3',
    ],
  ] as const)('says what does not fit: %s', (_, limits, forms, message) => {
    const launch = launchOf([{ length: 500_000 }, { length: 500_000 }], 500_000, forms)
    expect(() => planSlices(launch, limits)).toThrow(
      expect.objectContaining({ code: 'ENOMEM', message: expect.stringContaining(message) }),
    )
  })

  it('uses each invocation once, in pieces that have its elements and fit the device', () => {
    const argument = fc.record({
      length: fc.integer({ min: 1, max: 40_000 }),
      skip: fc.integer({ min: 0, max: 63 }),
      stride: fc.constantFrom(2, 4, 8, 12, 16, 20, 48),
      slicing: fc
        .record({
          per: fc.constantFrom('invocation' as const, 'workgroup' as const),
          stride: fc.integer({ min: 1, max: 5 }),
          low: fc.integer({ min: -3, max: 0 }),
          high: fc.integer({ min: 0, max: 7 }),
        })
        .map((slicing) => [slicing, null, null] as const),
    })
    fc.assert(
      fc.property(
        fc.array(argument, { minLength: 1, maxLength: 3 }),
        fc.integer({ min: 1, max: 8000 }),
        fc.integer({ min: 12, max: 60 }),
        fc.option(fc.integer({ min: 1, max: 20 }), { nil: undefined }),
        (args, count, npages, workgroups) => {
          const launch = launchOf(args, count)
          const limits = { npages, bindingBytes: 2 ** 20 }
          let next = 0
          for (const slice of planSlices(launch, workgroups === undefined ? limits : { ...limits, workgroups })) {
            expect(slice.box.first[0]).toBe(next)
            next += slice.box.size[0]
            if (workgroups !== undefined) expect(slice.box.size[0]).toBeLessThanOrEqual(workgroups)
            expect(countPages(slice.ranges)).toBeLessThanOrEqual(npages)
            slice.args.forEach(({ first, last, offset, length }, k) => {
              const { stride, slicing } = args[k]
              const { start, end } = slice.ranges[k]
              expect(start % 256).toBe(0)
              // Where the element lies, seen from the array and from the binding.
              const whole = launch.ranges[k].start + (args[k].skip + first) * stride
              const bound = start + ((first + offset) % 2 ** 32) * stride
              expect(bound).toBe(whole)
              expect(end).toBeGreaterThanOrEqual(bound + (last - first + 1) * stride)
              expect(end).toBeLessThanOrEqual(launch.ranges[k].end)
              expect(length).toBe(args[k].length)
              // Elements of the first and the last invocation, as far as the array has them.
              const [{ per, stride: step, low, high }] = slicing
              const unit = per === 'workgroup' ? 1 : 64
              const firstUnit = slice.box.first[0] * unit
              const lastUnit = Math.min(next * unit, per === 'workgroup' ? next : count) - 1
              for (const element of [firstUnit * step + low, lastUnit * step + high]) {
                if (element < 0 || element >= length) continue
                expect(element).toBeGreaterThanOrEqual(first)
                expect(element).toBeLessThanOrEqual(last)
              }
            })
          }
          expect(next).toBe(Math.ceil(count / 64))
        },
      ),
      { numRuns: 60 },
    )
  })
})

describe('launchBlock()', () => {
  it('says which invocations these are, and where the elements lie', () => {
    const launch = launchOf([{ length: 70_000 }, { length: 70_000 }], 70_000)
    const [, slice] = planSlices(launch, { npages: 64, bindingBytes: 2 ** 20 })
    const words = launchBlock(launch, slice, slice.box)
    const first = slice.box.first[0] * 64
    expect([...words.subarray(0, 16)]).toEqual([
      ...[first, 0, 0, 0],
      ...[70_000, 1, 1, 0],
      ...[Math.ceil(70_000 / 64), 1, 1, 0],
      ...[slice.box.first[0], 0, 0, 0],
    ])
    const { last, offset } = slice.args[1]
    expect([...words.subarray(20)]).toEqual([first, last, offset, 70_000])
    expect((first + offset) >>> 0).toBeLessThan(64)
  })
})

describe('countPages()', () => {
  it('counts a page once', () => {
    const range = (start: number, end: number) => ({ start: start * PAGE_SIZE, end: end * PAGE_SIZE })
    expect(countPages([range(5.5, 6.5), range(1, 2), range(6.2, 6.7), range(6.9, 8)])).toBe(1 + 3)
    expect(countPages([])).toBe(0)
  })
})
