// Sequences as text that a person reads: an operation is a call with its arguments by name.

import type { Side } from './compare.ts'
import { ARGUMENTS, type EventRecord, type JsonValue, type Operation, type WatchRecord } from './trace.ts'

/** `migrate-to-dev(dev 0, page 4, n 2)`, with the process in front where there is a choice. */
export function formatOperation(op: Operation): string {
  const values: Readonly<Record<string, JsonValue | undefined>> = { ...op }
  const named = Object.keys(ARGUMENTS[op.op]).filter((name) => name !== 'proc' && values[name] !== undefined)
  const text = `${op.op}(${named.map((name) => `${name} ${formatValue(values[name])}`).join(', ')})`
  return values['proc'] === undefined ? text : `proc ${values['proc']}: ${text}`
}

/** A value in few characters: lists in brackets, names without quotes. */
export function formatValue(value: Side): string {
  if (value === undefined) return 'nothing'
  if (value === '') return "''"
  if (typeof value !== 'object' || value === null) return String(value)
  if (Array.isArray(value)) return `[${value.map(formatValue).join(' ')}]`
  return Object.entries(value)
    .map(([name, inner]) => `${name} ${formatValue(inner)}`)
    .join(', ')
}

/** `proc 0 MIGRATE 5..7 dev0`: pages 5 and 6. */
export function formatEvent(event: EventRecord): string {
  const [proc, name, start, end, owner] = event
  return `proc ${proc} ${name} ${start}..${end} ${owner}`.trimEnd()
}

export function formatWatch(event: WatchRecord): string {
  const [proc, slot, name, start, end, owner] = event
  return `proc ${proc} slot ${slot} ${name} ${start}..${end} ${owner}`.trimEnd()
}
