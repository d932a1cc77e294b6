import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AssertionError } from '../base/assert.ts'
import { FreeRuns } from './free-runs.ts'

describe('FreeRuns', () => {
  it('takes the first run that is long enough', () => {
    const runs = new FreeRuns(16)
    expect([runs.alloc(4), runs.alloc(4), runs.alloc(4)]).toEqual([0, 4, 8])
    runs.free(0, 3)
    expect([runs.longest, runs.alloc(4), runs.alloc(2), runs.alloc(2)]).toEqual([4, 12, 0, -1])
    expect(runs.nfree).toBe(1)
  })

  it('joins what is given back with both neighbours', () => {
    const runs = new FreeRuns(8)
    expect(runs.alloc(8)).toBe(0)
    for (const frame of [0, 2, 1, 7, 5, 6, 3]) runs.free(frame, 1)
    expect([runs.nfree, runs.longest]).toEqual([7, 4])
    runs.free(4, 1)
    expect([runs.longest, runs.alloc(8)]).toEqual([8, 0])
  })

  it('take() takes certain frames if all of them are free', () => {
    const runs = new FreeRuns(12, 8)
    expect([runs.take(2, 3), runs.take(1, 2), runs.take(4, 1), runs.take(7, 2), runs.take(12, 1)]).toEqual([
      true,
      false,
      false,
      false, // in two banks
      false,
    ])
    expect([runs.take(0, 2), runs.take(5, 3), runs.take(8, 4), runs.nfree]).toEqual([true, true, true, 0])
    runs.free(0, 8)
    expect([runs.longest, runs.take(0, 8)]).toEqual([8, true])
  })

  it('keeps banks apart', () => {
    const runs = new FreeRuns(12, 8)
    expect([runs.longest, runs.alloc(9), runs.alloc(8), runs.alloc(4)]).toEqual([8, -1, 0, 8])
    runs.free(6, 2)
    runs.free(8, 2)
    expect([runs.longest, runs.alloc(3)]).toEqual([2, -1])
  })

  it('refuses to free a frame twice', () => {
    const runs = new FreeRuns(8)
    runs.alloc(4)
    runs.free(1, 2)
    expect(() => runs.free(2, 1)).toThrow(AssertionError)
    expect(() => runs.free(0, 2)).toThrow(AssertionError)
    expect(() => runs.free(4, 1)).toThrow(AssertionError)
    runs.free(0, 1)
    runs.free(3, 1)
    expect(runs.longest).toBe(8)
  })

  it('alloc() aligns, counting from where the pages lie', () => {
    const runs = new FreeRuns(64)
    expect([runs.alloc(1, 8), runs.alloc(1, 8), runs.alloc(1), runs.alloc(1, 8, 7)]).toEqual([0, 8, 1, 7])
    expect([runs.alloc(1, 8, 7), runs.alloc(40, 16), runs.alloc(41)]).toEqual([15, 16, -1])
    expect([runs.nfree, runs.longest]).toEqual([64 - 45, 8])
  })

  it('alloc() finds an aligned run whenever there is one', () => {
    const steps = fc.array(fc.tuple(fc.integer({ min: 1, max: 9 }), fc.constantFrom(1, 2, 4), fc.nat()), {
      maxLength: 60,
    })
    fc.assert(
      fc.property(steps, fc.nat(3), (program, phase) => {
        const runs = new FreeRuns(50)
        const used = new Array<boolean>(50).fill(false)
        const taken: [number, number][] = []
        const isFree = (first: number, npages: number) =>
          first + npages <= 50 && used.slice(first, first + npages).every((is) => !is)
        for (const [npages, align, which] of program) {
          const places = used.map((_, page) => page).filter((page) => (page - phase + 4) % align === 0)
          const wanted = places.find((page) => isFree(page, npages)) ?? -1
          expect(runs.alloc(npages, align, phase)).toBe(wanted)
          if (wanted >= 0) {
            used.fill(true, wanted, wanted + npages)
            taken.push([wanted, npages])
          }
          if (taken.length === 0 || which % 2 === 0) continue
          const [[first, length]] = taken.splice(which % taken.length, 1)
          runs.free(first, length)
          used.fill(false, first, first + length)
        }
        for (const [first, npages] of taken) runs.free(first, npages)
        expect(runs.longest).toBe(50)
      }),
    )
  })

  it('never hands a frame out twice, and finds a run whenever there is one', () => {
    const steps = fc.array(fc.tuple(fc.integer({ min: 1, max: 9 }), fc.nat()), { maxLength: 60 })
    fc.assert(
      fc.property(steps, (program) => {
        const runs = new FreeRuns(32)
        const used = new Array<boolean>(32).fill(false)
        const taken: [number, number][] = []
        for (const [npages, which] of program) {
          if (taken.length > 0 && which % 3 === 0) {
            const [[first, length]] = taken.splice(which % taken.length, 1)
            runs.free(first, length)
            used.fill(false, first, first + length)
            continue
          }
          const wanted = longestFree(used) >= npages
          const first = runs.alloc(npages)
          expect(first >= 0).toBe(wanted)
          if (first < 0) continue
          expect(used.slice(first, first + npages).every((is) => !is)).toBe(true)
          used.fill(true, first, first + npages)
          taken.push([first, npages])
        }
        expect([runs.nfree, runs.longest]).toEqual([used.filter((is) => !is).length, longestFree(used)])
      }),
    )
  })
})

function longestFree(used: readonly boolean[]): number {
  return Math.max(
    ...used
      .map((is) => (is ? 'x' : '.'))
      .join('')
      .split('x')
      .map((run) => run.length),
  )
}
