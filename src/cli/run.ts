// `hetmem run`: runs a program with its heaps traced, shows in one line what is happening, and writes a report when it has ended.
//
//   program ── HETMEM_TRACE ──> traces in a folder of their own <── read while they grow ── status line
//                                       └── ended: moved to their names, one report for each heap
//
// The program's own output passes through us while there is a status line, so that the two do not write over each other.

import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { exitStatusOf } from './child-status.ts'
import { writeReport } from './report.ts'
import { StatusLine } from './status-line.ts'
import type { Terminal } from './terminal.ts'
import { TraceFollower } from './trace-reader.ts'
import { nodeArguments } from './typescript.ts'
import { EXIT_FAILED, EXIT_USAGE, fileProblem, UserError } from './user-error.ts'

export interface RunOptions {
  /** Folder for report and traces. */
  readonly out: string
  readonly sites?: boolean
  readonly verbose?: boolean
  readonly allocations?: boolean
  /** Print nothing but complaints. */
  readonly quiet?: boolean
}

export interface RunCall extends RunOptions {
  readonly script: string
  readonly args: readonly string[]
}

/** What a heap left behind, in the order in which heaps were opened. */
interface HeapTrace {
  /** '' for the first heap, '-2' for the second. */
  readonly suffix: string
  readonly follower: TraceFollower
}

const FOLLOW_MS = 200

/** Runs the program. Returns its exit status. Throws a UserError if it cannot be started, or its report not be written. */
export async function run(call: RunCall, err: Terminal): Promise<number> {
  const script = resolve(call.script)
  if (!existsSync(script) || !statSync(script).isFile()) {
    throw new UserError(`run: there is no file ${call.script}`, EXIT_USAGE)
  }
  const nodeArgs = nodeArguments(script, call.script)
  const folder = makeTraceFolder(call.out)
  try {
    const status = call.quiet === true ? null : StatusLine.where(err)
    const child = spawn(process.execPath, [...nodeArgs, script, ...call.args], {
      stdio: status === null ? 'inherit' : ['inherit', 'pipe', 'pipe'],
      env: {
        ...process.env,
        ...(err.color && status !== null && { FORCE_COLOR: '1' }),
        HETMEM_TRACE: variable(call, folder),
      },
    })
    const traces = new TraceFolder(folder)
    const exitStatus = await follow(child, traces, status)
    const files = keep(traces, call)
    if (call.quiet !== true) printFiles(err, basename(script), exitStatus, files)
    return exitStatus
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Beside where they are going to be: a file is moved there at once, on the same disk. */
function makeTraceFolder(out: string): string {
  try {
    makeFolder(resolve(out))
    return mkdtempSync(join(resolve(out), '.hetmem-run-'))
  } catch (error) {
    throw new UserError(`writing to the folder ${out}: ${fileProblem(error)}`, EXIT_FAILED, { cause: error })
  }
}

/** With those above it. Node's own way to do so never returns where folders cannot be made at all, as in /proc. */
function makeFolder(path: string): void {
  if (existsSync(path)) return
  makeFolder(dirname(path))
  try {
    mkdirSync(path)
  } catch (error) {
    if (!existsSync(path)) throw error // otherwise somebody else was faster
  }
}

function variable({ sites, verbose, allocations }: RunOptions, folder: string): string {
  const flags = Object.entries({ sites, verbose, allocations }).filter(([, isSet]) => isSet === true)
  const files = [`jsonl=${join(folder, 'trace.jsonl')}`, `perfetto=${join(folder, 'trace.perfetto.json')}`]
  return [...files, ...flags.map(([name]) => name)].join(',')
}

/** Waits for the end of the program, and shows what happens meanwhile. */
async function follow(child: ChildProcess, traces: TraceFolder, status: StatusLine | null): Promise<number> {
  status?.passThrough(child)
  const timer = setInterval(() => {
    if (status === null) return
    traces.read()
    status.show(traces.builders())
  }, FOLLOW_MS)
  try {
    return await exitStatusOf(child)
  } finally {
    clearInterval(timer)
    status?.clear()
  }
}

/** The traces of a program's heaps, as they appear. */
class TraceFolder {
  readonly path: string
  readonly #traces = new Map<string, HeapTrace>()

  constructor(path: string) {
    this.path = path
  }

  /** Reads what is new. */
  read(): void {
    for (const name of readdirSync(this.path)) {
      const match = /^trace(-\d+)?\.jsonl$/.exec(name)
      if (match === null || this.#traces.has(name)) continue
      this.#traces.set(name, { suffix: match[1] ?? '', follower: new TraceFollower(join(this.path, name)) })
    }
    for (const { follower } of this.#traces.values()) follower.read()
  }

  builders() {
    return [...this.#traces.values()].flatMap(({ follower }) => follower.builder ?? [])
  }

  get all(): HeapTrace[] {
    return [...this.#traces.values()].sort((a, b) => numberOf(a) - numberOf(b))
  }
}

function numberOf({ suffix }: HeapTrace): number {
  return suffix === '' ? 1 : Number(suffix.slice(1))
}

/** Gives traces their names, and writes the reports. Returns the files, reports first. */
function keep(traces: TraceFolder, { out }: RunCall): string[] {
  traces.read()
  const reports: string[] = []
  const kept: string[] = []
  for (const { suffix, follower } of traces.all) {
    const report = join(out, `hetmem-report${suffix}.html`)
    writeReport(follower.finish(), report)
    reports.push(report)
    for (const [from, to] of [
      [`trace${suffix}.jsonl`, `hetmem-trace${suffix}.jsonl`],
      [`trace.perfetto${suffix}.json`, `hetmem-trace${suffix}.perfetto.json`],
    ]) {
      renameSync(join(traces.path, from), join(out, to))
      kept.push(join(out, to))
    }
  }
  return [...reports, ...kept]
}

function printFiles(err: Terminal, program: string, exitStatus: number, files: readonly string[]): void {
  const ended = exitStatus === 0 ? '' : ` ended with status ${exitStatus}`
  if (files.length === 0) {
    err.line(`hetmem: ${program}${ended === '' ? '' : `${ended} and`} opened no heap, so there is nothing to report`)
    return
  }
  err.line(`hetmem: ${program}${ended === '' ? ' has ended' : ended}; written:`)
  for (const file of files)
    err.line(`  ${file}${file.endsWith('.perfetto.json') ? '  (for https://ui.perfetto.dev)' : ''}`)
}
