// Runs a TypeScript program of the tests in a process of its own, with a time limit: a thread that waits in a page fault can
// be ended in no other way. The program and what it imports are compiled to .cache/programs, file by file, when they changed.

import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import ts from 'typescript'

const ROOT = resolve(import.meta.dirname, '../..')
const OUT = join(ROOT, '.cache/programs')

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

/** Compiles a source, by its path from the root, and what it imports. Returns where the program is. */
export function compiledProgram(file: string): URL {
  const source = join(ROOT, file)
  compile(source, new Set())
  return pathToFileURL(outputOf(source))
}

/** Compiles and runs a program. `files` are paths from the root: the program, then the entries of its workers. */
export function runProgram(files: readonly string[], options: ProgramOptions = {}): Promise<ProgramResult> {
  for (const file of files) compile(join(ROOT, file), new Set())
  const { uid } = options
  const user = uid === undefined ? {} : { uid, gid: uid }
  return new Promise((resolve, reject) => {
    const child = spawn(
      process.execPath,
      [...(options.nodeArgs ?? []), outputOf(join(ROOT, files[0])), ...(options.args ?? [])],
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

function compile(source: string, seen: Set<string>): void {
  if (seen.has(source)) return
  seen.add(source)
  const text = readFileSync(source, 'utf8')
  const output = outputOf(source)
  // A source that is not newer than its output was compiled as it is.
  if (!existsSync(output) || statSync(output).mtimeMs <= statSync(source).mtimeMs) {
    const compilerOptions = {
      target: ts.ScriptTarget.ES2023,
      module: ts.ModuleKind.ESNext,
      rewriteRelativeImportExtensions: true,
      verbatimModuleSyntax: true,
    }
    mkdirSync(dirname(output), { recursive: true })
    // Other tests may be doing the same at this moment.
    const temporary = `${output}.${process.pid}`
    writeFileSync(temporary, ts.transpileModule(text, { compilerOptions, fileName: source }).outputText)
    renameSync(temporary, output)
  }
  for (const { fileName } of ts.preProcessFile(text).importedFiles) {
    if (fileName.startsWith('.')) compile(resolve(dirname(source), fileName), seen)
  }
}

function outputOf(source: string): string {
  return join(OUT, relative(ROOT, source)).replace(/\.ts$/, '.js')
}
