// Runs every TypeScript block of the documents as a program of its own, as a reader would who pastes it into a file. What it prints must
// be what stands behind each `console.log` as a comment; `...` there stands for anything.

import { execFile } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { transform } from 'esbuild'
import { describe, expect, it } from 'vitest'
import {
  BLOCKS_FOLDER,
  type Block,
  blockPath,
  blocksOf,
  LIVE_PAGE,
  linesToPrint,
  PAGES,
} from '../helpers/doc-blocks.ts'
import { asWanted } from '../helpers/example-output.ts'
import { mustHaveGpu } from '../helpers/gpu.ts'
import { findLiveMachine } from '../helpers/live-fixture.ts'

const live = await findLiveMachine()

/** What a program prints, or the capability that this machine lacks for it. */
async function linesPrinted({ line, code }: Block, page: string): Promise<string[] | string> {
  const path = `${blockPath(page, line)}.mjs`
  mkdirSync(BLOCKS_FOLDER, { recursive: true })
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
