// The workloads, and the devices on which they run: with memory for four times the data, all of it, and less and less of it, down to the
// pages that a single transaction needs.

import type { Heap, RunReceipt } from '../../src/index.ts'
import { DECLARED, DECLARED_PAGES } from './declared.ts'
import { LINKED } from './linked.ts'
import { SCATTERED, SCATTERED_PAGES } from './scattered.ts'
import { SEARCH } from './search.ts'
import { Site, type Workload } from './workload.ts'

export interface MatrixCase {
  readonly workload: Workload
  /** Memory of the device, in pages. */
  readonly npages: number
  /** The same as a part of the data, where that is enough; 0 for the least that is. */
  readonly percent: number
  readonly title: string
}

const DIRECT_PERCENTS = [400, 100, 50, 25]
const PAGED_PERCENTS = [...DIRECT_PERCENTS, 10, 0]

/** One for each size that is not the same as one before it. */
function casesOf(workload: Workload, data: number, percents: readonly number[]): MatrixCase[] {
  const cases = percents.map((percent) => {
    const npages = Math.max(workload.minimum, Math.ceil((percent / 100) * data))
    const part = percent > 0 ? `${percent} % of its data` : 'its minimum'
    return { workload, npages, percent, title: `${workload.name} on ${npages} pages, ${part}` }
  })
  return cases.filter(({ npages }, i) => npages !== cases[i - 1]?.npages)
}

export const MATRIX: readonly MatrixCase[] = [
  ...DECLARED.flatMap((workload) => casesOf(workload, DECLARED_PAGES, DIRECT_PERCENTS)),
  ...[...SCATTERED, ...LINKED, SEARCH].flatMap((workload) => casesOf(workload, SCATTERED_PAGES, PAGED_PERCENTS)),
]

const nameOf = (npages: number): string => `${npages} pages`

/** One for each size of the matrix, for a heap of 16 MiB. */
export const MATRIX_DEVICES = [...new Set(MATRIX.map(({ npages }) => npages))].map((npages) => ({
  name: nameOf(npages),
  memory: npages * 4096,
}))

/** What went wrong, as a sentence; 'right' if nothing did. */
export async function runCase(heap: Heap, { workload, npages, percent }: MatrixCase): Promise<string> {
  const site = new Site(heap, nameOf(npages))
  try {
    await workload.run(site)
    return howWrong(workload, percent, site.receipts) ?? 'right'
  } catch (error) {
    return error instanceof Error ? error.message : `${error}`
  } finally {
    site.free()
  }
}

/** A launch must be run in the way that the case is there for. */
function howWrong({ mode }: Workload, percent: number, receipts: readonly RunReceipt[]): string | null {
  const fits = percent >= 100
  const wanted = mode === 'always paged' || (mode === 'paged' && !fits) ? 'paged' : 'direct'
  const other = receipts.find((receipt) => receipt.mode !== wanted)
  if (other !== undefined) return `${other.name} is ${other.mode}, wanted ${wanted}`
  const slices = receipts.reduce((sum, receipt) => sum + receipt.slices, 0)
  // Two slices are on the device at a time.
  if (mode === 'direct' && percent === 25 && slices <= 4) return `${slices} slices, wanted more than 4`
  if (mode === 'direct' && percent === 400 && slices !== 1) return `${slices} slices, wanted 1`
  return null
}
