import { describe, expect, test } from 'vitest'
import { buildCsr } from './csr.ts'
import { EDGE_FACTOR, generateEdges } from './kronecker.ts'

describe('buildCsr()', () => {
  test('enters edges at both ends, as often as they come, sorted, without loops', () => {
    const from = Uint32Array.of(3, 1, 2, 0, 1, 3)
    const to = Uint32Array.of(0, 1, 0, 1, 0, 2)
    const { offsets, columns } = buildCsr({ nvertices: 5, from, to })
    const rows = Array.from({ length: 5 }, (_, v) => [...columns.subarray(offsets[v], offsets[v + 1])])
    expect(rows).toEqual([[1, 1, 2, 3], [0, 0], [0, 3], [0, 2], []])
  })

  test('has each edge of a large graph twice', () => {
    const nedges = EDGE_FACTOR * 2 ** 10
    const edges = { nvertices: 2 ** 10, from: new Uint32Array(nedges), to: new Uint32Array(nedges) }
    generateEdges(edges, 10)
    const { offsets, columns } = buildCsr(edges)
    const wanted: number[][] = Array.from({ length: 2 ** 10 }, () => [])
    edges.from.forEach((u, i) => {
      const v = edges.to[i]
      if (u === v) return
      wanted[u].push(v)
      wanted[v].push(u)
    })
    wanted.forEach((row, v) => {
      expect([...columns.subarray(offsets[v], offsets[v + 1])]).toEqual(row.sort((a, b) => a - b))
    })
  })

  test('takes a graph without edges', () => {
    const none = new Uint32Array(0)
    expect(buildCsr({ nvertices: 3, from: none, to: none })).toMatchObject({
      offsets: new Uint32Array(4),
      columns: none,
    })
  })

  test('names the edge that has an end outside', () => {
    const edges = { nvertices: 3, from: Uint32Array.of(0, 1), to: Uint32Array.of(1, 3) }
    expect(() => buildCsr(edges)).toThrow('edge 1 joins 1 and 3, wanted vertices below 3')
  })
})
