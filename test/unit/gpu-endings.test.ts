// Processes that end while a GPU works for their heap: none of them crashes, hangs, or ends before its time.

import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { runProgram } from '../helpers/child-program.ts'
import { whyNoGpu } from '../helpers/gpu.ts'
import { findTestModes } from '../helpers/mode-fixture.ts'

const PROGRAM = 'test/live/gpu-endings.ts'
const THREADS_PROGRAM = 'test/live/gpu-worker-endings.ts'

const REFUSAL =
  'NO_DEVICE: device "webgpu" in a worker: in Node a worker that ends while its GPU works takes the process along. ' +
  'Open the heap in the main thread, and join it here with attachHeap(heap.handle)\n'

let missing: string | null

beforeAll(async () => {
  missing = await whyNoGpu()
})

const modes = (await findTestModes()).filter(({ name }) => name !== 'live-user')

describe.each(modes)('in $name mode', (mode) => {
  beforeEach((test) => {
    if (missing !== null) test.skip(missing)
    if (mode.missing !== null) test.skip(mode.missing)
  })

  it.each([
    ['exit', ''],
    ['exit at once', ''],
    ['close', 'closed\n'],
    ['sync', '7 7\n'],
    ['end', 'ran\n'],
  ])('a process that ends by %s ends well', { timeout: 60_000 }, async (way, output) => {
    await expectOutput(PROGRAM, [mode.name, way], output)
  })
})

describe('with the engine in a worker', () => {
  beforeEach((test) => {
    if (missing !== null) test.skip(missing)
  })

  it.each([
    ['exit', ''],
    ['exit at once', ''],
    ['terminate', 'ENGINE_DIED: the worker of the engine ended with code 1\n'],
    ['terminate at once', 'ENGINE_DIED: the worker of the engine ended with code 1\n'],
  ])('a process ends well by %s', { timeout: 60_000 }, async (way, output) => {
    await expectOutput(PROGRAM, ['engine in a worker', way], output)
  })
})

describe.each(modes)('threads that have joined a heap in $name mode', (mode) => {
  beforeEach((test) => {
    if (missing !== null) test.skip(missing)
    if (mode.missing !== null) test.skip(mode.missing)
  })

  it.each([
    ['is terminated', '[ 1 ]\n3 3\n'],
    ['exits', '[ 5 ]\n3 3\n'],
    ['throws', 'of the thread\n3 3\n'],
    ['process exits', ''],
  ])('the heap goes on when one of them %s', { timeout: 60_000 }, async (way, output) => {
    await expectOutput(THREADS_PROGRAM, [mode.name, way], REFUSAL + output)
  })
})

async function expectOutput(program: string, args: readonly string[], output: string): Promise<void> {
  const { status, signal, timedOut, stdout, stderr } = await runProgram(program, { args, timeoutMs: 50_000 })
  expect({ status, signal, timedOut, stdout, stderr }).toEqual({
    status: 0,
    signal: null,
    timedOut: false,
    stdout: output,
    stderr: '',
  })
}
