// The memory of a WebGPU device: one buffer, or several where one may not be as large. Frame i of the device lies in bank
// `floor(i / bankPages)`; nothing that has to lie in one piece reaches from one bank into the next.
//
// WebGPU does not say how much memory there is. So a bank that is refused is asked for again with half the size, and when the
// device has no more room it has as much memory as it has got.

import { PAGE_SIZE } from '../../base/addr.ts'
import { formatSize } from '../../base/size.ts'
import { type GpuContext, GpuError } from './gpu-context.ts'
import {
  BUFFER_COPY_DST,
  BUFFER_COPY_SRC,
  BUFFER_INDEX,
  BUFFER_INDIRECT,
  BUFFER_STORAGE,
  BUFFER_UNIFORM,
  BUFFER_VERTEX,
} from './webgpu-flags.ts'

/** Whatever a program may want to bind a range of the heap as. */
const USAGE =
  BUFFER_STORAGE | BUFFER_COPY_SRC | BUFFER_COPY_DST | BUFFER_VERTEX | BUFFER_INDEX | BUFFER_INDIRECT | BUFFER_UNIFORM

/** Smaller banks are not worth having. */
const BANK_BYTES_MIN = 1024 ** 2

/** A buffer of exactly the largest size is refused by some drivers. */
const LIMIT_MARGIN = 1024 ** 2

/** Bytes of one buffer that lie next to each other. */
export interface BankPlace {
  readonly buffer: GPUBuffer
  readonly offset: number
}

export class GpuBanks {
  readonly buffers: readonly GPUBuffer[]
  readonly npages: number
  readonly bankPages: number

  /** Makes banks until there are `nbytes`, or no more. Rejects with a GpuError if there is no room for any. */
  static async create(context: GpuContext, nbytes: number, bankBytesMax = Number.POSITIVE_INFINITY): Promise<GpuBanks> {
    const { maxBufferSize, maxStorageBufferBindingSize } = context.device.limits
    const limit = Math.max(Math.min(maxBufferSize, maxStorageBufferBindingSize) - LIMIT_MARGIN, BANK_BYTES_MIN)
    const buffers: GPUBuffer[] = []
    let bankBytes = Math.min(nbytes, wholePages(Math.min(limit, bankBytesMax)))
    let left = nbytes
    while (left > 0) {
      const size = Math.min(bankBytes, left)
      const failure = await context.tryAllocate(() => {
        const buffer = context.device.createBuffer({ label: `hetmem bank ${buffers.length}`, size, usage: USAGE })
        buffers.push(buffer)
        return [buffer]
      })
      if (failure === null) {
        left -= size
        continue
      }
      buffers.pop()
      // Banks are equal, so that a frame's bank is a division: once there is one, smaller ones are of no use.
      if (buffers.length > 0) break
      if (context.lostBecause !== null || size < 2 * BANK_BYTES_MIN) {
        throw new GpuError(`no device memory, not even ${formatSize(size)}: ${failure}`)
      }
      bankBytes = wholePages(size / 2)
    }
    return new GpuBanks(buffers, (nbytes - left) / PAGE_SIZE, bankBytes / PAGE_SIZE)
  }

  private constructor(buffers: readonly GPUBuffer[], npages: number, bankPages: number) {
    this.buffers = buffers
    this.npages = npages
    this.bankPages = bankPages
  }

  /** Where a byte of device memory lies. */
  place(offset: number): BankPlace {
    const bankBytes = this.bankPages * PAGE_SIZE
    const bank = Math.floor(offset / bankBytes)
    return { buffer: this.buffers[bank], offset: offset - bank * bankBytes }
  }

  destroy(): void {
    for (const buffer of this.buffers) buffer.destroy()
  }
}

function wholePages(nbytes: number): number {
  return Math.max(1, Math.floor(nbytes / PAGE_SIZE)) * PAGE_SIZE
}
