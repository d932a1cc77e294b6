// How a benchmark is measured and judged. A case is a contest between two variants in one process: a candidate and its
// baseline take turns, and each pair of rounds gives one ratio, so what disturbs both cancels out. The result is the
// median of the ratios with its 95 % interval. Who goes first alternates: the second finds other caches than the first.
//
//   pair      0      1      2      3                        ratio = median of candidate / baseline
//   rounds    c b    b c    c b    b c    ...               goal missed: the whole interval lies on the wrong side
//
// Every suite has a baseline for most of its cases. It is also measured against itself: what that ratio strays from 1
// is the noise of the machine in this very run.

import { median, medianInterval } from './statistics.ts'

/** Runs one round and returns its cost or rate in the unit of the case. */
export type Measure = () => number | Promise<number>

export interface Contest {
  readonly candidate: Measure
  readonly baseline: Measure
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
/** Pairs before the first that counts: code is compiled, memory of the host is touched for the first time. */
const WARMUP_PAIRS = 3
/** A baseline that is this much slower than itself says that nothing else of the run is to be trusted. */
const SELF_GOAL = 1.1

/** All cases of a suite, its baseline against itself first. */
export function casesOf(suite: Suite): readonly BenchCase[] {
  return [selfCase(suite), ...suite.cases]
}

/** Runs a case in this process. */
export async function runCase(suite: string, benchCase: BenchCase): Promise<Row> {
  const { name, unit, better, goal, pairs = PAIRS_MIN } = benchCase
  const { candidate, baseline } = await benchCase.prepare()
  const samples = await takeTurns(candidate, baseline, pairs)
  const ratios = samples.map((sample) => sample.candidate / sample.baseline)
  const { low, high } = medianInterval(ratios)
  return {
    suite,
    case: name,
    unit,
    value: rounded(median(samples.map((sample) => sample.candidate))),
    baseline: rounded(median(samples.map((sample) => sample.baseline))),
    ratio: rounded(median(ratios)),
    low: rounded(low),
    high: rounded(high),
    pairs,
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

interface Sample {
  readonly candidate: number
  readonly baseline: number
}

async function takeTurns(candidate: Measure, baseline: Measure, pairs: number): Promise<Sample[]> {
  if (!(pairs >= PAIRS_MIN)) throw new RangeError(`${pairs} pairs of rounds, wanted at least ${PAIRS_MIN}`)
  const samples: Sample[] = []
  for (let pair = -WARMUP_PAIRS; pair < pairs; pair++) {
    const candidateFirst = pair % 2 === 0
    const first = await (candidateFirst ? candidate : baseline)()
    const second = await (candidateFirst ? baseline : candidate)()
    const sample = candidateFirst ? { candidate: first, baseline: second } : { candidate: second, baseline: first }
    if (!(sample.candidate >= 0 && sample.baseline > 0)) {
      throw new RangeError(`a round measured ${sample.candidate} against ${sample.baseline}`)
    }
    if (pair >= 0) samples.push(sample)
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
