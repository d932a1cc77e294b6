// How a benchmark is measured and judged. A case is a contest between two variants in one process: a candidate and its
// baseline take turns, and each pair of rounds gives one ratio, so what disturbs both cancels out. The result is the
// median of the ratios with its 95 % interval. Who goes first alternates: the second finds other caches than the first.
//
//   pair      0      1      2      3                        ratio = median of candidate / baseline
//   rounds    c b    b c    c b    b c    ...               goal missed: the whole interval lies on the wrong side
//
// Cases that compare one candidate with several baselines are measured together, and all of these take turns:
// c b1 b2, b1 b2 c, b2 c b1, and so on; each baseline makes its own pairs with the candidate.
//
// Every suite has a baseline for most of its cases. It is also measured against itself: what that ratio strays from 1
// is the noise of the machine in this very run.

import { median, medianInterval } from './statistics.ts'

/** Runs one round and returns its cost or rate in the unit of the case. */
export type Measure = () => number | Promise<number>

export interface Contest {
  readonly candidate: Measure
  readonly baseline: Measure
  /** Ends what would keep the process when everything is measured. */
  close?(): void
}

export interface BenchCase {
  /** Unique in its suite; no spaces. */
  readonly name: string
  /** What one round of the candidate does and what of it is counted, and against what. One or two sentences. */
  readonly summary: string
  /** Of candidate and baseline: 'ns/page'. */
  readonly unit: string
  readonly better: 'lower' | 'higher'
  /** Bound of the ratio; null where it says more of the machine than of the candidate. */
  readonly goal: number | null
  /** At least PAIRS_MIN, which is the default. */
  readonly pairs?: number
  /** Cases with the same name here have the same candidate, one function, and are measured together; otherwise each alone. */
  readonly together?: string
  /** Builds what the rounds need. Runs in the process of the case. */
  prepare(): Contest | Promise<Contest>
}

export interface Suite {
  readonly name: string
  readonly summary: string
  /** What most cases are compared with; reported against itself under the name `baseline`. */
  readonly baseline: { readonly summary: string; readonly unit: string; prepare(): Measure | Promise<Measure> }
  readonly cases: readonly BenchCase[]
}

/** The result of a case, as `--json` prints it. */
export interface Row {
  readonly suite: string
  readonly case: string
  readonly unit: string
  /** Median over the rounds of the candidate. */
  readonly value: number
  /** Median over the rounds of the baseline. */
  readonly baseline: number
  /** Median of the paired ratios; in general not value / baseline. */
  readonly ratio: number
  /** Lower and upper end of the 95 % interval of the ratio. */
  readonly low: number
  readonly high: number
  readonly pairs: number
  readonly better: 'lower' | 'higher'
  /** Bound of the ratio, or null. */
  readonly goal: number | null
  /** False only if the whole interval misses the goal. */
  readonly ok: boolean
}

/** Pairs of rounds in a case, at the least. */
export const PAIRS_MIN = 31
/** Pairs before the first that counts, at the least: memory of the host is touched for the first time. */
const WARMUP_PAIRS = 3
/** Short rounds go on for so long before the first that counts: V8 compiles what is called often, and programs go on for longer. */
const WARMUP_MS = 1000
/** Pairs after which that is enough. */
const WARMUP_PAIRS_MAX = 300
/** A baseline that is this much slower than itself says that nothing else of the run is to be trusted. */
const SELF_GOAL = 1.1

/** All cases of a suite, its baseline against itself first. */
export function casesOf(suite: Suite): readonly BenchCase[] {
  return [selfCase(suite), ...suite.cases]
}

/** Cases in the groups in which they are measured, in the order of the first of each. */
export function groupsOf(cases: readonly BenchCase[]): readonly (readonly BenchCase[])[] {
  const groups = new Map<string, BenchCase[]>()
  for (const benchCase of cases) {
    const key = benchCase.together === undefined ? `case ${benchCase.name}` : `group ${benchCase.together}`
    groups.set(key, [...(groups.get(key) ?? []), benchCase])
  }
  return [...groups.values()]
}

