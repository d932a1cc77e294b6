// One sequence in full: every operation as a call, and under it what was recorded and what happened, side by side. The first
// difference is marked with >>>, every row that differs with !=. Strings with one character per page are aligned, and a
// caret stands under each page that differs.

import { compareOperation } from './compare.ts'
import { formatEvent, formatOperation, formatValue, formatWatch } from './program.ts'
import { type Crash, isCrash } from './replay.ts'
import { type Observation, type Sequence, STATE_FIELDS } from './trace.ts'

/** Something that one side or both report. */
interface Row {
  readonly label: string
  readonly expected: string | undefined
  readonly actual: string | undefined
  /** One character per arena page. */
  readonly isPages: boolean
}

const LABEL_WIDTH = 16
const COLUMN_MAX = 56
const NOTHING = '(nothing)'

/** `seen` holds what each operation did; it ends early if the machine failed. */
export function formatComparison(sequence: Sequence, seen: readonly (Observation | Crash)[]): string {
  const rows = sequence.ops.map((op, i) => rowsOf(op, seen[i]))
  const width = columnWidth(rows.flat())
  const lines = [
    `${sequence.id}: ${sequence.pages} pages from page ${sequence.baseOffset} of the region on, file of ${sequence.filePages} pages`,
    `${' '.repeat(8 + LABEL_WIDTH)}${'expected'.padEnd(width)}    actual`,
  ]
  let found = false
  for (const [i, op] of sequence.ops.entries()) {
    const isFirst: boolean = !found && seen[i] !== undefined && compareOperation(op, seen[i]) !== null
    found ||= isFirst
    lines.push(`${isFirst ? '>>>' : '   '} ${String(i).padStart(3)} ${formatOperation(op)}`)
    for (const row of rows[i]) lines.push(...formatRow(row, width))
  }
  lines.push(found ? 'the first difference is marked with >>>' : 'identical')
  return `${lines.join('\n')}\n`
}

function rowsOf(expected: Observation, seen: Observation | Crash | undefined): Row[] {
  const crash = seen !== undefined && isCrash(seen) ? seen.exception : undefined
  const actual = seen === undefined || isCrash(seen) ? undefined : seen
  const rows: Row[] = []
  const add = (label: string, left: string | undefined, right: string | undefined, isPages = false) => {
    if (left !== undefined || right !== undefined) rows.push({ label, expected: left, actual: right, isPages })
  }
  add('result', formatValue(expected.result), actual && formatValue(actual.result))
  addList(add, 'event', expected.events?.map(formatEvent), actual?.events?.map(formatEvent))
  addList(add, 'watch', expected.watch?.map(formatWatch), actual?.watch?.map(formatWatch))
  const procs = new Set([...Object.keys(expected.state ?? {}), ...Object.keys(actual?.state ?? {})])
  for (const proc of procs) {
    for (const field of STATE_FIELDS) {
      add(`proc ${proc} ${field}`, expected.state?.[proc]?.[field], actual?.state?.[proc]?.[field], true)
    }
  }
  add('same', expected.same && formatValue(expected.same), actual?.same && formatValue(actual.same))
  if (crash !== undefined) for (const line of crash.split('\n')) add('exception', undefined, line.trim())
  return rows
}

function addList(
  add: (label: string, expected: string | undefined, actual: string | undefined) => void,
  label: string,
  expected: readonly string[] = [],
  actual: readonly string[] = [],
): void {
  for (let i = 0; i < Math.max(expected.length, actual.length); i++) add(`${label} ${i}`, expected[i], actual[i])
}

/** As wide as the left column needs to be, within reason. */
function columnWidth(rows: readonly Row[]): number {
  const widths = rows.map((row) => row.expected?.length ?? 0).filter((width) => width <= COLUMN_MAX)
  return Math.max(NOTHING.length, ...widths)
}

function formatRow(row: Row, width: number): string[] {
  const { expected, actual, isPages } = row
  const label = `${' '.repeat(8)}${row.label.padEnd(LABEL_WIDTH)}`
  const indent = ' '.repeat(label.length)
  if (Math.max(expected?.length ?? 0, actual?.length ?? 0) > width) {
    if (expected === actual) return [`${label}${isPages ? runLengths(expected as string) : expected} (both)`]
    if (isPages && expected !== undefined && actual !== undefined) return pageChunks(label, expected, actual)
    return [`${label}expected  ${expected ?? NOTHING}`, `${indent}!= actual ${actual ?? NOTHING}`]
  }
  const mark = expected === actual ? '  ' : '!='
  const lines = [`${label}${(expected ?? NOTHING).padEnd(width)} ${mark} ${actual ?? NOTHING}`]
  if (isPages && expected !== actual && expected !== undefined && actual !== undefined) {
    const carets = caretsUnder(expected, actual)
    lines.push(`${indent}${carets.padEnd(width)}    ${carets}`.trimEnd())
  }
  return lines
}

const CHUNK_PAGES = 64

/** Long strings, one above the other: only the parts with a difference. */
function pageChunks(label: string, expected: string, actual: string): string[] {
  const lines = [`${label}${runLengths(expected)}`, `${' '.repeat(label.length - 3)}!= ${runLengths(actual)}`]
  for (let page = 0; page < Math.max(expected.length, actual.length); page += CHUNK_PAGES) {
    const left = expected.slice(page, page + CHUNK_PAGES)
    const right = actual.slice(page, page + CHUNK_PAGES)
    if (left === right) continue
    const where = `${' '.repeat(8)}page ${page}`.padEnd(label.length)
    const indent = ' '.repeat(label.length)
    lines.push(`${where}${left}`, `${indent}${right}`, `${indent}${caretsUnder(left, right)}`)
  }
  return lines
}

function caretsUnder(a: string, b: string): string {
  return Array.from({ length: Math.max(a.length, b.length) }, (_, i) => (a[i] === b[i] ? ' ' : '^'))
    .join('')
    .trimEnd()
}

const RUN_MIN = 8

/** `P*512 t*512` for 512 characters P and 512 characters t; short runs are written out. */
function runLengths(text: string): string {
  return (text.match(/(.)\1*/g) ?? [])
    .map((run) => (run.length < RUN_MIN ? run : ` ${run[0]}*${run.length} `))
    .join('')
    .replace(/ {2}/g, ' ')
    .trim()
}
