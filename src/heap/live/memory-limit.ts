// The system memory of a live heap on the engine's side: how much of it there may be, and who sees to it. Every heap has a swap
// device, as arrays may show files; whether pages can be written to it depends on whether there is a swap file.

import { PAGE_SIZE, type Pfn } from '../../base/addr.ts'
import type { OnLost } from '../../devices/driver/device-parts.ts'
import type { System, SystemOptions } from '../../mm/system.ts'
import type { HomeFrames } from '../../mmu/userfaultfd/home-frames.ts'
import type { Tracer } from '../../trace/tracer.ts'
import { RESERVE_BYTES } from '../memory-options.ts'
import { FileSwap } from './file-swap.ts'
import type { PageIoStarter } from './page-io.ts'
import { Reclaimer, watermarksOf } from './reclaimer.ts'

/** As the program's side says it. */
export interface EngineMemory {
  /** Pages; null for no limit. */
  readonly limit: number | null
  /** The swap file, for all threads of the process; -1 for none. */
  readonly swapFd: number
  /** What becomes of a page whose block of the swap file cannot be read back. */
  readonly onLost: OnLost
}

export class MemoryLimit {
  readonly swap: FileSwap
  /** For the System that `attach` is called with. */
  readonly options: Pick<
    SystemOptions,
    'memoryPages' | 'reservePages' | 'lowPages' | 'onLow' | 'swapPages' | 'swapDevice'
  >
  readonly #high: number
  readonly #onLost: OnLost
  #reclaimer: Reclaimer | null = null

  constructor({ limit, swapFd, onLost }: EngineMemory, frames: HomeFrames, startIo: PageIoStarter) {
    const checksums = new Uint32Array(new SharedArrayBuffer(swapFd < 0 ? 0 : 4 * frames.nframes))
    const places = { segments: frames.memory, swapFd, checksums, deviceMemory: null, uffd: -1 }
    this.swap = new FileSwap(() => startIo(places), frames, swapFd >= 0)
    const swapPages = { swapPages: frames.nframes, swapDevice: this.swap }
    const memoryPages = limit === null ? frames.nframes : Math.min(limit, frames.nframes)
    const reservePages = limit === null || swapFd < 0 ? 0 : RESERVE_BYTES / PAGE_SIZE
    const { low, high } = limit === null ? { low: 0, high: 0 } : watermarksOf(memoryPages, reservePages)
    this.#high = high
    this.#onLost = onLost
    this.options = { ...swapPages, memoryPages, reservePages, lowPages: low, onLow: () => this.#reclaimer?.wake() }
  }

  /** `onFilled` is told of pages that were filled as they cannot be read back. */
  attach(sys: System, tracer: Tracer, onFilled: (pfn: Pfn) => void): void {
    this.swap.tracer = tracer
    if (this.#onLost === 'fill') this.swap.onFilled = onFilled
    this.#reclaimer = new Reclaimer(sys, this.#high)
  }
}
