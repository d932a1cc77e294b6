// Compares what a kernel answered with what the machine under test did, field by field, and names the first difference by
// its path: `events[1][2]`, `result.values[3]`, `state.0.pte[7]` (page 7 of process 0).

import { type Crash, isCrash } from './replay.ts'
import type { JsonValue, Observation, RecordedOperation } from './trace.ts'

/** The fields of an observation, in the order of comparison. */
export const OBSERVED_FIELDS = ['result', 'events', 'watch', 'state', 'same'] as const

/** A value, or nothing where one side reports something and the other does not. */
export type Side = JsonValue | undefined

export interface Difference {
  /** Where, in the notation of JavaScript; 'exception' if the machine failed. */
  readonly path: string
  readonly expected: Side
  readonly actual: Side
}

/** The first difference between an operation as recorded and as seen, or null. */
export function compareOperation(recorded: RecordedOperation, seen: Observation | Crash): Difference | null {
  if (isCrash(seen)) return { path: 'exception', expected: undefined, actual: seen.exception }
  for (const field of OBSERVED_FIELDS) {
    const difference = firstDifference(recorded[field] as Side, seen[field] as Side, field)
    if (difference !== null) return difference
  }
  return null
}

/** The first place where two values differ, or null. Strings of equal length are compared by character. */
export function firstDifference(expected: Side, actual: Side, path: string): Difference | null {
  if (expected === actual) return null
  if (isList(expected) && isList(actual)) {
    for (let i = 0; i < Math.max(expected.length, actual.length); i++) {
      const difference = firstDifference(expected[i], actual[i], `${path}[${i}]`)
      if (difference !== null) return difference
    }
    return null
  }
  if (isRecord(expected) && isRecord(actual)) {
    for (const key of new Set([...Object.keys(expected), ...Object.keys(actual)])) {
      const difference = firstDifference(entryOf(expected, key), entryOf(actual, key), `${path}.${key}`)
      if (difference !== null) return difference
    }
    return null
  }
  if (path.startsWith('state.') && typeof expected === 'string' && typeof actual === 'string') {
    const page = firstDifferentCharacter(expected, actual)
    return { path: `${path}[${page}]`, expected: expected[page], actual: actual[page] }
  }
  return { path, expected, actual }
}

/** Place in the longer of two different strings. */
export function firstDifferentCharacter(a: string, b: string): number {
  let i = 0
  while (i < a.length && a[i] === b[i]) i++
  return i
}

function isList(value: Side): value is readonly JsonValue[] {
  return Array.isArray(value)
}

function isRecord(value: Side): value is { readonly [key: string]: JsonValue } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function entryOf(record: { readonly [key: string]: JsonValue }, key: string): Side {
  return Object.hasOwn(record, key) ? record[key] : undefined
}
