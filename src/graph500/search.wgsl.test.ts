// The kernels of a search by themselves, on ordinary buffers of WebGPU: whatever moves memory is not in the picture.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { mustHaveGpu, openGpu, whyNoGpu } from '../../test/helpers/gpu.ts'
import {
  BUFFER_COPY_DST,
  BUFFER_COPY_SRC,
  BUFFER_MAP_READ,
  BUFFER_STORAGE,
  BUFFER_UNIFORM,
  MAP_READ,
  STAGE_COMPUTE,
} from '../devices/webgpu/webgpu-flags.ts'
import { buildCsr, type Csr } from './csr.ts'
import { type EdgeList, NONE } from './edge-list.ts'
import { EDGE_FACTOR, generateEdges } from './kronecker.ts'
import { countBlocks, type Direction, planLevel } from './level-plan.ts'
import { type SearchTree, searchPlain } from './plain-search.ts'
import { FROM_ABOVE, FROM_BELOW, PROGRESS_BLOCKS } from './search.wgsl.ts'
import { drawSearchKeys } from './search-keys.ts'
import { countStrips, cutIntoStrips, STRIP, type Strips } from './strips.ts'
import { validateSearch } from './validate.ts'

const reason = await whyNoGpu()

test.skipIf(!mustHaveGpu())('there is a GPU, if only in software', () => expect(reason).toBe(null))

const WORKGROUP = 64
const ARRAYS = ['owners', 'columns', 'firsts', 'parents', 'levels', 'progress'] as const
type ArrayName = (typeof ARRAYS)[number]

const DECLARATIONS = `${ARRAYS.map((name, binding) => {
  const element = ['parents', 'levels', 'progress'].includes(name) ? 'atomic<u32>' : 'u32'
  return `@group(0) @binding(${binding}) var<storage, read_write> ${name}: array<${element}>;`
}).join('\n')}
@group(0) @binding(${ARRAYS.length}) var<uniform> depth: u32;`

/** A graph in buffers, and searches of it. */
class GpuGraph {
  readonly #device: GPUDevice
  readonly #strips: Strips
  readonly #buffers: Readonly<Record<ArrayName, GPUBuffer>>
  readonly #depth: GPUBuffer
  readonly #pipelines: Readonly<Record<Direction, GPUComputePipeline>>

  constructor(device: GPUDevice, strips: Strips) {
    this.#device = device
    this.#strips = strips
    const { nvertices } = strips
    // The last workgroup may go beyond the last strip, where it finds edges from vertex 0 to itself.
    const nstrips = Math.ceil(strips.owners.length / WORKGROUP) * WORKGROUP
    const nprogress = PROGRESS_BLOCKS + countBlocks(strips.owners.length)
    const lengths = { owners: nstrips, columns: STRIP * nstrips, firsts: nvertices + 1, parents: nvertices }
    const buffer = (length: number) =>
      device.createBuffer({ size: 4 * length, usage: BUFFER_STORAGE | BUFFER_COPY_DST | BUFFER_COPY_SRC })
    this.#buffers = {
      owners: buffer(lengths.owners),
      columns: buffer(lengths.columns),
      firsts: buffer(lengths.firsts),
      parents: buffer(nvertices),
      levels: buffer(nvertices),
      progress: buffer(nprogress),
    }
    for (const name of ['owners', 'columns', 'firsts'] as const) this.#write(name, strips[name])
    this.#depth = device.createBuffer({ size: 16, usage: BUFFER_UNIFORM | BUFFER_COPY_DST })
    const layout = device.createBindGroupLayout({
      entries: [...ARRAYS.map(() => 'storage' as const), 'uniform' as const].map((type, binding) => ({
        binding,
        visibility: STAGE_COMPUTE,
        buffer: { type },
      })),
    })
    const pipeline = (code: string) =>
      device.createComputePipeline({
        layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
        compute: { module: device.createShaderModule({ code: DECLARATIONS + code }), entryPoint: 'main' },
      })
    this.#pipelines = { fromAbove: pipeline(FROM_ABOVE), fromBelow: pipeline(FROM_BELOW) }
  }

  /** Searches in one direction only, or in that which `planLevel` gives. */
  async search(root: number, only: Direction | null): Promise<SearchTree> {
    const { nvertices, firsts, owners } = this.#strips
    const nstrips = owners.length
    const start = new Uint32Array(nvertices).fill(NONE)
    this.#write('parents', start.with(root, root))
    this.#write('levels', start.with(root, 0))
    let active = new Uint32Array(countBlocks(nstrips)).fill(firsts[root + 1] > firsts[root] ? 1 : 0)
    let nreached = 1
    for (let depth = 0; nreached > 0; depth++) {
      this.#write('progress', new Uint32Array(PROGRESS_BLOCKS + active.length))
      const plan = planLevel(nreached, nvertices, active, nstrips)
      const direction = only ?? plan.direction
      const runs = direction === plan.direction ? plan.runs : [{ first: 0, count: nstrips }]
      for (const { first, count } of runs) this.#launch(direction, depth, first, count)
      const progress = await this.#read('progress')
      nreached = progress[0]
      active = progress.slice(PROGRESS_BLOCKS)
    }
    return { root, parents: await this.#read('parents'), levels: await this.#read('levels') }
  }

  #launch(direction: Direction, depth: number, first: number, count: number): void {
    const device = this.#device
    const pipeline = this.#pipelines[direction]
    const nstrips = Math.ceil(count / WORKGROUP) * WORKGROUP
    const parts: Partial<Record<ArrayName, { offset: number; size: number }>> = {
      owners: { offset: 4 * first, size: 4 * nstrips },
      columns: { offset: 4 * STRIP * first, size: 4 * STRIP * nstrips },
    }
    device.queue.writeBuffer(this.#depth, 0, Uint32Array.of(depth))
    const arrays = ARRAYS.map((name) => ({ buffer: this.#buffers[name], ...parts[name] }))
    const entries = [...arrays, { buffer: this.#depth }].map((resource, binding) => ({ binding, resource }))
    const encoder = device.createCommandEncoder()
    const pass = encoder.beginComputePass()
    pass.setPipeline(pipeline)
    pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }))
    pass.dispatchWorkgroups(nstrips / WORKGROUP)
    pass.end()
    device.queue.submit([encoder.finish()])
  }

  #write(name: ArrayName, words: Uint32Array): void {
    this.#device.queue.writeBuffer(this.#buffers[name], 0, words as Uint32Array<ArrayBuffer>)
  }

  async #read(name: ArrayName): Promise<Uint32Array<ArrayBuffer>> {
    const source = this.#buffers[name]
    const copy = this.#device.createBuffer({ size: source.size, usage: BUFFER_MAP_READ | BUFFER_COPY_DST })
    const encoder = this.#device.createCommandEncoder()
    encoder.copyBufferToBuffer(source, 0, copy, 0, source.size)
    this.#device.queue.submit([encoder.finish()])
    await copy.mapAsync(MAP_READ)
    const words = new Uint32Array(copy.getMappedRange().slice(0))
    copy.destroy()
    return words
  }
}

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

  function open(edges: EdgeList): { csr: Csr; graph: GpuGraph } {
    const csr = buildCsr(edges)
    const nstrips = countStrips(csr)
    const strips: Strips = {
      nvertices: csr.nvertices,
      owners: new Uint32Array(nstrips),
      columns: new Uint32Array(STRIP * nstrips),
      firsts: new Uint32Array(csr.nvertices + 1),
    }
    cutIntoStrips(csr, strips)
    return { csr, graph: new GpuGraph(device, strips) }
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
