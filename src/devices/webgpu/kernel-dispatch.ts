// Slices of kernels on the GPU: bindings, launch blocks, dispatches. Nothing here waits, so what is recorded can be submitted at the
// very moment at which the pages are known to be in place.

import type { Dispatch } from '../../kernel/dispatches.ts'
import { type KernelLaunch, type ProgramForm, UNIFORM_ALIGN } from '../../kernel/program.ts'
import { STRAY_BYTES } from '../../kernel/program-code.ts'
import { type LaunchSlice, launchBlock, launchBlockBytes } from '../../kernel/slices.ts'
import { BindGroups, type BlockOffsets } from './bind-groups.ts'
import type { GpuContext } from './gpu-context.ts'
import type { GpuBinding } from './gpu-launch.ts'
import type { KernelPipeline } from './kernel-pipelines.ts'
import { settled } from './waits.ts'
import {
  BUFFER_COPY_DST,
  BUFFER_COPY_SRC,
  BUFFER_MAP_READ,
  BUFFER_STORAGE,
  BUFFER_UNIFORM,
  MAP_READ,
} from './webgpu-flags.ts'

/** A slice that is to run, and where its bindings lie. */
export interface SliceCommand {
  readonly launch: KernelLaunch
  readonly slice: LaunchSlice
  readonly dispatches: readonly Dispatch[]
  /** For each form that the dispatches have. */
  readonly pipelines: Readonly<Partial<Record<ProgramForm, KernelPipeline>>>
  /** In the order of `program.bindings`. */
  readonly places: readonly GpuBinding[]
}

/** Accesses of strict programs to elements that they were not given. */
export interface Strays {
  readonly count: number
  /** The first one that was noted. */
  readonly argument: number
  readonly write: boolean
  readonly index: number
  readonly invocation: readonly [number, number, number]
}

/** Runs kernels on one device, whole or in slices. */
export class KernelDispatcher {
  private readonly context: GpuContext
  /** Launch blocks and uniforms of one submission. The queue works in order, so each may write them anew. */
  private blocks: GPUBuffer | null = null
  /** What is in there. */
  private written: Uint8Array = new Uint8Array()
  private readonly groups = new BindGroups()
  /** Where strict programs count, and where that is read. */
  private strays: { readonly counted: GPUBuffer; readonly read: GPUBuffer } | null = null

  constructor(context: GpuContext) {
    this.context = context
  }

  /** Workgroups of one dispatch in each dimension, at most. */
  get workgroupsMax(): number {
    return this.context.device.limits.maxComputeWorkgroupsPerDimension
  }

  /** Submits slices, in order, as one submission. */
  submit(commands: readonly SliceCommand[]): void {
    const bytes = new BlockBytes()
    const dispatches = commands.flatMap((command) => {
      const { launch, slice, pipelines } = command
      const uniforms = bytes.add(launch.uniforms)
      return command.dispatches.map(({ form, box }) => {
        const block = bytes.add(new Uint8Array(launchBlock(launch, slice, box).buffer))
        return { command, pipeline: pipelines[form]!, box, at: { block, uniforms } }
      })
    })
    const blocks = this.writeBlocks(bytes)
    this.context.submit((encoder) => {
      const pass = encoder.beginComputePass()
      // What is set stays set; setting it again costs as much as the dispatch.
      let pipelineSet: GPUComputePipeline | null = null
      let groupSet: GPUBindGroup | null = null
      for (const { command, pipeline, box, at } of dispatches) {
        const { layout } = pipeline
        const { uniforms } = command.launch.program
        const bound = { layout, places: command.places, uniforms, at }
        const group = this.groups.get(bound, () => this.bind(command, layout, blocks, at))
        if (pipeline.pipeline !== pipelineSet) pass.setPipeline(pipeline.pipeline)
        if (group !== groupSet) pass.setBindGroup(0, group)
        pipelineSet = pipeline.pipeline
        groupSet = group
        pass.dispatchWorkgroups(...box.size)
      }
      pass.end()
    })
  }

  /** Forgets strays that were counted before. */
  clearStrays(): void {
    const { counted } = this.stray()
    this.context.submit((encoder) => encoder.clearBuffer(counted))
  }

