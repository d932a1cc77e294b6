// Runs of pages enter and leave the LRU as they do one by one.

import fc from 'fast-check'
import { expect, it } from 'vitest'
import { Lru } from './lru.ts'
import { Pages } from './page.ts'

const NFRAMES = 16

interface Step {
  readonly first: number
  readonly npages: number
  readonly naged: number
}

/** The list from both ends, and what it says of itself. */
function contents(lru: Lru, pages: Pages): unknown[] {
  const [warm, cold]: [number[], number[]] = [[], []]
  for (let pfn = lru.first; pfn >= 0; pfn = pages.lruNext[pfn]) warm.push(pfn)
  for (let pfn = lru.last; pfn >= 0; pfn = pages.lruPrev[pfn]) cold.unshift(pfn)
  expect(cold).toEqual(warm)
  return [warm, lru.size, lru.naged, lru.agedFirst, [...pages.flags]]
}

/** Each step enters the pages of a run that are not on the list if its first one is not, else it removes those that are; then some are aged. */
function play(steps: readonly Step[], inRuns: boolean): unknown[] {
  const pages = new Pages(2 * NFRAMES)
  const lru = new Lru(pages)
  const states: unknown[] = []
  for (const { first, npages, naged } of steps) {
    const isOn = (pfn: number): boolean => contains(lru, pages, pfn)
    const removes = isOn(first)
    let end = first
    while (end < first + npages && isOn(end) === removes) end++
    if (inRuns && removes) lru.removeRun(first, end - first)
    else if (inRuns) lru.addRun(first, end - first)
    else for (let pfn = first; pfn < end; pfn++) removes ? lru.remove(pfn) : lru.add(pfn)
    for (let i = 0; i < naged && lru.naged < lru.size; i++) lru.age()
    states.push(contents(lru, pages))
  }
  return states
}

function contains(lru: Lru, pages: Pages, wanted: number): boolean {
  for (let pfn = lru.first; pfn >= 0; pfn = pages.lruNext[pfn]) if (pfn === wanted) return true
  return false
}

it('addRun() and removeRun() do what add() and remove() do page by page, aged pages included', () => {
  const step = fc.record({
    first: fc.nat(NFRAMES - 1),
    npages: fc.integer({ min: 1, max: NFRAMES }),
    naged: fc.constantFrom(0, 0, 1, 3),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 24 }), (steps) => {
      expect(play(steps, true)).toEqual(play(steps, false))
    }),
    { numRuns: 300 },
  )
})
