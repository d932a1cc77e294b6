import { describe, expect, it } from 'vitest'
import { PAGE_SIZE } from './addr.ts'
import { firstPageIn, forEachRunIn, type PageRuns, runsOfPages, runsOfSet, runsWithout } from './page-runs.ts'

const START = 16 * PAGE_SIZE

/** In pages from START on. */
const inPages = (runs: PageRuns): number[] => runs.map((addr) => (addr - START) / PAGE_SIZE)

describe('runsOfPages()', () => {
  it('joins neighbours', () => {
    expect(inPages(runsOfPages([0, 1, 4, 6].map((page) => START + page * PAGE_SIZE)))).toEqual([0, 2, 4, 5, 6, 7])
    expect(runsOfPages([])).toEqual([])
  })
})

describe('runsOfSet()', () => {
  it('finds each run of members', () => {
    expect(inPages(runsOfSet(Uint8Array.of(1, 1, 0, 0, 1, 0, 1), START))).toEqual([0, 2, 4, 5, 6, 7])
    expect([runsOfSet(Uint8Array.of(), START), runsOfSet(Uint8Array.of(0, 0), START)]).toEqual([[], []])
  })
})

describe('runsWithout()', () => {
  it('leaves what the others do not have, for all sets of six pages', () => {
    const bits = (set: number) => Uint8Array.from({ length: 6 }, (_, page) => (set >> page) & 1)
    for (let all = 0; all < 64; all++) {
      for (let others = 0; others < 64; others++) {
        if ((others & ~all) !== 0) continue
        const left = runsWithout(runsOfSet(bits(all), START), runsOfSet(bits(others), START))
        const pages: number[] = []
        forEachRunIn(left, START, START + 6 * PAGE_SIZE, (start, end) => {
          for (let addr = start; addr < end; addr += PAGE_SIZE) pages.push((addr - START) / PAGE_SIZE)
        })
        expect(pages).toEqual([...bits(all & ~others).keys()].filter((page) => ((all & ~others) >> page) & 1))
      }
    }
  })
})

describe('firstPageIn()', () => {
  it('goes on with the next page of a run, or the end', () => {
    const runs = runsOfSet(Uint8Array.of(0, 1, 1, 0, 1), START)
    const end = START + 5 * PAGE_SIZE
    const first = (page: number): number => firstPageIn(runs, START + page * PAGE_SIZE, end)
    expect(inPages([0, 1, 2, 3, 5].map(first))).toEqual([1, 1, 2, 4, 5])
    expect(firstPageIn(null, START, end)).toBe(START)
  })
})

describe('forEachRunIn()', () => {
  it('visits what lies in the range, cut at its ends', () => {
    const runs = runsOfSet(Uint8Array.of(1, 1, 0, 1, 0, 1, 1), START)
    const visited: number[] = []
    forEachRunIn(runs, START + PAGE_SIZE, START + 6 * PAGE_SIZE, (start, end) => visited.push(...inPages([start, end])))
    expect(visited).toEqual([1, 2, 3, 4, 5, 6])
    forEachRunIn(runs, START + 2 * PAGE_SIZE, START + 3 * PAGE_SIZE, () => expect.unreachable('only touches both'))
  })
})
