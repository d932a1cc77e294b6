// A project that uses hetmem as others do: the packed package, installed in a folder of its own, with the pages of these tests as its
// sources. Made anew before the tests run (vitest.config.ts names this file as their global set-up).

import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import build from '../helpers/build.ts'

const run = promisify(execFile)
const ROOT = resolve(import.meta.dirname, '../..')

/** The folder of the project; its pages are in `pages`. */
export const PROJECT = join(ROOT, '.cache/browser-project')

export default async function makeProject(): Promise<void> {
  await build()
  rmSync(PROJECT, { recursive: true, force: true })
  mkdirSync(PROJECT, { recursive: true })
  writeFileSync(
    join(PROJECT, 'package.json'),
    JSON.stringify({ name: 'browser-project', private: true, type: 'module' }),
  )
  cpSync(join(import.meta.dirname, 'pages'), join(PROJECT, 'pages'), { recursive: true })
  const [{ filename }] = JSON.parse(
    await npm(ROOT, 'pack', '--json', '--ignore-scripts', '--pack-destination', PROJECT),
  )
  await npm(PROJECT, 'install', '--offline', '--ignore-scripts', '--no-audit', '--no-fund', `./${filename}`)
}

async function npm(cwd: string, ...args: string[]): Promise<string> {
  const cli = process.env['npm_execpath']
  const isNpm = cli?.endsWith('npm-cli.js') === true
  const [file, first] = isNpm ? [process.execPath, [cli]] : ['npm', []]
  const { stdout } = await run(file, [...first, ...args], {
    cwd,
    shell: !isNpm && process.platform === 'win32',
  })
  return stdout
}
