import { describe, expect, it } from 'vitest'
import { PAGE_SIZE } from '../base/addr.ts'
import { GIB, MIB } from '../base/size.ts'
import { Arena } from './arena.ts'
import { makeWords } from './engine/words.ts'
import { GrowingSegments } from './growing-segments.ts'

/** Arenas of several threads in one address space. */
function makeArenas(count: number, size: number, heapId = [1, 2, 3, 4]): Arena[] {
  const shared = { words: makeWords(true), heapId }
  const makeBuffer = (nbytes: number) => new SharedArrayBuffer(nbytes)
  const make = () => new GrowingSegments({ size, segmentMax: size, makeBuffer, shared })
  return Array.from({ length: count }, () => new Arena(make(), () => {}))
}

describe('segments of several threads', () => {
  it('have addresses of their own, and share what there is in all', () => {
    const [a, b] = makeArenas(2, 64 * MIB)
    const places = [a.alloc(1, 1, 'x'), b.alloc(1, 1, 'y'), a.alloc(8 * 256, 1, 'z')]
    expect(places.map(({ segment }) => segment.addr / PAGE_SIZE)).toEqual([1, 1 + 4096 + 1, 1])
    expect(places.map(({ segment }) => segment.nbytes / MIB)).toEqual([16, 16, 16])
    // 32 MiB are left.
    expect(() => b.alloc(33 * 256, 1, 'too large')).toThrow('for a new one 32 MiB of 64 MiB are left')
    const end = b.alloc(32 * 256, 1, 'the rest')
    expect(end.segment.addr / PAGE_SIZE).toBe(1 + 2 * (4096 + 1))
    expect(() => a.alloc(8 * 256, 1, 'x')).toThrow('for a new one 0 B of 64 MiB are left')
  })

  it('are recognized by what is in them, whatever buffer shows it', () => {
    const [a, b] = makeArenas(2, 64 * MIB)
    const { segment } = a.alloc(3, 1, 'x')
    const { buffer } = segment
    // What another thread gets by message.
    const copy = structuredClone(buffer)
    expect(copy).not.toBe(buffer)
    expect(a.segmentOf(copy)).toBe(segment)
    expect([a.isOthers(segment, 0), b.segmentOf(buffer)?.addr]).toEqual([false, segment.addr])
    const seen = b.segmentOf(structuredClone(buffer))
    expect([seen?.isOthers, seen && b.isOthers(seen, 0), b.segmentAt(segment.addr)]).toEqual([true, true, seen])
    // Nobody allocates in what is another one's.
    expect(b.alloc(1, 1, 'y').segment).not.toBe(seen)
  })

  it('are not those of another heap, nor any other memory', () => {
    const [a] = makeArenas(1, 64 * MIB)
    const [other] = makeArenas(1, 64 * MIB, [1, 2, 3, 5])
    const { buffer } = a.alloc(1, 1, 'x').segment
    expect(other.segmentOf(buffer)).toBeUndefined()
    for (const each of [
      new SharedArrayBuffer(0),
      new SharedArrayBuffer(4096),
      new SharedArrayBuffer(9000),
      new ArrayBuffer(8192),
    ]) {
      expect(a.segmentOf(each)).toBeUndefined()
    }
  })

  it('are smaller where the system gives no more, and leave no hole', () => {
    const shared = { words: makeWords(true), heapId: [1, 2, 3, 4] }
    const makeBuffer = (nbytes: number): SharedArrayBuffer => {
      if (nbytes > 2 * MIB) throw new RangeError('Array buffer allocation failed')
      return new SharedArrayBuffer(nbytes)
    }
    const arena = new Arena(new GrowingSegments({ size: GIB, segmentMax: GIB, makeBuffer, shared }), () => {})
    expect([arena.alloc(10, 1, 'x'), arena.alloc(20, 1, 'y')].map(({ segment }) => segment.addr / PAGE_SIZE)).toEqual([
      1, 12,
    ])
    expect(() => arena.alloc(600, 1, 'z')).toThrow('OUT_OF_SPACE: z: the system gives no buffer of 2.3 MiB')
    expect(arena.alloc(30, 1, 'x').segment.addr / PAGE_SIZE).toBe(33)
  })
})
