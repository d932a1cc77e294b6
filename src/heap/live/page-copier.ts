// What a DMA engine is to a card, a thread is to a memory device: it copies what is read ahead while the engine of the heap does
// something else. The thread is that of page-io.ts, one for each device; it starts with the first pages that are read ahead, and until
// it is there they are copied as all others.
//
// Pages that kept their frames are mapped by it too, as soon as they are copied, and programs that wait there go on. mm makes their
// entries a moment later. Nobody can take them away in between: a page that migrates is locked, and its mapping is held. Stores of
// programs in that moment are found like any others.

import { PAGE_SIZE } from '../../base/addr.ts'
import type { CopyList } from '../../devices/driver/index.ts'
import type { Copier } from '../../devices/memory/index.ts'
import type { UserfaultfdMmu } from '../../mmu/userfaultfd/userfaultfd-mmu.ts'
import type { PageIo, PageIoStarter } from './page-io.ts'
import type { DeviceSource } from './page-store.ts'

const NOTHING = new Uint32Array(0)

export class PageCopier implements Copier {
  readonly #mmu: UserfaultfdMmu
  readonly #uffd: number
  readonly #memory: Uint8Array<SharedArrayBuffer>
  readonly #startIo: PageIoStarter
  #io: PageIo | null = null
  #isReady = false

  /** `memory` is that of the device, `uffd` that of the heap. */
  constructor(mmu: UserfaultfdMmu, uffd: number, memory: Uint8Array<SharedArrayBuffer>, startIo: PageIoStarter) {
    this.#mmu = mmu
    this.#uffd = uffd
    this.#memory = memory
    this.#startIo = startIo
  }

  copyOut({ pfns, frames }: CopyList): Promise<void> | null {
    const mmu = this.#mmu
    const shift = frames[0] - pfns[0]
    let isFresh = false
    for (let i = 0; i < pfns.length; i++) {
      if (frames[i] - pfns[i] !== shift) return null
      isFresh ||= !mmu.frames.isBacked(pfns[i])
    }
    const io = this.#thread()
    if (io === null) return null
    // Where stores cannot be seen, whoever asks about them takes translations away, also those that are not there yet.
    const isShown = !isFresh && mmu.tracking !== 'none'
    if (isShown) for (const pfn of pfns) mmu.expectMapped(pfn)
    const source: DeviceSource = { shift, isFresh, isShown }
    return new Promise((resolve) => {
      io.request({ op: 'copy', source }, new Uint32Array(pfns), (errors) => {
        for (let i = 0; errors !== null && i < pfns.length; i++) {
          if (errors[i] !== 0) this.#copyHere(pfns[i], frames[i])
        }
        if (isFresh) for (const pfn of pfns) mmu.frames.noteBacked(pfn)
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
      const { memory: segments } = this.#mmu.frames
      const places = { segments, swapFd: -1, checksums: NOTHING, deviceMemory: this.#memory, uffd: this.#uffd }
      this.#io = this.#startIo(places)
      this.#io.request({ op: 'copy', source: { shift: 0, isFresh: false, isShown: false } }, new Uint32Array(0), () => {
        this.#isReady = true
      })
    }
    return this.#isReady ? this.#io : null
  }

  #copyHere(pfn: number, frame: number): void {
    this.#mmu.frames.bytes(pfn).set(this.#memory.subarray(frame * PAGE_SIZE, (frame + 1) * PAGE_SIZE))
  }
}
