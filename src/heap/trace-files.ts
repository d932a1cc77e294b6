// Writes traces to files, wherever the engine of a heap runs. Node's, so reached through the platform only.
//
//   events ── BatchSink ──> some thousand at once ── JsonlSink, PerfettoSink ──> text ── writeSync
//
// Many at once cost half of what they cost one by one. Nothing waits for longer than a moment, so somebody who watches the file sees
// what happens, and a program that is killed leaves nearly all behind. Writing is synchronous: an engine may be busy for long, and
// what was recorded does not depend on its getting round to it. At exit the rest is written.

import { closeSync, openSync, writeSync } from 'node:fs'
import { basename, extname } from 'node:path'
import { BatchSink } from '../trace/batch-sink.ts'
import type { TraceEvent } from '../trace/events.ts'
import { JsonlSink } from '../trace/jsonl.ts'
import { PerfettoSink } from '../trace/perfetto.ts'
import type { TraceHeader } from '../trace/schema.ts'
import type { Sink } from '../trace/sink.ts'
import { HeapError } from './heap-error.ts'
import type { TraceFile, TraceFileSettings } from './trace-options.ts'

/** Events that are collected before they are written, some 250 KiB of text. */
const EVENTS_MAX = 2048
/** Bytes of text that are written at once. */
const TEXT_BYTES = 256 * 1024
/** How long an event waits at most, if the thread gets round to it. */
const DELAY_MS = 200
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
      sinks.push(
        new FileSink(file, (put) =>
          file.format === 'jsonl' ? new JsonlSink(put, header) : new PerfettoSink(put, header, { allocations }),
        ),
      )
    }
  } catch (error) {
    for (const sink of sinks) sink.close?.()
    throw error
  }
  return sinks
}

/** Finishes all files of this thread, for one that ends in another way than by its exit. */
export function closeTraceFiles(): void {
  for (const sink of openSinks) sink.close()
}

/** One listener for all: Node warns about many. */
const openSinks = new Set<FileSink>()

class FileSink implements Sink {
  readonly #path: string
  readonly #fd: number
  readonly #format: Sink
  readonly #batch: BatchSink
  /** Text that was not written: a line at a time is put there, as putting lines together first takes twice as long. */
  readonly #text = Buffer.allocUnsafe(TEXT_BYTES)
  #nbytes = 0
  #error: unknown = null
  #isOpen = true

  constructor(file: TraceFile, makeFormat: (put: (text: string) => void) => Sink) {
    const { path, fd } = openFile(file)
    this.#path = path
    this.#fd = fd
    this.#format = makeFormat((text) => this.#put(text))
    this.#batch = new BatchSink({
      post: (events) => this.#writeEvents(events),
      schedule: (flush) => setTimeout(flush, DELAY_MS).unref(),
      eventsMax: EVENTS_MAX,
    })
    // At once, so that a trace has a beginning, whenever its program is killed.
    this.#flush()
    if (openSinks.size === 0) process.on('exit', closeTraceFiles)
    openSinks.add(this)
  }

  /** Throws what an earlier write ran into, so that whoever has the sink takes it off. */
  write(event: TraceEvent): void {
    if (this.#error !== null) throw this.#error
    this.#batch.write(event)
  }

  close(): void {
    if (!this.#isOpen) return
    this.#batch.close()
    this.#format.close?.()
    this.#flush()
    this.#isOpen = false
    closeSync(this.#fd)
    openSinks.delete(this)
    if (openSinks.size === 0) process.off('exit', closeTraceFiles)
  }

  #writeEvents(events: readonly TraceEvent[]): void {
    if (!this.#isOpen) return
    for (const event of events) this.#format.write(event)
    this.#flush()
  }

  #put(text: string): void {
    const nbytesMax = 3 * text.length // in UTF-8
    if (nbytesMax > TEXT_BYTES - this.#nbytes) this.#flush()
    if (nbytesMax > TEXT_BYTES) this.#write(Buffer.from(text))
    else this.#nbytes += this.#text.write(text, this.#nbytes)
  }

  #flush(): void {
    this.#write(this.#text.subarray(0, this.#nbytes))
    this.#nbytes = 0
  }

  /** Never throws: a timer has no caller. The first failure is a warning of the process, as a trace that lacks its end looks whole. */
  #write(bytes: Buffer): void {
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd, bytes, at)
    } catch (error) {
      const failure = new HeapError('FAILED', `writing the trace ${this.#path}: ${reasonOf(error)}`, { cause: error })
      if (this.#error === null) process.emitWarning(`${failure.message}; its end is missing`, 'TraceWarning')
      this.#error = failure
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
