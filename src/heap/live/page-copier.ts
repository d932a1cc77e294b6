// What a DMA engine is to a card, a thread is to a memory device: it copies what is read ahead while the engine of the heap maps what
// came before. The thread is that of page-io.ts, one for each device; it starts with the first pages that are read ahead, and until
// it is there they are copied as all others.

import { PAGE_SIZE } from '../../base/addr.ts'
import type { CopyList } from '../../devices/driver/index.ts'
import type { Copier } from '../../devices/memory/index.ts'
import type { HomeFrames } from '../../mmu/userfaultfd/home-frames.ts'
import { PageIo } from './page-io.ts'

const NOTHING = new Uint32Array(0)

export class PageCopier implements Copier {
  readonly #frames: HomeFrames
  readonly #memory: Uint8Array<SharedArrayBuffer>
  readonly #onDeath: (message: string) => void
  #io: PageIo | null = null
  #isReady = false

  /** `memory` is that of the device. `onDeath` is called if the thread ends before `close`. */
  constructor(frames: HomeFrames, memory: Uint8Array<SharedArrayBuffer>, onDeath: (message: string) => void) {
    this.#frames = frames
    this.#memory = memory
    this.#onDeath = onDeath
  }

  copyOut({ pfns, frames }: CopyList): Promise<void> | null {
    const shift = frames[0] - pfns[0]
    let isFresh = false
    for (let i = 0; i < pfns.length; i++) {
      if (frames[i] - pfns[i] !== shift) return null
      isFresh ||= !this.#frames.isBacked(pfns[i])
    }
    const io = this.#thread()
    if (io === null) return null
    return new Promise((resolve) => {
      io.request({ op: 'copy', source: { shift, isFresh } }, new Uint32Array(pfns), (errors) => {
        for (let i = 0; errors !== null && i < pfns.length; i++) {
          if (errors[i] !== 0) this.#copyHere(pfns[i], frames[i])
        }
        if (isFresh) for (const pfn of pfns) this.#frames.noteBacked(pfn)
        resolve()
      })
    })
  }

  close(): void {
    void this.#io?.close()
  }

  /** Null while it starts. */
  #thread(): PageIo | null {
    if (this.#io === null) {
      const places = { segments: this.#frames.memory, swapFd: -1, checksums: NOTHING, deviceMemory: this.#memory }
      this.#io = new PageIo(places, this.#onDeath)
      this.#io.request({ op: 'copy', source: { shift: 0, isFresh: false } }, new Uint32Array(0), () => {
        this.#isReady = true
      })
    }
    return this.#isReady ? this.#io : null
  }

  #copyHere(pfn: number, frame: number): void {
    this.#frames.bytes(pfn).set(this.#memory.subarray(frame * PAGE_SIZE, (frame + 1) * PAGE_SIZE))
  }
}
