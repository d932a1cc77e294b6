// WebGPU as one would write it by hand: what the heap is compared with. Buffers, one pipeline at a time, and the ways of getting
// data to the device and back that are best where everything is known beforehand.

import { findAdapter } from '../../src/devices/webgpu/adapter.ts'
import {
  BUFFER_COPY_DST,
  BUFFER_COPY_SRC,
  BUFFER_MAP_READ,
  BUFFER_STORAGE,
  MAP_READ,
} from '../../src/devices/webgpu/webgpu-flags.ts'

/** Bytes of a piece of an upload; larger and smaller ones take longer. */
const PIECE_BYTES = 2 * 2 ** 20

/** Bytes of a piece on its way back, and how many are; larger and smaller ones take longer, 8 MiB a third. They divide what is read. */
const READ_PIECE_BYTES = 2 * 2 ** 20
const READS_IN_FLIGHT = 3

/** Turns in which ways to do the same are compared. */
const TRIALS = 5

export interface PlainKernel {
  readonly pipeline: GPUComputePipeline
  readonly group: GPUBindGroup
}

export class PlainGpu {
  readonly device: GPUDevice
  #readback: GPUBuffer | null = null

  /** Rejects with what is missing. */
  static async open(): Promise<PlainGpu> {
    const { adapter, ...missing } = await findAdapter()
    if (adapter === null) throw new Error('reason' in missing ? missing.reason : 'no adapter')
    const { maxStorageBufferBindingSize, maxBufferSize } = adapter.limits
    return new PlainGpu(await adapter.requestDevice({ requiredLimits: { maxStorageBufferBindingSize, maxBufferSize } }))
  }

  constructor(device: GPUDevice) {
    this.device = device
  }

  /** A storage buffer. */
  buffer(nbytes: number): GPUBuffer {
    return this.device.createBuffer({
      size: nbytes,
      usage: BUFFER_STORAGE | BUFFER_COPY_DST | BUFFER_COPY_SRC,
    })
  }

  kernel(code: string, buffers: readonly GPUBuffer[]): PlainKernel {
    const module = this.device.createShaderModule({ code })
    const pipeline = this.device.createComputePipeline({ layout: 'auto', compute: { module } })
    const entries = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }))
    return { pipeline, group: this.device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }) }
  }

  /** Submits launches in one pass. */
  submit({ pipeline, group }: PlainKernel, workgroups: number, times = 1): void {
    const encoder = this.device.createCommandEncoder()
    const pass = encoder.beginComputePass()
    pass.setPipeline(pipeline)
    pass.setBindGroup(0, group)
    for (let i = 0; i < times; i++) pass.dispatchWorkgroups(workgroups)
    pass.end()
    this.device.queue.submit([encoder.finish()])
  }

  /** Makes the first bytes of a buffer zero, by a command. */
  clear(buffer: GPUBuffer, nbytes: number): void {
    const encoder = this.device.createCommandEncoder()
    encoder.clearBuffer(buffer, 0, nbytes)
    this.device.queue.submit([encoder.finish()])
  }

  async done(): Promise<void> {
    await this.device.queue.onSubmittedWorkDone()
  }

  /**
   * Copies `source` to a buffer piece by piece. Each is submitted, so the device copies one while the next is read, and memory in between
   * is used again and again.
   */
  writePieces(buffer: GPUBuffer, source: Uint8Array<ArrayBuffer>): void {
    const { queue } = this.device
    for (let at = 0; at < source.length; at += PIECE_BYTES) {
      queue.writeBuffer(buffer, at, source, at, Math.min(PIECE_BYTES, source.length - at))
      queue.submit([])
    }
  }

  /** The faster way to copy `source` to a buffer: at once, or in pieces. */
  async fastestUpload(buffer: GPUBuffer, source: Uint8Array<ArrayBuffer>): Promise<() => void> {
    const atOnce = (): void => this.device.queue.writeBuffer(buffer, 0, source)
    return await this.fastest([atOnce, () => this.writePieces(buffer, source)])
  }

  /** The faster way to copy a buffer to `target`: at once, or in pieces of which three are on their way. */
  async fastestRead(buffer: GPUBuffer, target: Uint8Array): Promise<() => Promise<void>> {
    const size = READ_PIECE_BYTES
    const usage = BUFFER_MAP_READ | BUFFER_COPY_DST
    const staging = Array.from({ length: READS_IN_FLIGHT }, () => this.device.createBuffer({ size, usage }))
    const inPieces = async (): Promise<void> => {
      const under: Promise<void>[] = []
      const begin = (at: number): void => {
        const to = staging[(at / size) % staging.length]
        const encoder = this.device.createCommandEncoder()
        encoder.copyBufferToBuffer(buffer, at, to, 0, size)
        this.device.queue.submit([encoder.finish()])
        under.push(to.mapAsync(MAP_READ))
      }
      for (let at = 0; at < staging.length * size; at += size) begin(at)
      for (let at = 0; at < target.length; at += size) {
        await under.shift()
        const from = staging[(at / size) % staging.length]
        target.set(new Uint8Array(from.getMappedRange()), at)
        from.unmap()
        if (at + staging.length * size < target.length) begin(at + staging.length * size)
      }
    }
    return await this.fastest([() => this.read(buffer, target), inPieces])
  }

  /** That of several ways to do the same which takes the least time, as seen in TRIALS turns. */
  private async fastest<T extends void | Promise<void>>(ways: readonly (() => T)[]): Promise<() => T> {
    const best = ways.map(() => Number.POSITIVE_INFINITY)
    for (let trial = 0; trial < TRIALS; trial++) {
      for (const [i, way] of ways.entries()) {
        const start = performance.now()
        await way()
        await this.done()
        best[i] = Math.min(best[i], performance.now() - start)
      }
    }
    return ways[best.indexOf(Math.min(...best))]
  }

  /** Copies a part of a buffer to memory. */
  async read(buffer: GPUBuffer, target: Uint8Array, offset = 0): Promise<void> {
    await this.readAll([{ buffer, target, offset }])
  }

  /** Copies parts of buffers to memory, and waits once. */
  async readAll(parts: readonly { buffer: GPUBuffer; target: Uint8Array; offset?: number }[]): Promise<void> {
    const nbytes = parts.reduce((sum, { target }) => sum + target.length, 0)
    const staging = this.#stagingOf(nbytes)
    const encoder = this.device.createCommandEncoder()
    let at = 0
    for (const { buffer, target, offset = 0 } of parts) {
      encoder.copyBufferToBuffer(buffer, offset, staging, at, target.length)
      at += target.length
    }
    this.device.queue.submit([encoder.finish()])
    await staging.mapAsync(MAP_READ, 0, nbytes)
    const bytes = new Uint8Array(staging.getMappedRange(0, nbytes))
    at = 0
    for (const { target } of parts) {
      target.set(bytes.subarray(at, at + target.length))
      at += target.length
    }
    staging.unmap()
  }

  #stagingOf(nbytes: number): GPUBuffer {
    if (this.#readback !== null && this.#readback.size >= nbytes) return this.#readback
    this.#readback?.destroy()
    this.#readback = this.device.createBuffer({
      size: nbytes,
      usage: BUFFER_MAP_READ | BUFFER_COPY_DST,
    })
    return this.#readback
  }
}
