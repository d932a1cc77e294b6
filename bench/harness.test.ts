import { describe, expect, test } from 'vitest'
import {
  type BenchCase,
  type Contest,
  casesOf,
  groupsOf,
  PAIRS_MIN,
  type Row,
  runGroup,
  type Suite,
} from './harness.ts'

/** A case whose rounds return the given numbers, in the order in which they are run. */
function makeCase(contest: Contest, options: Partial<BenchCase> = {}): BenchCase {
  return { name: 'c', summary: '', unit: 'ns', better: 'lower', goal: 2, prepare: () => contest, ...options }
}

async function runCase(suite: string, benchCase: BenchCase): Promise<Row> {
  const [row] = await runGroup(suite, [benchCase])
  return row
}

describe('runGroup() of one case', () => {
  test('reports the median of the paired ratios, which a drift of the machine does not move', async () => {
    // The machine slows down from round to round; the candidate always costs twice the baseline of its pair.
    let round = 0
    const speed = () => 1 + Math.floor(round++ / 2)
    const row = await runCase('s', makeCase({ candidate: () => 2 * speed(), baseline: speed }))
    expect(row).toMatchObject({ suite: 's', case: 'c', unit: 'ns', ratio: 2, low: 2, high: 2, pairs: PAIRS_MIN })
    expect(row.value).toBe(2 * row.baseline)
  })

  test('lets the variants take turns, and the lead change from pair to pair', async () => {
    const order: string[] = []
    const variant = (name: string) => () => {
      order.push(name)
      return 1
    }
    await runCase('s', makeCase({ candidate: variant('c'), baseline: variant('b') }))
    const text = order.join('')
    expect(text).toMatch(/^(cb)?(bccb)+(bc)?$/)
    expect(text.match(/c/g)?.length).toBeGreaterThan(PAIRS_MIN) // some rounds more to warm up
    expect(text.match(/c/g)?.length).toBe(text.match(/b/g)?.length)
  })

  test('does not count the rounds that warm up', async () => {
    let round = 0
    const row = await runCase('s', makeCase({ candidate: () => (round++ < 2 ? 1e9 : 3), baseline: () => 1 }))
    expect(row.high).toBe(3)
  })

  test('waits for variants that are asynchronous', async () => {
    const row = await runCase('s', makeCase({ candidate: async () => 3, baseline: async () => 2 }))
    expect(row.ratio).toBe(1.5)
  })

  test.each([
    // Ratios of 31 pairs; the interval reaches from the 10th smallest to the 10th largest.
    ['lower', 'the whole interval is above the goal', 2.1, 2.2, false],
    ['lower', 'the interval holds the goal', 1.9, 2.2, true],
    ['lower', 'the whole interval is below the goal', 1.8, 1.9, true],
    ['higher', 'the whole interval is below the goal', 1.8, 1.9, false],
    ['higher', 'the interval holds the goal', 1.9, 2.2, true],
    ['higher', 'the whole interval is above the goal', 2.1, 2.2, true],
  ] as const)('with better: %s, where %s', async (better, _, low, high, ok) => {
    let round = 0
    const candidate = () => (round++ % 3 === 0 ? low : high)
    const row = await runCase('s', makeCase({ candidate, baseline: () => 1 }, { better, goal: 2 }))
    expect(row).toMatchObject({ low, high, ok, better, goal: 2 })
  })

  test('without a goal nothing is missed', async () => {
    const row = await runCase('s', makeCase({ candidate: () => 1000, baseline: () => 1 }, { goal: null }))
    expect(row).toMatchObject({ ratio: 1000, goal: null, ok: true })
  })

  test('takes as many pairs as the case asks for, and refuses less than the minimum', async () => {
    const contest = { candidate: () => 1, baseline: () => 1 }
    expect((await runCase('s', makeCase(contest, { pairs: 40 }))).pairs).toBe(40)
    await expect(runCase('s', makeCase(contest, { pairs: PAIRS_MIN - 1 }))).rejects.toThrow('wanted at least 31')
  })

  test('closes the contest once, also when a round fails', async () => {
    let closed = 0
    const close = () => void closed++
    await runCase('s', makeCase({ candidate: () => 1, baseline: () => 1, close }))
    expect(closed).toBe(1)
    const failing = () => Promise.reject(new Error('as ordered'))
    await expect(runCase('s', makeCase({ candidate: failing, baseline: () => 1, close }))).rejects.toThrow('as ordered')
    expect(closed).toBe(2)
  })

  test.each([0, -1, Number.NaN])('refuses a baseline of %d', async (baseline) => {
    await expect(runCase('s', makeCase({ candidate: () => 1, baseline: () => baseline }))).rejects.toThrow(RangeError)
  })
})

describe('runGroup() of several cases', () => {
  test('measures one candidate beside all baselines, who take turns', async () => {
    const order: string[] = []
    const variant = (name: string, cost: number) => () => {
      order.push(name)
      return cost
    }
    const candidate = variant('c', 6)
    const cases = [2, 3].map((cost) =>
      makeCase({ candidate, baseline: variant(String(cost), cost) }, { name: `by-${cost}`, together: 'g' }),
    )
    const rows = await runGroup('s', cases)
    expect(rows).toMatchObject([
      { case: 'by-2', ratio: 3, baseline: 2, pairs: PAIRS_MIN },
      { case: 'by-3', ratio: 2, baseline: 3, pairs: PAIRS_MIN },
    ])
    expect(order.join('')).toMatch(/^(c2323c3c2)+(c23)?(23c)?$/)
    expect(order.filter((name) => name === 'c').length).toBe(order.length / 3)
  })

  test('refuses cases whose candidates are two', async () => {
    const cases = [1, 2].map(() => makeCase({ candidate: () => 1, baseline: () => 1 }))
    await expect(runGroup('s', cases)).rejects.toThrow('c has a candidate of its own')
  })

  test('groupsOf() leaves cases alone that name no group, also one that is called like a group', () => {
    const contest = { candidate: () => 1, baseline: () => 1 }
    const names = (cases: BenchCase[]) => groupsOf(cases).map((group) => group.map(({ name }) => name))
    const [a, b, g, d] = [
      makeCase(contest, { name: 'a' }),
      makeCase(contest, { name: 'b', together: 'g' }),
      makeCase(contest, { name: 'g' }),
      makeCase(contest, { name: 'd', together: 'g' }),
    ]
    expect(names([a, b, g, d])).toEqual([['a'], ['b', 'd'], ['g']])
  })
})

test('casesOf() puts the baseline against itself before the cases of the suite', async () => {
  let rounds = 0
  const suite: Suite = {
    name: 's',
    summary: '',
    baseline: {
      summary: 'B.',
      unit: 'ms',
      prepare: () => () => {
        rounds++
        return 7
      },
    },
    cases: [makeCase({ candidate: () => 1, baseline: () => 1 })],
  }
  const [self, ...others] = casesOf(suite)
  expect(others).toEqual(suite.cases)
  const row = await runCase('s', self)
  expect(row).toMatchObject({ case: 'baseline', unit: 'ms', value: 7, baseline: 7, ratio: 1, ok: true })
  expect(rounds % 2).toBe(0)
  expect(rounds).toBeGreaterThan(2 * PAIRS_MIN)
})
