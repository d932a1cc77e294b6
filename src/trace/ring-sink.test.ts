import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { TraceEvent } from './events.ts'
import { RingSink } from './ring-sink.ts'

function event(time: number): TraceEvent {
  return { kind: 'throttling', time, delay: 1 }
}

describe('RingSink', () => {
  it('holds the last events, oldest first, and counts the rest as dropped', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 12 }), fc.nat(40), (capacity, written) => {
        const ring = new RingSink(capacity)
        for (let i = 0; i < written; i++) ring.write(event(i))

        const all = Array.from({ length: written }, (_, i) => i)
        expect(ring.events().map((held) => held.time)).toEqual(all.slice(-capacity))
        expect(ring.size).toBe(Math.min(capacity, written))
        expect(ring.dropped).toBe(Math.max(0, written - capacity))
      }),
    )
  })

  it('clear() forgets events and the count of dropped ones', () => {
    const ring = new RingSink(2)
    for (let i = 0; i < 5; i++) ring.write(event(i))

    ring.clear()
    ring.write(event(7))

    expect(ring.events().map((held) => held.time)).toEqual([7])
    expect(ring.dropped).toBe(0)
  })

  it('events() is a copy that later writes do not change', () => {
    const ring = new RingSink(2)
    ring.write(event(1))
    const held = ring.events()
    ring.write(event(2))

    expect(held.length).toBe(1)
  })

  it('refuses a capacity that is not a positive integer', () => {
    for (const capacity of [0, -1, 1.5, Number.NaN, Infinity]) {
      expect(() => new RingSink(capacity)).toThrow(RangeError)
    }
  })
})
