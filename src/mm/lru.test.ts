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

/** Along links, of which there are no more than frames: a circle ends too. */
function* frames(first: number, links: Int32Array): Generator<number> {
  for (let pfn = first, n = 0; pfn >= 0 && n < 2 * NFRAMES; pfn = links[pfn], n++) yield pfn
}

/** The list from both ends, and what it says of itself. */
function contents(lru: Lru, pages: Pages): unknown[] {
  const warm = [...frames(lru.first, pages.lruNext)]
  expect([...frames(lru.last, pages.lruPrev)].reverse()).toEqual(warm)
  return [warm, lru.size, lru.naged, lru.agedFirst, [...pages.flags]]
}

/** Each step enters the pages of a run that are not on the list if its first one is not, else it removes those that are; then some are aged. */
function play(steps: readonly Step[], inRuns: boolean): unknown[] {
  const pages = new Pages(2 * NFRAMES)
  const lru = new Lru(pages)
  const states: unknown[] = []
  for (const { first, npages, naged } of steps) {
    const isOn = (pfn: number): boolean => [...frames(lru.first, pages.lruNext)].includes(pfn)
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
