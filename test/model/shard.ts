// One part of the random programs: every second seed, so that a long run uses two processes. What fails is made shorter and
// printed as a program that can be pasted into found.test.ts.
//
//   HETMEM_MODEL_RUNS   programs in all, default 300
//   HETMEM_MODEL_STEPS  steps in each, default 50
//   HETMEM_MODEL_SEED   the first seed, default 1: where an interrupted run goes on, or one failing program

import { expect, it } from 'vitest'
import { describeFailure, shrink, tryRandomProgram } from './program.ts'

export const NSHARDS = 2

/** Programs between two lines of progress in a long run. */
const PROGRESS = 5_000

export function testShard(shard: number): void {
  const runs = fromEnvironment('HETMEM_MODEL_RUNS', 300)
  const steps = fromEnvironment('HETMEM_MODEL_STEPS', 50)
  const first = fromEnvironment('HETMEM_MODEL_SEED', 1)

  it(`random programs of ${steps} steps break no invariant, part ${shard + 1} of ${NSHARDS} of ${runs}`, () => {
    let done = 0
    for (let seed = first + shard; seed < first + runs; seed += NSHARDS) {
      const failure = tryRandomProgram(seed, steps)
      if (failure !== null)
        expect.fail(`seed ${seed} (HETMEM_MODEL_SEED=${seed}):\n${describeFailure(shrink(failure))}`)
      done++
      if (done % PROGRESS === 0) console.log(`part ${shard + 1}: ${done} programs, seeds up to ${seed}`)
    }
    expect(done).toBe(Math.ceil((runs - shard) / NSHARDS))
  })
}

function fromEnvironment(name: string, byDefault: number): number {
  const text = process.env[name]
  if (text === undefined || text === '') return byDefault
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < 1)
    throw new RangeError(`${name} is ${text}, wanted a positive whole number`)
  return value
}
