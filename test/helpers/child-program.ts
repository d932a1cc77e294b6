// Runs a program of the tests in a process of its own, with a time limit: a thread that waits in a page fault can be ended in no
// other way.

import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { programUrl } from './programs.ts'

export interface ProgramOptions {
  readonly args?: readonly string[]
  /** For Node itself. */
  readonly nodeArgs?: readonly string[]
  /** Default 20,000 ms. When it is over the process is killed. */
  readonly timeoutMs?: number
  /** User and group to run as; only root can choose. */
  readonly uid?: number
}

export interface ProgramResult {
  /** Exit status; null if a signal ended the process. */
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
  readonly timedOut: boolean
  readonly stdout: string
  readonly stderr: string
}

/** Runs a program of programs.ts. `file` is the path of its source from the root. */
export function runProgram(file: string, options: ProgramOptions = {}): Promise<ProgramResult> {
  const { uid } = options
  const user = uid === undefined ? {} : { uid, gid: uid }
  return new Promise((resolve, reject) => {
    const child = spawn(
      process.execPath,
      [...(options.nodeArgs ?? []), fileURLToPath(programUrl(file)), ...(options.args ?? [])],
      {
        cwd: '/',
        stdio: ['ignore', 'pipe', 'pipe'],
        ...user,
      },
    )
    const output = { stdout: '', stderr: '' }
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (text: string) => {
        output[name] += text
      })
    }
    let timedOut = false
    const timer = setTimeout(() => {
      timedOut = true
      child.kill('SIGKILL')
    }, options.timeoutMs ?? 20_000)
    child.on('error', reject)
    child.on('close', (status, signal) => {
      clearTimeout(timer)
      resolve({ status, signal, timedOut, ...output })
    })
  })
}

/** The object that a program printed as its last line. Throws with all its output if the program failed. */
export function resultOf<T>({ status, signal, timedOut, stdout, stderr }: ProgramResult): T {
  if (status !== 0) {
    const how = timedOut ? 'ran into its time limit' : `ended with ${signal ?? `status ${status}`}`
    throw new Error(`the program ${how}\n${stdout}${stderr}`)
  }
  return JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '') as T
}
