// The command line of the replay.

import { parseArgs } from 'node:util'

export interface RunOptions {
  /** Recordings, .jsonl or .jsonl.gz. */
  readonly files: readonly string[]
  /** Groups to replay; empty for all. */
  readonly only: readonly string[]
  /** Sequence to show in full instead of a report. */
  readonly show: string | undefined
  readonly json: boolean
  /** Count first differences by operation and field. */
  readonly stats: boolean
  /** Check the invariants of the machine after every operation. */
  readonly validate: boolean
  /** Differing sequences that the report describes. */
  readonly maxFailures: number
  readonly help: boolean
}

export const USAGE = `usage: npm run conformance -- [FILE...] [options]

Replays recordings of a Linux kernel (.jsonl or .jsonl.gz) and compares everything that was recorded.
Without a FILE: all recordings in conformance/traces.

  --only GROUP        replay only this group; may be given several times
  --show ID           print one sequence as a program, expected and actual side by side
  --stats             count first differences by operation and field, with examples
  --max-failures N    describe at most N differing sequences (default 10)
  --validate          check the invariants of the machine after every operation
  --json              one JSON object per differing sequence, and a summary
  --help              this text

Exit status: 0 identical or listed, 1 differences, or nothing replayed, 2 wrong usage or unreadable recording.
`

/** What is wrong with the command line, in one sentence. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** Throws a UsageError. */
export function parseOptions(args: readonly string[]): RunOptions {
  const { values, positionals } = parse(args)
  const options: RunOptions = {
    files: positionals,
    only: values.only ?? [],
    show: values.show,
    json: values.json ?? false,
    stats: values.stats ?? false,
    validate: values.validate ?? false,
    maxFailures: parseCount(values['max-failures'] ?? '10'),
    help: values.help ?? false,
  }
  if (options.help) return options
  if (options.files.length === 0) throw new UsageError('no recordings given')
  if (options.show !== undefined && options.json) throw new UsageError('--show and --json do not go together')
  return options
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        only: { type: 'string', multiple: true },
        show: { type: 'string' },
        json: { type: 'boolean' },
        stats: { type: 'boolean' },
        validate: { type: 'boolean' },
        'max-failures': { type: 'string' },
        help: { type: 'boolean' },
      },
    })
  } catch (error) {
    // Node's messages go on with advice; the first sentence says what is wrong.
    throw new UsageError((error as Error).message.split('. ')[0])
  }
}

function parseCount(text: string): number {
  if (!/^\d+$/.test(text)) throw new UsageError(`--max-failures is ${JSON.stringify(text)}, wanted a number`)
  return Number(text)
}
