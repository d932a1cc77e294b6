import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { NBINS, Timeline } from './timeline.ts'

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0)

describe('Timeline', () => {
  it('doubles the width of its bins as often as a time needs it', () => {
    const timeline = new Timeline(100, 1)
    expect([timeline.nbins, timeline.width]).toEqual([1, 1])

    timeline.reach(100 + NBINS - 1)
    expect([timeline.nbins, timeline.width]).toEqual([NBINS, 1])
    timeline.reach(100 + NBINS)
    expect([timeline.nbins, timeline.width]).toEqual([NBINS / 2 + 1, 2])
    timeline.reach(100 + 5 * NBINS)
    expect([timeline.nbins, timeline.width]).toEqual([(5 * NBINS) / 8 + 1, 8])
  })

  it('keeps the sum of amounts, each in the bin of its time', () => {
    const times = fc.array(fc.record({ step: fc.nat(1000), amount: fc.nat(100) }), { minLength: 1 })
    fc.assert(
      fc.property(times, (steps) => {
        const timeline = new Timeline(0, 1)
        const series = timeline.amounts()
        let time = 0
        const amounts = steps.map(({ step, amount }) => {
          time += step
          series.add(time, amount)
          return { time, amount }
        })

        const values = series.values()
        expect(sum(values)).toBe(sum(amounts.map(({ amount }) => amount)))
        for (const [bin, value] of values.entries()) {
          const expected = amounts.filter((each) => timeline.binOf(each.time) === bin).map(({ amount }) => amount)
          expect(value).toBe(sum(expected))
        }
      }),
    )
  })

  it('has the mean of a level in each bin, also in one that has not passed', () => {
    const timeline = new Timeline(10, 4)
    const series = timeline.level()
    series.set(12, 1) // half of the first bin
    series.set(18, 3)
    series.set(20, 0)
    timeline.reach(21)

    expect(series.values()).toEqual([0.5, 1, 2])
    expect(series.mean()).toBeCloseTo(12 / 11)
    expect(series.peak).toBe(3)
  })

  it('agrees on the mean with a plain sum over steps, whatever the width has become', () => {
    const steps = fc.array(fc.record({ step: fc.nat(500), level: fc.nat(9) }), { minLength: 1, maxLength: 50 })
    fc.assert(
      fc.property(steps, (changes) => {
        const timeline = new Timeline(0, 1)
        const series = timeline.level()
        let time = 0
        let level = 0
        let integral = 0
        for (const change of changes) {
          integral += level * change.step
          time += change.step
          level = change.level
          series.set(time, level)
        }

        if (time > 0) expect(series.mean()).toBeCloseTo(integral / time, 9)
        const whole = sum(series.values().map((value, bin) => value * timeline.covered(bin)))
        if (time > 0) expect(whole).toBeCloseTo(integral, 6)
      }),
    )
  })

  it('spreads a level over all bins that it holds for, wherever the timeline begins', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1e9, noNaN: true }), fc.integer({ min: 1, max: 5000 }), (origin, tenths) => {
        const timeline = new Timeline(origin, 0.1)
        const series = timeline.level()
        series.set(origin, 1)
        timeline.reach(origin + tenths / 10)
        for (const value of series.values()) expect(value).toBeCloseTo(1, 4)
      }),
    )
  })
})
