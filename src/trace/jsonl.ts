/**
 * Traces as text: one JSON object per line, a header first and then the events in the order they happened.
 *
 *     {"format":"hetmem-trace","version":1,"timeUnit":"us"}
 *     {"time":12.5,"kind":"cpu-fault","start":65536,"end":69632,"allocation":"x","access":"write"}
 *
 * Fields and their meaning: docs/trace-schema.md in the repository. Reading checks every field (schema.ts). Addresses are decimal numbers, as
 * JSON has no others.
 */

import type { TraceEvent } from './events.ts'
import { jsonFields, quoted } from './json-text.ts'
import { COMMON_SCHEMA, checkEvent, checkHeader, TRACE_FORMAT, TRACE_VERSION, type TraceHeader } from './schema.ts'
import type { Sink } from './sink.ts'

/** A whole trace in memory. */
export interface Trace extends TraceHeader {
  readonly events: readonly TraceEvent[]
}

/** Hands out each event as a line, the line feed included, and the header before the first. */
export class JsonlSink implements Sink {
  readonly #put: (line: string) => void

  constructor(put: (line: string) => void, header: TraceHeader) {
    this.#put = put
    put(headerLine(header))
  }

  /** Puts the line of an event. */
  write(event: TraceEvent): void {
    this.#put(eventLine(event))
  }
}

/** The text of a whole trace. */
export function formatJsonl({ events, ...header }: Trace): string {
  return headerLine(header) + events.map(eventLine).join('')
}

/**
 * The trace that a text holds. Empty lines are skipped.
 *
 * @throws SyntaxError with the number of the line, the field, and what was wanted there
 */
export function parseJsonl(text: string): Trace {
  const events: TraceEvent[] = []
  const reader = new JsonlReader((event) => events.push(event))
  reader.push(text)
  reader.end()
  return { ...reader.header, events }
}

/**
 * Reads a trace piece by piece, as it comes from a file, or as long as somebody is still writing it.
 *
 *     const reader = new JsonlReader((event) => counters.add(event))
 *     for await (const text of stream) reader.push(text)
 *     reader.end()
 */
export class JsonlReader {
  readonly #take: (event: TraceEvent) => void
  #header: TraceHeader | undefined
  #lines = 0
  /** The beginning of a line whose end has not come yet. */
  #rest = ''

  /** `take` gets every event, in order. */
  constructor(take: (event: TraceEvent) => void) {
    this.#take = take
  }

  /** Throws a SyntaxError before the header line was read. */
  get header(): TraceHeader {
    if (this.#header === undefined) throw noHeader()
    return this.#header
  }

  /** Takes the next piece of the text. Throws a SyntaxError with the number of the line. */
  push(text: string): void {
    const lines = (this.#rest + text).split('\n')
    this.#rest = lines.pop() as string
    for (const line of lines) this.#line(line)
  }

  /**
   * The text is over. A last line without a line feed counts too; with `lastLineMayBeCut` it may be half a line, as a program
   * that was killed leaves behind, and is left out then.
   *
   * Returns whether a line was left out. Throws a SyntaxError for such a line otherwise, and if there was no header.
   */
  end({ lastLineMayBeCut = false } = {}): boolean {
    const line = this.#rest
    this.#rest = ''
    const mayBeCut = lastLineMayBeCut && this.#header !== undefined
    try {
      this.#line(line)
    } catch (error) {
      if (!mayBeCut) throw error
      return true
    }
    if (this.#header === undefined) throw noHeader()
    return false
  }

  #line(line: string): void {
    this.#lines++
    if (line.trim() === '') return
    try {
      if (this.#header === undefined) this.#header = checkHeader(parseHeader(line))
      else this.#take(checkEvent(parseObject(line)))
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error
      throw new SyntaxError(`trace line ${this.#lines}: ${error.message}`, { cause: error })
    }
  }
}

function noHeader(): SyntaxError {
  return new SyntaxError(`trace: no header line, wanted {"format":"${TRACE_FORMAT}",...}`)
}

function headerLine({ timeUnit, program, mode, started }: TraceHeader): string {
  const header = { format: TRACE_FORMAT, version: TRACE_VERSION, timeUnit, program, mode, started }
  return `${JSON.stringify(header)}\n`
}

const COMMON_FIELDS: ReadonlySet<string> = new Set(Object.keys(COMMON_SCHEMA))

/** Common fields first, in one order, whatever the order in which the object got them. */
function eventLine(event: TraceEvent): string {
  const { time, kind, start, end, allocation, device, site, duration } = event
  let line = `{"time":${time},"kind":"${kind}"`
  if (start !== undefined) line += `,"start":${start},"end":${end}`
  if (allocation !== undefined) line += `,"allocation":${quoted(allocation)}`
  if (device !== undefined) line += `,"device":${quoted(device)}`
  if (site !== undefined) line += `,"site":${quoted(site)}`
  if (duration !== undefined) line += `,"duration":${duration}`
  return `${line}${jsonFields(event, COMMON_FIELDS)}}\n`
}

/** A file that is something else altogether is mostly no JSON. */
function parseHeader(line: string): Record<string, unknown> {
  try {
    return parseObject(line)
  } catch (cause) {
    const found = JSON.stringify(line.slice(0, 40))
    throw new SyntaxError(`${found} is no header of a trace, wanted {"format":"${TRACE_FORMAT}",...}`, { cause })
  }
}

function parseObject(line: string): Record<string, unknown> {
  const value: unknown = JSON.parse(line)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new SyntaxError(`${line.slice(0, 40)} is not an object`)
  }
  return value as Record<string, unknown>
}