  /** What strict programs have counted since; null if nothing. Rejects when the device is lost. */
  async readStrays(): Promise<Strays | null> {
    const { counted, read } = this.stray()
    this.context.submit((encoder) => encoder.copyBufferToBuffer(counted, 0, read, 0, STRAY_BYTES))
    await settled(this.context.device.queue, read.mapAsync(MAP_READ))
    const [count, argument, write, index, x, y, z] = new Uint32Array(read.getMappedRange().slice(0))
    read.unmap()
    return count === 0 ? null : { count, argument, write: write === 1, index, invocation: [x, y, z] }
  }

  /** Gives the buffers back that it has made. */
  destroy(): void {
    this.blocks?.destroy()
    this.strays?.counted.destroy()
    this.strays?.read.destroy()
  }

  private bind(
    { launch: { program }, places }: SliceCommand,
    layout: GPUBindGroupLayout,
    blocks: GPUBuffer,
    at: BlockOffsets,
  ): GPUBindGroup {
    const entries: GPUBindGroupEntry[] = places.map((resource, i) => ({
      binding: program.bindings[i].binding,
      resource,
    }))
    if (program.faultBinding !== null) {
      entries.push({ binding: program.faultBinding, resource: { buffer: this.stray().counted } })
    }
    const size = launchBlockBytes(program.args.length)
    entries.push({ binding: program.launchBinding, resource: { buffer: blocks, offset: at.block, size } })
    let offset = at.uniforms
    for (const uniform of program.uniforms) {
      const nbytes = Math.ceil(uniform.size / 16) * 16
      entries.push({ binding: uniform.binding, resource: { buffer: blocks, offset, size: nbytes } })
      offset += Math.ceil(uniform.size / UNIFORM_ALIGN) * UNIFORM_ALIGN
    }
    return this.context.device.createBindGroup({ label: program.name, layout, entries })
  }

  private writeBlocks(bytes: BlockBytes): GPUBuffer {
    const data = bytes.concat()
    if (this.blocks === null || this.blocks.size < data.byteLength) {
      this.blocks?.destroy()
      this.groups.clear()
      const size = Math.max(BLOCKS_BYTES_MIN, 2 ** Math.ceil(Math.log2(data.byteLength)))
      const usage = BUFFER_UNIFORM | BUFFER_COPY_DST
      this.blocks = this.context.device.createBuffer({ label: 'hetmem launch blocks', size, usage })
      this.written = new Uint8Array()
    }
    // A launch is often the one before once more.
    if (!isPrefix(data, this.written)) {
      this.context.device.queue.writeBuffer(this.blocks, 0, data)
      this.written = data
    }
    return this.blocks
  }

  private stray(): { readonly counted: GPUBuffer; readonly read: GPUBuffer } {
    const buffer = (usage: number) =>
      this.context.device.createBuffer({ label: 'hetmem strays', size: STRAY_BYTES, usage })
    this.strays ??= {
      counted: buffer(BUFFER_STORAGE | BUFFER_COPY_SRC | BUFFER_COPY_DST),
      read: buffer(BUFFER_MAP_READ | BUFFER_COPY_DST),
    }
    return this.strays
  }
}

const BLOCKS_BYTES_MIN = 64 * 1024

function isPrefix(bytes: Uint8Array, of: Uint8Array): boolean {
  if (bytes.length > of.length) return false
  for (let i = 0; i < bytes.length; i++) if (bytes[i] !== of[i]) return false
  return true
}

/** Blocks, each where a uniform binding can begin. What is the same lies there once. */
class BlockBytes {
  private readonly parts: { readonly bytes: Uint8Array; readonly offset: number }[] = []
  private readonly known = new Map<string, number>()
  private end = 0

  /** Returns where it lies. */
  add(bytes: Uint8Array): number {
    const key = bytes.join()
    const known = this.known.get(key)
    if (known !== undefined) return known
    const offset = this.end
    this.known.set(key, offset)
    this.parts.push({ bytes, offset })
    this.end += Math.ceil(bytes.byteLength / UNIFORM_ALIGN) * UNIFORM_ALIGN
    return offset
  }

  concat(): Uint8Array<ArrayBuffer> {
    const all = new Uint8Array(this.end)
    for (const { bytes, offset } of this.parts) all.set(bytes, offset)
    return all
  }
}
