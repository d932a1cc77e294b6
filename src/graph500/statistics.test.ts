import { describe, expect, test } from 'vitest'
import { formatStatistics, summarize, summarizeRates, summarizeSearches } from './statistics.ts'

describe('summarize()', () => {
  test('takes the order statistics of the specification', () => {
    expect(summarize([4, 1, 3, 2])).toMatchObject({
      min: 1,
      firstQuartile: 1.5,
      median: 2.5,
      thirdQuartile: 3.5,
      max: 4,
    })
    expect(summarize([9, 1, 5, 3, 7])).toMatchObject({ min: 1, firstQuartile: 3, median: 5, thirdQuartile: 7, max: 9 })
  })

  test('takes mean and deviation of the sample', () => {
    const { mean, deviation } = summarize([2, 4, 4, 4, 5, 5, 7, 9])
    expect(mean).toBe(5)
    expect(deviation).toBeCloseTo(Math.sqrt(32 / 7), 12)
  })

  test('has no deviation of a single value', () => {
    expect(summarize([3])).toEqual({
      min: 3,
      firstQuartile: 3,
      median: 3,
      thirdQuartile: 3,
      max: 3,
      mean: 3,
      deviation: 0,
    })
  })
})

describe('summarizeRates()', () => {
  test('takes the harmonic mean and its deviation', () => {
    const { mean, deviation } = summarizeRates([2, 4, 4])
    expect(mean).toBe(3)
    // Inverses 1/2, 1/4, 1/4 around 1/3: sqrt(1/36 + 2/144) / 2 * 9
    expect(deviation).toBeCloseTo((Math.sqrt(1 / 36 + 2 / 144) / 2) * 9, 12)
  })
})

describe('summarizeSearches()', () => {
  test('divides edges by seconds', () => {
    const { teps } = summarizeSearches([
      { seconds: 2, nedges: 100 },
      { seconds: 1, nedges: 100 },
    ])
    expect([teps.min, teps.max]).toEqual([50, 100])
    expect(teps.mean).toBeCloseTo(2 / (1 / 50 + 1 / 100), 10)
  })

  test('refuses no search at all', () => {
    expect(() => summarizeSearches([])).toThrow(RangeError)
  })
})

test('formatStatistics() prints every field of the specification', () => {
  const statistics = summarizeSearches([{ seconds: 0.25, nedges: 1024 }])
  const run = { scale: 18, edgeFactor: 16, nsearches: 1, constructionSeconds: 1.5 }
  const lines = formatStatistics(statistics, run)
  expect(lines.slice(0, 4)).toEqual([
    'SCALE: 18',
    'edgefactor: 16',
    'NBFS: 1',
    'construction_time: 1.50000000000000000e+00',
  ])
  const order = ['min', 'firstquartile', 'median', 'thirdquartile', 'max']
  expect(lines.slice(4).map((line) => line.split(':')[0])).toEqual([
    ...[...order, 'mean', 'stddev'].map((name) => `bfs_${name}_time`),
    ...[...order, 'mean', 'stddev'].map((name) => `bfs_${name}_nedge`),
    ...[...order, 'harmonic_mean', 'harmonic_stddev'].map((name) => `bfs_${name}_TEPS`),
  ])
  expect(lines).toContain('bfs_max_time: 2.50000000000000000e-01')
  expect(lines).toContain('bfs_harmonic_mean_TEPS: 4.09600000000000000e+03')
})
