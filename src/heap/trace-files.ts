// Writes traces to files, wherever the engine of a heap runs. Node's, so reached through the platform only.
//
// Lines are collected and written in pieces of 64 KiB, or after a moment, so that somebody who watches the file sees what
// happens, and a program that is killed leaves nearly all behind. They are written synchronously: an engine may be busy for long,
// and nothing that was recorded may depend on its getting round to it. At exit the rest is written.

import { closeSync, openSync, writeSync } from 'node:fs'
import { basename, extname } from 'node:path'
import { JsonlSink } from '../trace/jsonl.ts'
import { PerfettoSink } from '../trace/perfetto.ts'
import type { TraceHeader } from '../trace/schema.ts'
import type { Sink } from '../trace/sink.ts'
import { HeapError } from './heap-error.ts'
import type { TraceFile, TraceFileSettings } from './trace-options.ts'

/** Characters that are collected before they are written. */
const PIECE_LENGTH = 65_536
/** How long a line waits at most, if the thread gets round to it. */
const DELAY_MS = 100
/** Names that are tried: run.jsonl, run-2.jsonl, and so on. */
const NAMES_MAX = 10_000

/** The header of a trace of this program. */
export function traceHeader(mode: string): TraceHeader {
  const script = process.argv[1]
  const program = script === undefined ? {} : { program: basename(script) }
  return { timeUnit: 'us', ...program, mode, started: new Date().toISOString() }
}

/** Opens the files and begins to write. Throws a HeapError FAILED that names the file; then none is open. */
export function openTraceFiles({ files, allocations, header }: TraceFileSettings): Sink[] {
  const sinks: Sink[] = []
  try {
    for (const file of files) {
      const output = new TraceOutput(file)
      const put = (text: string): void => output.put(text)
      const format =
        file.format === 'jsonl' ? new JsonlSink(put, header) : new PerfettoSink(put, header, { allocations })
      sinks.push(new FileSink(format, output))
    }
  } catch (error) {
    for (const sink of sinks) sink.close?.()
    throw error
  }
  return sinks
}

class FileSink implements Sink {
  readonly #format: Sink
  readonly #output: TraceOutput

  constructor(format: Sink, output: TraceOutput) {
    this.#format = format
    this.#output = output
  }

  write(event: Parameters<Sink['write']>[0]): void {
    this.#format.write(event)
  }

  close(): void {
    this.#format.close?.()
    this.#output.close()
  }
}

/** Files to finish when the thread ends. One listener for all: Node warns about many. */
const openOutputs = new Set<TraceOutput>()

/** Finishes all files of this thread, for one that ends in another way than by its exit. */
export function closeTraceFiles(): void {
  for (const output of openOutputs) output.close()
}

class TraceOutput {
  readonly #path: string
  readonly #fd: number
  #pieces: string[] = []
  #length = 0
  #timer: NodeJS.Timeout | null = null
  #error: unknown = null
  #isOpen = true
  /** Nothing has been written: the beginning goes out at once, so that a trace has one, whenever its program is killed. */
  #isEmpty = true

  constructor(file: TraceFile) {
    const { path, fd } = openFile(file)
    this.#path = path
    this.#fd = fd
    if (openOutputs.size === 0) process.on('exit', closeTraceFiles)
    openOutputs.add(this)
  }

  /** Throws what an earlier write ran into, so that whoever has the sink takes it off. */
  put(text: string): void {
    if (this.#error !== null) throw this.#error
    this.#pieces.push(text)
    this.#length += text.length
    if (this.#isEmpty || this.#length >= PIECE_LENGTH) this.#write()
    else this.#timer ??= setTimeout(() => this.#write(), DELAY_MS).unref()
  }

  close(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    this.#write()
    closeSync(this.#fd)
    openOutputs.delete(this)
    if (openOutputs.size === 0) process.off('exit', closeTraceFiles)
  }

  /** Never throws: a timer has no caller. */
  #write(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    const bytes = Buffer.from(this.#pieces.join(''))
    this.#pieces = []
    this.#length = 0
    this.#isEmpty = false
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd, bytes, at)
    } catch (error) {
      this.#error = new HeapError('FAILED', `writing the trace ${this.#path}: ${reasonOf(error)}`, { cause: error })
    }
  }
}

function openFile({ path, overwrite }: TraceFile): { path: string; fd: number } {
  const extension = extname(path)
  const stem = path.slice(0, path.length - extension.length)
  for (let number = 1; number <= NAMES_MAX; number++) {
    const name = number === 1 ? path : `${stem}-${number}${extension}`
    try {
      return { path: name, fd: openSync(name, overwrite ? 'w' : 'wx') }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') continue
      throw new HeapError('FAILED', `opening the trace ${name}: ${reasonOf(error)}`, { cause: error })
    }
  }
  throw new HeapError('FAILED', `opening the trace ${path}: there are ${NAMES_MAX} of that name`)
}

/** Without the name of the system call and the path, which stand before it. */
function reasonOf(error: unknown): string {
  return (error as Error).message.split(',')[0]
}
