import { describe, expect, it } from 'vitest'
import { forEachRunIn } from './page-set.ts'

function runsIn(set: readonly number[]): [first: number, end: number][] {
  const runs: [number, number][] = []
  forEachRunIn(Uint8Array.from(set), (first, end) => runs.push([first, end]))
  return runs
}

describe('forEachRunIn()', () => {
  it('visits each run of members once, in order', () => {
    expect(runsIn([1, 1, 0, 0, 1, 0, 1])).toEqual([
      [0, 2],
      [4, 5],
      [6, 7],
    ])
  })

  it('finds nothing in a set without members', () => {
    expect([runsIn([]), runsIn([0, 0])]).toEqual([[], []])
  })
})
