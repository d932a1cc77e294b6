// Data on its way to the device and back.

import { type Heap, openHeap } from '../../src/index.ts'
import type { Contest } from '../harness.ts'
import { PLAIN_SAXPY, saxpy, WORKGROUP_SIZE } from './kernels.ts'
import { PlainGpu } from './plain-gpu.ts'
import { milliseconds } from './resident.ts'

const MIB = 2 ** 20
const TRANSFER = 256 * MIB

/** Ordinary memory, as the plain way has: what is shared needs one more copy in Node. */
function openTransferHeap(): Promise<Heap> {
  return openHeap({ mode: 'explicit', shared: false, check: false, device: { memory: TRANSFER + 16 * MIB } })
}

/** 256 MiB to the device. In milliseconds. */
export async function prepareUpload(): Promise<Contest> {
  const heap = await openTransferHeap()
  const x = heap.alloc(Float32Array, TRANSFER / 4).fill(1)
  const gpu = await PlainGpu.open()
  const buffer = gpu.buffer(TRANSFER)
  const source = new Uint8Array(TRANSFER).fill(1)
  return {
    candidate: async () => {
      // For writing: what the device has is old then.
      await heap.sync(x)
      return milliseconds(() => heap.prefetch(x))
    },
    baseline: () =>
      milliseconds(async () => {
        gpu.device.queue.writeBuffer(buffer, 0, source)
        await gpu.done()
      }),
  }
}

/** 256 MiB back, all of it written by the device. In milliseconds. */
export async function prepareReadback(): Promise<Contest> {
  const heap = await openTransferHeap()
  const y = heap.alloc(Float32Array, TRANSFER / 4)
  const x = heap.alloc(Float32Array, 1)
  const gpu = await PlainGpu.open()
  const buffer = gpu.buffer(TRANSFER)
  const target = new Uint8Array(TRANSFER).fill(1)
  return {
    candidate: async () => {
      await heap.run(saxpy, { x, y }, 1)
      return milliseconds(() => heap.sync(y))
    },
    baseline: () => milliseconds(() => gpu.read(buffer, target)),
  }
}

/** Arrays of four times the device memory, through the device and back. In milliseconds. */
export async function prepareStream(): Promise<Contest> {
  const memory = 32 * MIB
  const length = (4 * memory) / 2 / 4
  const heap = await openHeap({ mode: 'explicit', shared: false, check: false, device: { memory } })
  const x = heap.alloc(Float32Array, length).fill(1)
  const y = heap.alloc(Float32Array, length)
  const stream = await HandWritten.open(length, memory)
  return {
    candidate: () =>
      milliseconds(async () => {
        await heap.run(saxpy, { x, y }, length)
        await heap.sync(y)
      }),
    baseline: () => milliseconds(() => stream.run()),
  }
}

/** The same by hand: two sets of buffers, so that one is filled while the device works on the other. */
class HandWritten {
  readonly #gpu: PlainGpu
  readonly #x: Uint8Array
  readonly #y: Uint8Array
  readonly #chunk: number
  readonly #sets: { x: GPUBuffer; y: GPUBuffer; kernel: ReturnType<PlainGpu['kernel']>; gpu: PlainGpu }[]

  static async open(length: number, memory: number): Promise<HandWritten> {
    return new HandWritten(await PlainGpu.open(), length, memory / 4)
  }

  private constructor(gpu: PlainGpu, length: number, chunk: number) {
    this.#gpu = gpu
    this.#x = new Uint8Array(4 * length).fill(1)
    this.#y = new Uint8Array(4 * length).fill(1)
    this.#chunk = chunk
    this.#sets = [0, 1].map(() => {
      const [x, y] = [gpu.buffer(chunk), gpu.buffer(chunk)]
      // A staging buffer of its own.
      return { x, y, kernel: gpu.kernel(PLAIN_SAXPY, [x, y]), gpu: new PlainGpu(gpu.device) }
    })
  }

  async run(): Promise<void> {
    const { queue } = this.#gpu.device
    const reads: Promise<void>[] = []
    for (let at = 0, i = 0; at < this.#y.length; at += this.#chunk, i++) {
      const { x, y, kernel, gpu } = this.#sets[i % 2]
      if (i >= 2) await reads[i - 2]
      const part = this.#y.subarray(at, at + this.#chunk)
      queue.writeBuffer(x, 0, this.#x.subarray(at, at + this.#chunk))
      queue.writeBuffer(y, 0, part)
      gpu.submit(kernel, this.#chunk / 4 / WORKGROUP_SIZE)
      reads.push(gpu.read(y, part))
    }
    await Promise.all(reads)
  }
}
