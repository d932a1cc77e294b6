// How long things of one kind took: exact percentiles, and a histogram on a logarithmic scale.

/** Bars per factor of ten. */
const BARS_PER_DECADE = 5
/** So that a picture of few bars is not one of blocks. */
const BARS_MIN = 6
/** What is shorter counts for the first bar: no clock measures that. */
const SHORTEST = 0.1

export interface HistogramBar {
  /** Durations from here on, up to `to`. */
  readonly from: number
  readonly to: number
  readonly count: number
}

/** Durations in the unit of the clock. */
export interface Distribution {
  readonly count: number
  readonly mean: number
  readonly p50: number
  readonly p99: number
  readonly max: number
  /** Without gaps, from the shortest to the longest, six or more. */
  readonly bars: readonly HistogramBar[]
}

export class Durations {
  #values = new Float64Array(64)
  #count = 0

  get count(): number {
    return this.#count
  }

  add(duration: number): void {
    if (this.#count === this.#values.length) {
      const larger = new Float64Array(2 * this.#count)
      larger.set(this.#values)
      this.#values = larger
    }
    this.#values[this.#count++] = duration
  }

  /** Null if nothing was added. */
  distribution(): Distribution | null {
    if (this.#count === 0) return null
    const sorted = this.#values.slice(0, this.#count).sort()
    return {
      count: sorted.length,
      mean: sorted.reduce((sum, value) => sum + value, 0) / sorted.length,
      p50: percentile(sorted, 0.5),
      p99: percentile(sorted, 0.99),
      max: sorted[sorted.length - 1],
      bars: barsOf(sorted),
    }
  }
}

/** The smallest value that so large a part of all values does not exceed (nearest rank). `sorted` is not empty. */
export function percentile(sorted: ArrayLike<number>, part: number): number {
  return sorted[Math.max(0, Math.ceil(part * sorted.length) - 1)]
}

function barsOf(sorted: Float64Array): HistogramBar[] {
  const first = stepOf(sorted[0])
  const bars = Array.from({ length: Math.max(BARS_MIN, stepOf(sorted[sorted.length - 1]) - first + 1) }, (_, i) => ({
    from: edgeOf(first + i),
    to: edgeOf(first + i + 1),
    count: 0,
  }))
  for (const value of sorted) bars[stepOf(value) - first].count++
  return bars
}

/** Number of the bar that a duration lies in; bar 0 begins at 1. */
function stepOf(measured: number): number {
  const duration = Math.max(measured, SHORTEST)
  const step = Math.floor(Math.log10(duration) * BARS_PER_DECADE)
  // Edges are rounded, and so is the logarithm.
  if (duration < edgeOf(step)) return step - 1
  return duration >= edgeOf(step + 1) ? step + 1 : step
}

/** To three digits, so that edges look the same wherever they are computed. */
function edgeOf(step: number): number {
  return Number((10 ** (step / BARS_PER_DECADE)).toPrecision(3))
}
