// One case in a process of its own: this program again, with `--case`, read back as JSON.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Row } from './harness.ts'

const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** Runs the case and returns its row. What the case writes to stderr is passed on; throws if it fails. */
export async function runIsolated(suite: string, caseName: string): Promise<Row> {
  const args = [...process.execArgv, process.argv[1], suite, '--case', caseName, '--json']
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
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
  // A missed goal has its exit status too; what counts is that there is a row.
  const lines = output.trimEnd().split('\n')
  if (signal !== null || lines.length !== 1 || !lines[0].startsWith('{')) {
    throw new Error(`bench: case ${caseName} of ${suite} ended without a result (${signal ?? `status ${status}`})`)
  }
  return JSON.parse(lines[0])
}
