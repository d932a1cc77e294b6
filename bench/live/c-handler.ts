// The fault handler in C (fault-handler.c), compiled on the spot. It runs as a child process and does a round when asked.

import { type ChildProcessByStdio, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'

/** Relative to the repository, as the source is not part of the build. */
const SOURCE = 'bench/live/fault-handler.c'
const COMPILERS = ['cc', 'gcc', 'clang'] as const

export class CHandler {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>
  readonly #answers: AsyncIterator<string>

  /** Both of its threads run on `cpu`. Throws an Error if there is no C compiler. */
  constructor(cpu: number) {
    const folder = mkdtempSync(join(tmpdir(), 'hetmem-bench-'))
    try {
      this.#child = spawn(compile(folder), [String(cpu)], { stdio: ['pipe', 'pipe', 'inherit'] })
    } finally {
      // It runs by now, and needs its file no more.
      rmSync(folder, { recursive: true })
    }
    this.#answers = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]()
  }

  /** Touches so many fresh pages, a power of two. Resolves with nanoseconds per page. */
  async touch(npages: number): Promise<number> {
    this.#child.stdin.write(`${npages}\n`)
    const { value, done } = await this.#answers.next()
    if (done) throw new Error('the fault handler in C ended')
    return Number(value)
  }

  /** Ends it. Until then its pipes keep this process. */
  close(): void {
    this.#child.stdin.end()
  }
}

/** Returns the path of the program, which is put into a folder. */
function compile(folder: string): string {
  const program = join(folder, 'fault-handler')
  for (const compiler of COMPILERS) {
    try {
      execFileSync(compiler, ['-O2', '-pthread', '-o', program, fileURLToPath(sourceUrl())])
      return program
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
  }
  throw new Error(`no C compiler: none of ${COMPILERS.join(', ')} is installed`)
}

/** From the built file in dist/bench/live, and from the source beside it. */
function sourceUrl(): URL {
  const isBuilt = import.meta.url.includes('/dist/')
  return new URL(`${isBuilt ? '../../../' : '../../'}${SOURCE}`, import.meta.url)
}
