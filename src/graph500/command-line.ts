// What can be asked of the main job on the command line.

import { parseArgs } from 'node:util'
import { pageAlignUp } from '../base/addr.ts'
import { MIB } from '../base/size.ts'
import { MODE_OPTIONS, type ModeOption, parseSize, type SizeText } from '../index.ts'
import { GRAPH_FORMATS, type GraphFormat } from './files/formats.ts'
import { SCALE_MAX, SCALE_MIN } from './kronecker.ts'

/** Search keys of an official run; more are no use, as the benchmark draws no more. */
const KEYS_MAX = 64

export interface MainJob {
  /** Only the first part: arrays larger than the device, and a touch. */
  readonly quick: boolean
  /** Searches this graph instead of a Kronecker graph. */
  readonly graph: string | null
  /** Null: seen from the contents. */
  readonly format: GraphFormat | null
  /** The Kronecker graph has 2^scale vertices; null: as many as the machine is fast enough for. */
  readonly scale: number | null
  /** Searches. */
  readonly keys: number
  /** Bytes of device memory; null: a quarter of the graph's edges, so that the graph does not fit. */
  readonly deviceMemory: number | null
  /** Bytes of system memory that the heap may keep; null for no limit. */
  readonly memory: number | null
  readonly mode: ModeOption
  /** Print the figures of the benchmark in its own form too. */
  readonly official: boolean
  /** Folder for the report and the trace; null for none. */
  readonly out: string | null
}

export type CommandLine = { readonly job: MainJob } | { readonly help: true } | { readonly complaint: string }

export const USAGE = `usage: npm start -- [OPTIONS]

Computes on a GPU with arrays that are larger than its memory: first a small kernel, then a
breadth-first search of a large graph (Graph500), validated. Without a GPU a software one takes its
place.

  --quick                the first part only
  --scale N              a graph of 2^N vertices and 16 times as many edges, ${SCALE_MIN} to ${SCALE_MAX} 
                         (default: 18, or up to 20 where the machine is fast enough)
  --graph FILE           a graph of your own instead: SNAP edge list, MatrixMarket or CSV, .gz too
  --format FORMAT        ${GRAPH_FORMATS.join(', ')} (default: seen from the contents)
  --keys N               searches, 1 to ${KEYS_MAX} (default 16)
  --device-memory SIZE   what the device may use, such as '16 MiB' (default: a quarter of the edges)
  --memory SIZE          system memory that arrays may use (default: no limit; live mode only)
  --mode MODE            ${MODE_OPTIONS.join(', ')} (default auto)
  --official             the output that the specification of Graph500 asks for, below the summary
  --out FOLDER           for hetmem-report.html and hetmem-trace.json (default: where you are)
  --no-files             write neither
  --help                 this text

examples:
  npm start -- --quick
  npm start -- --scale 20 --device-memory 32MiB
  npm start -- --graph roadNet-CA.txt.gz --keys 4

exit status: 0 validated, 1 failed, 2 called wrongly`

/** Reads the arguments, without those of node. */
export function parseCommandLine(args: readonly string[]): CommandLine {
  try {
    const { values } = parseArgs({ args: [...args], options: OPTIONS, strict: true, allowPositionals: false })
    if (values.help === true) return { help: true }
    const graph = values.graph ?? null
    if (graph !== null && values.scale !== undefined) return { complaint: '--graph and --scale exclude each other' }
    if (graph === null && values.format !== undefined) return { complaint: '--format is for --graph FILE' }
    return {
      job: {
        quick: values.quick === true,
        graph,
        format: values.format === undefined ? null : oneOf('--format', values.format, GRAPH_FORMATS),
        scale: values.scale === undefined ? null : whole('--scale', values.scale, SCALE_MIN, SCALE_MAX),
        keys: whole('--keys', values.keys ?? '16', 1, KEYS_MAX),
        deviceMemory: size('--device-memory', values['device-memory']),
        memory: size('--memory', values.memory),
        mode: oneOf('--mode', values.mode ?? 'auto', MODE_OPTIONS),
        official: values.official === true,
        out: values['no-files'] === true ? null : (values.out ?? '.'),
      },
    }
  } catch (error) {
    return { complaint: complaintOf(error) }
  }
}

const OPTIONS = {
  quick: { type: 'boolean' },
  graph: { type: 'string' },
  format: { type: 'string' },
  scale: { type: 'string' },
  keys: { type: 'string' },
  'device-memory': { type: 'string' },
  memory: { type: 'string' },
  mode: { type: 'string' },
  official: { type: 'boolean' },
  out: { type: 'string' },
  'no-files': { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const

function whole(name: string, text: string, min: number, max: number): number {
  const value = Number(text)
  if (/^\d+$/.test(text) && value >= min && value <= max) return value
  throw new RangeError(`${name} is ${JSON.stringify(text)}, wanted a whole number from ${min} to ${max}`)
}

function oneOf<T extends string>(name: string, text: string, values: readonly T[]): T {
  if (values.includes(text as T)) return text as T
  throw new RangeError(`${name} is ${JSON.stringify(text)}, wanted one of ${values.join(', ')}`)
}

/** Whole pages. */
function size(name: string, text: string | undefined): number | null {
  if (text === undefined) return null
  const nbytes = parseSize(text as SizeText, name)
  if (nbytes >= MIB) return pageAlignUp(nbytes)
  throw new RangeError(`${name} is ${JSON.stringify(text)}, wanted at least 1 MiB`)
}

/** Node's own messages are of several sentences; the first says what is wrong. */
function complaintOf(error: unknown): string {
  const [first] = (error as Error).message.split(/\. |\n/, 1)
  return first.charAt(0).toLowerCase() + first.slice(1)
}
