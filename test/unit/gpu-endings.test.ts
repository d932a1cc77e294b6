// Processes that end while a GPU works for their heap: none of them crashes, hangs, or ends before its time.

import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { runProgram } from '../helpers/child-program.ts'
import { whyNoGpu } from '../helpers/gpu.ts'
import { findTestModes } from '../helpers/mode-fixture.ts'

const FILES = ['test/live/gpu-endings.ts', 'src/heap/live/engine-worker.ts']

let missing: string | null

beforeAll(async () => {
  missing = await whyNoGpu()
})

describe.each((await findTestModes()).filter(({ name }) => name !== 'live-user'))('in $name mode', (mode) => {
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
    const { status, signal, timedOut, stdout, stderr } = await runProgram(FILES, {
      args: [mode.name, way],
      timeoutMs: 50_000,
    })
    expect({ status, signal, timedOut, stdout, stderr }).toEqual({
      status: 0,
      signal: null,
      timedOut: false,
      stdout: output,
      stderr: '',
    })
  })
})
