// Random programs on whole machines, a short run: `npm run model:long` is the long one. After every step of every program all
// invariants hold, and every page of every process contains what it must; in the end nothing is left. A program that breaks
// something is made shorter and printed, to be pasted into found.test.ts.

import { expect, it } from 'vitest'
import { describeFailure, shrink, tryRandomProgram } from './program.ts'
import { SETUPS } from './setups.ts'

/** Programs, and steps in each: what takes about fifteen seconds. */
const PROGRAMS = Number(process.env['HETMEM_MODEL_RUNS'] ?? 1200)
const STEPS = Number(process.env['HETMEM_MODEL_STEPS'] ?? 50)
const TOTAL_WEIGHT = SETUPS.reduce((sum, { weight }) => sum + weight, 0)

it.each(SETUPS)('no program breaks an invariant or loses a store on the machine "$name"', async ({ name, weight }) => {
  const count = Math.ceil((PROGRAMS * weight) / TOTAL_WEIGHT)
  for (let seed = 0; seed < count; seed++) {
    // Vitest gives up on a process that does not answer for a minute.
    await new Promise(setImmediate)
    const outcome = tryRandomProgram(seed, STEPS, name)
    if (outcome.error !== null) expect.fail(`seed ${seed}: ${describeFailure(shrink(outcome))}`)
  }
})
