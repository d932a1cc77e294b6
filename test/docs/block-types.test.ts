// All programs in the documents type-check as they stand. Apart from running them (code-blocks.test.ts), which other versions of Node do
// too: the compiler says the same on all of them.

import { execFile } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { BLOCKS_FOLDER, blockPath, blocksOf, PAGES } from '../helpers/doc-blocks.ts'

const ROOT = resolve(import.meta.dirname, '../..')

/** Its programs run in a browser (test/browser/docs.test.ts). */
const BROWSER_PAGE = 'docs/browser.md'
const BROWSER_OPTIONS = { types: ['@webgpu/types'], lib: ['ES2023', 'DOM'] }

it.for([
  { what: 'in Node', pages: PAGES, options: { types: ['node'] } },
  { what: 'in web pages', pages: [BROWSER_PAGE], options: BROWSER_OPTIONS },
])('programs of the documents type-check $what', async ({ what, pages, options }) => {
  mkdirSync(BLOCKS_FOLDER, { recursive: true })
  const files = pages.flatMap((page) =>
    blocksOf(page).map(({ line, code }) => {
      const path = `${blockPath(page, line)}.ts`
      writeFileSync(path, code)
      return path
    }),
  )
  // Our own types are checked in test/package; WebGPU is in two libraries that do not agree about each other.
  const common = { noEmit: true, strict: true, skipLibCheck: true, module: 'nodenext', target: 'es2023' }
  const compilerOptions = { ...common, ...options }
  const project = join(BLOCKS_FOLDER, `tsconfig-${what.replaceAll(' ', '-')}.json`)
  writeFileSync(project, JSON.stringify({ compilerOptions, files }))
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
  const { stdout } = await promisify(execFile)(process.execPath, [tsc, '-p', project]).catch(
    (error: { stdout: string }) => error,
  )
  expect(stdout).toBe('')
})
