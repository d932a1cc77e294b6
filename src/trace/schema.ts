/**
 * What each field of a trace file must hold: the schema, as a table that the reader checks by and the documentation follows.
 *
 * A trace file comes from another run, another machine or an editor, so nothing in it is taken on trust. The compiler sees
 * to it that the table has the fields of events.ts, and a test that docs/trace-schema.md describes each of them.
 */

import {
  ACCESSES,
  CAUSES,
  DIRECTIONS,
  EVENT_KINDS,
  type EventKind,
  type EventOf,
  LAUNCH_MODES,
  NOTIFY_EVENTS,
  type TraceEvent,
} from './events.ts'
import { TIME_UNITS, type TimeUnit } from './tracer.ts'

export const TRACE_FORMAT = 'hetmem-trace'
/** Counts up whenever a reader of the version before could not read what is written. */
export const TRACE_VERSION = 1

/** The first line of a trace file. */
export interface TraceHeader {
  readonly timeUnit: TimeUnit
  /** What was traced: the program, as the user named it. */
  readonly program?: string | undefined
  /** How the heap ran: 'live', 'live-user', 'explicit' or 'simulated'. */
  readonly mode?: string | undefined
  /** When the trace began, as ISO 8601 in UTC. */
  readonly started?: string | undefined
}

/** What a field must hold. */
export interface FieldSchema {
  /** In words, for messages and for the documentation. */
  readonly wanted: string
  readonly required: boolean
  /** Whether a value is of that kind. */
  accepts(value: unknown): boolean
}

type FieldsOf<E> = { readonly [F in keyof E]-?: FieldSchema }

type Kind = Omit<FieldSchema, 'required'>

const NUMBER: Kind = { wanted: 'a number', accepts: (value) => Number.isFinite(value) }
const COUNT: Kind = {
  wanted: 'an integer from 0',
  accepts: (value) => Number.isInteger(value) && (value as number) >= 0,
}
const TEXT: Kind = { wanted: 'a text', accepts: (value) => typeof value === 'string' }

function oneOf(list: readonly unknown[]): Kind {
  return {
    wanted: list.length === 1 ? `${list[0]}` : `one of ${list.join(', ')}`,
    accepts: (value) => list.includes(value),
  }
}

function required(kind: Kind): FieldSchema {
  return { ...kind, required: true }
}

function optional(kind: Kind): FieldSchema {
  return { ...kind, required: false }
}

/** Fields of the header line. */
export const HEADER_SCHEMA = {
  format: required(oneOf([TRACE_FORMAT])),
  version: required(oneOf([TRACE_VERSION])),
  timeUnit: required(oneOf(TIME_UNITS)),
  program: optional(TEXT),
  mode: optional(TEXT),
  started: optional(TEXT),
} satisfies FieldsOf<TraceHeader> & Record<string, FieldSchema>

/** Fields that every event may have, and those that it must have. */
export const COMMON_SCHEMA = {
  time: required(NUMBER),
  kind: required(oneOf(EVENT_KINDS)),
  start: optional(COUNT),
  end: optional(COUNT),
  allocation: optional(TEXT),
  device: optional(TEXT),
  site: optional(TEXT),
  duration: optional(NUMBER),
}

const RANGE = { ...COMMON_SCHEMA, start: required(COUNT), end: required(COUNT) }
const DEVICE = { ...COMMON_SCHEMA, device: required(TEXT) }
const DEVICE_RANGE = { ...RANGE, device: required(TEXT) }
const NAMED_RANGE = { ...RANGE, allocation: required(TEXT) }

const access = required(oneOf(ACCESSES))
const cause = required(oneOf(CAUSES))
const direction = required(oneOf(DIRECTIONS))
const count = required(COUNT)
const number = required(NUMBER)
const text = required(TEXT)

/** Fields of each kind of event, the common ones included. */
export const EVENT_SCHEMA: { readonly [K in EventKind]: FieldsOf<EventOf<K>> } = {
  device: { ...DEVICE, nbytes: count, hardware: text },
  'device-lost': { ...DEVICE, reason: text },
  alloc: { ...NAMED_RANGE, type: text },
  free: NAMED_RANGE,
  discard: { ...RANGE, npages: count },
  'cpu-fault': { ...RANGE, access, thread: optional(COUNT) },
  'device-fault': { ...DEVICE_RANGE, access, nfaults: count },
  replay: { ...DEVICE, count },
  launch: {
    ...DEVICE,
    kernel: text,
    mode: required(oneOf(LAUNCH_MODES)),
    duration: number,
    queued: number,
    service: number,
    transfer: number,
    compute: number,
    flush: number,
    nslices: count,
    nresident: count,
    nduplicated: count,
    npinned: count,
    nmigrated: count,
    error: optional(TEXT),
  },
  migration: { ...DEVICE_RANGE, cause, direction, npages: count, nskipped: count },
  duplication: { ...DEVICE_RANGE, cause, npages: count },
  'duplicate-invalidated': { ...DEVICE_RANGE, cause, npages: count },
  thrashing: { ...RANGE, nmigrations: count },
  throttling: { ...COMMON_SCHEMA, delay: number },
  stall: { ...RANGE, duration: number, thread: count, reason: text },
  'swap-in': { ...RANGE, npages: count },
  'swap-out': { ...RANGE, npages: count, nbytes: count },
  'file-read': { ...RANGE, npages: count, nbytes: count, file: text },
  invalidation: { ...RANGE, event: required(oneOf(NOTIFY_EVENTS)), nsubscribers: count },
  transfer: { ...DEVICE_RANGE, cause, direction, nbytes: count },
}

/**
 * The header that an object from a trace file is.
 *
 * @throws SyntaxError that names the field, its value and what was wanted
 */
export function checkHeader(value: Readonly<Record<string, unknown>>): TraceHeader {
  checkFields(value, HEADER_SCHEMA, '')
  const { format, version, ...header } = value
  return header as unknown as TraceHeader
}

/**
 * The event that an object from a trace file is.
 *
 * @throws SyntaxError that names the field, its value and what was wanted
 */
export function checkEvent(value: Readonly<Record<string, unknown>>): TraceEvent {
  checkField('kind', value['kind'], COMMON_SCHEMA.kind)
  const kind = value['kind'] as EventKind
  checkFields(value, EVENT_SCHEMA[kind], `${kind}.`)
  const { start, end } = value as { start?: number; end?: number }
  if ((start === undefined) !== (end === undefined) || (start as number) > (end as number)) {
    throw new SyntaxError(`${kind} has the range ${show(start)} to ${show(end)}, wanted start <= end, or neither`)
  }
  return value as unknown as TraceEvent
}

/** `prefix` stands before the name of a field in messages. */
function checkFields(
  value: Readonly<Record<string, unknown>>,
  schema: Readonly<Record<string, FieldSchema>>,
  prefix: string,
): void {
  for (const [name, field] of Object.entries(schema)) {
    if (field.required || name in value) checkField(prefix + name, value[name], field)
  }
  for (const name of Object.keys(value)) {
    if (!Object.hasOwn(schema, name)) throw new SyntaxError(`${prefix}${name} is not a field`)
  }
}

function checkField(name: string, value: unknown, field: FieldSchema): void {
  if (!field.accepts(value)) throw new SyntaxError(`${name} is ${show(value)}, wanted ${field.wanted}`)
}

function show(value: unknown): string {
  return value === undefined ? 'missing' : JSON.stringify(value)
}
