// One dispatch of a paged program, and what the host wants to know after it, read back in one piece. There are two forms of a program:
//
//   thorough     finds out what each transaction missed, and puts those that were stopped into the queue
//   optimistic   expects nothing to be missing and costs half as much: a bit for each transaction that was stopped, and no reason
//
// The optimistic form has no branches for what does not happen: on devices that run all branches with masks, these cost as much as the
// kernel itself. Who was stopped is run again by the thorough form.

import type { PageProvider } from './page-provider.ts'
import type { PagedBuffers, UniformBuffers } from './paged-buffers.ts'
import type { PagedPipeline } from './paged-pipeline.ts'
import { FAULT_WORDS, INVOCATION_WORKGROUP, LAUNCH } from './paged-program.ts'

const MAP_READ = 1

export interface RoundParts {
  readonly device: GPUDevice
  readonly provider: PageProvider
  readonly buffers: PagedBuffers
  readonly pipeline: PagedPipeline
  readonly uniforms: UniformBuffers
  /** The launch block; whoever runs a round sets what is special to it. */
  readonly block: Uint32Array<ArrayBuffer>
}

/** What `read` makes of the header and the list of faults, with the frames that were written. */
export async function thoroughRound<T>(parts: RoundParts, read: (words: Uint32Array) => T): Promise<T> {
  const { faultCapacity, faultWords } = parts.buffers
  return await round(parts, parts.pipeline.thorough, FAULT_WORDS + faultCapacity, faultWords, read)
}

/** The transactions that were stopped, by their places in the slice. */
export async function optimisticRound(parts: RoundParts): Promise<number[]> {
  const { pipeline, provider, block, buffers } = parts
  const count = block[LAUNCH.count]
  const words = Math.ceil(count / 32)
  buffers.reserveMarks(count)
  const across = pipeline.program.scope === 'workgroup' ? LAUNCH.groups : LAUNCH.extent
  const isLinear = block[across + 1] * block[across + 2] === 1
  const form = await pipeline.optimistic(provider.pool.size / 4, provider.table.size / 4, isLinear)
  return await round(parts, form, words, words, (marks) => {
    const stopped: number[] = []
    marks.forEach((word, i) => {
      for (let rest = word; rest !== 0; rest &= rest - 1) stopped.push(32 * i + 31 - Math.clz32(rest & -rest))
    })
    return stopped
  })
}

/** Dispatches, with so many words of the fault buffer read back and so many cleared before. */
async function round<T>(
  parts: RoundParts,
  form: GPUComputePipeline,
  nread: number,
  ncleared: number,
  read: (words: Uint32Array) => T,
): Promise<T> {
  const { device, provider, buffers, pipeline, uniforms, block } = parts
  const { program, layout } = pipeline
  device.queue.writeBuffer(uniforms.buffer, 0, block)
  const encoder = device.createCommandEncoder()
  encoder.clearBuffer(buffers.faults, 0, 4 * ncleared)
  encoder.clearBuffer(buffers.dirty)
  const pass = encoder.beginComputePass({ label: program.name })
  pass.setPipeline(form)
  pass.setBindGroup(0, buffers.bindGroup(layout, program, provider, uniforms))
  const count = block[LAUNCH.count]
  pass.dispatchWorkgroups(program.scope === 'workgroup' ? count : Math.ceil(count / INVOCATION_WORKGROUP))
  pass.end()
  const { readback, frameCount } = buffers
  const size = 4 * (nread + frameCount)
  encoder.copyBufferToBuffer(buffers.faults, 0, readback, 0, 4 * nread)
  encoder.copyBufferToBuffer(buffers.dirty, 0, readback, 4 * nread, 4 * frameCount)
  device.queue.submit([encoder.finish()])
  const mapped = readback.mapAsync(MAP_READ, 0, size)
  await (provider.finish?.(mapped) ?? mapped)
  try {
    const words = new Uint32Array(readback.getMappedRange(0, size))
    const dirty: number[] = []
    for (let frame = 0; frame < frameCount; frame++) if (words[nread + frame] !== 0) dirty.push(frame)
    provider.noteDirty(dirty)
    return read(words.subarray(0, nread))
  } finally {
    readback.unmap()
  }
}
