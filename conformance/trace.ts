// Recordings: sequences of operations with what a kernel answered, one JSON object per line. This file says what a sequence
// is made of, and reads them from .jsonl and .jsonl.gz files as a stream. The meaning of every operation and field is told
// in traces/README.md.

import { createReadStream } from 'node:fs'
import { pipeline } from 'node:stream'
import { createGunzip } from 'node:zlib'

export const PROTECTIONS = ['none', 'r', 'w', 'rw'] as const
export type Protection = (typeof PROTECTIONS)[number]

export const MAPPING_KINDS = [
  'anon-private',
  'anon-shared',
  'file-private',
  'file-shared',
  'device-mixedmap',
  'pfnmap',
  'special',
  'hugetlb',
] as const
export type MappingKind = (typeof MAPPING_KINDS)[number]

export const ADVICES = ['dontneed', 'free', 'pageout', 'hwpoison', 'populate-read', 'populate-write'] as const
export type Advice = (typeof ADVICES)[number]

/** Request bits of a range fault: F asks for a fault, W (with F) for write permission. */
export const REQUESTS = ['', 'F', 'W', 'FW'] as const
export type Request = (typeof REQUESTS)[number]

export const SELECTIONS = ['system', 'device-private', 'device-coherent'] as const
export type Selection = (typeof SELECTIONS)[number]

export const OWNERS = ['none', 'dev0', 'dev1', 'dev2', 'dev3'] as const
export type OwnerName = (typeof OWNERS)[number]

/** Devices by number, in a sequence of any group. */
export const NDEVICES = 4
/** Notifiers that a process can have: the one over the arena, and those of `watch`. */
export const NSLOTS = 4

type Check<T> = (value: unknown) => value is T

const count: Check<number> = (value): value is number => Number.isSafeInteger(value) && (value as number) >= 0
const flag: Check<boolean> = (value): value is boolean => typeof value === 'boolean'
const digits: Check<string> = (value): value is string => typeof value === 'string' && /^[01]*$/.test(value)
const proc = below(2)
const dev = below(NDEVICES)
const slot = below(NSLOTS)

function below(limit: number): Check<number> {
  return (value): value is number => count(value) && value < limit
}

function oneOf<T extends string>(list: readonly T[]): Check<T> {
  return (value): value is T => (list as readonly unknown[]).includes(value)
}

function listOf<T>(check: Check<T>): Check<readonly T[]> {
  return (value): value is readonly T[] => Array.isArray(value) && value.every(check)
}

function optional<T>(check: Check<T>): Check<T | undefined> {
  return (value): value is T | undefined => value === undefined || check(value)
}

const pages = { proc, page: count, n: count }
const command = { dev, ...pages, byteOffset: optional(count) }

/** The operations and their arguments, in the order in which they are shown. `page` and `n` count arena pages. */
export const ARGUMENTS = {
  mmap: { ...pages, prot: oneOf(PROTECTIONS), kind: oneOf(MAPPING_KINDS), filePage: optional(count) },
  munmap: { ...pages, byteOffset: optional(count) },
  mprotect: { ...pages, prot: oneOf(PROTECTIONS) },
  madvise: { ...pages, advice: oneOf(ADVICES) },
  mremap: { ...pages, to: count },
  mlock: pages,
  munlock: pages,
  truncate: { proc, filePages: count },
  'punch-hole': { proc, filePage: count, n: count },
  'cpu-read': pages,
  'cpu-write': { ...pages, value: count },
  'dev-read': command,
  'dev-write': { ...command, value: count },
  'migrate-to-dev': command,
  'migrate-to-sys': command,
  snapshot: command,
  exclusive: command,
  'check-exclusive': command,
  reopen: { proc, dev },
  release: { proc, dev },
  'range-fault': {
    ...pages,
    owner: oneOf(OWNERS),
    default: oneOf(REQUESTS),
    mask: oneOf(REQUESTS),
    req: optional(listOf(oneOf(REQUESTS))),
  },
  'migrate-vma': {
    dev,
    ...pages,
    to: oneOf(['device', 'system']),
    select: listOf(oneOf(SELECTIONS)),
    owner: oneOf(OWNERS),
    give: digits,
  },
  pin: { ...pages, write: flag },
  unpin: { proc },
  watch: { slot, ...pages },
  unwatch: { slot, proc },
  'read-begin': { slot, proc },
  'read-retry': { slot, proc },
  fork: { childDevs: listOf(dev) },
  'exit-child': {},
} satisfies Record<string, Record<string, Check<unknown>>>

export type OperationName = keyof typeof ARGUMENTS
export const OPERATION_NAMES = Object.keys(ARGUMENTS) as OperationName[]

export type JsonValue = string | number | boolean | null | readonly JsonValue[] | { readonly [key: string]: JsonValue }

/** What an operation returned: `{"ret":0}`, `{"errno":"EFAULT"}`, or data by name. */
export type OperationResult = { readonly [key: string]: JsonValue }

