// Pages between the memory of a live heap and files: the swap file, where page n of the heap has block n, and files that arrays
// show. All calls are synchronous; the thread of page-io-worker.ts makes them.
//
//   write    alias of the heap ──> swap file         the checksum of each page is kept
//   read     swap file ──> buffer ──> memory         if it has that checksum
//   load     file ──> buffer ──> memory
//   copy     memory of a device ──> memory
//
// Neighbours go in one piece. What is read goes through a buffer that stays in the processor's cache: a page that is written to
// the file behind the heap costs neither a page fault nor clearing, which is quicker than reading straight into the alias.

import { fstatSync, readSync, writeSync } from 'node:fs'
import { PAGE_SIZE, type Pfn } from '../../base/addr.ts'
import { assert } from '../../base/assert.ts'
import { EBADMSG, EIO, ESTALE } from '../../base/errno.ts'
import type { Kernel } from '../../mmu/userfaultfd/ffi.ts'
import { SEGMENT_MAX, type SegmentMemory } from '../../mmu/userfaultfd/segment.ts'
import { Uffd } from '../../mmu/userfaultfd/uffd.ts'
import { PAGE_WORDS, pageChecksum } from './page-checksum.ts'

/** Where pages can be. */
export interface PagePlaces {
  readonly segments: readonly SegmentMemory[]
  /** The swap file, -1 for none. */
  readonly swapFd: number
  /** Of the pages in the swap file, by number; shared by the threads that write and read it. Empty where there is none. */
  readonly checksums: Uint32Array
  /** Of the device whose pages are copied, null for none. */
  readonly deviceMemory: Uint8Array | null
  /** Where programs wait for pages that are copied, -1 for nowhere. */
  readonly uffd: number
}

/** A file that an array shows. */
export interface FileSource {
  readonly fd: number
  /** Bytes from the beginning of the file. */
  readonly offset: number
  /** Bytes of the array. */
  readonly nbytes: number
  /** First page of the array. */
  readonly pfn: Pfn
  /** The file as it was when the array was made; another one is an error, not a mixture. */
  readonly version: FileVersion
}

/** Where pages are in the memory of a device. */
export interface DeviceSource {
  /** Page n of the heap is frame n + shift. */
  readonly shift: number
  /** The file behind the heap may lack some of the pages. */
  readonly isFresh: boolean
  /** Programs get the pages, protected, as soon as they are copied. */
  readonly isShown: boolean
}

export interface FileVersion {
  readonly nbytes: number
  readonly mtimeMs: number
}

/** Errors by place in the list of pages; null if there is none. */
export type PageErrors = Int32Array | null

const SEGMENT_PAGES = SEGMENT_MAX / PAGE_SIZE
const BUFFER_NBYTES = 1024 * 1024
const RUN_MAX = 512 // pages, 2 MiB

interface Segment extends SegmentMemory {
  readonly bytes: Uint8Array
  readonly words: Uint32Array
}

export class PageStore {
  readonly #segments: readonly Segment[]
  readonly #swapFd: number
  readonly #checksums: Uint32Array
  readonly #buffer = new Uint8Array(BUFFER_NBYTES)
  readonly #bufferWords = new Uint32Array(this.#buffer.buffer)
  readonly #deviceMemory: Uint8Array | null
  readonly #uffd: Uffd

