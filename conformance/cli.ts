// `npm run conformance`: reads recordings, replays them, reports. Exit status 0 if everything is identical or listed, 1 if
// something differs or nothing was replayed, 2 if the command line or a recording is wrong.

import { access } from 'node:fs/promises'
import { checkSequence } from './check.ts'
import type { DriverFactory } from './drivers/driver.ts'
import type { Expectation } from './expectations.ts'
import { parseOptions, type RunOptions, USAGE, UsageError } from './options.ts'
import { replay } from './replay.ts'
import {
  failureToJson,
  formatExpectations,
  formatFailure,
  formatGroups,
  formatTotal,
  Statistics,
  Tally,
  tallyToJson,
} from './report.ts'
import { formatComparison } from './show.ts'
import { groupOf, readSequences, type Sequence, TraceError } from './trace.ts'

export interface Environment {
  readonly makeDriver: DriverFactory
  readonly expectations: readonly Expectation[]
  /** Prints one line. */
  out(line: string): void
  err(line: string): void
}

/** Runs the command. Returns the exit status. */
export async function runConformance(args: readonly string[], env: Environment): Promise<number> {
  try {
    const options = parseOptions(args)
    if (options.help) {
      env.out(USAGE.trimEnd())
      return 0
    }
    for (const file of options.files) await checkReadable(file)
    return options.show === undefined ? await replayAll(options, env) : await showOne(options, options.show, env)
  } catch (error) {
    if (!(error instanceof UsageError || error instanceof TraceError)) throw error
    env.err(`conformance: ${error.message}`)
    return 2
  }
}

async function checkReadable(file: string): Promise<void> {
  if (!/\.jsonl(\.gz)?$/.test(file)) throw new UsageError(`${file} is no recording (.jsonl or .jsonl.gz)`)
  try {
    await access(file)
  } catch {
    throw new UsageError(`${file} does not exist or cannot be read`)
  }
}

async function* selectedSequences({ files, only }: RunOptions): AsyncGenerator<Sequence> {
  for (const file of files) {
    for await (const sequence of readSequences(file)) {
      if (only.length === 0 || only.includes(groupOf(sequence))) yield sequence
    }
  }
}

async function replayAll(options: RunOptions, env: Environment): Promise<number> {
  const { makeDriver, expectations, out } = env
  const tally = new Tally()
  const statistics = new Statistics()
  const begin = performance.now()
  for await (const sequence of selectedSequences(options)) {
    const failure = checkSequence(sequence, makeDriver, expectations, { validate: options.validate })
    tally.add(sequence, failure)
    if (failure === null) continue
    if (options.json) out(JSON.stringify(failureToJson(sequence, failure)))
    if (failure.listed !== null) continue
    statistics.add(sequence, failure)
    if (options.json || options.stats || tally.total.different > options.maxFailures) continue
    for (const line of formatFailure(sequence, failure)) out(line)
  }
  if (options.json) {
    out(JSON.stringify(tallyToJson(tally)))
  } else {
    const seconds = (performance.now() - begin) / 1000
    if (options.stats) statistics.format().forEach(out)
    else describeRest(tally.total.different - options.maxFailures, out)
    formatGroups(tally).forEach(out)
    formatExpectations(tally, options.only.length === 0 ? expectations : []).forEach(out)
    out(`${tally.nsequences} sequences, ${tally.nops} operations in ${seconds.toFixed(1)} s`)
    if (tally.nsequences === 0) out('nothing was replayed')
    out(formatTotal(tally))
  }
  return tally.total.different > 0 || tally.nsequences === 0 ? 1 : 0
}

function describeRest(n: number, out: (line: string) => void): void {
  if (n > 0) out(`and ${n} more: --max-failures N describes more of them, --stats counts them by kind`)
}

async function showOne(options: RunOptions, id: string, env: Environment): Promise<number> {
  for await (const sequence of selectedSequences(options)) {
    if (sequence.id !== id) continue
    const seen = [...replay(sequence, env.makeDriver, { validate: options.validate })]
    env.out(formatComparison(sequence, seen).trimEnd())
    const failure = checkSequence(sequence, env.makeDriver, env.expectations, { validate: options.validate })
    if (failure?.listed) env.out(`listed: ${failure.listed.name}. ${failure.listed.reason}`)
    return failure === null || failure.listed !== null ? 0 : 1
  }
  throw new UsageError(`no sequence ${id} in the given recordings`)
}
