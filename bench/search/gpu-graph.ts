// A search in plain WebGPU, as one would write it by hand: the kernels of src/graph500 on buffers of one's own. Either the whole
// graph is on the device, or its strips are uploaded part by part, into two sets of buffers by turns, at every level again.

import {
  BUFFER_COPY_DST,
  BUFFER_COPY_SRC,
  BUFFER_MAP_READ,
  BUFFER_STORAGE,
  BUFFER_UNIFORM,
  MAP_READ,
  STAGE_COMPUTE,
} from '../../src/devices/webgpu/webgpu-flags.ts'
import { NONE } from '../../src/graph500/edge-list.ts'
import { countBlocks, type Direction, planLevel } from '../../src/graph500/level-plan.ts'
import type { SearchTree } from '../../src/graph500/plain-search.ts'
import { FROM_ABOVE, FROM_BELOW, PROGRESS_BLOCKS } from '../../src/graph500/search.wgsl.ts'
import { BLOCK, STRIP, type Strips } from '../../src/graph500/strips.ts'

const WORKGROUP = 64

const ARRAYS = ['owners', 'columns', 'firsts', 'parents', 'levels', 'progress'] as const
type ArrayName = (typeof ARRAYS)[number]
type Words = Uint32Array<ArrayBuffer>

const DECLARATIONS = `${ARRAYS.map((name, binding) => {
  const element = ['parents', 'levels', 'progress'].includes(name) ? 'atomic<u32>' : 'u32'
  return `@group(0) @binding(${binding}) var<storage, read_write> ${name}: array<${element}>;`
}).join('\n')}
@group(0) @binding(${ARRAYS.length}) var<uniform> depth: u32;`

/** Buffers for neighbouring strips. */
interface StripBuffers {
  readonly owners: GPUBuffer
  readonly columns: GPUBuffer
}

export interface GpuGraphOptions {
  /** Strips that are on the device at a time, twice; a multiple of BLOCK. Default: all of them, all the time. */
  readonly window?: number
}

export class GpuGraph {
  readonly #device: GPUDevice
  readonly #strips: Strips
  readonly #window: number | null
  /** One set for the whole graph, or two for parts of it. */
  readonly #sets: readonly StripBuffers[]
  readonly #vertices: Readonly<Record<Exclude<ArrayName, keyof StripBuffers>, GPUBuffer>>
  readonly #depth: GPUBuffer
  readonly #pipelines: Readonly<Record<Direction, GPUComputePipeline>>
  #nuploads = 0

