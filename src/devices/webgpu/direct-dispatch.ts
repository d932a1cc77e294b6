// One slice on the GPU: pipeline, bindings into the pool, dispatch. Nothing here waits but the compilation of a kernel, so a
// dispatch can be submitted at the very moment at which its pages are known to be in place.

import { BINDING_ALIGN, type DirectKernel, type Slice } from './direct-kernel.ts'
import { packSlice, SLICE_BYTES } from './direct-slice.wgsl.ts'
import { type GpuContext, GpuError } from './gpu-context.ts'
import type { GpuBinding } from './gpu-launch.ts'
import { BUFFER_COPY_DST, BUFFER_UNIFORM, STAGE_COMPUTE } from './webgpu-flags.ts'

/** A kernel that was compiled for a device. */
export interface CompiledKernel {
  readonly kernel: DirectKernel
  readonly pipeline: GPUComputePipeline
  readonly layout: GPUBindGroupLayout
}

export class DirectDispatcher {
  private readonly context: GpuContext
  private readonly compiled = new WeakMap<DirectKernel, Promise<CompiledKernel>>()
  /** Slices run in order, and so do the writes to their parameters: one place is enough for all. */
  private readonly sliceBuffer: GPUBuffer
  private uniformBuffer: GPUBuffer | null = null

  constructor(context: GpuContext) {
    this.context = context
    this.sliceBuffer = this.makeUniformBuffer('hetmem slice', SLICE_BYTES)
  }

  /** Compiles a kernel, once. Rejects with a GpuError that has the compiler's message. */
  compile(kernel: DirectKernel): Promise<CompiledKernel> {
    const known = this.compiled.get(kernel)
    if (known !== undefined) return known
    const compiling = this.compileNew(kernel)
    this.compiled.set(kernel, compiling)
    return compiling
  }

  /** Submits a slice. `places` says where each argument of it lies. */
  submit(
    compiled: CompiledKernel,
    slice: Slice,
    places: readonly GpuBinding[],
    uniforms: Uint8Array<ArrayBuffer> | null,
  ): void {
    const { kernel, pipeline, layout } = compiled
    const { device } = this.context
    const entries: GPUBindGroupEntry[] = []
    const skips: number[] = []
    places.forEach(({ buffer, offset, size }, binding) => {
      const skip = offset % BINDING_ALIGN
      skips.push(skip / 4)
      entries.push({ binding, resource: { buffer, offset: offset - skip, size: size + skip } })
    })
    device.queue.writeBuffer(this.sliceBuffer, 0, packSlice(slice.first, slice.count, skips))
    entries.push({ binding: entries.length, resource: { buffer: this.sliceBuffer } })
    if (uniforms !== null) {
      const buffer = this.uniformsOf(uniforms)
      entries.push({ binding: entries.length, resource: { buffer, size: roundUp16(uniforms.byteLength) } })
    }
    const bindGroup = device.createBindGroup({ label: kernel.name, layout, entries })
    this.context.submit((encoder) => {
      const pass = encoder.beginComputePass({ label: kernel.name })
      pass.setPipeline(pipeline)
      pass.setBindGroup(0, bindGroup)
      pass.dispatchWorkgroups(Math.ceil(slice.count / kernel.workgroupSize))
      pass.end()
    })
  }

  destroy(): void {
    this.sliceBuffer.destroy()
    this.uniformBuffer?.destroy()
  }

  private async compileNew(kernel: DirectKernel): Promise<CompiledKernel> {
    const { device } = this.context
    const types: GPUBufferBindingType[] = [...kernel.args.map(() => 'storage' as const), 'uniform']
    if (kernel.uniformBytes > 0) types.push('uniform')
    const entries = types.map((type, binding) => ({ binding, visibility: STAGE_COMPUTE, buffer: { type } }))
    const layout = device.createBindGroupLayout({ label: kernel.name, entries })
    device.pushErrorScope('validation')
    const module = device.createShaderModule({ label: kernel.name, code: kernel.code })
    const scope = device.popErrorScope()
    try {
      const pipeline = await device.createComputePipelineAsync({
        label: kernel.name,
        layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
        compute: { module, entryPoint: 'main' },
      })
      return { kernel, pipeline, layout }
    } catch (error) {
      const message = (await scope)?.message ?? (error instanceof Error ? error.message : String(error))
      throw new GpuError(`kernel ${kernel.name} does not compile: ${message}`)
    }
  }

  /** Writes the uniforms of the next dispatch. */
  private uniformsOf(uniforms: Uint8Array<ArrayBuffer>): GPUBuffer {
    const nbytes = roundUp16(uniforms.byteLength)
    if (this.uniformBuffer === null || this.uniformBuffer.size < nbytes) {
      this.uniformBuffer?.destroy()
      this.uniformBuffer = this.makeUniformBuffer('hetmem uniforms', nbytes)
    }
    const padded = new Uint8Array(nbytes)
    padded.set(uniforms)
    this.context.device.queue.writeBuffer(this.uniformBuffer, 0, padded)
    return this.uniformBuffer
  }

  private makeUniformBuffer(label: string, size: number): GPUBuffer {
    return this.context.device.createBuffer({ label, size, usage: BUFFER_UNIFORM | BUFFER_COPY_DST })
  }
}

function roundUp16(nbytes: number): number {
  return Math.ceil(nbytes / 16) * 16
}
