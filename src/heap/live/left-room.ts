// The room of heaps whose threads are gone: addresses, which others may allocate, and pages of memory and swap. Those who close their heaps
// leave arrays to others, who may free them later; those who end without a word leave everything.

import { PAGE_SIZE } from '../../base/addr.ts'
import type { Kernel } from '../../mmu/userfaultfd/ffi.ts'
import type { Executor } from '../engine/client-hub.ts'
import type { NewArray } from '../engine/protocol.ts'
import { USED_PAGES } from '../engine/words.ts'
import type { Extents } from '../extents.ts'
import { hasEnded } from './engine-watch.ts'
import { SwapFile } from './swap-file.ts'

export class LeftRoom implements Executor {
  readonly #extents: Extents
  readonly #words: Int32Array
  readonly #swapFile: SwapFile | null

  /** `words` are those of engine/words.ts; `swapFd` is -1 for none. */
  constructor(kernel: Kernel, extents: Extents, words: Int32Array, swapFd: number) {
    this.#extents = extents
    this.#words = words
    this.#swapFile = swapFd < 0 ? null : new SwapFile(kernel, '', swapFd)
  }

  isGone(thread: string): boolean {
    return hasEnded(thread)
  }

  left(client: number, arrays: readonly NewArray[]): void {
    this.#extents.releaseOf(client, arrays)
  }

  freed({ addr, npages, file }: NewArray): void {
    // What shows a file has taken no room.
    if (file !== null) return
    Atomics.sub(this.#words, USED_PAGES, npages)
    this.#swapFile?.release(addr, npages * PAGE_SIZE)
  }
}
