// The second part of the main job: searches of a graph on a device that has no room for it, what they are compared with, and what is left
// of them: a summary, a report and a trace.

import { join } from 'node:path'
import { formatSize, MIB } from '../base/size.ts'
import type { LiveLines } from '../cli/live-lines.ts'
import type { Terminal } from '../cli/terminal.ts'
import { traceHeader } from '../heap/trace-files.ts'
import type { Heap, HeapMode } from '../index.ts'
import { ReportBuilder } from '../report/index.ts'
import type { Counters } from '../trace/counters.ts'
import type { MainJob } from './command-line.ts'
import { compareInTurns } from './comparisons.ts'
import type { Csr } from './csr.ts'
import { HeapGraph, type HeapGraphBytes, heapGraphBytes } from './heap-graph.ts'
import { TRACE_NAME, withTrace, writeReport } from './job-files.ts'
import { isOnSoftware, withJobHeap } from './job-heap.ts'
import { fact } from './layout.ts'
import type { Graph } from './make-graph.ts'
import { searchPlain } from './plain-search.ts'
import { drawSearchKeys } from './search-keys.ts'
import { SearchView } from './search-view.ts'
import { runSearches } from './searches.ts'
import { formatStatistics, summarizeSearches, type TimedSearch } from './statistics.ts'
import { countersSince, printSummary, printVerdict } from './summary.ts'

/** Room for strips that a device has to have besides what is needed whole. */
const WINDOW_BYTES_MIN = MIB / 4

/** What the searches came to. */
interface Outcome {
  readonly searches: readonly TimedSearch[]
  readonly counters: Counters
  /** Making the arrays of the heap. */
  readonly fillSeconds: number
  /** Speed as a part of that of others; null where there are none. */
  readonly ofResident: number | null
  readonly ofPlain: number
  readonly isSoftware: boolean
}

/** Runs it. Rejects as runMainJob does. */
export async function runSearchPart(
  job: MainJob,
  graph: Graph,
  mode: HeapMode,
  out: Terminal,
  live: LiveLines,
): Promise<void> {
  const bytes = heapGraphBytes(graph.csr)
  const deviceBytes = deviceBytesFor(job, graph.csr, bytes)
  fact(out, 'arrays', `${formatSize(bytes.all)}; the device has ${formatSize(deviceBytes)}`)
  const keys = drawSearchKeys(graph.csr, job.keys)
  const view = new SearchView(out, live, keys.length)
  const report = new ReportBuilder({ ...traceHeader(mode), program: `Graph500: ${graph.name}` })
  const searchTraced = (tracePath: string | null) => search(job, graph, { keys, deviceBytes, view, report, tracePath })
  const outcome = await (job.out === null ? searchTraced(null) : withTrace(job.out, searchTraced))
  const { searches, counters, fillSeconds, ofResident, ofPlain, isSoftware } = outcome
  const statistics = summarizeSearches(searches)
  const nsearches = searches.length
  const speeds = { statistics, nsearches, ofResident, ofPlain, isSoftware }
  printSummary(out, { ...speeds, counters, arrayBytes: bytes.all, deviceBytes })
  if (job.out !== null) {
    fact(out, 'report', `${await writeReport(job.out, report)}: open it in a browser`)
    fact(out, 'trace', `${join(job.out, TRACE_NAME)}: open it in https://ui.perfetto.dev`)
  }
  if (job.official) {
    const { nvertices, from } = graph.edges
    const size = { scale: Math.floor(Math.log2(nvertices)), edgeFactor: from.length / nvertices }
    const constructionSeconds = graph.csrSeconds + fillSeconds
    out.line()
    for (const line of formatStatistics(statistics, { ...size, nsearches, constructionSeconds })) out.line(line)
  }
  printVerdict(out, nsearches)
}

/** Device memory for a graph. Throws an Error if less was asked for than it needs. */
function deviceBytesFor({ deviceMemory }: MainJob, csr: Csr, { whole }: HeapGraphBytes): number {
  const needed = roundUp(whole + WINDOW_BYTES_MIN, MIB)
  if (deviceMemory === null) return Math.max(needed, roundUp(Math.max(csr.columns.byteLength / 4, 2 * whole), MIB))
  if (deviceMemory >= needed) return deviceMemory
  const why = `what is said of vertices has to be there as a whole, ${formatSize(whole)}`
  throw new Error(`--device-memory is ${formatSize(deviceMemory)}, wanted at least ${formatSize(needed)}: ${why}`)
}

interface SearchPlan {
  readonly keys: readonly number[]
  readonly deviceBytes: number
  readonly view: SearchView
  readonly report: ReportBuilder
  /** Where the trace goes; null for none. */
  readonly tracePath: string | null
}

/** Searches from all keys, on a heap of their own. */
async function search(job: MainJob, graph: Graph, plan: SearchPlan): Promise<Outcome> {
  const { keys, deviceBytes, view, report, tracePath } = plan
  const arrayBytes = heapGraphBytes(graph.csr).all
  const options = { ...job, deviceBytes, arrayBytes, sinks: [view, report], tracePath }
  const searchOn = async (heap: Heap): Promise<Outcome> => {
    const begunAt = performance.now()
    const onHeap = new HeapGraph(heap, graph.csr)
    const fillSeconds = (performance.now() - begunAt) / 1000
    // One search does not count, as in the benchmark: by then the kernels are compiled.
    await onHeap.search(keys[0])
    const before = (await heap.stats()).counters
    const searches = await runSearches(graph, onHeap, keys, view)
    const counters = countersSince(before, (await heap.stats()).counters)
    view.compare()
    const isSoftware = await isOnSoftware(heap)
    return { searches, counters, fillSeconds, isSoftware, ...(await compare(job, graph, onHeap, keys)) }
  }
  return await withJobHeap(options, (heap) => searchOn(heap).finally(() => view.end()))
}

/** The same searches with everything on a device, if there is one that has room, and in plain JavaScript. */
async function compare(
  job: MainJob,
  graph: Graph,
  onHeap: HeapGraph,
  keys: readonly number[],
): Promise<Pick<Outcome, 'ofResident' | 'ofPlain'>> {
  const searcher = async (key: number) => (await onHeap.search(key)).seconds
  const plain = (key: number) => {
    const begunAt = performance.now()
    searchPlain(graph.csr, key)
    return (performance.now() - begunAt) / 1000
  }
  const arrayBytes = heapGraphBytes(graph.csr).all
  const deviceBytes = roundUp(arrayBytes * 1.25, MIB)
  return await withJobHeap({ ...job, deviceBytes, arrayBytes }, async (heap) => {
    const hasRoom = (await heap.stats()).devices[0].memory >= deviceBytes
    const resident = hasRoom ? new HeapGraph(heap, graph.csr) : null
    const others = resident === null ? [] : [async (key: number) => (await resident.search(key)).seconds]
    const [ofPlain, ofResident = null] = await compareInTurns(searcher, [plain, ...others], keys)
    return { ofResident, ofPlain }
  })
}

function roundUp(nbytes: number, multiple: number): number {
  return Math.ceil(nbytes / multiple) * multiple
}
