// Differences from the recordings that are known and meant. Each is a predicate on what was done, never an id, with the
// reason why this implementation answers otherwise. A sequence whose first difference falls under one counts as listed.
// The list is shown in the report; an entry that no recording needs any more is reported, and is to be removed.

import type { Difference } from './compare.ts'
import type { Operation, RecordedOperation, Sequence } from './trace.ts'

export interface Expectation {
  /** A few words, for the report. */
  readonly name: string
  /** Why the difference is right, or cannot be avoided. */
  readonly reason: string
  /** True if the difference at operation `index` of the sequence is the one that is meant. */
  applies(sequence: Sequence, index: number, difference: Difference): boolean
}

export const EXPECTATIONS: readonly Expectation[] = [
  {
    name: 'reference held by an LRU batch',
    reason:
      'Taking pages for exclusive access marks them as used, and the second mark puts a page into a per-CPU batch that holds ' +
      'a reference until it is drained. Whether that has happened by the time the page, shared by fork meanwhile, is ' +
      'written depends on everything else the CPU did, so the kernel sometimes copies a page that could be reused.',
    applies: ({ ops }, index, { path }) => {
      const copied = copiedPage(ops[index], path)
      if (copied < 0) return false
      const fork = ops.findLastIndex((op, i) => i < index && op.op === 'fork')
      return fork >= 0 && ops.slice(0, fork).some((op) => op.op === 'exclusive' && covers(op, copied))
    },
  },
]

/** The page whose copy-on-write event the recording has at `path` (`events[2]...`), -1 if it is another event. */
function copiedPage({ events = [] }: RecordedOperation, path: string): number {
  const event = events[Number(/^events\[(\d+)\]/.exec(path)?.[1] ?? -1)]
  if (event === undefined) return -1
  const [, name, start, end] = event
  return name === 'CLEAR' && end === start + 1 ? start : -1
}

function covers(op: Operation, page: number): boolean {
  return 'page' in op && 'n' in op && page >= op.page && page < op.page + op.n
}
