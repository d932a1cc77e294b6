import { describe, expect, it } from 'vitest'
import { Arena, ArenaSegment, type SegmentSource } from './arena.ts'
import { Extents } from './extents.ts'

const PAGE = 4096

class NoMore implements SegmentSource {
  clear(): void {}
  make(): ArenaSegment {
    throw new Error('full')
  }
}

/** Arenas of several threads over two segments of 64 pages, with extents of 16 pages. */
function makeArenas(count: number, first = Extents.make(128, 1)): Arena[] {
  const buffers = [0, 1].map(() => new SharedArrayBuffer(64 * PAGE))
  return Array.from({ length: count }, (_, i) => {
    const segments = buffers.map((buffer, k) => new ArenaSegment(k * 64 * PAGE, buffer))
    return new Arena(new NoMore(), () => {}, segments, new Extents(first.owners, first.npages, i + 1))
  })
}

describe('Extents', () => {
  it('are of a size that suits the heap', () => {
    expect([Extents.make(128, 1).npages, Extents.make(1024, 1).npages, Extents.make(2 ** 22, 1).npages]).toEqual([
      16, 16, 16384,
    ])
  })

  it("of somebody who is gone are nobody's again, but for those in which something lies, with the page behind it", () => {
    const a = Extents.make(128, 1)
    a.claim(0, 128)
    a.releaseOf(2, [])
    a.releaseOf(1, [
      { addr: 15 * PAGE, npages: 1 },
      { addr: 40 * PAGE, npages: 2 },
      { addr: 70 * PAGE, npages: 40 },
    ])
    expect([0, 16, 32, 48, 64, 80, 96, 112].map((page) => a.isNobodys(page))).toEqual([
      false,
      false, // page 16 is behind an array
      false,
      true,
      false,
      false,
      false,
      true,
    ])
  })

  it('belong to whoever claims them first', () => {
    const [a, b] = [Extents.make(128, 1), 0].map((_, i, [first]) => new Extents((first as Extents).owners, 16, i + 1))
    expect([a.claim(10, 20), a.claim(0, 32), b.claim(31, 33), b.claim(32, 33)]).toEqual([-1, -1, 16, -1])
    expect([a.isOthers(0), a.isOthers(32), a.isOthers(48), b.isOthers(0)]).toEqual([false, true, false, true])
    b.releaseOf(2, [])
    expect(b.claim(0, 48)).toBe(0)
    expect([a.claim(32, 48), a.isNobodys(32), a.isNobodys(48)]).toEqual([-1, false, true])
  })
})

describe('arenas of several threads', () => {
  it('never give the same page to two', () => {
    const arenas = makeArenas(3)
    const owner = new Map<string, number>()
    let seed = 7
    for (let i = 0; i < 400; i++) {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
      const who = (seed >>> 8) % 3
      let place: ReturnType<Arena['alloc']>
      try {
        place = arenas[who].alloc(1 + ((seed >>> 12) % 5), PAGE, 'x')
      } catch {
        break
      }
      for (let page = place.page; page < place.page + place.npages; page++) {
        const key = `${place.segment.addr} ${page}`
        expect(owner.get(key)).toBeUndefined()
        owner.set(key, who)
      }
    }
    expect(new Set(owner.values()).size).toBe(3)
    expect(owner.size).toBeGreaterThan(40)
  })

  it('an extent may be a part of two segments', () => {
    // The second segment begins in the middle of the extent from page 48 on.
    const buffers = [56, 72].map((npages) => new SharedArrayBuffer(npages * PAGE))
    const { owners } = Extents.make(128, 1)
    const [a, b, late] = [1, 2, 3].map((me) => {
      const segments = buffers.map((buffer, k) => new ArenaSegment(k * 56 * PAGE, buffer))
      return new Arena(new NoMore(), () => {}, segments, new Extents(owners, 16, me))
    })
    const end = b.alloc(40, PAGE, 'to the end of the first')
    expect([end.segment.addr, end.page]).toEqual([0, 1])
    const rest = b.alloc(14, PAGE, 'up to it')
    expect([rest.segment.addr, rest.page]).toEqual([0, 42])
    // What is left of that extent is not for others.
    expect(a.alloc(1, PAGE, 'x')).toMatchObject({ segment: { addr: 56 * PAGE }, page: 8 })
    b.free(end.segment, end.page, end.npages)
    b.free(rest.segment, rest.page, rest.npages)
    const last = b.alloc(5, PAGE, 'beside it')
    new Extents(owners, 16, 2).releaseOf(2, [{ addr: last.page * PAGE, npages: last.npages }])
    // Somebody who comes later finds the room of those who have gone.
    expect([last.page, late.alloc(38, PAGE, 'y').page, late.alloc(6, PAGE, 'z').page]).toEqual([1, 16, 0])
  })

  it('an array may be as large as what nobody has, and those who go leave their room', () => {
    const extents = Extents.make(128, 1)
    const [a, b] = makeArenas(2, extents)
    const small = b.alloc(1, PAGE, 'small')
    expect([small.segment.addr, small.page]).toEqual([0, 1])
    // From the second extent of the first segment on, with the page behind the segment as its gap.
    expect(a.alloc(48, PAGE, 'large').page).toBe(16)
    expect(a.alloc(64, PAGE, 'largest').segment.addr).toBe(64 * PAGE)
    expect(() => a.alloc(1, PAGE, 'one more')).toThrow('full')
    b.free(small.segment, small.page, small.npages)
    expect(() => a.alloc(1, PAGE, 'one more')).toThrow('full')
    extents.releaseOf(2, [])
    // Also those who have met them before.
    expect(a.alloc(14, PAGE, 'x').page).toBe(1)
  })
})
