// Tests on another Node than the one that runs: from a path, or by number from npm, where the binary of each platform is a package.

import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { duration, runCaptured } from './process.mjs'
import { ROOT, runNpm, SetupError } from './setup.mjs'

/** Node for this platform, as npm has it. */
const PLATFORM = process.platform === 'win32' ? 'win' : process.platform
const PREFIX = PLATFORM === 'darwin' && process.arch === 'arm64' ? 'node-bin' : 'node'
const PACKAGE = `${PREFIX}-${PLATFORM}-${process.arch}`

/**
 * The binary of a Node: '24' or '24.3.0' is fetched from npm once, into .cache; anything else is a path.
 *
 * @param {string} node
 * @returns {Promise<{ path: string, version: string }>} version as in 'v24.3.0'
 * @throws {SetupError} naming what was asked for, if there is no such Node
 */
export async function findNode(node) {
  const path = /^\d+(\.\d+){0,2}$/.test(node) ? await fetched(node) : node
  try {
    return { path, version: execFileSync(path, ['--version'], { encoding: 'utf8' }).trim() }
  } catch (error) {
    throw new SetupError(`Node "${node}": ${error.message}; wanted a version, as 24, or the path of a Node`)
  }
}

/** @returns {Promise<string>} */
async function fetched(version) {
  const folder = join(ROOT, '.cache/node', version)
  const path = join(folder, 'node_modules', PACKAGE, PLATFORM === 'win' ? 'bin/node.exe' : 'bin/node')
  if (existsSync(path)) return path
  // Without a lockfile and a package of its own npm would look for one further up, and change that.
  const args = ['install', '--prefix', folder, '--no-save', '--no-package-lock', '--ignore-scripts', '--loglevel=error']
  const { status, output } = await runNpm([...args, `${PACKAGE}@${version}`])
  if (status !== 0) throw new SetupError(`${output.trim()}\nNode ${version} cannot be had from npm (${PACKAGE})`)
  return path
}

/**
 * Runs tests on a Node and prints one line about them, their output if one failed, and what was skipped.
 *
 * @param {{ path: string, version: string }} node
 * @param {object} what
 * @param {string} what.label    stands at the beginning of the line
 * @param {string} what.project  of vitest.config.ts
 * @param {string[]} what.filters
 * @param {string} [what.folder] where the sources are
 * @param {import('node:child_process').SpawnOptions} [what.options]
 * @returns {Promise<boolean>} whether all passed, and there were some
 */
export async function testOn(node, { label, project, filters, folder = ROOT, options = {} }) {
  const start = performance.now()
  const summary = join(folder, `.cache/test-summary-${node.version}.json`)
  mkdirSync(join(folder, '.cache'), { recursive: true })
  rmSync(summary, { force: true })
  const vitest = join(folder, 'node_modules/vitest/vitest.mjs')
  const env = { ...(options.env ?? process.env), HETMEM_TEST_SUMMARY: summary }
  const args = [vitest, 'run', '--project', project, ...filters]
  const { status, output } = await runCaptured(node.path, args, { ...options, cwd: folder, env })
  const counts = existsSync(summary) ? JSON.parse(readFileSync(summary, 'utf8')) : null
  const isGood = status === 0 && counts !== null && counts.failed === 0 && counts.passed > 0
  if (!isGood) process.stdout.write(`${output.trimEnd()}\n`)
  const result = counts === null ? 'vitest did not finish' : `${counts.passed} passed, ${counts.failed} failed`
  console.log(`${label}: ${isGood ? 'ok' : 'FAILED'}, ${result} in ${duration(start)}`)
  for (const line of counts?.skips ?? []) console.log(`  ${line}`)
  return isGood
}

/** Runs `work`; what cannot be set up is printed and counts as failed. Returns whether it went well. */
export async function reported(work) {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof SetupError)) throw error
    console.error(error.message)
    return false
  }
}
