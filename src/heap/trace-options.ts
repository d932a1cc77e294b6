// Where the trace of a heap goes: what a program says in its options, and what somebody who runs it says in the environment, as
// HETMEM_TRACE. Both come to the same plain data, so that the files can be written wherever the engine runs.
//
//   HETMEM_TRACE=jsonl=run.jsonl,perfetto=run.json,verbose

import { describe } from '../base/describe.ts'
import type { TraceHeader } from '../trace/schema.ts'
import type { Sink } from '../trace/sink.ts'
import { HeapTypeError } from './heap-error.ts'
import { checkNames, flag } from './option-checks.ts'

/** Where the trace of a heap goes, and what is in it. */
export interface TraceOptions {
  /** Path of a file that gets all events, one JSON object per line (`hetmem schema` lists their fields). Not in browsers. */
  readonly jsonl?: string
  /** Path of a file that opens in https://ui.perfetto.dev. Not in browsers. */
  readonly perfetto?: string
  /** A track in the Perfetto file for each array too. Default false. */
  readonly allocations?: boolean
  /** Events name the line of the program that led to them, where there is one. Costs some ten microseconds per call. Default false. */
  readonly sites?: boolean
  /** Record each step behind an event too. Default false. */
  readonly verbose?: boolean
  /** Where events go besides. Default: nowhere but into the counters of `heap.stats()`. */
  readonly sinks?: readonly Sink[]
}

/** A file that gets the events. */
export interface TraceFile {
  readonly format: 'jsonl' | 'perfetto'
  readonly path: string
  /** Otherwise the next free name is taken: run-2.jsonl, run-3.jsonl. */
  readonly overwrite: boolean
}

/** All but the sinks is plain data. */
export interface TraceSettings {
  readonly files: readonly TraceFile[]
  readonly allocations: boolean
  readonly sites: boolean
  readonly verbose: boolean
  readonly sinks: readonly Sink[]
}

/** What opening a file needs to know. Plain data. */
export interface TraceFileSettings {
  readonly files: readonly TraceFile[]
  readonly allocations: boolean
  readonly header: TraceHeader
}

const TRACE_OPTION_NAMES = [
  'jsonl',
  'perfetto',
  'allocations',
  'sites',
  'verbose',
  'sinks',
] as const satisfies readonly (keyof TraceOptions)[]

/** Throws a TypeError that names the option. */
export function parseTraceOptions(trace: TraceOptions): TraceSettings {
  checkNames(trace, 'trace', TRACE_OPTION_NAMES)
  const sinks = trace.sinks ?? []
  if (!Array.isArray(sinks) || sinks.some((sink) => typeof sink?.write !== 'function')) {
    throw new HeapTypeError(`trace.sinks is ${describe(sinks)}, wanted a list of sinks, which have write(event)`)
  }
  const files: TraceFile[] = []
  for (const format of ['jsonl', 'perfetto'] as const) {
    const path = trace[format]
    if (path === undefined) continue
    if (typeof path !== 'string' || path === '') {
      throw new HeapTypeError(`trace.${format} is ${describe(path)}, wanted the path of a file`)
    }
    files.push({ format, path, overwrite: true })
  }
  return {
    files,
    allocations: flag(trace.allocations, 'trace.allocations', false),
    sites: flag(trace.sites, 'trace.sites', false),
    verbose: flag(trace.verbose, 'trace.verbose', false),
    sinks,
  }
}

/**
 * The settings with what the environment asks for besides.
 *
 * Throws a TypeError that names the part of `variable` that is none.
 */
export function withTraceVariable(settings: TraceSettings, variable: string | undefined): TraceSettings {
  if (variable === undefined || variable === '') return settings
  const files = [...settings.files]
  const flags = { verbose: settings.verbose, sites: settings.sites, allocations: settings.allocations }
  for (const part of variable.split(',')) {
    const [name, path] = splitAt(part, '=')
    if ((name === 'jsonl' || name === 'perfetto') && path !== undefined && path !== '') {
      files.push({ format: name, path, overwrite: false })
    } else if (Object.hasOwn(flags, name) && path === undefined) {
      flags[name as keyof typeof flags] = true
    } else {
      const wanted = `jsonl=PATH, perfetto=PATH, ${Object.keys(flags).join(', ')}, separated by commas`
      throw new HeapTypeError(`HETMEM_TRACE has ${describe(part)}, wanted ${wanted}`)
    }
  }
  return { ...settings, ...flags, files }
}

function splitAt(text: string, separator: string): [string, string | undefined] {
  const at = text.indexOf(separator)
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)]
}
