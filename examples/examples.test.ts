// Runs every example as its reader would: the compiled file, and the TypeScript where this Node runs that. What it prints must be
// what its head says. `...` there stands for anything.

import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { asWanted, linesToPrint } from '../test/helpers/example-output.ts'
import { mustHaveGpu } from '../test/helpers/gpu.ts'

const ROOT = resolve(import.meta.dirname, '..')
const EXAMPLES = readdirSync(import.meta.dirname).filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'))

/** Version 22.18 and later say 'strip'. */
const runsTypeScript = typeof (process.features as { typescript?: unknown }).typescript === 'string'

/** What a program prints, or why it cannot run here: the capability that is missing. */
async function linesPrinted(path: string): Promise<string[] | string> {
  try {
    const { stdout } = await promisify(execFile)(process.execPath, [join(ROOT, path)], { timeout: 60_000 })
    return stdout.trimEnd().split('\n')
  } catch (error) {
    const [reason] = /there is no WebGPU adapter here.*/.exec((error as { stderr: string }).stderr) ?? []
    if (reason === undefined || mustHaveGpu()) throw error
    return `webgpu-adapter: ${reason}`
  }
}

it.for(EXAMPLES)('%s prints what its head says', async (name, { skip }) => {
  const wanted = linesToPrint(readFileSync(join(import.meta.dirname, name), 'utf8'))
  expect(wanted.length).toBeGreaterThan(0)
  const paths = [`dist/examples/${name.replace(/\.ts$/, '.js')}`, ...(runsTypeScript ? [`examples/${name}`] : [])]
  for (const path of paths) {
    const printed = await linesPrinted(path)
    if (typeof printed === 'string') return skip(printed)
    expect(asWanted(printed, wanted)).toEqual(wanted)
  }
})

it('README.md lists every example', () => {
  const readme = readFileSync(join(import.meta.dirname, 'README.md'), 'utf8')
  const listed = [...readme.matchAll(/^\| \[(.+?)\]/gm)].map(([, name]) => name)
  expect(listed.toSorted()).toEqual(EXAMPLES.toSorted())
})
