import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { PlacementCounters, TouchCounters } from '../hmm/policy.ts'
import { DEFAULT_POLICY } from './default-policy.ts'
import { FIRST_WINDOW, LARGEST_WINDOW, nextWindow, WALK_AHEAD } from './fault-around.ts'
import { evictColdest } from './lru-evict.ts'
import { placeByRoom, placeWithSwap } from './placement.ts'
import { isReadBack } from './read-back.ts'
import { isThrashing, THRASHING_MOVES, THROTTLED_MOVES, throttle } from './thrashing.ts'

const ROOM: PlacementCounters = {
  access: 'write',
  npages: 10,
  systemPages: 1600,
  systemFree: 800,
  systemReserve: 100,
  npinned: 0,
  hint: undefined,
}

const QUIET: TouchCounters = { window: 16, isSequential: true, nmoves: 1, nqueued: 1 }

describe('placeByRoom()', () => {
  it('copies what is read and moves what is written, and keeps the frame while there is room', () => {
    expect(placeByRoom({ ...ROOM, access: 'read' })).toBe('duplicate')
    expect(placeByRoom(ROOM)).toBe('pin')
  })

  it('frees the system frame of whatever goes to the device when memory is scarce', () => {
    const scarce = { ...ROOM, systemFree: 100 + 99 }
    expect([placeByRoom(scarce), placeByRoom({ ...scarce, access: 'read' })]).toEqual(['migrate', 'migrate'])
    expect(placeByRoom({ ...ROOM, systemFree: 100 + 100 })).toBe('pin')
  })

  it('pins no more than memory less the reserve', () => {
    expect(placeByRoom({ ...ROOM, npinned: 1490 })).toBe('pin')
    expect(placeByRoom({ ...ROOM, npinned: 1491 })).toBe('migrate')
  })

  it('does what the program wants, but for a duplicate to write to', () => {
    expect(placeByRoom({ ...ROOM, hint: 'migrate' })).toBe('migrate')
    expect(placeByRoom({ ...ROOM, access: 'read', hint: 'pin' })).toBe('pin')
    expect(placeByRoom({ ...ROOM, systemFree: 0, access: 'read', hint: 'duplicate' })).toBe('duplicate')
    expect(placeByRoom({ ...ROOM, hint: 'duplicate' })).toBe('pin')
  })
})

describe('placeWithSwap()', () => {
  it('keeps frames only as long as half of them are free, unless the program wants it otherwise', () => {
    const half = { ...ROOM, systemFree: 100 + 800 }
    expect([placeWithSwap(half), placeWithSwap({ ...half, access: 'read' })]).toEqual(['pin', 'duplicate'])
    const less = { ...ROOM, systemFree: 100 + 799 }
    expect([placeWithSwap(less), placeWithSwap({ ...less, access: 'read' })]).toEqual(['migrate', 'migrate'])
    expect(placeWithSwap({ ...less, hint: 'pin' })).toBe('pin')
  })
})

describe('isReadBack()', () => {
  it('brings small results along that were asked for after each of the last launches', () => {
    expect([0, 1, 2, 9].map((nasked) => isReadBack({ npages: 64, nasked }))).toEqual([false, false, true, true])
    expect(isReadBack({ npages: 65, nasked: 9 })).toBe(false)
  })
})

describe('evictColdest()', () => {
  const blocks = fc.array(fc.record({ age: fc.nat(4), npages: fc.nat(9), ndirty: fc.nat(4) }), { minLength: 1 })

  it('names a block that no other one beats in age, nor at equal age in cleanness', () => {
    fc.assert(
      fc.property(blocks, (all) => {
        const chosen = all[evictColdest(all)]
        for (const other of all) {
          expect(other.age).toBeLessThanOrEqual(chosen.age)
          if (other.age === chosen.age) expect(other.ndirty).toBeGreaterThanOrEqual(chosen.ndirty)
        }
      }),
    )
  })

  it('does not look at what would have to be copied unless ages are equal', () => {
    const costly = (age: number) => ({
      age,
      npages: 1,
      get ndirty(): number {
        throw new Error('nobody needs to know')
      },
    })
    expect(evictColdest([costly(1), costly(3), costly(2)])).toBe(1)
  })
})

describe('nextWindow()', () => {
  it('doubles up to 2 MiB while touches follow one another, and halves down to a page when they jump', () => {
    const walk = (steps: readonly boolean[]) => steps.reduce((window, step) => nextWindow(window, step), 0)
    const times = (n: number, step: boolean) => new Array<boolean>(n).fill(step)
    expect(nextWindow(0, false)).toBe(FIRST_WINDOW)
    expect(walk(times(4, true))).toBe(8 * FIRST_WINDOW)
    expect(walk(times(20, true))).toBe(LARGEST_WINDOW)
    expect(walk(times(20, false))).toBe(1)
    expect(walk([...times(20, false), true, true])).toBe(4)
  })

  it('is always a power of two', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean()), (steps) => {
        const window = steps.reduce((last, step) => nextWindow(last, step), FIRST_WINDOW)
        expect(Number.isInteger(Math.log2(window))).toBe(true)
      }),
    )
  })
})

describe('thrashing', () => {
  it('begins with the third move within the window', () => {
    expect(isThrashing({ ...QUIET, nmoves: THRASHING_MOVES - 1 })).toBe(false)
    expect(isThrashing({ ...QUIET, nmoves: THRASHING_MOVES })).toBe(true)
  })

  it('makes touches wait from the tenth move on, longer and longer up to a bound', () => {
    const delays = Array.from({ length: 20 }, (_, i) => throttle({ ...QUIET, nmoves: THROTTLED_MOVES - 1 + i }))
    expect(delays.slice(0, 4)).toEqual([0, 50, 100, 200])
    expect(delays.at(-1)).toBe(1600)
  })

  it('makes nobody wait for a device that has nothing to do', () => {
    expect(throttle({ ...QUIET, nmoves: 100, nqueued: 0 })).toBe(0)
  })
})

describe('DEFAULT_POLICY', () => {
  it('brings back the window, but a single page where it thrashes and touches jump', () => {
    const jump = { ...QUIET, isSequential: false }
    const quiet = { nahead: 0, isThrashing: false, delay: 0 }
    expect(DEFAULT_POLICY.touch(QUIET)).toEqual({ ...quiet, npages: 32 })
    expect(DEFAULT_POLICY.touch(jump)).toEqual({ ...quiet, npages: 8 })
    expect(DEFAULT_POLICY.touch({ ...jump, nmoves: 5 })).toEqual({ ...quiet, npages: 1, isThrashing: true })
    expect(DEFAULT_POLICY.touch({ ...QUIET, nmoves: 11 })).toEqual({
      ...quiet,
      npages: 32,
      isThrashing: true,
      delay: 100,
    })
  })

  it('reads ahead when a walk has reached the largest window', () => {
    const walk = { ...QUIET, window: LARGEST_WINDOW }
    expect(DEFAULT_POLICY.touch(walk)).toMatchObject({ npages: LARGEST_WINDOW, nahead: WALK_AHEAD })
    expect(DEFAULT_POLICY.touch({ ...walk, isSequential: false }).nahead).toBe(0)
    expect(DEFAULT_POLICY.touch({ ...walk, window: LARGEST_WINDOW / 4 }).nahead).toBe(0)
  })
})
