// What a fresh clone lacks: the packages of the lockfile and the compiled program.
// Each step looks first and does nothing, silently, when there is nothing to do (some 20 ms for both).
// Two commands started at once in one clone take turns (.cache/setup.lock).

import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { duration, runCaptured } from './process.mjs'

export const ROOT = dirname(dirname(fileURLToPath(import.meta.url)))

const COMPILED = ['src', 'conformance', 'bench', 'examples', 'scripts', 'test/model'] // the include list of tsconfig.build.json
const CONFIGURATION = [
  'tsconfig.json',
  'tsconfig.build.json',
  'package.json',
  'package-lock.json',
  'scripts/bundle.mjs',
  'scripts/trim-declarations.mjs',
  'scripts/without-internals.mjs',
]
const DIST = join(ROOT, 'dist')
const BUILT_FROM = join(DIST, '.built-from') // fingerprint of the sources of the last good build
const CACHE = join(ROOT, '.cache')
const LOCK = join(CACHE, 'setup.lock')
const LOCK_AGE_MAX_MS = 15 * 60_000 // older than any installation: its owner is gone and its process id reused

/** A set-up step that failed for a reason that the user can act on; the message says all there is to say. */
export class SetupError extends Error {}

/** Brings node_modules to what package-lock.json says. Runs no install scripts: none of the packages needs one. */
export async function install() {
  if (isInstalled()) return
  await oneAtATime(async () => {
    if (isInstalled()) return
    const args = ['ci', '--ignore-scripts', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error']
    const { status, output } = await withProgress('installing packages', () => runNpm(args))
    if (status !== 0) throw new SetupError(`${output}\nnpm ${args.join(' ')}: exit status ${status}`)
  })
}

/** Compiles into dist, with all types checked, and makes lib of it. `clean` starts from nothing, `quiet` says nothing of it. */
export async function build({ clean = false, quiet = false } = {}) {
  if (!clean && isBuilt()) return
  await oneAtATime(async () => {
    const fingerprint = sourceFingerprint()
    if (clean) rmSync(DIST, { recursive: true, force: true })
    else if (isBuilt()) return
    rmSync(BUILT_FROM, { force: true })
    const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
    const args = [tsc, '-p', 'tsconfig.build.json']
    const compile = () => runCaptured(process.execPath, args, { cwd: ROOT })
    const { status, output } = await (quiet ? compile() : withProgress('building', compile))
    if (status !== 0) throw new SetupError(`${output}\nthe build failed`)
    removeStaleOutput(DIST)
    const { bundle } = await import('./bundle.mjs') // its packages are installed by now
    await bundle(ROOT)
    writeFileSync(BUILT_FROM, fingerprint)
  })
}

/** npm leaves a copy of the lockfile in node_modules when it is done; it lists what is really there. */
function isInstalled() {
  const installedFile = join(ROOT, 'node_modules/.package-lock.json')
  if (!existsSync(installedFile)) return false
  const wanted = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')).packages
  const installed = JSON.parse(readFileSync(installedFile, 'utf8')).packages
  return Object.entries(wanted).every(([path, { version, optional }]) => {
    if (path === '') return true
    const there = installed[path]
    return there === undefined ? optional === true : there.version === version // optional: other platforms' binaries
  })
}

/** Runs npm as whoever started this does, in the root. */
export function runNpm(args) {
  const cli = process.env.npm_execpath
  const options = { cwd: ROOT }
  if (cli?.endsWith('npm-cli.js')) return runCaptured(process.execPath, [cli, ...args], options)
  if (process.platform === 'win32') return runCaptured('npm.cmd', args, { ...options, shell: true })
  return runCaptured('npm', args, options)
}

function isBuilt() {
  return (
    existsSync(BUILT_FROM) && existsSync(join(ROOT, 'lib')) && readFileSync(BUILT_FROM, 'utf8') === sourceFingerprint()
  )
}

/** Changes when a source file appears, goes, or is written. Reads names, sizes and times only. */
function sourceFingerprint() {
  const hash = createHash('sha256')
  const files = COMPILED.flatMap((folder) => filesBelow(join(ROOT, folder)))
  const sources = files.filter((path) => path.endsWith('.ts') && !path.endsWith('.test.ts'))
  for (const path of [...sources, ...CONFIGURATION.map((name) => join(ROOT, name))]) {
    const { size, mtimeMs } = statSync(path)
    hash.update(`${relative(ROOT, path)}\0${size}\0${mtimeMs}\n`)
  }
  return hash.digest('hex')
}

/** tsc never deletes: what a moved or removed source left in dist would still run, and be published. */
function removeStaleOutput(folder) {
  for (const path of filesBelow(folder)) {
    const source = relative(DIST, path).replace(/(\.d\.ts|\.js)(\.map)?$/, '.ts')
    if (source.endsWith('.ts') && !existsSync(join(ROOT, source))) rmSync(path)
  }
}

function filesBelow(folder) {
  if (!existsSync(folder)) return []
  const entries = readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))
  return entries.flatMap((entry) => {
    const path = join(folder, entry.name)
    return entry.isDirectory() ? filesBelow(path) : [path]
  })
}

async function withProgress(what, work) {
  const start = performance.now()
  process.stderr.write(`${what} ...`)
  try {
    return await work()
  } finally {
    process.stderr.write(` ${duration(start)}\n`)
  }
}

async function oneAtATime(work) {
  mkdirSync(CACHE, { recursive: true })
  while (!takeLock()) await sleep(200)
  try {
    await work()
  } finally {
    rmSync(LOCK, { force: true })
  }
}

function takeLock() {
  try {
    writeFileSync(LOCK, String(process.pid), { flag: 'wx' })
    return true
  } catch (error) {
    if (error.code !== 'EEXIST') throw error
    if (isLockStale()) rmSync(LOCK, { force: true })
    return false
  }
}

function isLockStale() {
  try {
    if (Date.now() - statSync(LOCK).mtimeMs > LOCK_AGE_MAX_MS) return true
    const owner = Number(readFileSync(LOCK, 'utf8'))
    if (owner > 0) process.kill(owner, 0) // throws when there is no such process; 0: its owner is just writing
    return false
  } catch (error) {
    return error.code === 'ESRCH'
  }
}
