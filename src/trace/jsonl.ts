/**
 * Traces as text: one JSON object per line, a header first and then the events in the order they happened.
 *
 *     {"format":"hetmem-trace","version":1,"timeUnit":"us"}
 *     {"time":12.5,"kind":"cpu-fault","start":65536,"end":69632,"allocation":"x","access":"write"}
 *
 * Reading checks every field, because a trace file comes from another run, another machine or an editor. Addresses are
 * decimal numbers, as JSON has no others.
 */

import {
  ACCESSES,
  CAUSES,
  DIRECTIONS,
  EVENT_KINDS,
  type EventKind,
  type EventOf,
  NOTIFY_EVENTS,
  type TraceEvent,
} from './events.ts'
import { type Sink, TIME_UNITS, type TimeUnit } from './tracer.ts'

const FORMAT = 'hetmem-trace'
const VERSION = 1

export interface Trace {
  timeUnit: TimeUnit
  events: TraceEvent[]
}

/** Hands out each event as a line, the line feed included, and the header before the first. */
export class JsonlSink implements Sink {
  readonly #put: (line: string) => void

  constructor(put: (line: string) => void, timeUnit: TimeUnit) {
    this.#put = put
    put(headerLine(timeUnit))
  }

  write(event: TraceEvent): void {
    this.#put(eventLine(event))
  }
}

/** The text of a whole trace. */
export function formatJsonl(trace: Trace): string {
  return headerLine(trace.timeUnit) + trace.events.map(eventLine).join('')
}

/**
 * The trace that a text holds. Empty lines are skipped.
 *
 * @throws SyntaxError with the number of the line, the field, and what was wanted there
 */
export function parseJsonl(text: string): Trace {
  let timeUnit: TimeUnit | undefined
  const events: TraceEvent[] = []
  let number = 0
  for (const line of text.split('\n')) {
    number++
    if (line.trim() === '') continue
    try {
      const value = parseObject(line)
      if (timeUnit === undefined) timeUnit = checkHeader(value)
      else events.push(checkEvent(value))
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error
      throw new SyntaxError(`trace line ${number}: ${error.message}`, { cause: error })
    }
  }
  if (timeUnit === undefined) throw new SyntaxError(`trace: no header line, wanted {"format":"${FORMAT}",...}`)
  return { timeUnit, events }
}

function headerLine(timeUnit: TimeUnit): string {
  return `${JSON.stringify({ format: FORMAT, version: VERSION, timeUnit })}\n`
}

/** Common fields first, in one order, whatever the order in which the object got them. */
function eventLine(event: TraceEvent): string {
  const { time, kind, start, end, allocation, device, site, duration, ...own } = event
  return `${JSON.stringify({ time, kind, start, end, allocation, device, site, duration, ...own })}\n`
}

/** What a field must hold: says what was wanted if `value` is something else. */
type Check = (value: unknown) => string | undefined

interface FieldCheck {
  check: Check
  required: boolean
}

type FieldChecks<E> = { [F in Exclude<keyof E, 'kind'>]-?: FieldCheck }

const isNumber: Check = (value) => (Number.isFinite(value) ? undefined : 'a number')
const isCount: Check = (value) => (Number.isInteger(value) && (value as number) >= 0 ? undefined : 'an integer from 0')
const isText: Check = (value) => (typeof value === 'string' ? undefined : 'a text')
const isOneOf =
  (list: readonly string[]): Check =>
  (value) =>
    list.includes(value as string) ? undefined : `one of ${list.join(', ')}`

const required = (check: Check): FieldCheck => ({ check, required: true })
const optional = (check: Check): FieldCheck => ({ check, required: false })

const COMMON = {
  time: required(isNumber),
  duration: optional(isNumber),
  start: optional(isCount),
  end: optional(isCount),
  allocation: optional(isText),
  device: optional(isText),
  site: optional(isText),
}
const RANGE = { ...COMMON, start: required(isCount), end: required(isCount) }
const DEVICE_RANGE = { ...RANGE, device: required(isText) }

// The compiler sees to it that no field of events.ts is forgotten or invented.
const CHECKS: { [K in EventKind]: FieldChecks<EventOf<K>> } = {
  'cpu-fault': { ...RANGE, access: required(isOneOf(ACCESSES)) },
  'device-fault': { ...DEVICE_RANGE, access: required(isOneOf(ACCESSES)), nfaults: required(isCount) },
  replay: { ...COMMON, device: required(isText), count: required(isCount) },
  migration: {
    ...DEVICE_RANGE,
    cause: required(isOneOf(CAUSES)),
    direction: required(isOneOf(DIRECTIONS)),
    npages: required(isCount),
    nskipped: required(isCount),
  },
  duplication: { ...DEVICE_RANGE, cause: required(isOneOf(CAUSES)), npages: required(isCount) },
  'duplicate-invalidated': { ...DEVICE_RANGE, cause: required(isOneOf(CAUSES)), npages: required(isCount) },
  thrashing: { ...RANGE, nmigrations: required(isCount) },
  throttling: { ...COMMON, delay: required(isNumber) },
  stall: { ...RANGE, duration: required(isNumber), thread: required(isCount), reason: required(isText) },
  'swap-in': { ...RANGE, npages: required(isCount) },
  'swap-out': { ...RANGE, npages: required(isCount), nbytes: required(isCount) },
  invalidation: { ...RANGE, event: required(isOneOf(NOTIFY_EVENTS)), nsubscribers: required(isCount) },
  transfer: {
    ...DEVICE_RANGE,
    cause: required(isOneOf(CAUSES)),
    direction: required(isOneOf(DIRECTIONS)),
    nbytes: required(isCount),
  },
}

function parseObject(line: string): Record<string, unknown> {
  const value: unknown = JSON.parse(line)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new SyntaxError(`${line.slice(0, 40)} is not an object`)
  }
  return value as Record<string, unknown>
}

function checkHeader(value: Record<string, unknown>): TimeUnit {
  expectField('format', value['format'], isOneOf([FORMAT]))
  if (value['version'] !== VERSION) throw new SyntaxError(`version is ${show(value['version'])}, wanted ${VERSION}`)
  expectField('timeUnit', value['timeUnit'], isOneOf(TIME_UNITS))
  return value['timeUnit'] as TimeUnit
}

function checkEvent(value: Record<string, unknown>): TraceEvent {
  expectField('kind', value['kind'], isOneOf(EVENT_KINDS))
  const kind = value['kind'] as EventKind
  const checks: Record<string, FieldCheck> = CHECKS[kind]
  for (const [field, { check, required }] of Object.entries(checks)) {
    if (required || field in value) expectField(`${kind}.${field}`, value[field], check)
  }
  for (const field of Object.keys(value)) {
    if (field !== 'kind' && !Object.hasOwn(checks, field)) throw new SyntaxError(`${kind}.${field} is not a field`)
  }
  const { start, end } = value as { start?: number; end?: number }
  if ((start === undefined) !== (end === undefined) || (start as number) > (end as number)) {
    throw new SyntaxError(`${kind} has the range ${show(start)} to ${show(end)}, wanted start <= end, or neither`)
  }
  return value as unknown as TraceEvent
}

function expectField(field: string, value: unknown, check: Check): void {
  const wanted = check(value)
  if (wanted !== undefined) throw new SyntaxError(`${field} is ${show(value)}, wanted ${wanted}`)
}

function show(value: unknown): string {
  return value === undefined ? 'missing' : JSON.stringify(value)
}