/** Runs a group of cases in this process. A row for each, in their order. */
export async function runGroup(suite: string, cases: readonly BenchCase[]): Promise<Row[]> {
  const contests: Contest[] = []
  for (const benchCase of cases) {
    const contest = await benchCase.prepare()
    if (contests.length > 0 && contest.candidate !== contests[0].candidate) {
      throw new Error(`${benchCase.name} has a candidate of its own`)
    }
    contests.push(contest)
  }
  if (contests.length === 0) return []
  const pairs = Math.max(...cases.map((benchCase) => benchCase.pairs ?? PAIRS_MIN))
  const variants = [contests[0].candidate, ...contests.map(({ baseline }) => baseline)]
  const [candidate, ...others] = await takeTurns(variants, pairs).finally(() => {
    for (const contest of contests) contest.close?.()
  })
  return cases.map((benchCase, i) => makeRow(suite, benchCase, { candidate, baseline: others[i] }))
}

/** What the rounds of two variants cost, pair by pair. */
interface Samples {
  readonly candidate: readonly number[]
  readonly baseline: readonly number[]
}

function makeRow(suite: string, benchCase: BenchCase, { candidate, baseline }: Samples): Row {
  const { name, unit, better, goal } = benchCase
  const ratios = candidate.map((cost, pair) => cost / baseline[pair])
  const { low, high } = medianInterval(ratios)
  return {
    suite,
    case: name,
    unit,
    value: rounded(median(candidate)),
    baseline: rounded(median(baseline)),
    ratio: rounded(median(ratios)),
    low: rounded(low),
    high: rounded(high),
    pairs: ratios.length,
    better,
    goal,
    ok: goal === null || (better === 'lower' ? low <= goal : high >= goal),
  }
}

/**
 * Processor time that a synchronous piece of work takes, in nanoseconds: what the neighbours get of the machine
 * meanwhile does not count, what the engine's helper threads do does. Counted in microseconds, so the work should take
 * milliseconds; Windows counts in steps of 16 ms, so there it is the time on the clock.
 */
export function cpuTimeNs(work: () => void): number {
  const start = cpuClockUs()
  work()
  return (cpuClockUs() - start) * 1000
}

/** The same of work that waits; nothing else may go on in the process meanwhile. */
export async function cpuTimeNsAsync(work: () => Promise<unknown>): Promise<number> {
  const start = cpuClockUs()
  await work()
  return (cpuClockUs() - start) * 1000
}

function cpuClockUs(): number {
  if (process.platform === 'win32') return performance.now() * 1000
  const { user, system } = process.cpuUsage()
  return user + system
}

/** Rounds of all variants in turn, each time beginning with the next. What they cost, variant by variant. */
async function takeTurns(variants: readonly Measure[], pairs: number): Promise<number[][]> {
  if (!(pairs >= PAIRS_MIN)) throw new RangeError(`${pairs} pairs of rounds, wanted at least ${PAIRS_MIN}`)
  const n = variants.length
  const samples = variants.map((): number[] => [])
  const begin = performance.now()
  let nwarm = 0
  for (let turn = 0; turn < nwarm + pairs; turn++) {
    const isWarm = turn >= WARMUP_PAIRS && (turn >= WARMUP_PAIRS_MAX || performance.now() - begin >= WARMUP_MS)
    if (nwarm === turn && !isWarm) nwarm++
    for (let k = 0; k < n; k++) {
      const i = (turn + k) % n
      const cost = await variants[i]()
      // A candidate may cost nothing that can be measured; whoever it is divided by may not.
      if (!(cost > 0) && !(i === 0 && cost === 0)) throw new RangeError(`a round measured ${cost}`)
      if (turn >= nwarm) samples[i].push(cost)
    }
  }
  return samples
}

function selfCase({ baseline }: Suite): BenchCase {
  return {
    name: 'baseline',
    summary: `${baseline.summary} Measured against itself, it shows the noise of the run.`,
    unit: baseline.unit,
    better: 'lower',
    goal: SELF_GOAL,
    async prepare() {
      const measure = await baseline.prepare()
      return { candidate: measure, baseline: measure }
    },
  }
}

/** To five digits: more are noise. */
function rounded(x: number): number {
  return Number(x.toPrecision(5))
}
