// The main job, as `npm start` runs it: arrays larger than a GPU's memory, first in a kernel of one line, then in a breadth-first
// search of a large graph. It prints what happens, and what it came to.
//
//   1  saxpy-part.ts     two large arrays, a kernel over all of them, and a touch
//   2  make-graph.ts     a Kronecker graph, or one from a file
//   3  searches.ts       searches of it on a small device, each validated
//   4  comparisons.ts    the same with everything on the device, and in plain JavaScript
//   5  summary.ts        what it came to; report and trace (job-files.ts)

import { join } from 'node:path'
import { formatSize, MIB } from '../base/size.ts'
import type { Terminal } from '../cli/terminal.ts'
import { traceHeader } from '../heap/trace-files.ts'
import type { HeapMode } from '../index.ts'
import { ReportBuilder } from '../report/index.ts'
import type { Counters } from '../trace/counters.ts'
import type { MainJob } from './command-line.ts'
import { measurePlain, measureResident } from './comparisons.ts'
import { checkReadable } from './files/line-reader.ts'
import { HeapGraph, heapGraphBytes } from './heap-graph.ts'
import { checkFolder, TRACE_NAME, writeReport } from './job-files.ts'
import { describeHeap, openJobHeap } from './job-heap.ts'
import { count, fact, factText, heading } from './layout.ts'
import { LiveLines, type LiveStream } from './live-lines.ts'
import { type Graph, makeGraph } from './make-graph.ts'
import { runSaxpyPart, saxpyLength } from './saxpy-part.ts'
import { drawSearchKeys } from './search-keys.ts'
import { SearchView } from './search-view.ts'
import { runSearches } from './searches.ts'
import { summarizeSearches, type TimedSearch } from './statistics.ts'
import { countersSince, printSummary } from './summary.ts'

/** Device memory of the first part, unless it is given. */
const SAXPY_DEVICE_BYTES = 8 * MIB

/** Room for strips that a device has to have besides what is needed whole. */
const WINDOW_BYTES_MIN = MIB / 4

/**
 * Runs it. Rejects with what went wrong: a GraphFileError, a HeapError, a WrongSearchError, or another Error whose message is a
 * sentence for people.
 */
export async function runMainJob(job: MainJob, out: Terminal, stream: LiveStream): Promise<void> {
  if (job.out !== null) await checkFolder(job.out)
  if (job.graph !== null) await checkReadable(job.graph)
  const mode = await saxpyPart(job, out)
  if (job.quick) return
  const live = new LiveLines(stream)
  const graph = await graphPart(job, out, live)
  await searchPart(job, graph, mode, out, live)
}

/** Returns the mode that the heaps of this machine have. */
async function saxpyPart(job: MainJob, out: Terminal): Promise<HeapMode> {
  const deviceBytes = job.deviceMemory ?? SAXPY_DEVICE_BYTES
  const notices: string[] = []
  const arrayBytes = 2 * Float32Array.BYTES_PER_ELEMENT * saxpyLength(deviceBytes)
  const heap = await openJobHeap({ ...job, deviceBytes, arrayBytes, onNotice: (text) => void notices.push(text) })
  try {
    out.line()
    factText(out, 'hetmem', await describeHeap(heap))
    // What is said of the device is in that line already.
    for (const notice of notices.filter((text) => !text.startsWith('hetmem: device'))) factText(out, '', notice)
    heading(out, 'Arrays that are larger than the device')
    await runSaxpyPart(heap, deviceBytes, out)
    return heap.mode
  } finally {
    await heap.close()
  }
}

async function graphPart(job: MainJob, out: Terminal, live: LiveLines): Promise<Graph> {
  heading(out, 'A graph that is larger than the device')
  const graph = await makeGraph(job, (part) => {
    live.draw(() => [`  graph       ${Math.round(100 * part)} % of the edges`])
  })
  live.clear()
  const { edges, csr, name, edgesSeconds, csrSeconds } = graph
  const size = `${count(edges.nvertices)} vertices, ${count(edges.from.length)} edges`
  fact(out, 'graph', `${name}: ${size}`)
  fact(
    out,
    '',
    `${job.graph === null ? 'made' : 'read'} in ${edgesSeconds.toFixed(1)} s, sorted in ${csrSeconds.toFixed(1)} s`,
  )
  if (csr.columns.length === 0) throw new Error(`${name} has no edge between two vertices, wanted one to search along`)
  return graph
}

async function searchPart(job: MainJob, graph: Graph, mode: HeapMode, out: Terminal, live: LiveLines): Promise<void> {
  const bytes = heapGraphBytes(graph.csr)
  const needed = roundUp(bytes.whole + WINDOW_BYTES_MIN, MIB)
  const deviceBytes =
    job.deviceMemory ?? roundUp(Math.max(graph.csr.columns.byteLength / 4, 2 * bytes.whole, needed), MIB)
  if (deviceBytes < needed) {
    const why = `what is said of vertices has to be there as a whole, ${formatSize(bytes.whole)}`
    throw new Error(`--device-memory is ${formatSize(deviceBytes)}, wanted at least ${formatSize(needed)}: ${why}`)
  }
  fact(out, 'arrays', `${formatSize(bytes.all)}; the device has ${formatSize(deviceBytes)}`)
  const keys = drawSearchKeys(graph.csr, job.keys)
  const view = new SearchView(out, live, keys.length)
  const builder = new ReportBuilder(traceHeader(mode))
  const tracePath = job.out === null ? null : join(job.out, TRACE_NAME)
  const heap = await openJobHeap({ ...job, deviceBytes, arrayBytes: bytes.all, sinks: [view, builder], tracePath })
  let searches: TimedSearch[]
  let counters: Counters
  try {
    const onHeap = new HeapGraph(heap, graph.csr)
    // One search does not count, as in the benchmark: by then the kernels are compiled.
    await onHeap.search(keys[0])
    const before = (await heap.stats()).counters
    searches = await runSearches(graph, onHeap, keys, view)
    counters = countersSince(before, (await heap.stats()).counters)
  } finally {
    view.end()
    await heap.close()
  }
  live.draw(() => ['  comparing'])
  const residentTeps = await residentPart(job, graph, bytes.all, keys, searches)
  const plainTeps = measurePlain(graph.csr, keys, searches)
  live.clear()
  printSummary(out, {
    statistics: summarizeSearches(searches),
    nsearches: searches.length,
    residentTeps,
    plainTeps,
    counters,
    arrayBytes: bytes.all,
    deviceBytes,
  })
  if (job.out === null || tracePath === null) return
  fact(out, 'report', `${await writeReport(job.out, builder)}: open it in a browser`)
  fact(out, 'trace', `${tracePath}: open it in https://ui.perfetto.dev`)
}

/** The speed with everything on the device; null for a device that has not as much memory. */
async function residentPart(
  job: MainJob,
  graph: Graph,
  arrayBytes: number,
  keys: readonly number[],
  searches: readonly TimedSearch[],
): Promise<number | null> {
  const deviceBytes = roundUp(arrayBytes * 1.25, MIB)
  const heap = await openJobHeap({ ...job, deviceBytes, arrayBytes })
  try {
    const { devices } = await heap.stats()
    if (devices[0].memory < deviceBytes) return null
    return await measureResident(new HeapGraph(heap, graph.csr), keys, searches)
  } finally {
    await heap.close()
  }
}

function roundUp(nbytes: number, multiple: number): number {
  return Math.ceil(nbytes / multiple) * multiple
}
