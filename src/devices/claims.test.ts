import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AssertionError } from '../base/assert.ts'
import { Mm } from '../mm/mm.ts'
import { System } from '../mm/system.ts'
import { SimulatedMmu } from '../mmu/simulated/simulated-mmu.ts'
import { type AddrRange, type Claim, type ClaimedRanges, claimRanges, isClaimed, whenUnclaimed } from './claims.ts'

const sys = new System(new SimulatedMmu({ nframes: 16 }))
const bytes = (start: number, end: number): AddrRange => ({ start, end })
const reads = (...ranges: AddrRange[]): ClaimedRanges => ({ reads: ranges, writes: [] })
const writes = (...ranges: AddrRange[]): ClaimedRanges => ({ reads: [], writes: ranges })

/** Whether a promise has resolved by now. */
async function isDone(promise: Promise<void>): Promise<boolean> {
  let done = false
  void promise.then(() => {
    done = true
  })
  await new Promise(setImmediate)
  return done
}

describe('claimRanges()', () => {
  it('grants readers of the same bytes together, and a writer after them', async () => {
    const mm = new Mm(sys)
    const [a, b] = [claimRanges(mm, reads(bytes(0, 8))), claimRanges(mm, reads(bytes(4, 12)))]
    const c = claimRanges(mm, writes(bytes(7, 9)))
    expect([a.isGranted, b.isGranted, c.isGranted]).toEqual([true, true, false])
    a.end()
    expect(await isDone(c.granted())).toBe(false)
    b.end()
    expect(await isDone(c.granted())).toBe(true)
    c.end()
  })

  it('does not let a reader pass a writer that waits', () => {
    const mm = new Mm(sys)
    const a = claimRanges(mm, reads(bytes(0, 8)))
    const b = claimRanges(mm, writes(bytes(0, 8)))
    const c = claimRanges(mm, reads(bytes(0, 8)))
    expect(c.isGranted).toBe(false)
    a.end()
    expect([b.isGranted, c.isGranted]).toEqual([true, false])
    b.end()
    expect(c.isGranted).toBe(true)
    c.end()
  })

  it('ranges that only touch do not meet, and neither do address spaces', () => {
    const mm = new Mm(sys)
    const claims = [claimRanges(mm, writes(bytes(0, 8))), claimRanges(mm, writes(bytes(8, 16)))]
    claims.push(claimRanges(new Mm(sys), writes(bytes(0, 16))))
    expect(claims.map((claim) => claim.isGranted)).toEqual([true, true, true])
    for (const claim of claims) claim.end()
  })

  it('a claim may end before it was granted, once', () => {
    const mm = new Mm(sys)
    const a = claimRanges(mm, writes(bytes(0, 8)))
    const b = claimRanges(mm, writes(bytes(0, 8)))
    const c = claimRanges(mm, reads(bytes(0, 8)))
    b.end()
    expect(c.isGranted).toBe(false)
    a.end()
    expect(c.isGranted).toBe(true)
    c.end()
    expect(() => c.end()).toThrow(AssertionError)
  })

  it('grants conflicting claims in order, never two at once, and all in the end', () => {
    const range = fc.tuple(fc.nat(6), fc.integer({ min: 1, max: 4 })).map(([start, n]) => bytes(start, start + n))
    const ranges = fc.record({ reads: fc.array(range, { maxLength: 2 }), writes: fc.array(range, { maxLength: 2 }) })
    fc.assert(
      fc.property(fc.array(ranges, { maxLength: 12 }), fc.array(fc.nat(), { minLength: 12 }), (wanted, picks) => {
        const mm = new Mm(sys)
        const live: Claim[] = wanted.map((each) => claimRanges(mm, each))
        const uses = ({ ranges }: Claim, byte: number) => ({
          reads: ranges.reads.some((r) => r.start <= byte && byte < r.end),
          writes: ranges.writes.some((r) => r.start <= byte && byte < r.end),
        })
        while (live.length > 0) {
          const granted = live.filter((claim) => claim.isGranted)
          expect(granted.length).toBeGreaterThan(0)
          for (let byte = 0; byte < 12; byte++) {
            const users = granted.map((claim) => uses(claim, byte))
            const nwriters = users.filter((use) => use.writes).length
            const nusers = users.filter((use) => use.writes || use.reads).length
            expect(nwriters === 0 || nusers === 1).toBe(true)
            // Whoever writes a byte has no earlier live user of it, and whoever reads it no earlier writer.
            for (const claim of granted) {
              for (const before of live.slice(0, live.indexOf(claim))) {
                const [mine, theirs] = [uses(claim, byte), uses(before, byte)]
                expect(mine.writes && (theirs.reads || theirs.writes)).toBe(false)
                expect(mine.reads && theirs.writes).toBe(false)
              }
            }
          }
          const ending = granted[picks[live.length - 1] % granted.length]
          ending.end()
          live.splice(live.indexOf(ending), 1)
        }
      }),
    )
  })
})

describe('whenUnclaimed()', () => {
  it('waits for the claims that are there, not for later ones', async () => {
    const mm = new Mm(sys)
    const a = claimRanges(mm, reads(bytes(0, 8)))
    const b = claimRanges(mm, writes(bytes(0, 8)))
    expect([isClaimed(mm, bytes(7, 20)), isClaimed(mm, bytes(8, 20))]).toEqual([true, false])
    const unclaimed = whenUnclaimed(mm, bytes(4, 20))
    const c = claimRanges(mm, reads(bytes(0, 8)))
    a.end()
    expect(await isDone(unclaimed)).toBe(false)
    b.end()
    expect(await isDone(unclaimed)).toBe(true)
    c.end()
    expect(await isDone(whenUnclaimed(mm, bytes(0, 99)))).toBe(true)
  })
})
