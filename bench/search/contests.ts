// Searches of one graph, on a heap and by other means. What both sides of a contest search from is the same vertex, and the next one in
// the next round.

import { buildCsr, type Csr } from '../../src/graph500/csr.ts'
import { HeapGraph, heapGraphBytes } from '../../src/graph500/heap-graph.ts'
import { openJobHeap } from '../../src/graph500/job-heap.ts'
import { EDGE_FACTOR, generateEdges } from '../../src/graph500/kronecker.ts'
import { searchPlain } from '../../src/graph500/plain-search.ts'
import { drawSearchKeys } from '../../src/graph500/search-keys.ts'
import { BLOCK, makeStrips, STRIP } from '../../src/graph500/strips.ts'
import type { Contest, Measure } from '../harness.ts'
import { PlainGpu } from '../webgpu/plain-gpu.ts'
import { milliseconds } from '../webgpu/resident.ts'
import { GpuGraph } from './gpu-graph.ts'
import { rowSearchBytes, rowSearchOnGpu, rowSearchOnHeap, type Search } from './row-search.ts'

/** 2^16 vertices, 2^20 edges: 11 MiB of arrays, most of them strips. */
export const SCALE = 16

/** Of the search that goes through a page table: half a MiB of arrays. */
export const ROWS_SCALE = 12
/** Searches whose results are checked before the first that counts. */
const CHECKED_KEYS = 2

const NKEYS = 8

/** The arrays are `times` as large as the device; against plain WebGPU with everything on the device. */
export async function prepareAgainstResident(times: number): Promise<Contest> {
  const csr = makeCsr()
  return { candidate: await onHeap(csr, times), baseline: await onGpu(csr, null) }
}

/** The arrays are `times` as large as the device; against plain WebGPU that uploads parts into as much memory. */
export async function prepareAgainstChunks(times: number): Promise<Contest> {
  const csr = makeCsr()
  const { all, whole } = heapGraphBytes(csr)
  const stripBytes = 4 * (1 + STRIP)
  const window = Math.floor((all / times - whole) / 2 / stripBytes / BLOCK) * BLOCK
  return { candidate: await onHeap(csr, times), baseline: await onGpu(csr, window) }
}

/** The arrays are `times` as large as the device; against plain JavaScript. */
export async function prepareAgainstPlain(times: number): Promise<Contest> {
  const csr = makeCsr()
  return { candidate: await onHeap(csr, times), baseline: inPlain(csr) }
}

/** A search row by row of arrays `times` as large as the device; against the same in plain WebGPU, everything on the device. */
export async function prepareRows(times: number): Promise<Contest> {
  const csr = makeCsr(ROWS_SCALE)
  const arrayBytes = rowSearchBytes(csr)
  const deviceBytes = Math.ceil(arrayBytes / times)
  const heap = await openJobHeap({ mode: 'explicit', memory: null, deviceBytes, arrayBytes })
  const [ours, theirs] = [rowSearchOnHeap(heap, csr), rowSearchOnGpu(await PlainGpu.open(), csr)]
  for (const key of drawSearchKeys(csr, CHECKED_KEYS)) {
    const [levels, wanted] = [await ours(key), searchPlain(csr, key).levels]
    for (const found of [levels, await theirs(key)]) {
      if (!wanted.every((level, v) => found[v] === level)) throw new Error(`a search from ${key} found other levels`)
    }
  }
  const timed = (search: Search) => inTurn(csr, (key) => milliseconds(() => search(key)))
  return { candidate: timed(ours), baseline: timed(theirs) }
}

/** Milliseconds of a search in plain JavaScript. */
export function preparePlain(): Measure {
  return inPlain(makeCsr())
}

async function onHeap(csr: Csr, times: number): Promise<Measure> {
  const arrayBytes = heapGraphBytes(csr).all
  // As many pages as the arrays have, and some in which blocks of them can be put together.
  const deviceBytes = Math.ceil(arrayBytes / times)
  const heap = await openJobHeap({ mode: 'explicit', memory: null, deviceBytes, arrayBytes })
  const graph = new HeapGraph(heap, csr)
  return inTurn(csr, async (key) => 1000 * (await graph.search(key)).seconds)
}

async function onGpu(csr: Csr, window: number | null): Promise<Measure> {
  const { device } = await PlainGpu.open()
  const graph = new GpuGraph(device, makeStrips(csr), window === null ? {} : { window })
  return inTurn(csr, async (key) => {
    const begunAt = performance.now()
    await graph.search(key)
    return performance.now() - begunAt
  })
}

function inPlain(csr: Csr): Measure {
  return inTurn(csr, (key) => {
    const begunAt = performance.now()
    searchPlain(csr, key)
    return performance.now() - begunAt
  })
}

/** Measures with one key after the other. */
function inTurn(csr: Csr, measure: (key: number) => number | Promise<number>): Measure {
  const keys = drawSearchKeys(csr, NKEYS)
  let round = 0
  return () => measure(keys[round++ % keys.length])
}

function makeCsr(scale = SCALE): Csr {
  const nedges = EDGE_FACTOR * 2 ** scale
  const edges = { nvertices: 2 ** scale, from: new Uint32Array(nedges), to: new Uint32Array(nedges) }
  generateEdges(edges, scale)
  return buildCsr(edges)
}
