import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { EVENT_FULL, EVENT_MISS, EVENT_WRITE, FULL_JOURNAL, FULL_LOG, FULL_READY } from './paged-program.ts'
import { ENTRY_WORDS, type Part, partOf, partsOf } from './waiting.ts'

const read = (page: number): number => EVENT_MISS | page
const write = (page: number): number => (EVENT_MISS | EVENT_WRITE | page) >>> 0

/** Transactions 0, 1, ... with places 100, 101, ..., stopped by these events. */
function queue(events: readonly number[]): Uint32Array<ArrayBuffer> {
  return Uint32Array.from(events.flatMap((event, id) => [id, 100 + id, event, 0]))
}

function idsOf({ entries }: Part): number[] {
  return Array.from({ length: entries.length / ENTRY_WORDS }, (_, i) => entries[ENTRY_WORDS * i])
}

describe('partsOf()', () => {
  it('puts those together that wait for the same pages, in the order of pages', () => {
    const parts = [...partsOf(queue([7, 2, 9, 7, 4, 2, 9].map(read)), () => 2)]
    expect(parts.map(idsOf)).toEqual([
      [1, 5, 4],
      [0, 3, 2, 6],
    ])
    expect(parts.map((part) => part.read)).toEqual([
      [2, 4],
      [7, 9],
    ])
  })

  it('says which pages are to be written, and leaves what waits for no page to the end', () => {
    const full = EVENT_FULL | FULL_LOG
    const parts = [...partsOf(queue([0, full, read(3), write(3), EVENT_FULL | FULL_JOURNAL]), () => 8)]
    expect(parts.map(idsOf)).toEqual([[2, 3], [1, 4], [0]])
    expect(parts[0]).toMatchObject({ read: [], write: [3], full: 0 })
    expect(parts[1]).toMatchObject({ read: [], write: [], full: FULL_LOG | FULL_JOURNAL })
    expect(parts[2]).toMatchObject({ read: [], write: [], full: 0 })
  })

  it('has all pages of a row in one part, as far as there is room, and asks for the room of each part', () => {
    const row = (page: number, before: number, after: number) => [0, 100, read(page), before * 2 ** 16 + after]
    const entries = Uint32Array.from([row(7, 0, 3), row(2, 1, 0), row(4, 0, 0), row(20, 9, 9)].flat())
    const rooms = [3, 3, 5, 5]
    const parts = [...partsOf(entries, () => rooms.shift() ?? 5)]
    expect(parts.map((part) => part.read)).toEqual([
      [1, 2, 4],
      [7, 8, 9],
      [18, 19, 20],
    ])
  })

  it('begins with those that miss nothing', () => {
    const parts = [...partsOf(queue([read(3), EVENT_FULL | FULL_READY, read(0), EVENT_FULL | FULL_READY]), () => 8)]
    expect(parts.map(idsOf)).toEqual([
      [1, 3],
      [2, 0],
    ])
    expect(parts[0]).toMatchObject({ read: [], write: [], full: 0 })
  })

  it('cuts what would be one part in half', () => {
    expect([...partsOf(queue([5, 5, 5].map(read)), () => 4)].map(idsOf)).toEqual([[0, 1], [2]])
    expect([...partsOf(queue([0, 0]), () => 4)].map(idsOf)).toEqual([[0], [1]])
    expect([...partsOf(queue([read(1)]), () => 4)].map(idsOf)).toEqual([[0]])
  })

  it('has each transaction in one part, which is smaller, and no page in two unless one page was all', () => {
    const event = fc.oneof(
      fc.nat(9).map(read),
      fc.nat(9).map(write),
      fc.constantFrom(0, EVENT_FULL | FULL_LOG, EVENT_FULL | FULL_JOURNAL, EVENT_FULL | FULL_READY),
    )
    fc.assert(
      fc.property(fc.array(event, { minLength: 2, maxLength: 40 }), fc.integer({ min: 1, max: 12 }), (events, room) => {
        const parts = [...partsOf(queue(events), () => room)]
        expect(parts.flatMap(idsOf).sort((a, b) => a - b)).toEqual(events.map((_, i) => i))
        const all = partOf(queue(events), room)
        const npages = all.read.length + all.write.length
        for (const part of parts) {
          expect(idsOf(part).length).toBeLessThan(events.length)
          expect(part.read.length + part.write.length).toBeLessThanOrEqual(room)
          for (const id of idsOf(part)) expect(part.entries).toContain(100 + id)
        }
        const pages = parts.flatMap((part) => [...part.read, ...part.write])
        const isHalved = parts.length === 2 && npages <= room
        if (!isHalved) expect(new Set(pages).size).toBe(pages.length)
      }),
    )
  })
})
