// `npm test`: all stages, cheapest first, until one fails; those that leave a processor free run beside each other. A stage that
// passes is one line; one that fails is shown in full. The closing line counts everything that was checked: types, lint and layers as one each, then tests and
// recorded sequences.

import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { duration, runCaptured } from './process.mjs'
import { build, ROOT, SetupError } from './setup.mjs'
import { TASKS } from './tasks.mjs'

/** What stands together runs at the same time. */
const STAGES = [
  ['types', 'lint', 'layers', 'conformance'],
  ['core', 'unit', 'model'],
  ['examples', 'browser'],
]

/**
 * What a stage did. `note` is for its line.
 *
 * @typedef {{ passed: number, failed: number, note: string, output: string, details?: string[] }} Outcome
 */

/** @returns {Promise<number>} exit status */
export async function test() {
  const begin = performance.now()
  let passed = 0
  let failed = 0
  let ran = 0
  const run = async (stage) => {
    const start = performance.now()
    const outcome = await runStage(stage)
    ran++
    passed += outcome.passed
    failed += outcome.failed
    if (outcome.failed > 0) process.stdout.write(`${outcome.output.trimEnd()}\n`)
    const verdict = outcome.failed > 0 ? 'FAILED' : 'ok'
    console.log(`${stage.padEnd(12)} ${verdict.padEnd(7)} ${duration(start).padStart(12)}  ${outcome.note}`.trimEnd())
    if (outcome.failed > 0) return
    for (const detail of outcome.details ?? []) console.log(`  ${detail}`)
  }
  for (const [index, stages] of STAGES.entries()) {
    await Promise.all(stages.map(run))
    if (failed === 0) continue
    const rest = STAGES.slice(index + 1).flat()
    if (rest.length > 0) console.log(`not run: ${rest.join(', ')}`)
    break
  }
  console.log(`${ran} of ${STAGES.flat().length} stages in ${duration(begin)}`)
  console.log(`${passed} passed, ${failed} failed`)
  return failed > 0 ? 1 : 0
}

/** @returns {Promise<Outcome>} */
async function runStage(stage) {
  if (['core', 'unit', 'model', 'examples', 'browser'].includes(stage)) return await runTests(stage)
  if (stage === 'conformance') return await replay()
  const { status, output } = await runTask(stage)
  return status === 0 ? { passed: 1, failed: 0, note: '', output } : { passed: 0, failed: 1, note: '', output }
}

/** @returns {Promise<Outcome>} */
async function runTests(stage) {
  mkdirSync(join(ROOT, '.cache'), { recursive: true })
  const summary = join(ROOT, `.cache/test-summary-${stage}.json`)
  rmSync(summary, { force: true })
  const { status, output } = await runTask(stage, { HETMEM_TEST_SUMMARY: summary })
  const counts = existsSync(summary) ? JSON.parse(readFileSync(summary, 'utf8')) : undefined
  if (counts === undefined) return { passed: 0, failed: 1, note: 'vitest did not finish', output }
  const { passed, skipped, skips } = counts
  // A file that cannot be loaded, or an error outside of all tests, fails the run without a failed test.
  const failed = status === 0 ? counts.failed : Math.max(counts.failed, 1)
  const note = `${passed} passed, ${failed} failed, ${skipped} skipped`
  return { passed, failed, note, output, details: skips }
}

/** @returns {Promise<Outcome>} */
async function replay() {
  try {
    await build({ quiet: true }) // its line would come in between those of others
  } catch (error) {
    if (!(error instanceof SetupError)) throw error
    return { passed: 0, failed: 1, note: 'not built', output: error.message }
  }
  const { status, output } = await runTask('conformance')
  const total = /^conformance: (\d+) of (\d+) sequences identical.*$/m.exec(output)
  if (total === null) return { passed: 0, failed: 1, note: 'the replay printed no total', output }
  const [note, identical, all] = [total[0].slice('conformance: '.length), Number(total[1]), Number(total[2])]
  const failed = status === 0 ? all - identical : Math.max(all - identical, 1)
  return { passed: identical, failed: all === 0 ? 1 : failed, note, output }
}

/** Runs the programs of a task until one fails. */
async function runTask(name, env = {}) {
  let output = ''
  for (const program of TASKS[name]([]).programs) {
    const result = await runCaptured(process.execPath, program, { cwd: ROOT, env: { ...process.env, ...env } })
    output += result.output
    if (result.status !== 0) return { status: result.status, output }
  }
  return { status: 0, output }
}
