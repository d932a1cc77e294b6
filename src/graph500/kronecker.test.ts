import { describe, expect, test } from 'vitest'
import { buildCsr } from './csr.ts'
import type { EdgeList } from './edge-list.ts'
import { EDGE_FACTOR, type GraphSeeds, generateEdges } from './kronecker.ts'
import { drawSearchKeys } from './search-keys.ts'

function graph(scale: number, seeds?: GraphSeeds): EdgeList {
  const nedges = EDGE_FACTOR * 2 ** scale
  const edges = { nvertices: 2 ** scale, from: new Uint32Array(nedges), to: new Uint32Array(nedges) }
  generateEdges(edges, scale, seeds === undefined ? {} : { seeds })
  return edges
}

/** FNV-1a over the words of all edges. */
function hash({ from, to }: EdgeList): number {
  let value = 2166136261
  for (let i = 0; i < from.length; i++) {
    value = Math.imul(value ^ from[i], 16777619)
    value = Math.imul(value ^ to[i], 16777619)
  }
  return value >>> 0
}

// What the generator of graph500 3.0.0 makes, compiled with its own make_graph().
describe('generateEdges() makes the edges of the official generator', () => {
  test.each([
    [4, 3487551481, [15, 3], [15, 13]],
    [10, 3484375884, [299, 797], [206, 55]],
    [16, 812716110, [53430, 37000], [47449, 59083]],
  ])('at scale %i', (scale, wantedHash, firstEdge, lastEdge) => {
    const edges = graph(scale)
    expect([edges.from[0], edges.to[0]]).toEqual(firstEdge)
    expect([edges.from.at(-1), edges.to.at(-1)]).toEqual(lastEdge)
    expect(hash(edges)).toBe(wantedHash)
  })

  test('from seeds of 64 bits', () => {
    const edges = graph(10, { seed1: 123456789012345678n, seed2: 9876543210987654321n })
    expect([edges.from[0], edges.to[0], edges.from[1], edges.to[1]]).toEqual([246, 497, 881, 485])
    expect(hash(edges)).toBe(3283942334)
  })
})

describe('generateEdges()', () => {
  test('makes any part of the list by itself', () => {
    const all = graph(8)
    for (const first of [1, 255, 256, 1000, 4000]) {
      const part = { from: new Uint32Array(96), to: new Uint32Array(96) }
      generateEdges(part, 8, { first })
      expect(part.from).toEqual(all.from.slice(first, first + 96))
      expect(part.to).toEqual(all.to.slice(first, first + 96))
    }
  })

  test('keeps loops and repeated edges, leaves vertices alone, and gives a few very many neighbours', () => {
    const { nvertices, from, to } = graph(14)
    const degrees = new Uint32Array(nvertices)
    const distinct = new Set<number>()
    let loops = 0
    for (let i = 0; i < from.length; i++) {
      if (from[i] === to[i]) loops++
      degrees[from[i]]++
      degrees[to[i]]++
      distinct.add(Math.min(from[i], to[i]) * nvertices + Math.max(from[i], to[i]))
    }
    expect(loops).toBeGreaterThan(0)
    expect(distinct.size).toBeLessThan(0.95 * from.length)
    // The figures of the literature at this scale: a third of the vertices alone, the greatest degree in the thousands.
    const alone = degrees.filter((degree) => degree === 0).length / nvertices
    expect(alone).toBeGreaterThan(0.2)
    expect(alone).toBeLessThan(0.45)
    expect(Math.max(...degrees)).toBeGreaterThan(50 * 2 * EDGE_FACTOR)
  })

  test('gives names that say nothing about the degree', () => {
    const { nvertices, from, to } = graph(14)
    const byEighth = new Float64Array(8)
    for (const ends of [from, to]) for (const v of ends) byEighth[Math.floor((8 * v) / nvertices)]++
    // Without new names the first eighth would have (0.57 + 0.19)^3 = 44 % of all ends.
    for (const share of byEighth) expect(share / (2 * from.length)).toBeLessThan(0.2)
  })

  test.each([0, 25, 1.5, Number.NaN])('refuses scale %d', (scale) => {
    const none = new Uint32Array(0)
    expect(() => generateEdges({ from: none, to: none }, scale)).toThrow(RangeError)
  })
})

describe('drawSearchKeys()', () => {
  // From main.c of graph500 3.0.0: 64 roots.
  test('draws the keys of the official driver', () => {
    const keys = drawSearchKeys(buildCsr(graph(10)), 64)
    expect(keys.length).toBe(64)
    expect(keys.slice(0, 16)).toEqual([458, 214, 220, 966, 395, 9, 848, 777, 344, 236, 900, 440, 806, 712, 116, 163])
    expect(keys.slice(-4)).toEqual([209, 825, 171, 149])
  })

  test('finds every vertex with neighbours, once, where more are wanted', () => {
    const edges = { nvertices: 1000, from: Uint32Array.of(1, 5, 5, 7), to: Uint32Array.of(2, 5, 6, 7) }
    expect(drawSearchKeys(buildCsr(edges), 64).sort()).toEqual([1, 2, 5, 6])
    expect(drawSearchKeys(buildCsr(edges), 1).length).toBe(1)
  })
})
