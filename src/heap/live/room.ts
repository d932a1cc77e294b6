// Room for arrays, on the program's side of a live heap: where its memory is limited every page has a place from the moment its
// array is allocated, in RAM or in the swap file. So a touch never finds that there is none left; `alloc` does, by name.

import { tmpdir } from 'node:os'
import { PAGE_SIZE } from '../../base/addr.ts'
import { formatSize } from '../../base/size.ts'
import type { Kernel } from '../../mmu/userfaultfd/ffi.ts'
import { USED_PAGES } from '../engine/words.ts'
import { HeapError } from '../heap-error.ts'
import type { MemorySettings } from '../memory-options.ts'
import type { Room } from '../room.ts'
import type { EngineMemory } from './memory-limit.ts'
import { SwapFile } from './swap-file.ts'

export class LimitedRoom implements Room {
  readonly #settings: MemorySettings
  readonly #words: Int32Array<SharedArrayBuffer>
  readonly #file: SwapFile | null

  /** Throws a HeapError FAILED if there can be no swap file. `words` are those of engine/words.ts. */
  static make(kernel: Kernel, settings: MemorySettings, words: Int32Array<SharedArrayBuffer>): LimitedRoom {
    const { swap } = settings
    const file = swap === null ? null : SwapFile.make(kernel, swap.directory ?? undefined)
    return new LimitedRoom(settings, words, file)
  }

  /** The room of a heap that another thread has opened. */
  static attach(
    kernel: Kernel,
    settings: MemorySettings,
    words: Int32Array<SharedArrayBuffer>,
    fd: number,
  ): LimitedRoom {
    const { swap } = settings
    const file = swap === null ? null : new SwapFile(kernel, swap.directory ?? tmpdir(), fd)
    return new LimitedRoom(settings, words, file)
  }

  private constructor(settings: MemorySettings, words: Int32Array<SharedArrayBuffer>, file: SwapFile | null) {
    this.#settings = settings
    this.#words = words
    this.#file = file
  }

  /** What the engine has to know. */
  get forEngine(): EngineMemory {
    const { limit, swap } = this.#settings
    const pages = limit === null ? null : limit / PAGE_SIZE
    return { limit: pages, swapFd: this.#file?.fd ?? -1, onLost: swap?.onLost ?? 'sigbus' }
  }

  take(addr: number, npages: number, what: string): void {
    const nbytes = npages * PAGE_SIZE
    // Others take some at the same time.
    const used = Atomics.add(this.#words, USED_PAGES, npages) * PAGE_SIZE
    try {
      const left = Math.max(0, this.#capacity - used)
      if (nbytes > left) throw new HeapError('OUT_OF_SPACE', `${what}: ${formatSize(nbytes)}, ${this.#describe(left)}`)
      this.#file?.reserve(addr, nbytes, what)
    } catch (error) {
      this.free(npages)
      throw error
    }
  }

  free(npages: number): void {
    Atomics.sub(this.#words, USED_PAGES, npages)
  }

  unmapped(addr: number, npages: number): void {
    this.#file?.release(addr, npages * PAGE_SIZE)
  }

  /** The engine is gone. */
  close(): void {
    this.#file?.close()
  }

  get #capacity(): number {
    const { limit, swap } = this.#settings
    return limit === null ? Number.POSITIVE_INFINITY : limit + (swap?.nbytes ?? 0)
  }

  #describe(left: number): string {
    const { limit, swap } = this.#settings
    const memory = `${formatSize(left)} left of ${formatSize(limit ?? 0)} of memory`
    if (swap !== null)
      return `${memory} and ${formatSize(swap.nbytes)} of swap; free arrays, or open the heap with more`
    return `${memory}, and there is no swap; free arrays, or open the heap with more memory or with swap`
  }
}
