import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { KeptPages } from './kept-pages.ts'

const NOBODY: ReadonlySet<number> = new Set()

/** Gives up what goes first for `vpn`, if there is no room, and adds it. Returns whether it was missing. */
function touch(kept: KeptPages, capacity: number, vpn: number, pinned = NOBODY): boolean {
  if (kept.frames.has(vpn)) return false
  const [leaving] = kept.size < capacity ? [] : kept.first(1, pinned)
  const frame = leaving === undefined ? kept.size : kept.take(leaving)
  if (leaving !== undefined) kept.giveUp(leaving)
  kept.add(vpn, frame, false)
  return true
}

describe('KeptPages', () => {
  it('gives up the oldest page first, and none that is pinned', () => {
    const kept = new KeptPages(4)
    for (let vpn = 0; vpn < 4; vpn++) touch(kept, 4, vpn)
    expect(kept.first(2, NOBODY)).toEqual([0, 1])
    expect(kept.first(3, new Set([0, 2]))).toEqual([1, 3])
    expect(kept.first(9, new Set([0, 1, 2, 3]))).toEqual([])
  })

  it('keeps pages of what is small, and lets those that were not used go first', () => {
    const kept = new KeptPages(6)
    kept.add(50, 50, false, true)
    kept.add(51, 51, true, true)
    for (let vpn = 0; vpn < 4; vpn++) touch(kept, 6, vpn)
    const frames = (...vpns: number[]): number[] => vpns.map((vpn) => kept.frames.get(vpn) as number)
    for (const frame of [...frames(50, 0, 2), 4711]) kept.use(frame)
    expect(kept.first(6, NOBODY)).toEqual([1, 3, 0, 2, 51, 50])
  })

  it('keeps pages that were missed again soon, whatever is gone through beside them', () => {
    const [capacity, hot] = [16, 4]
    const kept = new KeptPages(capacity)
    let nmissed = 0
    for (let at = 0; at < 600; at += 6) {
      for (let vpn = 0; vpn < hot; vpn++) if (touch(kept, capacity, vpn)) nmissed++
      for (let i = 0; i < 6; i++) touch(kept, capacity, 1000 + at + i)
    }
    // When they are new, and once when the others have pushed them out for the first time.
    expect(nmissed).toBe(2 * hot)
  })

  it('does not take for hot what comes again after more than fits', () => {
    const capacity = 8
    const kept = new KeptPages(capacity)
    for (let pass = 0; pass < 3; pass++) for (let vpn = 0; vpn < 32; vpn++) touch(kept, capacity, vpn)
    expect(kept.first(capacity, NOBODY)).toEqual([24, 25, 26, 27, 28, 29, 30, 31])
  })

  it('lets at most half of all pages be the last to go', () => {
    const capacity = 8
    const kept = new KeptPages(capacity)
    for (let round = 0; round < 4; round++) for (let vpn = 0; vpn < 12; vpn++) touch(kept, capacity, vpn)
    // A page that nobody wants again is gone after as many others as there are inactive pages.
    touch(kept, capacity, 100)
    for (let vpn = 200; vpn < 200 + capacity; vpn++) touch(kept, capacity, vpn)
    expect(kept.frames.has(100)).toBe(false)

    const small = new KeptPages(capacity)
    for (let vpn = 0; vpn < capacity; vpn++) small.add(vpn, vpn, false, true)
    small.use(0)
    expect(small.first(capacity, NOBODY)).toEqual([1, 2, 3, 0, 4, 5, 6, 7])
  })

  it('has each page and each frame once, and says what has changed', () => {
    const step = fc.record({ vpn: fc.nat(20), pinned: fc.uniqueArray(fc.nat(20), { maxLength: 5 }) })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const capacity = 7
        const kept = new KeptPages(capacity)
        const seen = new Map<number, number>()
        for (const { vpn, pinned } of steps) {
          touch(kept, capacity, vpn, new Set(pinned))
          for (const changed of kept.changed) {
            const frame = kept.frames.get(changed)
            if (frame === undefined) seen.delete(changed)
            else seen.set(changed, frame)
          }
          kept.changed.clear()
          expect([...seen].sort()).toEqual([...kept.frames].sort())
          expect(new Set(kept.frames.values()).size).toBe(kept.size)
          expect(kept.first(100, NOBODY).toSorted()).toEqual([...kept.frames.keys()].toSorted())
        }
      }),
    )
  })
})
