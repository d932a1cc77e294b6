import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { AssertionError } from '../../base/assert.ts'
import { BuddyAllocator, MAX_ORDER } from './buddy.ts'

describe('BuddyAllocator', () => {
  test('alloc() returns blocks that are aligned to their size', () => {
    const buddy = new BuddyAllocator(8192)
    for (let order = 0; order <= MAX_ORDER; order++) {
      buddy.alloc(0)
      expect(buddy.alloc(order) % (1 << order)).toBe(0)
    }
    buddy.validate()
  })

  test('alloc() hands out every frame once, also where the last block is cut short', () => {
    const buddy = new BuddyAllocator(1024 + 512 + 8 + 1)
    const seen = new Set<number>()
    for (let pfn = buddy.alloc(0); pfn >= 0; pfn = buddy.alloc(0)) seen.add(pfn)
    expect(seen.size).toBe(1545)
    expect(Math.max(...seen)).toBe(1544)
    expect(buddy.nfree).toBe(0)
    buddy.validate()
  })

  test('alloc() of a large order passes small never used blocks by and keeps them', () => {
    const buddy = new BuddyAllocator(1024 + 512 + 8)
    expect(buddy.alloc(10)).toBe(0)
    expect(buddy.alloc(10)).toBe(-1)
    expect(buddy.alloc(3)).toBe(1536)
    expect(buddy.alloc(9)).toBe(1024)
    expect(buddy.nfree).toBe(0)
  })

  test('free() merges halves up to the largest block', () => {
    const buddy = new BuddyAllocator(1024)
    const frames = Array.from({ length: 1024 }, () => buddy.alloc(0))
    expect(buddy.alloc(0)).toBe(-1)
    for (const pfn of frames) buddy.free(pfn, 0)
    expect(buddy.alloc(MAX_ORDER)).toBe(0)
    buddy.validate()
  })

  test('free() takes a block back in pieces and pieces back as a block', () => {
    const buddy = new BuddyAllocator(1024)
    const block = buddy.alloc(9)
    for (let i = 511; i >= 0; i--) buddy.free(block + i, 0)
    expect(buddy.nfree).toBe(1024)
    const [first, second] = [buddy.alloc(8), buddy.alloc(8)].sort((a, b) => a - b)
    const rest = [buddy.alloc(8), buddy.alloc(8)]
    for (const pfn of rest) buddy.free(pfn, 8)
    buddy.free(first, 8)
    buddy.free(second, 8)
    const whole = buddy.alloc(10)
    buddy.free(whole + 256, 8)
    buddy.free(whole, 8)
    buddy.free(whole + 512, 9)
    buddy.validate()
    expect(buddy.alloc(10)).toBe(0)
  })

  test('free() of a frame that is not allocated is an assertion', () => {
    const buddy = new BuddyAllocator(1024)
    const pfn = buddy.alloc(0)
    buddy.free(pfn, 0)
    expect(() => buddy.free(pfn, 0)).toThrow(AssertionError)
    expect(() => buddy.free(1023, 0)).toThrow(AssertionError)
    expect(() => buddy.free(4096, 0)).toThrow(AssertionError)
    const block = buddy.alloc(4)
    buddy.free(block + 8, 3)
    expect(() => buddy.free(block, 4)).toThrow(AssertionError)
    expect(() => buddy.free(block + 1, 1)).toThrow('no block of order 1 starts')
    buddy.free(block, 3)
    buddy.validate()
    expect(buddy.nfree).toBe(1024)
  })

  test('alloc() and free() check the order', () => {
    const buddy = new BuddyAllocator(4096)
    expect(() => buddy.alloc(11)).toThrow(AssertionError)
    expect(() => buddy.alloc(-1)).toThrow(AssertionError)
    expect(() => buddy.free(0, 11)).toThrow(AssertionError)
  })
})

/** The same promises kept the slow way: one boolean per frame, every search from the start. */
class NaiveAllocator {
  readonly taken: boolean[]

  constructor(nframes: number) {
    this.taken = new Array(nframes).fill(false)
  }

  get nfree(): number {
    return this.taken.filter((taken) => !taken).length
  }

  isFree(pfn: number, npages: number): boolean {
    for (let i = pfn; i < pfn + npages; i++) if (this.taken[i] !== false) return false
    return true
  }

  /** Some aligned block of this order is free. */
  hasBlock(order: number): boolean {
    const npages = 1 << order
    for (let pfn = 0; pfn + npages <= this.taken.length; pfn += npages) if (this.isFree(pfn, npages)) return true
    return false
  }

  set(pfn: number, order: number, taken: boolean): void {
    this.taken.fill(taken, pfn, pfn + (1 << order))
  }
}

type Step = { what: 'alloc'; order: number } | { what: 'free'; pick: number; split: number }

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ what: fc.constant('alloc' as const), order: fc.integer({ min: 0, max: MAX_ORDER }) }),
  fc.record({ what: fc.constant('alloc' as const), order: fc.integer({ min: 0, max: 2 }) }),
  fc.record({ what: fc.constant('free' as const), pick: fc.nat(), split: fc.nat({ max: 3 }) }),
)

describe('BuddyAllocator against a naive one', () => {
  test('hands out a block exactly when there is an aligned free one, and never one in use', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 3000 }), fc.array(step, { maxLength: 400 }), (nframes, steps) => {
        const buddy = new BuddyAllocator(nframes)
        const naive = new NaiveAllocator(nframes)
        const held: { pfn: number; order: number }[] = []
        for (const s of steps) {
          if (s.what === 'alloc') {
            const expected = naive.hasBlock(s.order)
            const pfn = buddy.alloc(s.order)
            expect(pfn >= 0).toBe(expected)
            if (pfn < 0) continue
            expect(pfn % (1 << s.order)).toBe(0)
            expect(naive.isFree(pfn, 1 << s.order)).toBe(true)
            naive.set(pfn, s.order, true)
            held.push({ pfn, order: s.order })
          } else if (held.length > 0) {
            // Give back the whole block, or cut it and give back the first piece only.
            const at = s.pick % held.length
            const block = held[at]
            const order = Math.max(0, block.order - s.split)
            buddy.free(block.pfn, order)
            naive.set(block.pfn, order, false)
            held.splice(at, 1)
            for (let rest = order; rest < block.order; rest++) held.push({ pfn: block.pfn + (1 << rest), order: rest })
          }
          expect(buddy.nfree).toBe(naive.nfree)
        }
        buddy.validate()
        for (let pfn = 0; pfn < nframes; pfn++) expect(buddy.isTaken(pfn)).toBe(naive.taken[pfn])
      }),
      { numRuns: 60 },
    )
  })
})
