// The buffers of paged execution that do not belong to the pages: what was missed, who has to be replayed, what was written, the log
// and the journal. Made once for a device and grown when they are too small.

import type { PageProvider } from './page-provider.ts'
import { usesScratch } from './paged-pipeline.ts'
import { FAULT_WORDS, PAGED_BINDINGS, type PagedProgram } from './paged-program.ts'
import { MARK_WORDS } from './slice-size.ts'
import { ENTRY_WORDS } from './waiting.ts'

const USAGE = { mapRead: 1, copySrc: 4, copyDst: 8, uniform: 64, storage: 128 } as const

/** Entries of the list of missed pages, where nobody says how many. */
const FAULT_CAPACITY = 4096

/** A uniform of a launch begins at a multiple of this, in bytes. */
const UNIFORM_ALIGN = 256

export class PagedBuffers {
  readonly device: GPUDevice
  /** A word for each frame that was written, one for what was absent, and one for each frame that was looked up. */
  readonly dirty: GPUBuffer
  /** Words of the fault buffer that a thorough round uses. */
  faultWords = 0
  /** Of these, what the host wants to know: everything but the bits of pages. */
  readonly listWords: number
  /** Entries of each of the two lists of pages. */
  readonly faultCapacity: number
  readonly frameCount: number
  private faultBuffer: GPUBuffer
  private readbackBuffer: GPUBuffer
  private uniformBuffer: GPUBuffer | null = null
  private lastGroup: { parts: readonly unknown[]; group: GPUBindGroup } | null = null
  private queueBuffer: GPUBuffer
  private scratchBuffer: GPUBuffer
  private atomicsBuffer: GPUBuffer | null = null
  private queueEntries = 0

  /** `faultCapacity`: entries of the list of missed pages. */
  constructor(device: GPUDevice, provider: PageProvider, faultCapacity: number = FAULT_CAPACITY) {
    this.device = device
    // A list that is longer than what can be pinned would only be split.
    this.faultCapacity = Math.max(1, Math.min(faultCapacity, provider.capacity))
    this.frameCount = provider.frameCount
    this.listWords = FAULT_WORDS + 2 * this.faultCapacity
    this.faultBuffer = this.storage('hetmem faults', Math.max(this.listWords, MARK_WORDS))
    this.reserveFaults(provider.pageCount)
    this.dirty = this.storage('hetmem dirty', this.dirtyWords)
    this.readbackBuffer = this.readbackOf(this.listWords)
    this.queueBuffer = this.storage('hetmem queue', 4)
    this.scratchBuffer = this.storage('hetmem scratch', 4)
  }

  get byteLength(): number {
    const { dirty, faultBuffer, readbackBuffer, queueBuffer, scratchBuffer, atomicsBuffer, uniformBuffer } = this
    const buffers = [dirty, faultBuffer, readbackBuffer, queueBuffer, scratchBuffer, atomicsBuffer, uniformBuffer]
    return buffers.reduce((sum, buffer) => sum + (buffer?.size ?? 0), 0)
  }

  get dirtyWords(): number {
    return 2 * this.frameCount + 1
  }

  get faults(): GPUBuffer {
    return this.faultBuffer
  }

  /** A part of the fault buffer, then the dirty words: all that the host wants to know after a round. */
  get readback(): GPUBuffer {
    return this.readbackBuffer
  }

  get queue(): GPUBuffer {
    return this.queueBuffer
  }

  get scratch(): GPUBuffer {
    return this.scratchBuffer
  }

  /** Arguments that are bound directly; of the launch that reserved it. */
  get atomics(): GPUBuffer {
    if (this.atomicsBuffer === null) throw new Error('nothing is bound directly')
    return this.atomicsBuffer
  }

  /** Words of a half of the queue, of which one is read while the other is written. */
  get queueHalf(): number {
    return ENTRY_WORDS * this.queueEntries
  }

  /** Room for the bits of so many pages. */
  reserveFaults(pageCount: number): void {
    this.faultWords = this.listWords + Math.ceil(pageCount / 8)
    if (4 * this.faultWords <= this.faultBuffer.size) return
    this.faultBuffer.destroy()
    this.faultBuffer = this.storage('hetmem faults', this.faultWords)
  }

  /** Room to read back a bit of each of so many transactions, which are in the place of the faults. */
  reserveMarks(transactions: number): void {
    const words = Math.ceil(transactions / 32) + 1
    if (4 * (words + this.dirtyWords) > this.readbackBuffer.size) {
      this.readbackBuffer.destroy()
      this.readbackBuffer = this.readbackOf(words)
    }
  }

  /** Room for so many transactions that are replayed. What was in the queue is lost. */
  reserveQueue(entries: number): void {
    if (entries <= this.queueEntries) return
    this.queueBuffer.destroy()
    this.queueEntries = entries
    this.queueBuffer = this.storage('hetmem queue', 2 * ENTRY_WORDS * entries)
  }

  /** Room for so many words that are bound directly. What was there is lost. */
  reserveAtomics(words: number): void {
    if (this.atomicsBuffer !== null && 4 * words <= this.atomicsBuffer.size) return
    this.atomicsBuffer?.destroy()
    this.atomicsBuffer = this.storage('hetmem atomics', words)
  }