  constructor(device: GPUDevice, strips: Strips, { window }: GpuGraphOptions = {}) {
    this.#device = device
    this.#strips = strips
    this.#window = window ?? null
    const { nvertices } = strips
    const nstrips = strips.owners.length
    // The last workgroup may go beyond the last strip, where it finds edges from vertex 0 to itself.
    const room = Math.ceil((window ?? nstrips) / WORKGROUP) * WORKGROUP
    const set = () => ({ owners: this.#buffer(room), columns: this.#buffer(STRIP * room) })
    this.#sets = window === undefined ? [set()] : [set(), set()]
    if (window === undefined) this.#upload(this.#sets[0], 0, nstrips)
    this.#vertices = {
      firsts: this.#buffer(nvertices + 1),
      parents: this.#buffer(nvertices),
      levels: this.#buffer(nvertices),
      progress: this.#buffer(PROGRESS_BLOCKS + countBlocks(nstrips)),
    }
    this.#write(this.#vertices.firsts, strips.firsts)
    this.#depth = device.createBuffer({ size: 16, usage: BUFFER_UNIFORM | BUFFER_COPY_DST })
    const entries = [...ARRAYS.map(() => 'storage' as const), 'uniform' as const].map((type, binding) => ({
      binding,
      visibility: STAGE_COMPUTE,
      buffer: { type },
    }))
    const layout = device.createPipelineLayout({ bindGroupLayouts: [device.createBindGroupLayout({ entries })] })
    const pipeline = (code: string) =>
      device.createComputePipeline({
        layout,
        compute: { module: device.createShaderModule({ code: DECLARATIONS + code }), entryPoint: 'main' },
      })
    this.#pipelines = { fromAbove: pipeline(FROM_ABOVE), fromBelow: pipeline(FROM_BELOW) }
  }

  /** Searches in one direction only, or in that which `planLevel` gives. */
  async search(root: number, only: Direction | null = null): Promise<SearchTree> {
    const { nvertices, firsts, owners } = this.#strips
    const { parents, levels, progress } = this.#vertices
    const nstrips = owners.length
    const start = new Uint32Array(nvertices).fill(NONE)
    this.#write(parents, start.with(root, root))
    this.#write(levels, start.with(root, 0))
    let active = new Uint32Array(countBlocks(nstrips))
    for (let block = Math.floor(firsts[root] / BLOCK); block * BLOCK < firsts[root + 1]; block++) active[block] = 1
    let nreached = 1
    for (let depth = 0; nreached > 0; depth++) {
      this.#write(progress, new Uint32Array(PROGRESS_BLOCKS + active.length))
      this.#write(this.#depth, Uint32Array.of(depth))
      const plan = planLevel(nreached, nvertices, active, nstrips)
      const direction = only ?? plan.direction
      const runs = direction === plan.direction ? plan.runs : [{ first: 0, count: nstrips }]
      for (const { first, count } of runs) this.#launch(direction, first, count)
      const found = await this.#read(progress)
      nreached = found[0]
      active = found.slice(PROGRESS_BLOCKS)
    }
    return { root, parents: await this.#read(parents), levels: await this.#read(levels) }
  }

  #launch(direction: Direction, first: number, count: number): void {
    const window = this.#window
    if (window === null) {
      this.#dispatch(direction, this.#sets[0], first, count)
      return
    }
    for (let done = 0; done < count; done += window) {
      const part = Math.min(window, count - done)
      const set = this.#sets[this.#nuploads++ % this.#sets.length]
      this.#upload(set, first + done, part)
      this.#dispatch(direction, set, 0, part)
    }
  }

  #upload({ owners, columns }: StripBuffers, first: number, count: number): void {
    this.#write(owners, this.#strips.owners.subarray(first, first + count))
    this.#write(columns, this.#strips.columns.subarray(STRIP * first, STRIP * (first + count)))
  }

  #dispatch(direction: Direction, set: StripBuffers, first: number, count: number): void {
    const device = this.#device
    const pipeline = this.#pipelines[direction]
    const nstrips = Math.ceil(count / WORKGROUP) * WORKGROUP
    const { firsts, parents, levels, progress } = this.#vertices
    const resources: GPUBufferBinding[] = [
      { buffer: set.owners, offset: 4 * first, size: 4 * nstrips },
      { buffer: set.columns, offset: 4 * STRIP * first, size: 4 * STRIP * nstrips },
      ...[firsts, parents, levels, progress, this.#depth].map((buffer) => ({ buffer })),
    ]
    const entries = resources.map((resource, binding) => ({ binding, resource }))
    const encoder = device.createCommandEncoder()
    const pass = encoder.beginComputePass()
    pass.setPipeline(pipeline)
    pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }))
    pass.dispatchWorkgroups(nstrips / WORKGROUP)
    pass.end()
    device.queue.submit([encoder.finish()])
  }

  #buffer(length: number): GPUBuffer {
    const usage = BUFFER_STORAGE | BUFFER_COPY_DST | BUFFER_COPY_SRC
    return this.#device.createBuffer({ size: 4 * length, usage })
  }

  #write(buffer: GPUBuffer, words: Uint32Array): void {
    this.#device.queue.writeBuffer(buffer, 0, words as Words)
  }

  async #read(source: GPUBuffer): Promise<Words> {
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
