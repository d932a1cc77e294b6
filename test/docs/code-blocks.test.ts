// Runs every TypeScript block of the pages below as a program of its own, as a reader would who pastes it into a file. What it prints
// must be what stands behind each `console.log` as a comment; `...` there stands for anything. All of them type-check as they stand.

import { execFile } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { transform } from 'esbuild'
import { describe, expect, it } from 'vitest'
import { type Block, blocksOf, linesToPrint } from '../helpers/doc-blocks.ts'
import { asWanted } from '../helpers/example-output.ts'
import { mustHaveGpu } from '../helpers/gpu.ts'
import { findLiveMachine } from '../helpers/live-fixture.ts'

const ROOT = resolve(import.meta.dirname, '../..')
/** Inside of the repository, so that `hetmem` is found as the package itself. */
const FOLDER = join(ROOT, '.cache/docs')

/** Its programs are about live memory. */
const LIVE_PAGE = 'docs/live.md'
const live = await findLiveMachine()

/** Its programs run in a browser (test/browser/docs.test.ts). */
const BROWSER_PAGE = 'docs/browser.md'
const BROWSER_OPTIONS = { types: ['@webgpu/types'], lib: ['ES2023', 'DOM'] }

const PAGES = [
  'README.md',
  'docs/containers.md',
  'docs/first-heap.md',
  'docs/kernels.md',
  LIVE_PAGE,
  'docs/pointers.md',
  'docs/reading-a-report.md',
  'docs/writing-a-driver.md',
]

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

describe.for(PAGES)('%s', (page) => {
  const blocks = blocksOf(page)
  it('has programs', () => expect(blocks.length).toBeGreaterThan(0))

  it.for(blocks)('line $line', async (block, { skip }) => {
    if (page === LIVE_PAGE && typeof live === 'string') return skip(live)
    const wanted = linesToPrint(block)
    const printed = await linesPrinted(block, page)
    if (typeof printed === 'string') return skip(printed)
    expect(asWanted(printed, wanted)).toEqual(wanted)
  })
})

describe('all of them type-check', () => {
  it.for([
    { what: 'in Node', pages: PAGES, options: { types: ['node'] } },
    { what: 'in web pages', pages: [BROWSER_PAGE], options: BROWSER_OPTIONS },
  ])('$what', async ({ what, pages, options }) => {
    mkdirSync(FOLDER, { recursive: true })
    const files = pages.flatMap((page) =>
      blocksOf(page).map(({ line, code }) => {
        const path = `${pathOf(page, line)}.ts`
        writeFileSync(path, code)
        return path
      }),
    )
    // Our own types are checked in test/package; WebGPU is in two libraries that do not agree about each other.
    const common = { noEmit: true, strict: true, skipLibCheck: true, module: 'nodenext', target: 'es2023' }
    const compilerOptions = { ...common, ...options }
    const project = join(FOLDER, `tsconfig-${what.replaceAll(' ', '-')}.json`)
    writeFileSync(project, JSON.stringify({ compilerOptions, files }))
    const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
    const { stdout } = await promisify(execFile)(process.execPath, [tsc, '-p', project]).catch(
      (error: { stdout: string }) => error,
    )
    expect(stdout).toBe('')
  })
})