  constructor(kernel: Kernel, { segments, swapFd, checksums, deviceMemory, uffd }: PagePlaces) {
    this.#uffd = new Uffd(kernel, uffd)
    this.#swapFd = swapFd
    this.#checksums = checksums
    this.#deviceMemory = deviceMemory
    this.#segments = segments.map((segment) => {
      const view = kernel.view(segment.aliasAddr, segment.nbytes)
      return { ...segment, bytes: new Uint8Array(view), words: new Uint32Array(view) }
    })
  }

  /** Writes pages, in ascending order, to their blocks of the swap file. */
  write(pfns: Uint32Array): PageErrors {
    return this.#forEachRun(pfns, (pfn, npages) => this.#writeRun(pfn, npages))
  }

  /** Reads pages, in ascending order, from their blocks. -EBADMSG: that is not what was written. */
  read(pfns: Uint32Array): PageErrors {
    return this.#forEachRun(pfns, (pfn, npages) => this.#readRun(pfn, npages))
  }

  /** Reads pages of an array, in ascending order, from its file. -ESTALE: the file is another one now. */
  load(source: FileSource, pfns: Uint32Array): PageErrors {
    if (!isSameVersion(source)) return new Int32Array(pfns.length).fill(-ESTALE)
    return this.#forEachRun(pfns, (pfn, npages) => this.#loadRun(source, pfn, npages))
  }

  /** Copies pages, in ascending order, from the device. */
  copy({ shift, isFresh, isShown }: DeviceSource, pfns: Uint32Array): PageErrors {
    const memory = this.#deviceMemory
    assert(memory !== null, 'the thread was started for a device')
    return this.#forEachRun(pfns, (pfn, npages) => {
      const { bytes, memfd, userAddr } = this.#segmentOf(pfn)
      const from = (pfn + shift) * PAGE_SIZE
      const nbytes = npages * PAGE_SIZE
      const to = (pfn % SEGMENT_PAGES) * PAGE_SIZE
      if (isFresh) return transfer(writeSync, memfd, memory, from, nbytes, to)
      bytes.set(memory.subarray(from, from + nbytes), to)
      // Where that fails the engine maps them when they are touched.
      if (isShown) this.#uffd.mapPages(userAddr + to, nbytes, true)
      return 0
    })
  }

  #writeRun(pfn: Pfn, npages: number): number {
    const { bytes, words } = this.#segmentOf(pfn)
    const page = pfn % SEGMENT_PAGES
    for (let i = 0; i < npages; i++) this.#checksums[pfn + i] = pageChecksum(words, (page + i) * PAGE_WORDS)
    return transfer(writeSync, this.#swapFd, bytes, page * PAGE_SIZE, npages * PAGE_SIZE, pfn * PAGE_SIZE)
  }

  #readRun(pfn: Pfn, npages: number): number {
    return this.#forEachPart(pfn, npages, (part, nbytes) => {
      const err = transfer(readSync, this.#swapFd, this.#buffer, 0, nbytes, part * PAGE_SIZE)
      if (err !== 0) return err
      for (let i = 0; i < nbytes / PAGE_SIZE; i++) {
        if (pageChecksum(this.#bufferWords, i * PAGE_WORDS) !== this.#checksums[part + i]) return -EBADMSG
      }
      return 0
    })
  }

  #loadRun(source: FileSource, pfn: Pfn, npages: number): number {
    return this.#forEachPart(pfn, npages, (part, nbytes) => {
      const from = (part - source.pfn) * PAGE_SIZE
      const wanted = Math.max(0, Math.min(nbytes, source.nbytes - from))
      const err = transfer(readSync, source.fd, this.#buffer, 0, wanted, source.offset + from)
      this.#buffer.fill(0, wanted, nbytes)
      return err
    })
  }

  /** Fills the buffer with one part of a run after the other, and the memory from there. */
  #forEachPart(pfn: Pfn, npages: number, fill: (part: Pfn, nbytes: number) => number): number {
    const { memfd } = this.#segmentOf(pfn)
    const step = BUFFER_NBYTES / PAGE_SIZE
    for (let part = pfn; part < pfn + npages; part += step) {
      const nbytes = Math.min(step, pfn + npages - part) * PAGE_SIZE
      let err = fill(part, nbytes)
      if (err === 0) err = transfer(writeSync, memfd, this.#buffer, 0, nbytes, (part % SEGMENT_PAGES) * PAGE_SIZE)
      if (err !== 0) return err
    }
    return 0
  }

  /** Does runs of neighbours. What fails as a whole is done again page by page: one bad page must not cost the others. */
  #forEachRun(pfns: Uint32Array, work: (pfn: Pfn, npages: number) => number): PageErrors {
    let errors: PageErrors = null
    for (let i = 0; i < pfns.length; ) {
      const end = runEnd(pfns, i)
      const err = work(pfns[i], end - i)
      if (err !== 0) {
        errors ??= new Int32Array(pfns.length)
        for (let j = i; j < end; j++) errors[j] = end - i === 1 ? err : work(pfns[j], 1)
      }
      i = end
    }
    return errors
  }

  #segmentOf(pfn: Pfn): Segment {
    const segment = this.#segments[Math.floor(pfn / SEGMENT_PAGES)]
    assert(segment !== undefined, () => `page ${pfn} is one of the heap`)
    return segment
  }
}

/** Where the run of neighbours in one segment ends that begins at `pfns[first]`. */
function runEnd(pfns: Uint32Array, first: number): number {
  const limit = Math.min(pfns.length, first + RUN_MAX)
  let end = first + 1
  while (end < limit && pfns[end] === pfns[end - 1] + 1 && pfns[end] % SEGMENT_PAGES !== 0) end++
  return end
}

/** Reads or writes all bytes. Returns 0, or a negative errno: -EIO where the file ends before. */
function transfer(
  call: (fd: number, bytes: Uint8Array, at: number, nbytes: number, position: number) => number,
  fd: number,
  bytes: Uint8Array,
  at: number,
  nbytes: number,
  position: number,
): number {
  try {
    for (let done = 0; done < nbytes; ) {
      const count = call(fd, bytes, at + done, nbytes - done, position + done)
      if (count === 0) return -EIO
      done += count
    }
    return 0
  } catch (error) {
    return errnoOf(error)
  }
}

/** What is known of an open file that would not be the same if somebody wrote to it. */
export function versionOf(fd: number): FileVersion {
  const { size, mtimeMs } = fstatSync(fd)
  return { nbytes: size, mtimeMs }
}

function isSameVersion({ fd, version }: FileSource): boolean {
  const { nbytes, mtimeMs } = versionOf(fd)
  return nbytes === version.nbytes && mtimeMs === version.mtimeMs
}

/** The negative errno of an error of Node's. */
function errnoOf(error: unknown): number {
  const errno = (error as { errno?: unknown }).errno
  return typeof errno === 'number' && errno < 0 ? errno : -EIO
}
