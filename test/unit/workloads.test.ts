// The workloads in Node, live and explicit, on devices with more memory than the data and with less, down to the least. Chromium runs the
// same ones (test/browser/workloads.test.ts).

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Heap, openHeap } from '../../src/index.ts'
import { resultOf, runProgram } from '../helpers/child-program.ts'
import { whyNoGpu } from '../helpers/gpu.ts'
import { findTestModes } from '../helpers/mode-fixture.ts'
import { LENGTHS, LONG, runLength } from '../workloads/lengths.ts'
import { MATRIX, MATRIX_DEVICES, runCase } from '../workloads/matrix.ts'

/** What test/live/collections.ts prints. */
interface Collections {
  readonly outcomes: readonly string[]
  readonly ncollections: number
  readonly inEngine: number
}

const missing = await whyNoGpu()
// Modes of live heaps differ in system calls, which no workload makes.
const modes = (await findTestModes()).filter(({ name }) => name !== 'live-user')

/**
 * What explicit heaps run, here and in Chromium, live ones run on devices with room for all, for a quarter, and for the least: how much
 * of its data a device has room for is nothing that the CPU's side of a heap knows of, so it is enough that both have met.
 */
const LIVE_MATRIX = MATRIX.filter(
  ({ workload, percent }, i) => [100, 25].includes(percent) || MATRIX[i + 1]?.workload !== workload,
)

describe.each(modes)('workloads in $name mode', (mode) => {
  const isLive = mode.name === 'live'
  // By faults most pages come back from the longest; the others say as much of either mode.
  const lengths = isLive ? [...LENGTHS, LONG] : LENGTHS
  const why = missing ?? mode.missing
  let heap: Heap | undefined

  beforeAll(async () => {
    if (why !== null) return
    heap = await openHeap({ mode: mode.name, size: '16 MiB', device: MATRIX_DEVICES, onNotice: () => {} })
  })
  beforeEach((test) => {
    if (why !== null) test.skip(why)
  })
  afterAll(() => heap?.close())

  for (const each of isLive ? LIVE_MATRIX : MATRIX) {
    it(each.title, async () => {
      expect(await runCase(heap!, each)).toBe('right')
    })
  }

  it.each(lengths)('exactly %d invocations', { timeout: 180_000 }, async (n) => {
    expect(await runLength(n, { mode: mode.name })).toBe('right')
  })

  it('are right while all threads collect garbage', { timeout: 120_000 }, async () => {
    const options = { nodeArgs: ['--expose-gc'], args: ['--mode', mode.name], timeoutMs: 100_000 }
    const { outcomes, ncollections, inEngine } = resultOf<Collections>(
      await runProgram('test/live/collections.ts', options),
    )
    expect(outcomes).toEqual(Array.from({ length: 3 }, () => 'right'))
    expect(Math.min(ncollections, inEngine)).toBeGreaterThan(20)
  })
})
