// Statistics that ask nothing of the distribution: medians, and their intervals from the order of the samples. Timings
// on a shared machine have long tails and jumps, so a mean and its standard error would say more about the neighbours.

/** The middle of the samples; between the two middle ones if their number is even. Needs at least one. */
export function median(samples: readonly number[]): number {
  const sorted = sortedCopy(samples)
  const half = sorted.length >>> 1
  return sorted.length % 2 === 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2
}

export interface Interval {
  readonly low: number
  readonly high: number
}

/**
 * An interval that holds the median of the distribution with a probability of at least `confidence`: from the k-th
 * smallest sample to the k-th largest. Fewer than k of n samples fall below the median with the probability that fewer
 * than k of n coins show heads, whatever the distribution is; so k is the largest for which both tails together stay
 * improbable enough. Throws a RangeError if there are too few samples for that (fewer than 6 at 0.95).
 */
export function medianInterval(samples: readonly number[], confidence = 0.95): Interval {
  const n = samples.length
  const k = medianRank(n, confidence)
  if (k === 0) throw new RangeError(`${n} samples are too few for the median with a confidence of ${confidence}`)
  const sorted = sortedCopy(samples)
  return { low: sorted[k - 1], high: sorted[n - k] }
}

/** The rank k of `medianInterval`, counted from 1; 0 if there is none. */
export function medianRank(n: number, confidence: number): number {
  const tailMax = (1 - confidence) / 2
  let probability = 0.5 ** n // of exactly k heads
  let tail = 0 // of fewer than k heads
  let k = 0
  while (tail + probability <= tailMax) {
    tail += probability
    k++
    probability *= (n - k + 1) / k
  }
  return k
}

function sortedCopy(samples: readonly number[]): Float64Array {
  if (samples.length === 0) throw new RangeError('no samples')
  return Float64Array.from(samples).sort()
}
