// Real page faults, in processes of their own: programs touch memory, and an engine in a worker serves them with mm on the
// live backend. Each program runs in all modes that this machine has: as root with all faults (live), with those of user mode
// (live-user) as another user, and with each way of tracking stores.

import { describe, expect, test } from 'vitest'
import { type ProgramResult, resultOf, runProgram } from '../helpers/child-program.ts'
import { CAPABILITY_LIVE, findLiveMachine, trackingsOf } from '../helpers/live-fixture.ts'
import type { EngineCounts } from '../live/engine.ts'

const NOBODY = 65_534
const isRoot = process.getuid?.() === 0

interface Mode {
  readonly name: 'live' | 'live-user'
  readonly args: readonly string[]
  readonly uid?: number
  /** The capability that is missing, if the mode cannot be tried here. */
  readonly missing?: string
}

const full = await findLiveMachine({ sources: ['syscall', 'device'] })
const user = await findLiveMachine({ sources: ['user-mode'] })
const MODES: Mode[] = [
  { name: 'live', args: [], ...(typeof full === 'string' ? { missing: full } : {}) },
  {
    name: 'live-user',
    // Any user has this source; as root another user is taken, to see that no privilege helps.
    args: ['--source', 'user-mode'],
    ...(isRoot ? { uid: NOBODY } : {}),
    ...(typeof user === 'string' ? { missing: user } : {}),
  },
]
const machine = typeof full === 'string' ? user : full
const trackings = typeof machine === 'string' ? [] : trackingsOf(machine)

/** Runs test/live/NAME.ts in a mode. */
function run(mode: Mode, name: string, args: readonly string[] = [], timeoutMs = 20_000): Promise<ProgramResult> {
  const files = [`test/live/${name}.ts`, 'test/live/engine-worker.ts']
  const user = mode.uid === undefined ? {} : { uid: mode.uid }
  return runProgram(files, { args: [...mode.args, ...args], timeoutMs, ...user })
}

test('live-user is tried as a user without privileges', (test) => {
  if (!isRoot) test.skip(`root: only root can start a program as another user; ${CAPABILITY_LIVE} is tried as this one`)
  expect(MODES[1].uid).toBe(NOBODY)
})

describe.each(MODES)('$name', (mode) => {
  const setUp = (test: { skip(note: string): void }): void => {
    if (mode.missing !== undefined) test.skip(mode.missing)
  }

  test('a touch of an ordinary Float32Array is served', async (test) => {
    setUp(test)
    for (const around of ['1', '16']) {
      const result = resultOf<{
        mode: string
        zeroes: boolean
        sum: number
        counts: EngineCounts
        afterClose: number
      }>(await run(mode, 'touch', ['--fault-around', around]))
      expect([result.mode, result.zeroes]).toEqual([mode.name, true])
      // The first word of each of 256 pages is 1024 times its number.
      expect(result.sum).toBe((1024 * 255 * 256) / 2)
      // Missing pages to begin with, then pages that were zapped.
      expect([result.counts.faults, result.counts.minor]).toEqual([512 / Number(around), 256 / Number(around)])
      expect([result.counts.lost, result.afterClose]).toEqual([0, 0])
    }
  })

  test.for(trackings)(
    'no store is lost while pages are taken, tracking %s',
    { timeout: 40_000 },
    async (tracking, test) => {
      setUp(test)
      // The whole time in the best mode, as long as it takes to see that the others work too.
      const seconds = mode.name === 'live' && tracking === trackings[0] ? 5 : 1.5
      const program = await run(mode, 'stress', ['--seconds', `${seconds}`, '--tracking', tracking], 30_000)
      const result = resultOf<{
        mode: string
        tracking: string
        sum: number
        stores: number
        loads: number
        wrong: number
        counts: EngineCounts
      }>(program)
      expect([result.mode, result.tracking]).toEqual([mode.name, tracking])
      expect([result.wrong, result.counts.lost, result.sum]).toEqual([0, 0, result.stores])
      // It was a test: pages went and came, and there were both kinds.
      expect(result.counts.disturbances).toBeGreaterThan(100)
      expect(result.counts.faults).toBeGreaterThan(1000)
      expect(result.counts.dirty).toBeGreaterThan(100)
      expect(result.counts.clean).toBeGreaterThan(100)
    },
  )

  test('system calls take the faults of their arguments, in user mode after a touch', async (test) => {
    setUp(test)
    const result = resultOf<Record<string, unknown>>(await run(mode, 'syscalls'))
    const [read, write] = mode.name === 'live' ? [28, 10] : ['EFAULT', 'EFAULT']
    expect(result).toMatchObject({ mode: mode.name, read, write, readAgain: 28, writeAgain: 10 })
    const text = 'a page brought by the kernel'
    expect(result).toMatchObject({ text, copy: text, same: true, found: 22, counts: { lost: 0 } })
  })

  test('atomic additions add up', async (test) => {
    setUp(test)
    const result = resultOf<{ sum: number; expected: number; swapped: number; counts: EngineCounts }>(
      await run(mode, 'atomics'),
    )
    expect([result.sum, result.swapped, result.counts.lost]).toEqual([result.expected, 0, 0])
    expect(result.counts.faults).toBeGreaterThan(10)
  })

  test('a program can exit while a thread waits for a page that nobody brings', async (test) => {
    setUp(test)
    expect(resultOf(await run(mode, 'leave', ['--how', 'exit'], 10_000))).toEqual({ left: true })
  })

  test('the end of the engine, ordered or not, releases who waits, with the contents of memory', async (test) => {
    setUp(test)
    expect(resultOf(await run(mode, 'leave', ['--how', 'terminate'], 10_000))).toEqual({ end: 1, seen: 77 })
    const end = 'the engine fails, as ordered'
    expect(resultOf(await run(mode, 'leave', ['--how', 'throw'], 10_000))).toEqual({ end, seen: 77 })
  })
})
