import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { DensityCounters } from '../../hmm/policy.ts'
import { isDense } from '../../policies/index.ts'
import { partsAround } from './density-tree.ts'
import type { VpnRun } from './device-space.ts'

const around = (
  missed: number[],
  present: number[],
  within: VpnRun = { vpn: 0, npages: 2048 },
  isThrashing = false,
) => {
  const there = new Set([...missed, ...present])
  const isPresent = (vpn: number): boolean => there.has(vpn)
  return partsAround({ prefetch: isDense }, { missed, nmissed: missed.length, within, isPresent, isThrashing })
}
const run = (vpn: number, npages: number): VpnRun => ({ vpn, npages })
const pages = (first: number, npages: number): number[] => Array.from({ length: npages }, (_, i) => first + i)

describe('partsAround()', () => {
  it('is the 64 KiB around a page', () => {
    expect(around([37], [])).toEqual([run(32, 16)])
    expect(around([37, 40, 1000], [])).toEqual([run(32, 16), run(992, 16)])
  })

  it('is the largest part of which more than 51 % is there then', () => {
    // Two leaves of four are 50 %; with one page of the third, of which all comes, it is 75 %.
    expect(around([0], pages(16, 16))).toEqual([run(0, 32)])
    expect(around([0], pages(16, 17))).toEqual([run(0, 64)])
    // 16 pages come and 246 are there: 262 of 512 are 51.2 %.
    expect(around([0], pages(256, 246))).toEqual([run(0, 512)])
    expect(around([0], pages(256, 245))).toEqual([run(0, 16)])
  })

  it('is nothing where many pages far from each other are missed', () => {
    const missed = pages(0, 16).map((i) => 100 * i)
    expect(around(missed.slice(1), [])).toHaveLength(15)
    expect(around(missed, [])).toEqual([])
    expect(around([...missed, ...pages(1601, 9)], [])).toEqual([run(1600, 16)])
  })

  it('stays within its range, and within 2 MiB', () => {
    expect(around([520], pages(512, 500), run(515, 300))).toEqual([run(515, 300)])
    expect(around([511, 512], [], run(508, 8))).toEqual([run(508, 4), run(512, 4)])
  })

  it('is nothing while the launch thrashes', () => {
    expect(around([0], pages(16, 400), run(0, 2048), true)).toEqual([])
  })

  it('asks about aligned parts that hold a missing page, and takes the largest of those that are answered with yes', () => {
    const vpn = fc.integer({ min: 0, max: 1100 })
    const setup = fc.record({
      missed: fc.uniqueArray(vpn, { minLength: 1, maxLength: 20 }),
      present: fc.uniqueArray(vpn, { maxLength: 600 }),
      within: fc.tuple(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 1100, max: 1300 })),
      salt: fc.integer({ min: 1, max: 1000 }),
    })
    fc.assert(
      fc.property(setup, ({ missed, present, within: [first, end], salt }) => {
        const own = missed.filter((page) => page >= first).sort((a, b) => a - b)
        const there = new Set([...own, ...present])
        // An answer that follows no rule, but the counters alone.
        const prefetch = ({ npages, npresent }: DensityCounters) => (npages * 31 + npresent * 17 + salt) % 3 === 0
        const within = run(first, end - first)
        const isPresent = (page: number): boolean => there.has(page)
        const found = partsAround(
          { prefetch },
          { missed: own, nmissed: own.length, within, isPresent, isThrashing: false },
        )
        expect(found).toEqual(naiveParts(own, there, within, prefetch))
      }),
      { numRuns: 300 },
    )
  })
})

/** The same, page by page. */
function naiveParts(
  missed: readonly number[],
  there: ReadonlySet<number>,
  { vpn, npages }: VpnRun,
  prefetch: (counters: DensityCounters) => boolean,
): VpnRun[] {
  const partAt = (page: number, size: number): number[] =>
    pages(page - (page % size), size).filter((each) => each >= vpn && each < vpn + npages)
  const asks = (part: number[], present: ReadonlySet<number>): boolean => {
    const npresent = part.filter((page) => present.has(page)).length
    return prefetch({ npages: part.length, npresent, nmissed: missed.length, isThrashing: false })
  }
  const grown = new Set(there)
  for (const page of missed) {
    const leaf = partAt(page, 16)
    if (asks(leaf, there)) for (const each of leaf) grown.add(each)
  }
  const found = new Map<number, VpnRun>()
  for (const page of missed) {
    const leaf = partAt(page, 16)
    let part = asks(leaf, there) ? leaf : []
    for (let size = 32; size <= 512; size *= 2) if (asks(partAt(page, size), grown)) part = partAt(page, size)
    if (part.length > 0) found.set(part[0], run(part[0], part.length))
  }
  return [...found.values()]
}
