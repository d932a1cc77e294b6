import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { PAGE_SIZE } from '../base/addr.ts'
import { GIB, MIB } from '../base/size.ts'
import { Arena, ArenaSegment, addressPages, HEAP_BYTES_MAX } from './arena.ts'
import { GrowingSegments } from './growing-segments.ts'
import { HeapError } from './heap-error.ts'

const K4 = PAGE_SIZE

/** An arena whose buffers are only as large as they say they are. */
function makeArena(size: number, segmentMax = size, systemMax = Number.POSITIVE_INFINITY) {
  const made: number[] = []
  const makeBuffer = (nbytes: number): ArrayBufferLike => {
    if (nbytes > systemMax) throw new RangeError('Array buffer allocation failed')
    made.push(nbytes)
    return { byteLength: nbytes } as ArrayBuffer
  }
  const source = new GrowingSegments({ size, segmentMax, makeBuffer })
  const segments: ArenaSegment[] = []
  const arena = new Arena(source, (segment) => segments.push(segment))
  return { arena, made, segments }
}

function codeOf(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    expect(error).toBeInstanceOf(HeapError)
    return (error as HeapError).code
  }
  return 'none'
}

describe('Arena', () => {
  it('leaves a page between arrays, and none at the end of a segment', () => {
    const { arena, segments } = makeArena(8 * K4)
    const places = [arena.alloc(3, 1, 'a'), arena.alloc(4, 1, 'b')]
    expect(places.map(({ page, npages }) => [page, npages])).toEqual([
      [0, 3],
      [4, 4],
    ])
    expect(segments.map(({ addr, npages }) => [addr, npages])).toEqual([[K4, 8]])
    expect(codeOf(() => arena.alloc(1, 1, 'c'))).toBe('OUT_OF_SPACE')
  })

  it('never gives out the page at address 0', () => {
    const buffer = new ArrayBuffer(4 * K4)
    const arena = new Arena({ make: () => new ArenaSegment(0, buffer), clear: () => {} }, () => {})
    expect(arena.alloc(3, 1, 'a').page).toBe(1)
  })

  it('says how many pages were used before, and makes them zero', () => {
    const makeBuffer = (nbytes: number) => new ArrayBuffer(nbytes)
    const source = new GrowingSegments({ size: 16 * K4, segmentMax: 16 * K4, makeBuffer })
    const arena = new Arena(source, () => {})
    const a = arena.alloc(4, 1, 'a')
    const b = arena.alloc(2, 1, 'b')
    expect([a.nstale, b.nstale]).toEqual([0, 0])
    arena.free(b.segment, b.page, b.npages)
    arena.free(a.segment, a.page, a.npages)
    const bytes = new Uint8Array(a.segment.buffer).fill(1)
    expect(arena.alloc(9, 1, 'c')).toMatchObject({ page: 0, nstale: 7 })
    expect([bytes[0], bytes[7 * K4 - 1], bytes[7 * K4]]).toEqual([0, 0, 1])
    expect(arena.alloc(1, 1, 'd')).toMatchObject({ page: 10, nstale: 0 })
  })

  it('aligns addresses, not offsets', () => {
    const { arena } = makeArena(64 * MIB)
    for (const align of [1, 4096, 65536, 2 * MIB, 8 * MIB]) {
      const { segment, page } = arena.alloc(1, align, 'x')
      expect((segment.addr + page * K4) % align).toBe(0)
    }
  })

  it('makes segments when they are needed, each as large as all before', () => {
    const { arena, made, segments } = makeArena(GIB, 64 * MIB)
    const pagesOf = (nbytes: number) => nbytes / K4
    for (let i = 0; i < 6; i++) arena.alloc(pagesOf(15 * MIB), 1, 'x')
    expect(made.map((nbytes) => nbytes / MIB)).toEqual([16, 16, 32, 64])
    // Side by side, with a page in between that has no memory.
    segments.reduce((end, { addr, npages }) => {
      expect(addr).toBe(end + K4)
      return addr + npages * K4
    }, 0)
    expect(arena.segmentAt(segments[1].addr)).toBe(segments[1])
    expect(arena.segmentAt(segments[1].addr - 1)).toBeUndefined()
    expect(arena.segmentOf(segments[2].buffer)).toBe(segments[2])
  })

  it('a segment is as large as an array needs, if that is more', () => {
    const { arena, made } = makeArena(HEAP_BYTES_MAX, 4 * GIB)
    arena.alloc((4 * GIB) / K4, 1, 'x')
    arena.alloc(1, 1, 'y')
    expect(made).toEqual([4 * GIB, 4 * GIB])
    expect(codeOf(() => arena.alloc((4 * GIB) / K4 + 1, 1, 'z'))).toBe('OUT_OF_SPACE')
  })

  it('takes less where the system has not as much, and says so where it has too little', () => {
    const { arena, made } = makeArena(GIB, GIB, MIB)
    arena.alloc(10, 1, 'x')
    expect(made).toEqual([10 * K4])
    expect(() => arena.alloc(257, 1, 'Float32Array "y"')).toThrow(
      'OUT_OF_SPACE: Float32Array "y": the system gives no buffer of 1 MiB',
    )
  })

  it('a full heap says what to do', () => {
    const { arena } = makeArena(MIB)
    arena.alloc(200, 1, 'x')
    expect(() => arena.alloc(100, 1, 'Int8Array "y" of 400000 elements')).toThrow(
      'OUT_OF_SPACE: Int8Array "y" of 400000 elements: no segment has room for it, and for a new one 0 B of 1 MiB are left; free arrays, or open the heap with a larger size',
    )
  })

  it('stays within its address space, whatever is asked of it', () => {
    const sizes = fc.array(fc.tuple(fc.integer({ min: 1, max: 3000 }), fc.constantFrom(1, 65536, 2 * MIB)), {
      maxLength: 60,
    })
    fc.assert(
      fc.property(sizes, fc.integer({ min: 1, max: 64 }), fc.integer({ min: 1, max: 16 }), (wanted, mib, part) => {
        const size = mib * MIB
        const segmentMax = Math.max(K4, Math.floor(size / part / K4) * K4)
        const { arena, segments } = makeArena(size, segmentMax)
        for (const [npages, align] of wanted) codeOf(() => arena.alloc(npages, align, 'x'))
        const last = segments.at(-1)
        const end = last === undefined ? 0 : last.addr + last.npages * K4
        expect(end).toBeLessThanOrEqual(addressPages(size, segmentMax) * K4)
        expect(segments.reduce((sum, { npages }) => sum + npages * K4, 0)).toBeLessThanOrEqual(size)
        for (const { npages } of segments) expect(npages * K4).toBeLessThanOrEqual(segmentMax)
      }),
    )
  })
})
