// Kernels made at random: each gives the same result direct and paged. `HETMEM_MODEL_RUNS=500` runs more of them.

import { describe, expect, it } from 'vitest'
import { suiteGpu } from '../../../test/helpers/gpu.ts'
import { runDirect, runPaged } from '../../../test/helpers/paged-run.ts'
import { randomKernel } from '../../../test/helpers/random-kernel.ts'

const RUNS = Number(process.env['HETMEM_MODEL_RUNS'] ?? 4)
const FIRST = Number(process.env['HETMEM_MODEL_SEED'] ?? 1)

describe('random kernels give the same result direct and paged', () => {
  const gpu = suiteGpu()

  for (let seed = FIRST; seed < FIRST + RUNS; seed++) {
    it(`seed ${seed}`, async () => {
      const { kernel, contents } = randomKernel(seed)
      const direct = await runDirect(gpu.device, kernel, contents)
      const paged = await runPaged(gpu.device, kernel, contents, { frames: 60, pageBits: 7 })
      const warm = await runPaged(gpu.device, kernel, contents, { frames: 120, pageBits: 7, isWarm: true })
      const pooled = await runPaged(gpu.device, kernel, contents, { frames: 60, pageBits: 7, bound: false })
      for (const name of Object.keys(kernel.args)) {
        expect(paged.contents[name], `${name} after seed ${seed}`).toEqual(direct[name])
        expect(warm.contents[name], `${name} after seed ${seed}, warm`).toEqual(direct[name])
        expect(pooled.contents[name], `${name} after seed ${seed}, pooled`).toEqual(direct[name])
      }
      // Software drivers take minutes to compile some of them.
    }, 600_000)
  }
})
