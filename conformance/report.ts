// Counts verdicts and prints them: for people with a line per group, for machines as JSON lines, and as statistics that show
// which kind of difference to look at first.

import type { Failure } from './check.ts'
import type { Expectation } from './expectations.ts'
import { formatOperation, formatValue } from './program.ts'
import { ARGUMENTS, groupOf, type Sequence } from './trace.ts'

/** Verdicts of one group, or of all. Listed sequences are in neither of the other two. */
export interface Count {
  identical: number
  different: number
  listed: number
}

export class Tally {
  readonly groups = new Map<string, Count>()
  readonly total: Count = { identical: 0, different: 0, listed: 0 }
  readonly used = new Map<Expectation, number>()
  nops = 0

  add(sequence: Sequence, failure: Failure | null): void {
    const group = groupOf(sequence)
    let count = this.groups.get(group)
    if (count === undefined) {
      count = { identical: 0, different: 0, listed: 0 }
      this.groups.set(group, count)
    }
    const verdict = failure === null ? 'identical' : failure.listed === null ? 'different' : 'listed'
    count[verdict]++
    this.total[verdict]++
    this.nops += sequence.ops.length
    if (failure?.listed) this.used.set(failure.listed, (this.used.get(failure.listed) ?? 0) + 1)
  }

  get nsequences(): number {
    return this.total.identical + this.total.different + this.total.listed
  }
}

/** One line per group, `identical / total`. */
export function formatGroups(tally: Tally): string[] {
  return [...tally.groups].sort().map(([group, { identical, different, listed }]) => {
    const line = `${group.padEnd(10)} ${String(identical).padStart(6)} / ${identical + different}`
    return listed === 0 ? line : `${line}, ${listed} listed`
  })
}

/** The reasons behind listed sequences, and the expectations that nothing here needs: after all recordings, nothing at all. */
export function formatExpectations(tally: Tally, expectations: readonly Expectation[]): string[] {
  return expectations.map((expectation) => {
    const n = tally.used.get(expectation) ?? 0
    return n === 0
      ? `not needed by these recordings: ${expectation.name}`
      : `listed ${n}: ${expectation.name}. ${expectation.reason}`
  })
}

/** The line that the report ends with. */
export function formatTotal({ total }: Tally): string {
  const { identical, different, listed } = total
  return `conformance: ${identical} of ${identical + different} sequences identical, ${listed} listed`
}

/** What is different, in a few lines. */
export function formatFailure(sequence: Sequence, { index, op, difference }: Failure): string[] {
  return [
    `${sequence.id}, operation ${index}, ${formatOperation(op)}`,
    `  ${difference.path}: expected ${formatValue(difference.expected)}, actual ${formatValue(difference.actual)}`,
  ]
}

/** The same for machines. */
export function failureToJson(sequence: Sequence, failure: Failure): object {
  const { index, op, difference, listed } = failure
  const names = ['op', ...Object.keys(ARGUMENTS[op.op])]
  const values: Readonly<Record<string, unknown>> = { ...op }
  return {
    id: sequence.id,
    group: groupOf(sequence),
    index,
    operation: Object.fromEntries(names.map((name) => [name, values[name]])),
    path: difference.path,
    expected: difference.expected ?? null,
    actual: difference.actual ?? null,
    listed: listed === null ? null : listed.name,
  }
}

export function tallyToJson(tally: Tally): object {
  const entry = ({ identical, different, listed }: Count) => ({ identical, total: identical + different, listed })
  return {
    summary: entry(tally.total),
    groups: Object.fromEntries([...tally.groups].sort().map(([group, count]) => [group, entry(count)])),
    operations: tally.nops,
  }
}

const EXAMPLES_MAX = 3

/** First differences by operation and field: what to look at first while something is being built. */
export class Statistics {
  private readonly classes = new Map<string, { n: number; ids: string[] }>()

  add(sequence: Sequence, { op, difference }: Failure): void {
    const key = `${op.op.padEnd(16)} ${differenceClass(difference.path, difference.actual)}`
    const found = this.classes.get(key) ?? { n: 0, ids: [] }
    this.classes.set(key, found)
    found.n++
    if (found.ids.length < EXAMPLES_MAX) found.ids.push(sequence.id)
  }

  format(): string[] {
    const sorted = [...this.classes].sort(([, a], [, b]) => b.n - a.n)
    return sorted.map(([key, { n, ids }]) => `${String(n).padStart(6)}  ${key}  ${ids.join(' ')}`)
  }
}

/** `state.0.pte[5]` is `state.pte`; exceptions are told apart by their message, numbers left out. */
function differenceClass(path: string, actual: unknown): string {
  if (path !== 'exception') return path.replace(/\[\d+\]/g, '').replace(/\.\d+/g, '')
  const [message] = String(actual).split('\n')
  return `exception: ${message.replace(/\b(0x[0-9a-f]+|\d+)\b/g, '#')}`
}
