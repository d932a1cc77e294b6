// Every kernel of the tables with ordinary bindings, and through a page table: with a quarter of the memory that it needs and nothing
// of it there, and with most of it there already.

import { describe, expect, it } from 'vitest'
import { suiteGpu } from '../../../test/helpers/gpu.ts'
import { KERNELS } from '../../../test/helpers/paged-kernels/index.ts'
import { compileKernel, runDirect, runPaged } from '../../../test/helpers/paged-run.ts'

describe('kernels give the same result direct and paged', () => {
  const gpu = suiteGpu()

  for (const [group, kernels] of Object.entries(KERNELS)) {
    describe(group, () => {
      for (const kernel of kernels) {
        it(kernel.name, async () => {
          const direct = await runDirect(gpu.device, kernel, kernel.contents)
          const { frames } = kernel
          const paged = await runPaged(gpu.device, kernel, kernel.contents, frames === undefined ? {} : { frames })
          for (const name of Object.keys(kernel.args)) expect(paged.contents[name], name).toEqual(direct[name])
          // With three quarters of the pages there, some transactions find all they need, and others do not.
          const some = frames === undefined ? { fraction: 0.75 } : { frames: 2 * frames }
          const warm = await runPaged(gpu.device, kernel, kernel.contents, { ...some, isWarm: true })
          for (const name of Object.keys(kernel.args))
            expect(warm.contents[name], `${name}, warm`).toEqual(direct[name])
          // Atomics that could be bound directly, where they are too large for that.
          if (compileKernel(kernel).program.bound === null) return
          for (const options of [frames === undefined ? {} : { frames }, { ...some, isWarm: true }]) {
            const pooled = await runPaged(gpu.device, kernel, kernel.contents, { ...options, bound: false })
            for (const name of Object.keys(kernel.args))
              expect(pooled.contents[name], `${name}, pooled`).toEqual(direct[name])
          }
        })
      }
    })
  }

  it('there are two hundred of them, with names of their own', () => {
    const names = Object.values(KERNELS).flatMap((kernels) => kernels.map(({ name }) => name))
    expect(new Set(names).size).toBe(names.length)
    expect(names.length).toBeGreaterThanOrEqual(200)
  })
})
