// Real page faults under a whole heap, in processes of their own: a thread that waits for a page can be ended in no other way. Each
// program runs in all modes that this machine has: as root with all faults (live), and with those of user mode (live-user) as
// another user. The cases are told in test/live.

import { describe, expect, test } from 'vitest'
import type { WriteTracking } from '../../src/mmu/userfaultfd/userfaultfd-mmu.ts'
import { type ProgramResult, resultOf, runProgram } from '../helpers/child-program.ts'
import { CAPABILITY_LIVE, findLiveMachine, trackingsOf } from '../helpers/live-fixture.ts'

const NOBODY = 65_534
const isRoot = process.getuid?.() === 0

interface Mode {
  readonly name: 'live' | 'live-user'
  readonly uid?: number
  /** The capability that is missing, if the mode cannot be tried here. */
  readonly missing?: string
}

const full = await findLiveMachine({ sources: ['syscall', 'device'] })
const user = await findLiveMachine({ sources: ['user-mode'] })
const MODES: Mode[] = [
  { name: 'live', ...(typeof full === 'string' ? { missing: full } : {}) },
  {
    name: 'live-user',
    // Any user has these faults; as root another user is taken, to see that no privilege helps.
    ...(isRoot ? { uid: NOBODY } : {}),
    ...(typeof user === 'string' ? { missing: user } : {}),
  },
]
const machine = typeof full === 'string' ? user : full
const trackings = typeof machine === 'string' ? [] : trackingsOf(machine)

/** Where what is random has its whole time; elsewhere as long as it takes to see that it works there too. */
function isBest({ name }: Mode, tracking: WriteTracking): boolean {
  return name === 'live' && tracking === trackings[0]
}

/** Runs test/live/NAME.ts in a mode. */
function run(
  mode: Mode,
  name: string,
  args: readonly string[],
  { timeoutMs = 20_000, nodeArgs = [] as readonly string[] } = {},
): Promise<ProgramResult> {
  const user = mode.uid === undefined ? {} : { uid: mode.uid }
  return runProgram(`test/live/${name}.ts`, { args: ['--mode', mode.name, ...args], nodeArgs, timeoutMs, ...user })
}

test('live-user is tried as a user without privileges', (test) => {
  if (!isRoot) test.skip(`root: only root can start a program as another user; ${CAPABILITY_LIVE} is tried as this one`)
  expect(MODES[1].uid).toBe(NOBODY)
})

