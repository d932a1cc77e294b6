import { describe, expect, test } from 'vitest'
import { median, medianInterval, medianRank } from './statistics.ts'

describe('median()', () => {
  test('is the middle sample by value, not by position or by text', () => {
    expect(median([10, 9, 100])).toBe(10)
    expect(median([-1, -20, 3, 1000, 5])).toBe(3)
  })

  test('lies between the two middle samples of an even number', () => {
    expect(median([4, 1, 2, 100])).toBe(3)
  })

  test('leaves the samples in their order', () => {
    const samples = [3, 1, 2]
    median(samples)
    expect(samples).toEqual([3, 1, 2])
  })

  test('refuses no samples', () => {
    expect(() => median([])).toThrow(RangeError)
  })
})

describe('medianRank()', () => {
  // From printed tables of the sign test: rank of the lower end of the 95 % interval of a median.
  test.each([
    [5, 0],
    [6, 1],
    [8, 1],
    [9, 2],
    [10, 2],
    [15, 4],
    [20, 6],
    [25, 8],
    [31, 10],
    [41, 14],
    [50, 18],
  ])('of %i samples at 95 %% is %i', (n, rank) => {
    expect(medianRank(n, 0.95)).toBe(rank)
  })

  test('grows as less confidence is asked for', () => {
    expect(medianRank(31, 0.99)).toBeLessThan(medianRank(31, 0.95))
    expect(medianRank(31, 0.5)).toBeGreaterThan(medianRank(31, 0.95))
  })
})

describe('medianInterval()', () => {
  test('reaches from the k-th smallest to the k-th largest sample', () => {
    const samples = Array.from({ length: 31 }, (_, i) => (i * 7) % 31) // 0 to 30 in another order
    expect(medianInterval(samples)).toEqual({ low: 9, high: 21 })
  })

  test('is not moved by a few wild samples', () => {
    const calm = Array.from({ length: 31 }, (_, i) => 100 + i)
    const wild = calm.map((x, i) => (i > 27 ? x * 1000 : x))
    expect(medianInterval(wild)).toEqual(medianInterval(calm))
  })

  test('holds the true median in about 95 of 100 runs, of a skewed distribution too', () => {
    const random = xorshift(12345)
    let held = 0
    for (let run = 0; run < 2000; run++) {
      // Exponential: median ln 2, mean 1.
      const { low, high } = medianInterval(Array.from({ length: 31 }, () => -Math.log(1 - random())))
      if (low <= Math.LN2 && Math.LN2 <= high) held++
    }
    expect(held / 2000).toBeGreaterThan(0.95)
    expect(held / 2000).toBeLessThan(0.985) // 31 samples give 97.1 %, the next narrower interval 92.9 %
  })

  test('refuses too few samples', () => {
    expect(() => medianInterval([1, 2, 3, 4, 5])).toThrow('5 samples are too few')
  })
})

/** Uniform in [0, 1), the same sequence each time. */
function xorshift(seed: number): () => number {
  let x = seed
  return () => {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    return (x >>> 0) / 2 ** 32
  }
}
