import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Durations, percentile } from './distribution.ts'

function distribution(values: readonly number[]) {
  const durations = new Durations()
  for (const value of values) durations.add(value)
  return durations.distribution()
}

describe('Durations', () => {
  it('has nothing to say about nothing', () => {
    expect(distribution([])).toBeNull()
  })

  it('gives percentiles that are values which were added', () => {
    const hundred = Array.from({ length: 100 }, (_, i) => 100 - i)

    expect(distribution(hundred)).toMatchObject({ count: 100, mean: 50.5, p50: 50, p99: 99, max: 100 })
    expect(distribution([7])).toMatchObject({ p50: 7, p99: 7, max: 7 })
    expect(percentile([1, 2], 0)).toBe(1)
  })

  it('puts every duration into one bar of a histogram without gaps', () => {
    const duration = fc.double({ min: 0, max: 1e9, noNaN: true })
    fc.assert(
      fc.property(fc.array(duration, { minLength: 1, maxLength: 300 }), (values) => {
        const { bars } = distribution(values) as NonNullable<ReturnType<typeof distribution>>
        bars.slice(1).forEach((bar, i) => {
          expect(bar.from).toBe(bars[i].to)
        })
        for (const [i, { from, to, count }] of bars.entries()) {
          const expected = values.filter((value) => value < to && (value >= from || i === 0))
          expect(count).toBe(expected.length)
        }
      }),
    )
  })

  it('has a bar for what took no time', () => {
    expect(distribution([0, 0])?.bars).toMatchObject([
      { from: 0.1, to: 0.158, count: 2 },
      ...Array.from({ length: 5 }, () => ({ count: 0 })),
    ])
  })
})
