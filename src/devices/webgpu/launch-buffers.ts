// The buffers of launches that go through a page table: the table, and what the host and the kernel exchange. Making them takes longer than
// a round of a small kernel, so those of a launch that has ended are kept for the next one.

import type { PageProvider } from '../../kernel/paged/page-provider.ts'
import { PagedBuffers } from '../../kernel/paged/paged-buffers.ts'
import type { GpuBanks } from './gpu-banks.ts'
import { BUFFER_COPY_DST, BUFFER_STORAGE } from './webgpu-flags.ts'

/** Sets that are kept for a device, and bytes of each, at most. */
const KEPT_MAX = 2
const KEPT_BYTES_MAX = 8 * 2 ** 20

const kept = new WeakMap<GpuBanks, LaunchBuffers[]>()

/** Of one launch at a time. */
export class LaunchBuffers {
  readonly table: GPUBuffer
  private readonly device: GPUDevice
  private readonly banks: GpuBanks
  private paged: PagedBuffers | null = null

  private constructor(device: GPUDevice, banks: GpuBanks, tableWords: number) {
    this.device = device
    this.banks = banks
    const usage = BUFFER_STORAGE | BUFFER_COPY_DST
    this.table = device.createBuffer({ label: 'hetmem page table', size: 4 * tableWords, usage })
  }

  /** Those for a table of so many words, all of them 0. */
  static take(device: GPUDevice, banks: GpuBanks, tableWords: number): LaunchBuffers {
    const list = kept.get(banks) ?? []
    const i = list.findIndex(({ table }) => table.size === 4 * tableWords)
    if (i === -1) return new LaunchBuffers(device, banks, tableWords)
    const [found] = list.splice(i, 1)
    const encoder = device.createCommandEncoder()
    encoder.clearBuffer(found.table)
    device.queue.submit([encoder.finish()])
    return found
  }

  /** Destroys those that are kept for a device, which closes. */
  static drop(banks: GpuBanks): void {
    for (const buffers of kept.get(banks) ?? []) buffers.destroy()
    kept.delete(banks)
  }

  /** What else a launch over these pages needs. */
  pagedFor(provider: PageProvider): PagedBuffers {
    this.paged ??= new PagedBuffers(this.device, provider)
    this.paged.reserveFaults(provider.pageCount)
    return this.paged
  }

  /** The launch has ended well: whoever comes next may have them. */
  keep(): void {
    const list = kept.get(this.banks) ?? []
    kept.set(this.banks, list)
    if (this.table.size + (this.paged?.byteLength ?? 0) > KEPT_BYTES_MAX) {
      this.destroy()
      return
    }
    list.push(this)
    if (list.length > KEPT_MAX) list.shift()?.destroy()
  }

  destroy(): void {
    this.table.destroy()
    this.paged?.destroy()
  }
}
