// How the arguments of random commands are chosen: mostly where something is, sometimes anywhere.

import { type Addr, PAGE_SIZE } from '../../../src/base/addr.ts'
import type { Vma } from '../../../src/mm/vma.ts'
import type { Random } from '../random.ts'
import type { Actor, World } from '../world.ts'

export interface Range {
  readonly addr: Addr
  readonly npages: number
}

export function chooseActor(world: World, random: Random): Actor {
  return random.pick([...world.actors.values()])
}

/** A name that nothing has yet: p2, m7. */
export function freshName(letter: string, taken: ReadonlyMap<string, unknown>): string {
  let number = 1
  while (taken.has(`${letter}${number}`)) number++
  return `${letter}${number}`
}

/** Some pages, with a mapping or without. */
export function chooseRange({ setup }: World, random: Random): Range {
  const { start, npages } = random.pick(setup.regions)
  const first = random.below(npages)
  return cut(setup.grain, random, start, start + npages * PAGE_SIZE, first, chooseCount(setup.shortPages, random))
}

/** Pages that mostly lie in one mapping of the process. */
export function chooseMapped(world: World, random: Random, { process }: Actor): Range {
  const { vmas } = process.mm
  if (vmas.length === 0 || random.percent(10)) return chooseRange(world, random)
  const { setup } = world
  const vma: Vma = random.pick(vmas)
  const npages = (vma.end - vma.start) / PAGE_SIZE
  const first = random.percent(30) ? 0 : random.below(npages)
  // Now and then beyond the end of the mapping.
  const end = random.percent(10) ? vma.end + 4 * PAGE_SIZE : vma.end
  return cut(setup.grain, random, vma.start, end, first, chooseCount(setup.shortPages, random))
}

function chooseCount(shortPages: number, random: Random): number {
  if (shortPages <= 16) return random.percent(90) ? random.small(shortPages) : random.between(1, 3 * shortPages)
  return random.percent(50) ? random.small(4) : random.between(1, 2 * shortPages)
}

/** `count` pages from page `first` of `[start, end)` on, on multiples of the grain now and then, and no more than there are. */
function cut(grain: number, random: Random, start: Addr, end: Addr, first: number, count: number): Range {
  const isAligned = grain > 1 && random.percent(70)
  const from = isAligned ? first - (first % grain) : first
  const wanted = isAligned ? Math.ceil(count / grain) * grain : count
  const addr = start + from * PAGE_SIZE
  return { addr, npages: Math.max(1, Math.min(wanted, (end - addr) / PAGE_SIZE)) }
}
