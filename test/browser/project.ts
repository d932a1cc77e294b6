// A project that uses hetmem as others do: the packed package, installed in a folder of its own, with the pages of these tests as its
// sources. Made anew before the tests run (vitest.config.ts names this file as their global set-up).

import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import build from '../helpers/build.ts'
import { npm } from '../helpers/npm.ts'

const run = promisify(execFile)
const ROOT = resolve(import.meta.dirname, '../..')

/** The folder of the project; its pages are in `pages`. */
export const PROJECT = join(ROOT, '.cache/browser-project')

/** The package in it. */
export const PACKAGE = join(PROJECT, 'node_modules/hetmem')

export default async function makeProject(): Promise<void> {
  await build()
  rmSync(PROJECT, { recursive: true, force: true })
  mkdirSync(PROJECT, { recursive: true })
  writeFileSync(
    join(PROJECT, 'package.json'),
    JSON.stringify({ name: 'browser-project', private: true, type: 'module' }),
  )
  copySources(join(import.meta.dirname, 'pages'), 'pages')
  copySources(join(ROOT, 'test/workloads'), 'workloads')
  cpSync(join(ROOT, 'examples'), join(PROJECT, 'examples'), { recursive: true })
  const [{ filename }] = JSON.parse(
    await npm(ROOT, 'pack', '--json', '--ignore-scripts', '--pack-destination', PROJECT),
  )
  // What it depends on is found further up, in the packages of this repository.
  mkdirSync(PACKAGE, { recursive: true })
  await run('tar', ['-xzf', join(PROJECT, filename), '--strip-components=1', '-C', PACKAGE])
}

/** Copies a folder into the project. What is imported from elsewhere in the repository is a neighbour there, or the package. */
function copySources(from: string, to: string): void {
  mkdirSync(join(PROJECT, to))
  for (const name of readdirSync(from)) {
    const text = readFileSync(join(from, name), 'utf8')
    const moved = text.replaceAll("'../../src/index.ts'", "'hetmem'").replaceAll("'../../workloads/", "'../workloads/")
    writeFileSync(join(PROJECT, to, name), moved)
  }
}
