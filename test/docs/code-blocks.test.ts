// Runs every TypeScript block of the pages below as a program of its own, as a reader would who pastes it into a file. What it prints
// must be what stands behind each `console.log` as a comment; `...` there stands for anything. All of them type-check as they stand.

import { execFile } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { transform } from 'esbuild'
import { describe, expect, it } from 'vitest'
import { mustHaveGpu } from '../helpers/gpu.ts'

const ROOT = resolve(import.meta.dirname, '../..')
/** Inside of the repository, so that `hetmem` is found as the package itself. */
const FOLDER = join(ROOT, '.cache/docs')

const PAGES = [
  'README.md',
  'docs/containers.md',
  'docs/first-heap.md',
  'docs/kernels.md',
  'docs/pointers.md',
  'docs/reading-a-report.md',
  'docs/writing-a-driver.md',
]

/** A block with the number of its first line. */
interface Block {
  readonly line: number
  readonly code: string
}

function blocksOf(page: string): Block[] {
  const text = readFileSync(join(ROOT, page), 'utf8')
  return [...text.matchAll(/^```ts\n(.*?)^```/gms)].map((match) => ({
    line: text.slice(0, match.index).split('\n').length + 1,
    code: match[1],
  }))
}

function linesToPrint(code: string): string[] {
  return [...code.matchAll(/^\s*console\.log\(.*\) *\/\/ (.*)$/gm)].map(([, text]) => text)
}

/** Without an ending. */
function pathOf(page: string, line: number): string {
  return join(FOLDER, `${page.replaceAll(/\W+/g, '-')}-${line}`)
}

/** What a program prints, or the capability that this machine lacks for it. */
async function linesPrinted({ line, code }: Block, page: string): Promise<string[] | string> {
  const path = `${pathOf(page, line)}.mjs`
  mkdirSync(FOLDER, { recursive: true })
  writeFileSync(path, (await transform(code, { loader: 'ts', format: 'esm', target: 'es2023' })).code)
  try {
    const { stdout } = await promisify(execFile)(process.execPath, [path], { timeout: 100_000 })
    return stdout.trimEnd().split('\n')
  } catch (error) {
    const [reason] = /there is no WebGPU adapter here.*/.exec((error as { stderr: string }).stderr) ?? []
    if (reason === undefined || mustHaveGpu()) throw error
    return `webgpu-adapter: ${reason}`
  }
}

function asPattern(line: string): RegExp {
  const pieces = line.split('...').map((piece) => piece.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
  return new RegExp(`^${pieces.join('.+')}$`)
}

describe.for(PAGES)('%s', (page) => {
  const blocks = blocksOf(page)
  it('has programs', () => expect(blocks.length).toBeGreaterThan(0))

  it.for(blocks)('line $line', async (block, { skip }) => {
    const wanted = linesToPrint(block.code)
    const printed = await linesPrinted(block, page)
    if (typeof printed === 'string') return skip(printed)
    expect(printed.map((line, i) => (asPattern(wanted[i] ?? '').test(line) ? wanted[i] : line))).toEqual(wanted)
  })
})

it('all of them type-check', async () => {
  const files = PAGES.flatMap((page) =>
    blocksOf(page).map(({ line, code }) => {
      const path = `${pathOf(page, line)}.ts`
      mkdirSync(FOLDER, { recursive: true })
      writeFileSync(path, code)
      return path
    }),
  )
  const compilerOptions = { noEmit: true, strict: true, module: 'nodenext', target: 'es2023', types: ['node'] }
  writeFileSync(join(FOLDER, 'tsconfig.json'), JSON.stringify({ compilerOptions, files }))
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
  const { stdout } = await promisify(execFile)(process.execPath, [tsc, '-p', FOLDER]).catch(
    (error: { stdout: string }) => error,
  )
  expect(stdout).toBe('')
})