/** Process, event, first page, end page, owner. */
export type EventRecord = readonly [number, string, number, number, string]
/** Process, slot, event, first page, end page, owner. */
export type WatchRecord = readonly [number, number, string, number, number, string]

export const STATE_FIELDS = ['pte', 'attr', 'pagemap'] as const
/** One character per arena page in each string. */
export type ProcessState = Readonly<Record<(typeof STATE_FIELDS)[number], string>>

/** What an operation did, as far as anybody can see. A field that is missing: nothing to report. */
export interface Observation {
  readonly result: OperationResult
  readonly events?: readonly EventRecord[]
  readonly watch?: readonly WatchRecord[]
  /** By number of the process; only those whose state changed since it was last reported. */
  readonly state?: Readonly<Record<string, ProcessState>>
  /** Arena pages that share a frame, like `0:2=1:2`; reported when it changed. */
  readonly same?: readonly string[]
}

type Checked<C> = C extends (value: unknown) => value is infer T ? T : never
type ArgumentsOf<N extends OperationName> = {
  readonly [K in keyof (typeof ARGUMENTS)[N]]: Checked<(typeof ARGUMENTS)[N][K]>
}

/** The operation with this name; of several names, one of them. */
export type OperationOf<N extends OperationName> = N extends OperationName ? { readonly op: N } & ArgumentsOf<N> : never
/** An operation to execute. */
export type Operation = OperationOf<OperationName>
/** An operation with what a kernel answered. */
export type RecordedOperation = Operation & Observation

export interface Sequence {
  /** Group and number, like `mig-00042`. */
  readonly id: string
  /** Pages of the arena. */
  readonly pages: number
  /** Page of the arena's region at which the arena begins. */
  readonly baseOffset: number
  /** Size in pages of the file that file mappings map. */
  readonly filePages: number
  readonly ops: readonly RecordedOperation[]
}

/** Name of the group that a sequence belongs to: its id without the number. */
export function groupOf(sequence: Sequence): string {
  return sequence.id.replace(/-[^-]*$/, '')
}

/** A file that cannot be read, or a line of it that is no sequence. The message names file, line and reason. */
export class TraceError extends Error {
  override readonly name = 'TraceError'
}

/** One line of a recording. Throws a TraceError that says what is wrong; `where` is put in front of it. */
export function parseSequence(text: string, where: string): Sequence {
  const wrong = (reason: string) => new TraceError(`${where}: ${reason}`)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw wrong(`not JSON: ${(error as Error).message}`)
  }
  if (!isObject(value)) throw wrong('not an object')
  const { id, ops } = value
  if (typeof id !== 'string' || id === '') throw wrong('id is not a name')
  for (const field of ['pages', 'baseOffset', 'filePages']) {
    if (!count(value[field])) throw wrong(`${field} is not a number of pages`)
  }
  if (!Array.isArray(ops)) throw wrong('ops is not a list')
  ops.forEach((op, i) => {
    const reason = faultOf(op)
    if (reason !== null) throw wrong(`ops[${i}] ${reason}`)
  })
  return value as unknown as Sequence
}

/** What is wrong with an operation, or null. */
function faultOf(op: unknown): string | null {
  if (!isObject(op)) return 'is not an object'
  const name = op['op']
  if (typeof name !== 'string' || !Object.hasOwn(ARGUMENTS, name)) return `is no operation: ${JSON.stringify(name)}`
  const checks: Readonly<Record<string, Check<unknown>>> = ARGUMENTS[name as OperationName]
  for (const [argument, check] of Object.entries(checks)) {
    if (!check(op[argument])) return `(${name}) has ${argument} ${JSON.stringify(op[argument])}`
  }
  if (!isObject(op['result'])) return `(${name}) has no result`
  for (const list of ['events', 'watch', 'same']) {
    if (op[list] !== undefined && !Array.isArray(op[list])) return `(${name}) has ${list} that is no list`
  }
  if (op['state'] !== undefined && !isObject(op['state'])) return `(${name}) has a state that is no object`
  return null
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The sequences of a .jsonl or .jsonl.gz file, read as they are asked for. Throws a TraceError. */
export async function* readSequences(file: string): AsyncGenerator<Sequence> {
  let lineNumber = 0
  for await (const line of readLines(file)) {
    lineNumber++
    if (line.trim() !== '') yield parseSequence(line, `${file}:${lineNumber}`)
  }
}

async function* readLines(file: string): AsyncGenerator<string> {
  const source = createReadStream(file)
  // An error of either stream ends the reading below, so there is nothing left to do in the callback.
  const stream = file.endsWith('.gz') ? pipeline(source, createGunzip(), () => {}) : source
  stream.setEncoding('utf8')
  let rest = ''
  try {
    for await (const chunk of stream) {
      const lines = (rest + chunk).split('\n')
      rest = lines.pop() as string
      yield* lines
    }
  } catch (error) {
    throw new TraceError(`${file}: ${(error as Error).message}`)
  } finally {
    source.destroy()
  }
  if (rest !== '') yield rest
}
