// All ways to solve a workload come to the same results: what wants room beside a device with room, what makes do with little beside
// one with a quarter of the memory that the arrays take.

import { describe, expect, it } from 'vitest'
import { whyNoGpu } from '../../test/helpers/gpu.ts'
import { COMPARED } from '../compare.ts'
import { HeapSide, OPPONENTS } from './contests.ts'
import { checkSame } from './workload.ts'

const missing = await whyNoGpu()

describe.each(COMPARED.map(({ workload }) => workload))('$name', (workload) => {
  it.skipIf(missing !== null).each(OPPONENTS)('gives the same on a heap and by way of %s', async (opponent) => {
    // Rejects where results differ.
    const times = opponent === 'hand' ? 4 : 0.5
    const { candidate, baseline } = await new HeapSide(workload, times, 2 ** 19).against(opponent)
    expect(await candidate()).toBeGreaterThan(0)
    expect(await baseline()).toBeGreaterThan(0)
  })
})

it.skipIf(missing !== null)('what is compared with several others is one heap, which they catch up with', async () => {
  // y += 2x: a round too few or too many, and results differ.
  const side = new HeapSide(COMPARED[0].workload, 0.5, 2 ** 19)
  const [byResident, byScript] = [await side.against('resident'), await side.against('js')]
  expect(byScript.candidate).toBe(byResident.candidate)
})

describe('checkSame()', () => {
  const [{ workload }] = COMPARED
  const results = (...values: number[]) => Float32Array.from(values)

  it('names the first result that is another', () => {
    expect(() => checkSame(workload, results(1, 2), results(1, 2))).not.toThrow()
    expect(() => checkSame(workload, results(1, 2), results(1, 3))).toThrow('saxpy: result 1 is 2, wanted 3')
    expect(() => checkSame(workload, results(1), results(1, 2))).toThrow('saxpy: 1 results, wanted 2')
    expect(() => checkSame(workload, results(Number.NaN), results(1))).toThrow('result 0 is NaN, wanted 1')
  })

  it('lets results be as far apart as the workload allows, relative to the larger one', () => {
    const loose = { ...workload, tolerance: 0.01 }
    expect(() => checkSame(loose, results(100), results(101))).not.toThrow()
    expect(() => checkSame(loose, results(100), results(102))).toThrow('result 0 is 100, wanted 102')
  })
})
