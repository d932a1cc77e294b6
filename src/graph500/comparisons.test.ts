import { expect, test } from 'vitest'
import { compareInTurns } from './comparisons.ts'

test('compareInTurns() takes turns, and the median of the ratios', async () => {
  const turns: string[] = []
  const searcher = (name: string, seconds: (key: number) => number) => async (key: number) => {
    turns.push(`${name}${key}`)
    return seconds(key)
  }
  const steady = searcher('a', () => 2)
  const half = searcher('b', (key) => (key === 1 ? 100 : 1))
  const twice = searcher('c', () => 4)
  expect(await compareInTurns(steady, [half, twice], [1, 2, 3])).toEqual([0.5, 2])
  expect(turns.join(' ')).toBe('a1 b1 c1 a1 b1 c1 a2 b2 c2 a3 b3 c3')
})

test('compareInTurns() compares with nobody', async () => {
  expect(await compareInTurns(() => 1, [], [1])).toEqual([])
})
