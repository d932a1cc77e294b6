// The figures that Graph500 wants of a row of searches: quartiles, means and deviations of times, edges and rates, and the text in which
// they are handed in. Rates are compared by their harmonic mean, whose deviation is that of Norris (1940).

export interface Summary {
  readonly min: number
  readonly firstQuartile: number
  readonly median: number
  readonly thirdQuartile: number
  readonly max: number
  /** Harmonic for rates. */
  readonly mean: number
  /** Of the mean for rates, of the sample otherwise. 0 for a single value. */
  readonly deviation: number
}

/** One search, timed. */
export interface TimedSearch {
  readonly seconds: number
  /** Edges of the component, as `validateSearch` counts them. */
  readonly nedges: number
}

export interface SearchStatistics {
  readonly seconds: Summary
  readonly nedges: Summary
  /** Traversed edges per second. */
  readonly teps: Summary
}

/** Statistics of at least one search. Throws a RangeError for none. */
export function summarizeSearches(searches: readonly TimedSearch[]): SearchStatistics {
  if (searches.length === 0) throw new RangeError('there are 0 searches, wanted at least 1')
  return {
    seconds: summarize(searches.map(({ seconds }) => seconds)),
    nedges: summarize(searches.map(({ nedges }) => nedges)),
    teps: summarizeRates(searches.map(({ seconds, nedges }) => nedges / seconds)),
  }
}

/** Order statistics, arithmetic mean, deviation of the sample. */
export function summarize(values: readonly number[]): Summary {
  const n = values.length
  const mean = sum(values) / n
  const deviation = n === 1 ? 0 : Math.sqrt(sum(values.map((value) => (value - mean) ** 2)) / (n - 1))
  return { ...orderStatistics(values), mean, deviation }
}

/** Order statistics, harmonic mean, and the deviation of that mean. */
export function summarizeRates(rates: readonly number[]): Summary {
  const n = rates.length
  const mean = n / sum(rates.map((rate) => 1 / rate))
  const spread = Math.sqrt(sum(rates.map((rate) => (1 / rate - 1 / mean) ** 2)))
  const deviation = n === 1 ? 0 : (spread / (n - 1)) * mean ** 2
  return { ...orderStatistics(rates), mean, deviation }
}

/** The output of the specification, a line per figure. */
export function formatStatistics(
  { seconds, nedges, teps }: SearchStatistics,
  run: {
    readonly scale: number
    readonly edgeFactor: number
    readonly nsearches: number
    readonly constructionSeconds: number
  },
): string[] {
  const named = (unit: string, prefix: string, { mean, deviation, ...order }: Summary) => [
    ...ORDER_NAMES.map(([key, name]) => `bfs_${name}_${unit}: ${exponential(order[key])}`),
    `bfs_${prefix}mean_${unit}: ${exponential(mean)}`,
    `bfs_${prefix}stddev_${unit}: ${exponential(deviation)}`,
  ]
  return [
    `SCALE: ${run.scale}`,
    `edgefactor: ${run.edgeFactor}`,
    `NBFS: ${run.nsearches}`,
    `construction_time: ${exponential(run.constructionSeconds)}`,
    ...named('time', '', seconds),
    ...named('nedge', '', nedges),
    ...named('TEPS', 'harmonic_', teps),
  ]
}

type OrderStatistics = Omit<Summary, 'mean' | 'deviation'>

const ORDER_NAMES: readonly (readonly [keyof OrderStatistics, string])[] = [
  ['min', 'min'],
  ['firstQuartile', 'firstquartile'],
  ['median', 'median'],
  ['thirdQuartile', 'thirdquartile'],
  ['max', 'max'],
]

/** Quartiles as the specification takes them: the mean of the two values that are nearest to the place. */
function orderStatistics(values: readonly number[]): OrderStatistics {
  const sorted = Float64Array.from(values).sort()
  const n = sorted.length
  const between = (i: number, j: number) => (sorted[i] + sorted[j]) / 2
  const quarter = [Math.floor((n - 1) / 4), Math.floor(n / 4)] as const
  return {
    min: sorted[0],
    firstQuartile: between(...quarter),
    median: between(Math.floor((n - 1) / 2), Math.floor(n / 2)),
    thirdQuartile: between(n - 1 - quarter[0], n - 1 - quarter[1]),
    max: sorted[n - 1],
  }
}

/** The value in the middle, or between the two in the middle. */
export function median(values: readonly number[]): number {
  return orderStatistics(values).median
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}

/** As `%.17e` of C prints it. */
function exponential(value: number): string {
  return value.toExponential(17).replace(/e([+-])(\d)$/, 'e$10$2')
}
