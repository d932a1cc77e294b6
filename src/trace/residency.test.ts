import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Cause, TraceEvent } from './events.ts'
import { ResidencyTracker, UNNAMED } from './residency.ts'

const PAGE = 4096
const cause: Cause = 'fault'

type Pages = readonly [first: number, end: number]

function at([first, end]: Pages) {
  return { time: 0, start: first * PAGE, end: end * PAGE }
}

function alloc(name: string, pages: Pages): TraceEvent {
  return { kind: 'alloc', ...at(pages), allocation: name, type: 'Uint8Array' }
}

function moved(name: string, pages: Pages, npages: number, back = false): TraceEvent {
  const direction = back ? 'device-to-host' : 'host-to-device'
  return { kind: 'migration', ...at(pages), allocation: name, device: 'gpu', cause, direction, npages, nskipped: 0 }
}

function follow(events: readonly TraceEvent[], nstripes = 4) {
  const tracker = new ResidencyTracker(nstripes)
  for (const event of events) tracker.add(event)
  const state = (name: string) => {
    const found = [...tracker.all].find((each) => each.name === name)
    return found && { npages: found.npages, gpu: found.onDevice.get('gpu') ?? 0, stripes: [...found.stripes] }
  }
  return { tracker, state }
}

describe('ResidencyTracker', () => {
  it('counts pages that came, by stripe, and takes off those that left', () => {
    const { state } = follow([alloc('x', [0, 16]), moved('x', [0, 8], 8), moved('x', [2, 4], 2, true)])

    expect(state('x')).toEqual({ npages: 16, gpu: 6, stripes: [2, 4, 0, 0] })
  })

  it('counts copies for reading beside pages that moved', () => {
    const copies = { ...at([4, 8]), allocation: 'x', device: 'gpu', cause, npages: 4 }
    const { state, tracker } = follow([
      alloc('x', [0, 16]),
      { kind: 'duplication', ...copies },
      moved('x', [8, 12], 4),
      { kind: 'duplicate-invalidated', ...copies, ...at([4, 5]), npages: 1 },
    ])

    expect(state('x')).toEqual({ npages: 16, gpu: 7, stripes: [0, 3, 4, 0] })
    expect(tracker.npagesOn('gpu')).toBe(7)
  })

  it('spreads an event that took some pages of several stripes, and keeps the sum exact', () => {
    const { state } = follow([alloc('x', [0, 16]), moved('x', [2, 6], 2), moved('x', [2, 4], 2, true)])

    expect(state('x')).toEqual({ npages: 16, gpu: 0, stripes: [0, 0, 0, 0] })
  })

  it('forgets an allocation that was freed, and starts again with its name', () => {
    const { state } = follow([
      alloc('x', [0, 8]),
      alloc('x', [32, 48]),
      moved('x', [0, 8], 8),
      moved('x', [32, 36], 4),
      { kind: 'free', ...at([0, 8]), allocation: 'x' },
    ])

    expect(state('x')).toEqual({ npages: 16, gpu: 4, stripes: [4, 0, 0, 0] })
  })

  it('takes away what was discarded and what a lost device had', () => {
    const events = [alloc('x', [0, 16]), moved('x', [0, 16], 16)]
    const discarded = follow([...events, { kind: 'discard', ...at([0, 6]), allocation: 'x', npages: 6 }])
    const lost = follow([...events, { kind: 'device-lost', time: 0, device: 'gpu', reason: 'unplugged' }])

    expect(discarded.state('x')).toEqual({ npages: 16, gpu: 10, stripes: [0, 2, 4, 4] })
    expect(lost.state('x')).toEqual({ npages: 16, gpu: 0, stripes: [0, 0, 0, 0] })
  })

  it('makes do without the beginning of a trace', () => {
    const { allocation, ...unnamed } = moved('', [0, 4], 4)
    const { state } = follow([moved('x', [4, 8], 4, true), moved('x', [12, 16], 4), unnamed as TraceEvent])

    expect(state('x')).toMatchObject({ npages: 12, gpu: 4 })
    expect(state(UNNAMED)).toMatchObject({ npages: 4, gpu: 4 })
  })

  it('agrees with a page by page account wherever events move whole ranges', () => {
    const NPAGES = 64
    const range = fc.tuple(fc.nat(NPAGES - 1), fc.integer({ min: 1, max: NPAGES })).map(([first, n]) => ({
      pages: [first, Math.min(NPAGES, first + n)] as const,
    }))
    fc.assert(
      fc.property(fc.array(range), (ranges) => {
        const isThere = new Array<boolean>(NPAGES).fill(false)
        const events: TraceEvent[] = [alloc('x', [0, NPAGES])]
        for (const { pages } of ranges) {
          // Runs of pages that are in the same place change sides.
          const [first, end] = pages
          for (let i = first; i < end; ) {
            let j = i
            while (j < end && isThere[j] === isThere[i]) j++
            events.push(moved('x', [i, j], j - i, isThere[i]))
            isThere.fill(!isThere[i], i, j)
            i = j
          }
        }
        const expected = [0, 16, 32, 48].map((from) => isThere.slice(from, from + 16).filter(Boolean).length)
        const { stripes, gpu } = follow(events).state('x') as { stripes: number[]; gpu: number }
        expect(gpu).toBe(expected.reduce((sum, n) => sum + n))
        stripes.forEach((npages, i) => {
          expect(npages).toBeCloseTo(expected[i], 6)
        })
      }),
    )
  })

  it('refuses a number of stripes that is none', () => {
    expect(() => new ResidencyTracker(0)).toThrow('residency: nstripes is 0, wanted a positive integer')
  })
})