  /** Room for a journal and a log; the first `keep` words stay what they are. */
  reserveScratch(words: number, keep: number): void {
    if (4 * words <= this.scratchBuffer.size) return
    const old = this.scratchBuffer
    this.scratchBuffer = this.storage('hetmem scratch', words)
    if (keep > 0) {
      const encoder = this.device.createCommandEncoder()
      encoder.copyBufferToBuffer(old, 0, this.scratchBuffer, 0, 4 * keep)
      this.device.queue.submit([encoder.finish()])
    }
    old.destroy()
  }

  /** The uniforms of a launch, in the buffer that those of the last one had. */
  uniforms(values: readonly Uint8Array[], block: Uint32Array<ArrayBuffer>): UniformBuffers {
    const blockBytes = roundUp(block.byteLength, UNIFORM_ALIGN)
    const sizes = values.map(({ byteLength }) => roundUp(byteLength, UNIFORM_ALIGN))
    const size = sizes.reduce((sum, each) => sum + each, blockBytes)
    let buffer = this.uniformBuffer
    if (buffer === null || buffer.size < size) {
      buffer?.destroy()
      buffer = this.device.createBuffer({ label: 'hetmem launch', size, usage: USAGE.uniform | USAGE.copyDst })
      this.uniformBuffer = buffer
    }
    const ranges: GPUBufferBinding[] = []
    let offset = blockBytes
    for (const [i, bytes] of values.entries()) {
      this.device.queue.writeBuffer(buffer, offset, new Uint8Array(bytes))
      ranges.push({ buffer, offset, size: roundUp(bytes.byteLength, 16) })
      offset += sizes[i]
    }
    return { buffer, block: { buffer, offset: 0, size: block.byteLength }, ranges }
  }

  bindGroup(
    layout: GPUBindGroupLayout,
    program: PagedProgram,
    provider: PageProvider,
    uniforms: UniformBuffers,
  ): GPUBindGroup {
    const buffers = [provider.pool, provider.table, this.faults, this.queue, this.dirty]
    const sizes = [uniforms.block, ...uniforms.ranges].map(({ size }) => size)
    const morePools = provider.morePools ?? []
    const parts = [layout, ...buffers, ...morePools, this.scratch, this.atomicsBuffer, uniforms.buffer, ...sizes]
    const last = this.lastGroup
    if (last !== null && last.parts.length === parts.length && last.parts.every((part, i) => part === parts[i])) {
      return last.group
    }
    const entries: GPUBindGroupEntry[] = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }))
    morePools.forEach((buffer, i) => {
      entries.push({ binding: PAGED_BINDINGS.banks + 1 + i, resource: { buffer } })
    })
    if (usesScratch(program)) entries.push({ binding: 5, resource: { buffer: this.scratch } })
    if (program.boundArgs.length > 0) {
      entries.push({ binding: PAGED_BINDINGS.atomics, resource: { buffer: this.atomics } })
    }
    entries.push({ binding: 6, resource: uniforms.block })
    program.uniforms.forEach(({ binding }, i) => {
      entries.push({ binding, resource: uniforms.ranges[i] })
    })
    const group = this.device.createBindGroup({ label: program.name, layout, entries })
    this.lastGroup = { parts, group }
    return group
  }

  /** Words of a storage buffer, copied to the CPU; waits as the provider does. */
  async read(
    provider: PageProvider,
    buffer: GPUBuffer,
    firstWord: number,
    words: number,
  ): Promise<Uint32Array<ArrayBuffer>> {
    const staging = this.device.createBuffer({ size: Math.max(4, 4 * words), usage: USAGE.mapRead | USAGE.copyDst })
    const encoder = this.device.createCommandEncoder()
    encoder.copyBufferToBuffer(buffer, 4 * firstWord, staging, 0, 4 * words)
    this.device.queue.submit([encoder.finish()])
    try {
      const mapped = staging.mapAsync(USAGE.mapRead)
      await (provider.finish?.(mapped) ?? mapped)
      return new Uint32Array(staging.getMappedRange().slice(0))
    } finally {
      staging.destroy()
    }
  }

  destroy(): void {
    for (const buffer of [this.faults, this.dirty, this.readback, this.queueBuffer, this.scratchBuffer])
      buffer.destroy()
    this.atomicsBuffer?.destroy()
    this.uniformBuffer?.destroy()
  }

  private readbackOf(words: number): GPUBuffer {
    const size = 4 * (words + this.dirtyWords)
    return this.device.createBuffer({ label: 'hetmem readback', size, usage: USAGE.mapRead | USAGE.copyDst })
  }

  private storage(label: string, words: number): GPUBuffer {
    const usage = USAGE.storage | USAGE.copySrc | USAGE.copyDst
    return this.device.createBuffer({ label, size: Math.max(16, 4 * words), usage })
  }
}

export interface UniformBuffers {
  readonly buffer: GPUBuffer
  readonly block: GPUBufferBinding
  readonly ranges: readonly GPUBufferBinding[]
}

function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple
}
