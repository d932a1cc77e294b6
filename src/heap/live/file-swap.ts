// The swap device of a live heap (mm/swap-device.ts): a file with a block for each page of the heap, which threads of
// page-io.ts write and read. Pages are handed over in ascending order, so neighbours travel together whatever order they got cold in.
//
// Arrays that show files are in swap from the beginning, with their file in the place of the swap file. Clean pages of theirs are
// dropped like those that have a block already. A page that was written all the same is the program's own copy: it goes to its
// block of the swap file, and where there is none it stays in memory.

import { type Pfn, vpnToAddr } from '../../base/addr.ts'
import { EROFS } from '../../base/errno.ts'
import { LOST_BYTE } from '../../devices/driver/device-parts.ts'
import type { SwapDevice, SwapIoEnd, SwapPage } from '../../mm/swap-device.ts'
import type { HomeFrames } from '../../mmu/userfaultfd/home-frames.ts'
import type { Tracer } from '../../trace/tracer.ts'
import type { PageIo, PageIoWork } from './page-io.ts'
import { forEachRun } from './page-runs.ts'
import type { FileSource } from './page-store.ts'

/** Pages of one request: what is read comes back no sooner than all of it. */
const REQUEST_MAX = 512 // 2 MiB

/** An array that shows a file. */
export interface MappedFile extends FileSource {
  /** As the program named it. */
  readonly path: string
  readonly npages: number
}

export class FileSwap implements SwapDevice {
  readonly isSynchronous = false
  readonly hasHomeSlots = true
  readonly isWritable: boolean
  /** Where events go, when there is somebody to take them. */
  tracer: Tracer | null = null
  /** Called for pages that were filled as their block cannot be read back. Null: that is an error. */
  onFilled: ((pfn: Pfn) => void) | null = null
  readonly #startIo: () => PageIo
  readonly #frames: HomeFrames
  /** For what is read, and for what is written: nobody waits for that, so it must not be in the way. */
  #reader: PageIo | null = null
  #writer: PageIo | null = null
  readonly #files = new Set<MappedFile>()
  /** Slots of mapped files whose contents are in the swap file by now. */
  readonly #ownCopies = new Set<number>()

  /** `startIo` starts a thread when there is something to do for it. `isWritable`: there is a swap file. */
  constructor(startIo: () => PageIo, frames: HomeFrames, isWritable: boolean) {
    this.#startIo = startIo
    this.#frames = frames
    this.isWritable = isWritable
  }

  /** From now on pages are read from a file. */
  addFile(file: MappedFile): void {
    this.#files.add(file)
  }

  /** The array is gone, and nothing is under way for it. */
  removeFile(file: MappedFile): void {
    this.#files.delete(file)
  }

  write(pages: readonly SwapPage[], end: SwapIoEnd): void {
    if (!this.isWritable) {
      // mm gives up its pages only where they could go, so these are copies of a file's that were written.
      queueMicrotask(() => {
        for (const page of pages) end(page, -EROFS)
      })
      return
    }
    for (const { slot, pfn } of pages) if (this.#fileOf(pfn) !== undefined) this.#ownCopies.add(slot)
    this.#request({ op: 'write' }, pages, end)
  }

  read(pages: readonly SwapPage[], end: SwapIoEnd): void {
    const swapped: SwapPage[] = []
    const byFile = new Map<MappedFile, SwapPage[]>()
    for (const page of pages) {
      const file = this.#ownCopies.has(page.slot) ? undefined : this.#fileOf(page.pfn)
      if (file === undefined) swapped.push(page)
      else byFile.set(file, [...(byFile.get(file) ?? []), page])
    }
    if (swapped.length > 0) this.#request({ op: 'read' }, swapped, end)
    for (const [file, its] of byFile) this.#request({ op: 'load', source: file }, its, end, file)
  }

  /** The block stays reserved for the page until its array is freed. */
  discard(slot: number): void {
    this.#ownCopies.delete(slot)
  }

  /** Ends the threads when they have done what they were asked for. */
  async close(): Promise<void> {
    await Promise.all([this.#reader?.close(), this.#writer?.close()])
  }

  #fileOf(pfn: Pfn): MappedFile | undefined {
    for (const file of this.#files) if (pfn >= file.pfn && pfn < file.pfn + file.npages) return file
    return undefined
  }

  #request(work: PageIoWork, pages: readonly SwapPage[], end: SwapIoEnd, file: MappedFile | null = null): void {
    const io = this.#threadFor(work)
    const sorted = isSorted(pages) ? pages : pages.toSorted((a, b) => a.pfn - b.pfn)
    for (let first = 0; first < sorted.length; first += REQUEST_MAX) {
      const part = sorted.slice(first, first + REQUEST_MAX)
      const pfns = Uint32Array.from(part, ({ pfn }) => pfn)
      io.request(work, pfns, (errors) => {
        this.#trace(work.op, file, errors === null ? part : part.filter((_, i) => errors[i] === 0))
        part.forEach((page, i) => {
          const err = errors === null || this.#fill(work.op, page.pfn, errors[i]) ? 0 : errors[i]
          if (work.op !== 'write' && err === 0) this.#frames.noteBacked(page.pfn)
          end(page, err)
        })
      })
    }
  }

  #threadFor({ op }: PageIoWork): PageIo {
    if (op === 'write') {
      this.#writer ??= this.#startIo()
      return this.#writer
    }
    this.#reader ??= this.#startIo()
    return this.#reader
  }

  /** Fills a page that is lost, where that is wanted. Returns whether it was. */
  #fill(op: PageIoWork['op'], pfn: Pfn, err: number): boolean {
    if (op !== 'read' || err === 0 || this.onFilled === null) return false
    this.#frames.bytes(pfn).fill(LOST_BYTE)
    this.onFilled(pfn)
    return true
  }

  #trace(op: PageIoWork['op'], file: MappedFile | null, pages: readonly SwapPage[]): void {
    const { tracer } = this
    if (tracer === null || !tracer.on) return
    forEachRun(pages, (first, npages) => {
      const range = { start: vpnToAddr(first), end: vpnToAddr(first + npages), npages }
      const nbytes = range.end - range.start
      if (file !== null) {
        const left = file.nbytes - vpnToAddr(first - file.pfn)
        tracer.emit({ kind: 'file-read', ...range, nbytes: Math.min(nbytes, left), file: file.path })
      } else if (op === 'write') tracer.emit({ kind: 'swap-out', ...range, nbytes })
      else tracer.emit({ kind: 'swap-in', ...range })
    })
  }
}

/** What is read ahead, and what was touched in a walk, comes in order already. */
function isSorted(pages: readonly SwapPage[]): boolean {
  for (let i = 1; i < pages.length; i++) if (pages[i - 1].pfn > pages[i].pfn) return false
  return true
}