describe.each(MODES)('$name', (mode) => {
  const setUp = (test: { skip(note: string): void }): void => {
    if (mode.missing !== undefined) test.skip(mode.missing)
  }

  /** What a case returned. */
  async function outcome(file: string, name: string): Promise<unknown> {
    return resultOf(await run(mode, file, ['--case', name]))
  }

  /** How a case ended, and what it said. */
  async function ending(name: string, ...args: string[]): Promise<{ how: unknown; output: string }> {
    const { status, signal, timedOut, stdout, stderr } = await run(mode, 'endings', ['--case', name, ...args])
    return { how: timedOut ? 'never' : (signal ?? status), output: stdout + stderr }
  }

  test.for(trackings)(
    'no store is lost and no word is wrong while everything moves, tracking %s',
    { timeout: 120_000 },
    async (tracking, test) => {
      setUp(test)
      const seconds = isBest(mode, tracking) ? 5 : 1.5
      const program = await run(mode, 'stress', ['--seconds', `${seconds}`, '--tracking', tracking], {
        timeoutMs: 90_000,
      })
      const result = resultOf<{
        mode: string
        loads: number
        wrong: number
        lost: unknown
        narrays: number
        faults: number
        memory: { tracking: string; backed: number }
        disturbances: { added: number; counts: Record<string, number> }
      }>(program)
      expect([result.mode, result.memory.tracking]).toEqual([mode.name, tracking])
      expect([result.wrong, result.lost]).toEqual([0, { stores: 0, additions: 0, launches: 0 }])
      // It was a test: pages went and came in every way.
      expect(Object.keys(result.disturbances.counts).sort()).toEqual([
        'cold',
        'duplicate',
        'move',
        'read',
        'sync',
        'write',
      ])
      expect([result.loads >= 2560, result.narrays >= 10]).toEqual([true, true])
      expect([result.faults > 200, result.disturbances.added > 128]).toEqual([true, true])
      expect(result.memory.backed).toBeLessThanOrEqual(4096)
    },
  )

  test('nor while memory, devices and swap are all full', { timeout: 120_000 }, async (test) => {
    setUp(test)
    const result = resultOf<{
      wrong: number
      lost: unknown
      limits: { limit: number; swap: { pagesOut: number; pagesIn: number } }
      memory: { backed: number }
    }>(await run(mode, 'stress', ['--seconds', '2', '--pages', '8192', '--full'], { timeoutMs: 90_000 }))
    expect([result.wrong, result.lost]).toEqual([0, { stores: 0, additions: 0, launches: 0 }])
    const { limit, swap } = result.limits
    expect([limit, swap.pagesOut > 1000, swap.pagesIn > 500]).toEqual([16 * 2 ** 20, true, true])
    // What touches may have beyond the limit until it is given back, and holes that come together first.
    expect(4096 * result.memory.backed).toBeLessThan(limit + 16 * 2 ** 20)
  })

  test.for(['kept', 'freed'])('a walk over what a device has written is read ahead, frames %s', async (name, test) => {
    setUp(test)
    const { wrong, ntouches } = (await outcome('walk', name)) as { wrong: number; ntouches: number }
    expect(wrong).toBe(0)
    // Windows grow to 2 MiB, and from there on a touch brings 8 MiB: 30 touches if nothing came ahead of them.
    expect(ntouches).toBeLessThan(20)
  })

  test.for(trackings)('walks and launches find what the others have left, tracking %s', async (tracking, test) => {
    setUp(test)
    const args = ['--case', 'contested', '--tracking', tracking, '--seconds', isBest(mode, tracking) ? '1' : '0.4']
    const program = await run(mode, 'walk', args, { timeoutMs: 60_000 })
    expect(resultOf(program)).toEqual({ wrong: [0, 0] })
  })

  test('a device that is lost under a walk leaves what has come, and nothing half', async (test) => {
    setUp(test)
    expect(await outcome('walk', 'lost')).toEqual({ wrong: 0, wrongBehind: 0, mixed: false })
  })

  describe('a program ends', () => {
    test('by itself, while a heap is open', async (test) => {
      setUp(test)
      expect(await ending('naturalEnd')).toEqual({ how: 0, output: '"ended"\n' })
    })

    test('with process.exit() or an exception, while a thread waits for a page that nobody brings', async (test) => {
      setUp(test)
      expect(await ending('processExit')).toEqual({ how: 0, output: '"exiting"\n' })
      const { how, output } = await ending('uncaughtException')
      expect([how, output]).toEqual([1, expect.stringContaining('Error: of the program')])
    })

    test.for(['SIGTERM', 'SIGINT', 'SIGKILL', 'SIGHUP'])('by %s, while its main thread waits', async (signal, test) => {
      setUp(test)
      expect((await ending('signal', '--signal', signal)).how).toBe(signal)
    })

    test('does not end a thread while it loads its native library', async (test) => {
      setUp(test)
      for (const after of ['20', '40']) {
        const end = await ending('exitWhileThreadBegins', '--after', after)
        expect(end, `${after} ms`).toEqual({ how: 0, output: '"exiting"\n' })
      }
    })

    test('with process.exit(), also where the engine answers nobody any more, or threads have attached the heap', async (test) => {
      setUp(test)
      expect(await ending('exitWithAttachedThreads')).toEqual({ how: 0, output: '"exiting"\n' })
      expect(await ending('exitWithStuckEngine')).toEqual({ how: 0, output: '"exiting"\n' })
    })

    test('not by signals that it handles: they make the same fault come again', async (test) => {
      setUp(test)
      expect(await outcome('endings', 'sigintHandler')).toEqual({ value: 78, during: 0, handled: true })
    })

    test('terminate() of a thread that waits ends when the page is there', async (test) => {
      setUp(test)
      expect(await outcome('endings', 'terminateThread')).toBe('terminated')
    })

    test('not because a launch takes longer than anybody is patient: the deadline of its device counts', async (test) => {
      setUp(test)
      expect(await outcome('endings', 'longLaunch')).toBe(78)
      const { how, output } = await ending('hungLaunch')
      expect([how, output]).toEqual([
        'SIGABRT',
        expect.stringMatching(/the CPU loads "x"\[0\] .* the newest contents of "x" went with memory, which is lost/),
      ])
    })

    test('with its name, where nobody can bring the page', async (test) => {
      setUp(test)
      const { how, output } = await ending('noProgress')
      expect([how, output]).toEqual([
        'SIGABRT',
        expect.stringMatching(/the CPU loads "x"\[0\] \(thread \d+\): waits for a launch that writes it, and nothing/),
      ])
    })
  })

  test('a page that is bad is not poisoned in the kernel: that would be a SIGBUS without a word', async (test) => {
    setUp(test)
    if (typeof machine !== 'string' && !machine.support.features.poison) test.skip('UFFDIO_POISON: Linux 6.6 has it')
    expect(await ending('poisonedPage')).toEqual({ how: 'SIGBUS', output: '' })
  })

  describe('the end of the engine', () => {
    test.for([
      ['engineThrows', 'its engine failed: Error: as ordered'],
      ['engineRejects', 'its engine failed: Error: as ordered'],
      ['engineExits', 'its engine ended with code 3'],
    ])('is that of the process, with a message: %s', async ([name, message], test) => {
      setUp(test)
      const { how, output } = await ending(name)
      expect([how, output]).toEqual([
        'SIGABRT',
        expect.stringContaining(`hetmem: a live heap cannot go on, as ${message}`),
      ])
    })

    test('is noticed where it only stops to move', async (test) => {
      setUp(test)
      const { how, output } = await ending('engineStops')
      expect([how, output]).toEqual(['SIGABRT', expect.stringContaining('as its engine has not moved for 1 s')])
    })

    test('comes with that of the thread that has opened the heap: those who have attached it notice', async (test) => {
      setUp(test)
      const { how, output } = await ending('openerIsTerminated')
      const message = 'hetmem: a live heap cannot go on, as the thread that had opened it ended'
      expect([how, output]).toEqual(['SIGABRT', expect.stringContaining(message)])
      expect(await outcome('endings', 'openerIsTerminatedGoOn')).toEqual({
        code: 'ENGINE_DIED',
        read: 7,
        other: 'CLOSED',
        later: 'number',
      })
    })

    test('also where it runs out of memory', async (test) => {
      setUp(test)
      const { how, output } = await ending('engineOutOfMemory', '--heap-mib', '48')
      expect([how, output]).toEqual([
        'SIGABRT',
        expect.stringMatching(/hetmem: a live heap cannot go on, .*memory limit/),
      ])
    })

    test('lets who waits go on if the program wants that, and every call is refused', async (test) => {
      setUp(test)
      expect(await outcome('endings', 'engineThrowsGoOn')).toEqual({ codes: ['ENGINE_DIED'], seen: 'number' })
    })

    test('reaches everybody: nobody else has the descriptor', async (test) => {
      setUp(test)
      expect(await outcome('endings', 'descriptors')).toBe(1)
    })

    test('comes also where its message cannot be written, as a thread that waits holds the pipe', async (test) => {
      setUp(test)
      const { signal } = await run(mode, 'hazards', ['--case', 'pipeAndDeath'])
      // In user mode nobody waits inside of system calls.
      expect(signal).toBe(mode.name === 'live' ? 'SIGALRM' : 'SIGABRT')
    })
  })

  describe('a page that is lost with its device', () => {
    test('ends the process with its name, or reads as NaN', async (test) => {
      setUp(test)
      const { how, output } = await ending('lostPage')
      expect([how, output]).toEqual([
        'SIGABRT',
        expect.stringMatching(
          /the CPU loads "y"\[1024\] .* the newest contents of "y" went with memory, which is lost/,
        ),
      ])
      expect(await outcome('endings', 'lostPageFilled')).toEqual({
        value: 'NaN',
        codes: ['LOST', 'LOST'],
        receipt: 'sync: 0 pages to the CPU; 2 pages of "y" in place',
        zero: 0,
      })
    })
  })

  describe('program and engine do not wait for each other', () => {
    test.for<[string, (mode: Mode) => unknown]>([
      ['engineLogs', () => ({ value: 1 })],
      ['pipe', ({ name }) => ({ written: name === 'live' ? 4 : 'EFAULT', value: 1 })],
      ['pool', ({ name }) => ({ results: Array(12).fill(name === 'live' ? 8 : 'EFAULT'), value: 1 })],
      ['atomicsWait', () => ({ seen: 1, result: 'ok', added: 1, value: 5 })],
      ['userLock', () => [1, 1, 1]],
      ['nativeCode', () => [1, 1, 1, 1]],
      ['argumentsOfCalls', () => ({ bytes: 16_384, value: 1 })],
      ['onePageForAll', () => ({ sums: [60, 60, 60], value: 181 })],
      ['threadBegins', () => ({ mine: 1, others: 1 })],
      ['childProcess', () => ({ status: 0, value: 3 })],
      ['otherThreads', ({ name }) => ({ mode: name, sums: [4096, 4096, 4096] })],
      ['twoHeaps', () => ({ closed: 0, values: [3, 3], codes: 'FOREIGN_VIEW' })],
    ])('%s', async ([name, expected], test) => {
      setUp(test)
      expect(await outcome('hazards', name)).toEqual(expected(mode))
    })
  })

  // Who waits for the page in Atomics.wait has a lock that belongs to all threads. V8 takes it too when code that it has compiled
  // in the background is ready, which in Node 24 and later happens to all threads sooner or later, and all come to a stop.
  test.for([
    ['atomicsWaitForNever', ['--no-concurrent-sparkplug']],
    ['atomicsLoadBeforeWait', []],
  ] as const)(
    'a wait for a page that never comes ends the process, with what waits: %s',
    async ([name, nodeArgs], test) => {
      setUp(test)
      const { signal, stderr } = await run(mode, 'hazards', ['--case', name], { nodeArgs })
      expect([signal, stderr]).toEqual([
        'SIGABRT',
        expect.stringMatching(/the CPU loads "x"\[0\] .*: waits for a launch|its engine has not moved for 1 s/),
      ])
    },
  )

  test('system calls take the faults of their arguments, in user mode within withResident()', async (test) => {
    setUp(test)
    const [into, from] = mode.name === 'live' ? [28, 10] : ['EFAULT', 'EFAULT']
    const text = 'a page brought by the kernel'
    expect(await outcome('hazards', 'systemCalls')).toEqual({ into, from, resident: [28, 10], text, letter: 0x61 })
  })

  test('a heap of 16 GiB has four arrays of nearly 4 GiB, and costs what is touched', async (test) => {
    setUp(test)
    expect(await outcome('hazards', 'sixteenGib')).toEqual({
      refused: 'OUT_OF_SPACE',
      ends: [0, 1, 2, 3].map((i) => [i, 10 * i + 1, 1]),
      isInOrder: true,
      isSmall: true,
    })
  })

  test('the room of threads that have ended without closing their heap is used again', async (test) => {
    setUp(test)
    expect(await outcome('hazards', 'roomOfThoseGone')).toEqual(Array(4).fill(['OUT_OF_SPACE', 10, true]))
  })

  test('stores to a new array are kept while others read what lay there before', async (test) => {
    setUp(test)
    const kept = { lost: 0, isSamePlace: true, ends: ['number', 'number'] }
    expect(await outcome('hazards', 'staleReaders')).toEqual(kept)
  })

  test('a heap can be closed while threads wait for its pages', async (test) => {
    setUp(test)
    expect(await outcome('hazards', 'closedMeanwhile')).toEqual({ wrong: [0, 0], after: 0, refused: 'CLOSED' })
  })

  test('touches of memory that nobody has find zeroes, and leave nothing to those who get it', async (test) => {
    setUp(test)
    expect(await outcome('hazards', 'strayTouches')).toEqual({
      before: [0, 0, 0, 0],
      freed: [0, 0, 0],
      fresh: [true, true],
      sum: 0,
      written: 1,
    })
  })
})
