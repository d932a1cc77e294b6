// A group of cases in a process of its own: this program again, with `--case`, read back as JSON.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { BenchCase, Row } from './harness.ts'

const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** What the processes have said: each says again which device there is. */
const said = new Set<string>()

/** Runs the cases and returns a row for each. What they write to stderr is passed on, each line once; throws if one fails. */
export async function runIsolated(suite: string, cases: readonly BenchCase[]): Promise<Row[]> {
  const names = cases.map(({ name }) => name)
  const args = [...process.execArgv, process.argv[1], suite, ...names.flatMap((name) => ['--case', name]), '--json']
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  createInterface(child.stderr).on('line', (line) => {
    if (!said.has(line)) console.error(line)
    said.add(line)
  })
  let stoppedBy: NodeJS.Signals | null = null
  const forward = (signal: NodeJS.Signals) => {
    stoppedBy = signal
    child.kill(signal)
  }
  for (const signal of FORWARDED) process.on(signal, forward)
  let output = ''
  child.stdout.setEncoding('utf8')
  child.stdout.on('data', (text: string) => {
    output += text
  })
  const [status, signal] = await once(child, 'close')
  for (const forwarded of FORWARDED) process.off(forwarded, forward)
  if (stoppedBy !== null) process.kill(process.pid, stoppedBy)
  // A missed goal has its exit status too; what counts is that there are rows.
  const lines = output.trimEnd().split('\n')
  if (signal !== null || lines.length !== names.length || !lines.every((line) => line.startsWith('{'))) {
    const which = names.length === 1 ? `case ${names[0]}` : `cases ${names.join(', ')}`
    throw new Error(`bench: ${which} of ${suite} ended without a result (${signal ?? `status ${status}`})`)
  }
  return lines.map((line) => JSON.parse(line))
}
