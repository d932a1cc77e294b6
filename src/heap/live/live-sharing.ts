// A live heap as the threads of a program share it: where they allocate, and how they recognize its memory. Every thread gets
// buffers of its own for the same memory, and new ones with each array that comes by message; only the address is the same.

import { type Addr, PAGE_SIZE } from '../../base/addr.ts'
import { formatSize, MIB } from '../../base/size.ts'
import type { Kernel } from '../../mmu/userfaultfd/ffi.ts'
import { SEGMENT_MAX } from '../../mmu/userfaultfd/segment.ts'
import { Arena, ArenaSegment, type SegmentSource } from '../arena.ts'
import { LAST_ARRAY, MAPS_SENT } from '../engine/words.ts'
import { Extents } from '../extents.ts'
import { HeapError } from '../heap-error.ts'
import type { HeapSharing, LiveHandle } from '../heap-handle.ts'

/** The segments, which are there from the beginning. */
class LiveSegments implements SegmentSource {
  readonly #kernel: Kernel
  readonly #addrs: readonly Addr[]
  readonly #nbytes: number

  constructor(kernel: Kernel, buffers: readonly SharedArrayBuffer[]) {
    this.#kernel = kernel
    this.#nbytes = buffers.reduce((sum, { byteLength }) => sum + byteLength, 0)
    this.#addrs = buffers.map((buffer) => kernel.addressOf(new Uint8Array(buffer)))
  }

  /** The engine sees to it, when it has given the pages away. */
  clear(): void {}

  make(npages: number, _align: number, what: string): ArenaSegment {
    if (npages * PAGE_SIZE > SEGMENT_MAX) {
      const text = `an array lies in one segment, and those have up to ${SEGMENT_MAX / MIB} MiB`
      throw new HeapError('OUT_OF_SPACE', `${what}: ${text}`)
    }
    const sizes = `${formatSize(npages * PAGE_SIZE)}, of ${formatSize(this.#nbytes)} in all`
    const text = `${what}: no segment has room for ${sizes}`
    throw new HeapError('OUT_OF_SPACE', `${text}; free arrays, or open the heap with a larger size`)
  }

  recognize(buffer: ArrayBufferLike, segments: readonly ArenaSegment[]): ArenaSegment | undefined {
    if (!(buffer instanceof SharedArrayBuffer) || buffer.byteLength === 0) return undefined
    const addr = this.#kernel.addressOf(new Uint8Array(buffer))
    return segments[this.#addrs.indexOf(addr)]
  }
}

/** The arena of one thread. `client` is its number. */
export function makeArena(kernel: Kernel, handle: LiveHandle, client: number): Arena {
  const { buffers, owners, extentPages } = handle
  const segments = buffers.map((buffer, i) => new ArenaSegment(i * SEGMENT_MAX, buffer))
  return new Arena(new LiveSegments(kernel, buffers), () => {}, segments, new Extents(owners, extentPages, client))
}

export class LiveSharing implements HeapSharing {
  readonly isAttached: boolean
  readonly #handle: LiveHandle

  constructor(handle: LiveHandle, { isAttached }: { isAttached: boolean }) {
    this.#handle = handle
    this.isAttached = isAttached
  }

  nextId(): number {
    return Atomics.add(this.#handle.words, LAST_ARRAY, 1) + 1
  }

  mapSent(): void {
    Atomics.add(this.#handle.words, MAPS_SENT, 1)
  }

  handle(): LiveHandle {
    return this.#handle
  }
}
