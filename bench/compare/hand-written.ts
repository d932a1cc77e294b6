// What programs in plain WebGPU have in common: the kernels of a heap with bindings of their own, and two sets of buffers by turns.

import { BUFFER_COPY_DST, BUFFER_UNIFORM } from '../../src/devices/webgpu/webgpu-flags.ts'
import type { KernelArguments } from '../../src/index.ts'
import { PlainGpu, type PlainKernel } from '../webgpu/plain-gpu.ts'

/** What a kernel of a heap is made of. Its counts are whole workgroups, so it needs no guard here either. */
export interface SharedKernel {
  readonly name: string
  readonly args: KernelArguments
  readonly code: string
}

export type Words = Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>

/** The same kernel with a buffer for each argument, in their order. */
export function plainKernel(gpu: PlainGpu, { args, code }: SharedKernel, buffers: readonly GPUBuffer[]): PlainKernel {
  const declarations = Object.entries(args).map(([name, arg], binding) => {
    const { wgsl } = arg.type
    const at = `@group(0) @binding(${binding})`
    if (arg.kind === 'uniform') return `${at} var<uniform> ${name}: ${wgsl};`
    return `${at} var<storage, ${arg.access === 'read' ? 'read' : 'read_write'}> ${name}: array<${wgsl}>;`
  })
  return gpu.kernel(`${declarations.join('\n')}\n${code}`, buffers)
}

/** A storage buffer with these contents. */
export function bufferOf(gpu: PlainGpu, words: Words): GPUBuffer {
  const buffer = gpu.buffer(words.byteLength)
  gpu.device.queue.writeBuffer(buffer, 0, words)
  return buffer
}

/** A buffer for a uniform of one or two words. */
export function uniformBuffer(gpu: PlainGpu): GPUBuffer {
  return gpu.device.createBuffer({ size: 8, usage: BUFFER_UNIFORM | BUFFER_COPY_DST })
}

/** The bytes of a part of an array, for `PlainGpu.read`. */
export function bytesOf(words: Words, from = 0, to = words.length): Uint8Array<ArrayBuffer> {
  return new Uint8Array(words.buffer, words.byteOffset + 4 * from, 4 * (to - from))
}

/** A part of all work: elements from `from` to `to`. */
export interface Part {
  readonly from: number
  readonly to: number
}

/**
 * Two sets of buffers by turns: while the device computes in one, the other is filled. Each set is made with a PlainGpu of its own,
 * which reads back through a staging buffer of its own.
 */
export class TwoSets<Set> {
  readonly #sets: readonly Set[]

  constructor(gpu: PlainGpu, make: (gpu: PlainGpu) => Set) {
    this.#sets = [0, 1].map(() => make(new PlainGpu(gpu.device)))
  }

  /** Does all parts of a length; `work` resolves when nothing of the set is needed any more. */
  async run(length: number, partLength: number, work: (set: Set, part: Part) => Promise<void>): Promise<void> {
    const pending: Promise<void>[] = []
    for (let from = 0, i = 0; from < length; from += partLength, i++) {
      if (i >= 2) await pending[i - 2]
      pending.push(work(this.#sets[i % 2], { from, to: Math.min(from + partLength, length) }))
    }
    await Promise.all(pending)
  }
}
