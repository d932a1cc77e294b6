import { describe, expect, it } from 'vitest'
import { type HomeRun, HomeRuns } from './home-runs.ts'

function run(at: number, npages: number, changes: Partial<HomeRun> = {}): HomeRun {
  return { at, npages, frame: 100 + at, home: 500 + at, isPinned: true, isCopied: true, ...changes }
}

function sizes(...added: HomeRun[]): number[] {
  const homes = new HomeRuns()
  const npages = added.reduce((sum, each) => sum + each.npages, 0)
  for (const each of added) homes.add(each)
  expect(homes.nhomes).toBe(npages)
  return homes.runs.map(({ npages }) => npages)
}

describe('HomeRuns', () => {
  it('joins what continues the last run on both sides in the same way', () => {
    expect(sizes(run(0, 1), run(1, 4), run(5, 2))).toEqual([7])
  })

  it('begins a new run where anything is different', () => {
    expect(sizes(run(0, 2), run(3, 1, { frame: 102, home: 502 }))).toEqual([2, 1])
    expect(sizes(run(0, 2), run(2, 1, { frame: 7 }))).toEqual([2, 1])
    expect(sizes(run(0, 2), run(2, 1, { home: 7 }))).toEqual([2, 1])
    expect(sizes(run(0, 2), run(2, 1, { isPinned: false }))).toEqual([2, 1])
    expect(sizes(run(0, 2), run(2, 1, { isCopied: false }))).toEqual([2, 1])
  })

  it('leaves the touched page a run by itself', () => {
    const homes = new HomeRuns()
    homes.add(run(0, 2))
    homes.touchedAt = 2
    homes.add(run(2, 1))
    homes.add(run(3, 1))
    homes.add(run(4, 3))
    expect(homes.runs.map(({ at, npages }) => [at, npages])).toEqual([
      [0, 2],
      [2, 1],
      [3, 4],
    ])
  })
})
