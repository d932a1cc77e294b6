// The kernels of a search by themselves, on ordinary buffers of WebGPU: whatever moves memory is not in the picture.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { GpuGraph, type GpuGraphOptions } from '../../bench/search/gpu-graph.ts'
import { mustHaveGpu, openGpu, whyNoGpu } from '../../test/helpers/gpu.ts'
import { buildCsr, type Csr } from './csr.ts'
import { type EdgeList, NONE } from './edge-list.ts'
import { EDGE_FACTOR, generateEdges } from './kronecker.ts'
import { searchPlain } from './plain-search.ts'
import { drawSearchKeys } from './search-keys.ts'
import { BLOCK, makeStrips } from './strips.ts'
import { validateSearch } from './validate.ts'

const reason = await whyNoGpu()

test.skipIf(!mustHaveGpu())('there is a GPU, if only in software', () => expect(reason).toBe(null))

describe.skipIf(reason !== null)(`search.wgsl.ts${reason === null ? '' : ` (skipped: ${reason})`}`, () => {
  let device: GPUDevice
  const errors: string[] = []
  beforeAll(async () => {
    device = await openGpu()
    device.addEventListener('uncapturederror', ({ error }) => errors.push(error.message))
  })
  afterAll(() => {
    device.destroy()
    expect(errors).toEqual([])
  })

  function open(edges: EdgeList, options?: GpuGraphOptions): { csr: Csr; graph: GpuGraph } {
    const csr = buildCsr(edges)
    return { csr, graph: new GpuGraph(device, makeStrips(csr), options) }
  }

  /** Of all neighbours one level above, the one with the smallest number. */
  function smallestParents({ offsets, columns }: Csr, root: number, levels: Uint32Array): Uint32Array {
    return levels.map((level, v) => {
      if (v === root || level === NONE) return v === root ? root : NONE
      const above = columns.subarray(offsets[v], offsets[v + 1]).filter((u) => levels[u] === level - 1)
      return Math.min(...above)
    })
  }

  const nedges = EDGE_FACTOR * 2 ** 13
  const kronecker = { nvertices: 2 ** 13, from: new Uint32Array(nedges), to: new Uint32Array(nedges) }
  generateEdges(kronecker, 13)

  test.each(['fromAbove', 'fromBelow', null] as const)(
    'direction %s: right levels, and the smallest parents',
    async (only) => {
      const { csr, graph } = open(kronecker)
      for (const root of drawSearchKeys(csr, 3)) {
        const tree = await graph.search(root, only)
        expect(validateSearch(kronecker, tree).broken).toBe(null)
        const { levels } = searchPlain(csr, root)
        expect(tree.levels).toEqual(levels)
        expect(tree.parents).toEqual(smallestParents(csr, root, levels))
      }
    },
  )

  test('strips that are uploaded part by part give the same trees', async () => {
    const { csr, graph } = open(kronecker)
    const { graph: inParts } = open(kronecker, { window: BLOCK })
    const [root] = drawSearchKeys(csr, 1)
    expect(await inParts.search(root)).toEqual(await graph.search(root))
  })

  test('a long path, where each level finds one vertex', async () => {
    const n = 200
    const order = Uint32Array.from({ length: n }, (_, i) => (i * 77) % n)
    const path = { nvertices: n, from: order.slice(0, -1), to: order.slice(1) }
    const { graph } = open(path)
    const tree = await graph.search(order[0], 'fromAbove')
    expect(validateSearch(path, tree)).toMatchObject({ broken: null, nreached: n, depth: n - 1 })
  })

  test('a star whose middle has strips in several blocks', async () => {
    const n = 100_000
    const star = {
      nvertices: n,
      from: new Uint32Array(n - 1).fill(0),
      to: Uint32Array.from({ length: n - 1 }, (_, i) => i + 1),
    }
    const { graph } = open(star)
    for (const only of ['fromAbove', 'fromBelow', null] as const) {
      const tree = await graph.search(n - 1, only)
      expect(validateSearch(star, tree)).toMatchObject({ broken: null, nreached: n, depth: 2 })
    }
  })
})
