// What the searches are compared with: the same kernels on a device that has room for everything, and plain JavaScript. Both take the
// same search keys; the means are harmonic, as for the searches themselves.

import type { Csr } from './csr.ts'
import type { HeapGraph } from './heap-graph.ts'
import { searchPlain } from './plain-search.ts'
import { summarizeRates, type TimedSearch } from './statistics.ts'

/** Searches that are enough for a comparison. */
const COMPARED_SEARCHES = 4

/** Edges per second of plain JavaScript. */
export function measurePlain(csr: Csr, keys: readonly number[], searches: readonly TimedSearch[]): number {
  // Once for the compiler.
  searchPlain(csr, keys[0])
  return meanRate(
    searches.map(({ nedges }, i) => {
      const begunAt = performance.now()
      searchPlain(csr, keys[i])
      return (1000 * nedges) / (performance.now() - begunAt)
    }),
  )
}

/** Edges per second on a device that has room for everything. */
export async function measureResident(
  onHeap: Pick<HeapGraph, 'search'>,
  keys: readonly number[],
  searches: readonly TimedSearch[],
): Promise<number> {
  // Once for the compiler, and to bring everything to the device.
  await onHeap.search(keys[0])
  const rates: number[] = []
  for (const [i, { nedges }] of searches.slice(0, COMPARED_SEARCHES).entries()) {
    const { seconds } = await onHeap.search(keys[i])
    rates.push(nedges / seconds)
  }
  return meanRate(rates)
}

function meanRate(rates: readonly number[]): number {
  return summarizeRates(rates).mean
}
