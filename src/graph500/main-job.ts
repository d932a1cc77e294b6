// The main job, as `npm start` runs it: arrays larger than a GPU's memory, first in a kernel of one line, then in a breadth-first
// search of a large graph. It prints what happens, and what it came to.
//
//   1  saxpy-part.ts     two large arrays, a kernel over all of them, and a touch
//   2  make-graph.ts     a Kronecker graph, or one from a file
//   3  search-part.ts    searches of it on a small device, each validated; comparisons, a summary, files

import { MIB } from '../base/size.ts'
import { LiveLines } from '../cli/live-lines.ts'
import type { OutputStream, Terminal } from '../cli/terminal.ts'
import type { HeapMode } from '../index.ts'
import type { MainJob } from './command-line.ts'
import { checkReadable } from './files/line-reader.ts'
import { checkFolder } from './job-files.ts'
import { describeHeap, withJobHeap } from './job-heap.ts'
import { count, fact, heading } from './layout.ts'
import { type Graph, type GraphSource, makeGraph } from './make-graph.ts'
import { runSaxpyPart, saxpyLength } from './saxpy-part.ts'
import { runSearchPart } from './search-part.ts'

/** Device memory of the first part, unless less is given. It has arrays of four times as much. */
const SAXPY_DEVICE_BYTES = 8 * MIB

/**
 * The scale of the graph, by the bytes of arrays per second that the first part got through: then all of it takes some two
 * minutes at most. 18 is the least that is worth the name.
 */
const SCALES = [
  { scale: 20, bytesPerSecond: 512 * MIB },
  { scale: 19, bytesPerSecond: 256 * MIB },
  { scale: 18, bytesPerSecond: 0 },
] as const

/**
 * Runs it. Rejects with what went wrong: a GraphFileError, a HeapError, a WrongSearchError, or another Error whose message is a
 * sentence for people.
 */
export async function runMainJob(job: MainJob, out: Terminal, stream: OutputStream): Promise<void> {
  if (job.out !== null) await checkFolder(job.out)
  if (job.graph !== null) await checkReadable(job.graph)
  const machine = await saxpyPart(job, out)
  if (job.quick) return
  const live = new LiveLines(stream)
  const graph = await graphPart({ ...job, scale: job.scale ?? scaleFor(machine.bytesPerSecond) }, out, live)
  await runSearchPart(job, graph, machine.mode, out, live)
}

/** The scale of a graph that a machine searches in a time that somebody waits. */
export function scaleFor(speed: number): number {
  return SCALES.find(({ bytesPerSecond }) => speed >= bytesPerSecond)?.scale ?? 18
}

/** What the first part shows of the machine. */
interface MachineFacts {
  /** The mode that its heaps have. */
  readonly mode: HeapMode
  readonly bytesPerSecond: number
}

async function saxpyPart(job: MainJob, out: Terminal): Promise<MachineFacts> {
  const deviceBytes = Math.min(job.deviceMemory ?? SAXPY_DEVICE_BYTES, SAXPY_DEVICE_BYTES)
  const notices: string[] = []
  const arrayBytes = 2 * Float32Array.BYTES_PER_ELEMENT * saxpyLength(deviceBytes)
  const options = { ...job, deviceBytes, arrayBytes, onNotice: (text: string) => void notices.push(text) }
  return await withJobHeap(options, async (heap) => {
    out.line()
    fact(out, 'hetmem', await describeHeap(heap))
    // What is said of the device is in that line already.
    for (const notice of notices.filter((text) => !text.startsWith('hetmem: device'))) fact(out, '', notice)
    heading(out, 'Arrays that are larger than the device')
    return { mode: heap.mode, bytesPerSecond: await runSaxpyPart(heap, deviceBytes, out) }
  })
}

async function graphPart(job: GraphSource, out: Terminal, live: LiveLines): Promise<Graph> {
  heading(out, 'A breadth-first search of a graph')
  const graph = await makeGraph(job, (part) => {
    live.draw(() => [`  graph       ${Math.round(100 * part)} % of the edges`])
  })
  live.clear()
  const { edges, csr, name, edgesSeconds, csrSeconds } = graph
  const size = `${count(edges.nvertices)} vertices, ${count(edges.from.length)} edges`
  fact(out, 'graph', `${name}: ${size}`)
  const how = job.graph === null ? 'made' : 'read'
  fact(out, '', `${how} in ${edgesSeconds.toFixed(1)} s, sorted in ${csrSeconds.toFixed(1)} s`)
  if (csr.columns.length === 0) throw new Error(`${name} has no edge between two vertices, wanted one to search along`)
  return graph
}
