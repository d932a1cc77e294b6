import { expect, test } from 'vitest'
import { buildCsr } from './csr.ts'
import { makeStrips, STRIP, type Strips } from './strips.ts'

/** A star with `n` rays around vertex 2, and an edge between 0 and 1; the last vertex is alone. */
function star(n: number): Strips {
  const from = new Uint32Array(n + 1).fill(2)
  const to = Uint32Array.from({ length: n + 1 }, (_, i) => i + 3)
  from[n] = 0
  to[n] = 1
  return makeStrips(buildCsr({ nvertices: n + 4, from, to }))
}

test.each([1, STRIP - 1, STRIP, STRIP + 1, 3 * STRIP])('cutIntoStrips() cuts a row of %i neighbours', (n) => {
  const { owners, columns, firsts, nvertices } = star(n)
  const ofStar = Math.ceil(n / STRIP)
  // 0 and 1 have a strip each, then those of the star, then one for each ray.
  expect([...owners]).toEqual([0, 1, ...Array(ofStar).fill(2), ...Array.from({ length: n }, (_, i) => i + 3)])
  expect([...columns.subarray(0, STRIP)]).toEqual([1, ...Array(STRIP - 1).fill(0)])
  const row = columns.subarray(STRIP * firsts[2], STRIP * firsts[3])
  expect([...row.subarray(0, n)]).toEqual(Array.from({ length: n }, (_, i) => i + 3))
  expect(row.subarray(n).every((v) => v === 2)).toBe(true)
  expect([firsts[0], firsts[1], firsts[2], firsts[3]]).toEqual([0, 1, 2, 2 + ofStar])
  // The vertex that is alone has none.
  expect(firsts[nvertices - 1]).toBe(firsts[nvertices])
  expect(firsts[nvertices]).toBe(owners.length)
})
