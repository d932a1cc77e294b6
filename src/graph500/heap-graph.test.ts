// Searches on a heap whose device is smaller than the graph, in every mode.

import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { whyNoGpu } from '../../test/helpers/gpu.ts'
import { describeModes } from '../../test/helpers/mode-fixture.ts'
import { MIB } from '../base/size.ts'
import type { Heap } from '../index.ts'
import { sumByCause } from '../trace/counters.ts'
import { buildCsr } from './csr.ts'
import { HeapGraph, heapGraphBytes } from './heap-graph.ts'
import { openJobHeap } from './job-heap.ts'
import { EDGE_FACTOR, generateEdges } from './kronecker.ts'
import type { LevelReport } from './level-plan.ts'
import { searchPlain } from './plain-search.ts'
import { drawSearchKeys } from './search-keys.ts'
import { validateSearch } from './validate.ts'

const missing = await whyNoGpu()
// A software GPU on a busy machine takes its time.
vi.setConfig({ testTimeout: 60_000 })

const SCALE = 13
const nedges = EDGE_FACTOR * 2 ** SCALE
const edges = { nvertices: 2 ** SCALE, from: new Uint32Array(nedges), to: new Uint32Array(nedges) }
generateEdges(edges, SCALE)
const csr = buildCsr(edges)

await describeModes((mode) => {
  let heap: Heap

  beforeEach((test) => {
    if (missing !== null) test.skip(missing)
  })
  afterEach(async () => {
    await heap?.close()
  })

  it('finds the trees of a graph that is larger than the device', async () => {
    const deviceBytes = MIB / 2
    const bytes = heapGraphBytes(csr)
    expect(bytes.all).toBeGreaterThan(2 * deviceBytes)
    heap = await openJobHeap({ mode: mode.name, memory: null, deviceBytes, arrayBytes: bytes.all })
    const graph = new HeapGraph(heap, csr)
    const { allocated } = await heap.stats()
    expect(allocated).toBeLessThanOrEqual(bytes.all)
    for (const key of drawSearchKeys(csr, 3)) {
      const levels: LevelReport[] = []
      const { tree, seconds } = await graph.search(key, (level) => levels.push(level))
      const { broken, nreached, depth } = validateSearch(edges, tree)
      expect(broken).toBe(null)
      expect(tree.levels).toEqual(searchPlain(csr, key).levels)
      expect(seconds).toBeGreaterThan(0)
      expect(levels.map((level) => level.depth)).toEqual(Array.from({ length: depth + 1 }, (_, i) => i))
      expect(levels.reduce((sum, { nfound }) => sum + nfound, 1)).toBe(nreached)
      expect(new Set(levels.map(({ direction }) => direction))).toEqual(new Set(['fromAbove', 'fromBelow']))
    }
    const { counters } = await heap.stats()
    expect(sumByCause(counters.bytesHostToDevice)).toBeGreaterThan(3 * bytes.all)
  })

  it('brings nothing to a device that has everything', async () => {
    const bytes = heapGraphBytes(csr)
    heap = await openJobHeap({ mode: mode.name, memory: null, deviceBytes: 2 * bytes.all, arrayBytes: bytes.all })
    const graph = new HeapGraph(heap, csr)
    const [key] = drawSearchKeys(csr, 1)
    await graph.search(key)
    const before = sumByCause((await heap.stats()).counters.bytesHostToDevice)
    await graph.search(key)
    // Parents, levels and progress, which the CPU has written in between, and progress again after each level.
    const again = sumByCause((await heap.stats()).counters.bytesHostToDevice) - before
    expect(again).toBeLessThanOrEqual(bytes.whole + 16 * 4096)
  })
})
