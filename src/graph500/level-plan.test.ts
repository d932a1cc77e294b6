import { describe, expect, test } from 'vitest'
import { countBlocks, planLevel } from './level-plan.ts'
import { BLOCK } from './strips.ts'

/** A word per block, those in the list not zero. */
function active(nblocks: number, ...blocks: number[]): Uint32Array {
  const words = new Uint32Array(nblocks)
  for (const block of blocks) words[block] = 1
  return words
}

describe('planLevel()', () => {
  const nstrips = 40 * BLOCK - 100
  const few = 1
  const nvertices = 1_000_000

  test('takes the blocks that have vertices that were reached last', () => {
    expect(planLevel(few, nvertices, active(40, 3), nstrips)).toEqual({
      direction: 'fromAbove',
      runs: [{ first: 3 * BLOCK, count: BLOCK }],
    })
  })

  test('takes neighbouring blocks together, and small gaps along', () => {
    expect(planLevel(few, nvertices, active(40, 0, 1, 6, 12, 13), nstrips).runs).toEqual([
      { first: 0, count: 7 * BLOCK },
      { first: 12 * BLOCK, count: 2 * BLOCK },
    ])
  })

  test('ends with the last strip', () => {
    expect(planLevel(few, nvertices, active(40, 39), nstrips).runs).toEqual([{ first: 39 * BLOCK, count: BLOCK - 100 }])
  })

  test('goes from below over everything when many were reached', () => {
    expect(planLevel(20_000, nvertices, active(40, 3), nstrips)).toEqual({
      direction: 'fromBelow',
      runs: [{ first: 0, count: nstrips }],
    })
  })

  test('launches nothing where nothing is active', () => {
    expect(planLevel(0, nvertices, active(40), nstrips).runs).toEqual([])
  })
})

test('countBlocks() counts the last one, which may be shorter', () => {
  expect([0, 1, BLOCK, BLOCK + 1].map(countBlocks)).toEqual([0, 1, 1, 2])
})
