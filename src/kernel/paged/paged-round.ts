// One dispatch of a paged program, and what the host wants to know after it, read back in one piece. There are two forms of a program:
//
//   thorough     finds out what each transaction missed, and puts those that were stopped into the queue
//   optimistic   expects nothing to be missing and costs half as much: a bit for each transaction that was stopped, and no reason
//
// The optimistic one keeps the log in a few registers, or for transactions that store more in memory, which takes longer (roomy).
//
// The optimistic form has no branches for what does not happen: on devices that run all branches with masks, these cost as much as the
// kernel itself. Who was stopped is run again by the thorough form.

import { tornFault } from './gpu-fault-error.ts'
import type { PageProvider } from './page-provider.ts'
import type { PagedBuffers, UniformBuffers } from './paged-buffers.ts'
import { invocationsOf } from './paged-launch.ts'
import type { PagedPipeline } from './paged-pipeline.ts'
import { chainWords, INVOCATION_WORKGROUP, LAUNCH, MARK_FIRST, MARK_TORN, MODE_REPLAY } from './paged-program.ts'

const MAP_READ = 1

/** Few transactions are in so many workgroups, if each of them has so many. */
const SPREAD_WORKGROUPS = 8
const SPREAD_INVOCATIONS = 4

export interface RoundParts {
  readonly device: GPUDevice
  readonly provider: PageProvider
  readonly buffers: PagedBuffers
  readonly pipeline: PagedPipeline
  readonly uniforms: UniformBuffers
  /** The launch block; whoever runs a round sets what is special to it. */
  readonly block: Uint32Array<ArrayBuffer>
}

/**
 * What `read` makes of the header and the list of faults, with the frames that were written. `present` has bits of the arguments that are all
 * there, for transactions that only look up their rows beside them (scouting); null for all others.
 */
export async function thoroughRound<T>(
  parts: RoundParts,
  present: number | null,
  read: (words: Uint32Array) => T,
): Promise<T> {
  const { buffers, pipeline } = parts
  const form = present === null ? pipeline.thorough : await pipeline.scouting(wordsOf(parts), present)
  return await round(parts, { form, isRoomy: true }, buffers.listWords, buffers.faultWords, read)
}

const wordsOf = ({ provider: { pool, table }, buffers }: RoundParts) => {
  return { pool: pool.size / 4, table: table.size / 4, dirty: buffers.dirtyWords }
}

/** The transactions that were stopped, by their places in the slice or in the queue. `isRoomy`: they store much. Rejects with a GpuFaultError if one had begun to store. */
export async function optimisticRound(parts: RoundParts, isRoomy: boolean): Promise<number[]> {
  const { pipeline, block, buffers } = parts
  const count = block[LAUNCH.count]
  const words = Math.ceil(count / 32)
  buffers.reserveMarks(count)
  const across = pipeline.program.scope === 'workgroup' ? LAUNCH.groups : LAUNCH.extent
  const isLinear = block[across + 1] * block[across + 2] === 1
  const isReplay = block[LAUNCH.mode] === MODE_REPLAY
  const form = await pipeline.optimistic(wordsOf(parts), {
    isLinear,
    isReplay,
    isRoomy,
  })
  return await round(parts, { form, isRoomy, isSpread: isReplay }, words + 1, words + 1, (marks) => {
    const stopped: number[] = []
    if (marks[MARK_TORN] !== 0) throw tornFault(pipeline.program.name)
    marks.subarray(MARK_FIRST, MARK_FIRST + words).forEach((word, i) => {
      for (let rest = word; rest !== 0; rest &= rest - 1) stopped.push(32 * i + 31 - Math.clz32(rest & -rest))
    })
    return stopped
  })
}

/** Dispatches, with so many words of the fault buffer read back and so many cleared before. */
async function round<T>(
  parts: RoundParts,
  { form, isRoomy, isSpread = false }: { form: GPUComputePipeline; isRoomy: boolean; isSpread?: boolean },
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
  if (program.logEntryWords > 0 && isRoomy) {
    const [at, words] = chainWords(program, block, block[LAUNCH.count] * invocationsOf(program))
    encoder.clearBuffer(buffers.scratch, 4 * at, 4 * words)
  }
  const pass = encoder.beginComputePass({ label: program.name })
  pass.setPipeline(form)
  pass.setBindGroup(0, buffers.bindGroup(layout, program, provider, uniforms))
  const count = block[LAUNCH.count]
  pass.dispatchWorkgroups(program.scope === 'workgroup' ? count : workgroupsOf(count, isSpread))
  pass.end()
  const { readback, frameCount, dirtyWords } = buffers
  const size = 4 * (nread + dirtyWords)
  encoder.copyBufferToBuffer(buffers.faults, 0, readback, 0, 4 * nread)
  encoder.copyBufferToBuffer(buffers.dirty, 0, readback, 4 * nread, 4 * dirtyWords)
  device.queue.submit([encoder.finish()])
  const mapped = readback.mapAsync(MAP_READ, 0, size)
  await (provider.finish?.(mapped) ?? mapped)
  try {
    const words = new Uint32Array(readback.getMappedRange(0, size))
    provider.noteDirty(marked(words.subarray(nread, nread + frameCount)))
    provider.noteUsed?.(marked(words.subarray(nread + frameCount + 1)))
    return read(words.subarray(0, nread))
  } finally {
    readback.unmap()
  }
}

/** Workgroups for so many invocations, each as full as it can be, or as many as keep a device busy. */
function workgroupsOf(count: number, isSpread: boolean): number {
  const full = Math.ceil(count / INVOCATION_WORKGROUP)
  return isSpread ? Math.max(full, Math.min(SPREAD_WORKGROUPS, Math.ceil(count / SPREAD_INVOCATIONS))) : full
}

/** The indices of words that are not 0. */
function marked(words: Uint32Array): number[] {
  const found: number[] = []
  words.forEach((word, i) => {
    if (word !== 0) found.push(i)
  })
  return found
}
