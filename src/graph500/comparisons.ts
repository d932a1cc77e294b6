// What the searches are compared with: the same kernels on a device that has room for everything, and plain JavaScript. All search from
// the same keys, in turns, so that what else the machine does disturbs them alike.

import { median } from './statistics.ts'

/** Searches from a key. Returns seconds. */
export type Searcher = (key: number) => number | Promise<number>

/** Keys that are enough for a comparison. */
const COMPARED_KEYS = 7

/**
 * How fast a searcher is as a multiple of each of the others: the median over some keys. Everybody's first search does not count, as
 * code is compiled and memory is brought in by it.
 */
export async function compareInTurns(
  searcher: Searcher,
  others: readonly Searcher[],
  keys: readonly number[],
): Promise<number[]> {
  const all = [searcher, ...others]
  for (const each of all) await each(keys[0])
  const ratios: number[][] = others.map(() => [])
  for (const key of keys.slice(0, COMPARED_KEYS)) {
    const seconds: number[] = []
    for (const each of all) seconds.push(await each(key))
    for (let i = 0; i < others.length; i++) ratios[i].push(seconds[1 + i] / seconds[0])
  }
  return ratios.map(median)
}
