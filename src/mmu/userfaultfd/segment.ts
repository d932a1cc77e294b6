// Up to 4 GiB of the heap: a file in memory that is mapped twice.
//
//               file (memfd), sparse
//              /                    \
//   user mapping                     alias
//   over a SharedArrayBuffer         never registered, always accessible:
//   that programs see; registered    here the engine reads and writes
//   with the userfaultfd
//
// The user mapping lies, by MAP_FIXED, on the memory of a shared WebAssembly.Memory. So it is a genuine SharedArrayBuffer: it
// can be posted to workers, Atomics and WebAssembly work on it, and the garbage collector does not count it.
//
// Lifetime. A program may keep its arrays longer than the heap, and a touch of memory that is gone would kill the process. So
// the user mapping is never unmapped here: `close` puts ordinary zeroes in its place, and the engine of JavaScript returns
// the addresses when the last array is gone. Until `close` a table holds the WebAssembly.Memory, as its collection would
// unmap the range under the userfaultfd.

import { fstatSync, writeSync } from 'node:fs'
import type { Addr } from '../../base/addr.ts'
import { assert } from '../../base/assert.ts'
import {
  MADV_DONTDUMP,
  MADV_DONTFORK,
  MADV_DONTNEED,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_NORESERVE,
  MAP_PRIVATE,
  MAP_SHARED,
  PROT_READ,
  PROT_WRITE,
} from '../../uapi/mman.ts'
import { FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, type Kernel } from './ffi.ts'

/** Bytes: 2 MiB less than the largest WebAssembly.Memory, because no thread takes a view of 4 GiB from another (V8 in Node 20 to 24). */
export const SEGMENT_MAX = 2 ** 32 - 2 ** 21
const WASM_PAGE = 64 * 1024 // bytes

/** What of WebAssembly is used here; the types come with the DOM's, which this project does without. */
interface SharedMemory {
  readonly buffer: SharedArrayBuffer
}
type SharedMemoryConstructor = new (limits: { initial: number; maximum: number; shared: true }) => SharedMemory

/** Memories whose ranges are in use, by the address of the user mapping. All copies of this module share it. */
const memories: Map<Addr, SharedMemory> = keptForever('hetmem.userfaultfd.memories')

function keptForever(name: string): Map<Addr, SharedMemory> {
  const global = globalThis as Record<symbol, unknown>
  const key = Symbol.for(name)
  global[key] ??= new Map()
  return global[key] as Map<Addr, SharedMemory>
}

/** Unmaps the alias of a closed segment when nobody can look at it any more. */
const unusedAliases = new FinalizationRegistry<{ kernel: Kernel; addr: Addr; nbytes: number }>((alias) => {
  alias.kernel.munmap(alias.addr, alias.nbytes)
})

/** What another thread of the process needs to read, write and map whole pages of a segment. */
export interface SegmentMemory {
  readonly memfd: number
  readonly userAddr: Addr
  readonly aliasAddr: Addr
  readonly nbytes: number
}

export class Segment {
  /** What programs see. The engine must not look into it: it would wait for itself. */
  readonly buffer: SharedArrayBuffer
  readonly userAddr: Addr
  readonly aliasAddr: Addr
  /** Size of both mappings in bytes: what was asked for, rounded up to 64 KiB. */
  readonly nbytes: number
  readonly #kernel: Kernel
  readonly #memfd: number
  #alias: Uint8Array | undefined
  #closed = false

  /** `nbytes` is from 1 to SEGMENT_MAX. Throws an MmError when the system has no room for it. */
  constructor(kernel: Kernel, nbytes: number) {
    assert(nbytes > 0 && nbytes <= SEGMENT_MAX, () => `a segment of ${nbytes} bytes, wanted 1 to ${SEGMENT_MAX}`)
    const wasmPages = Math.ceil(nbytes / WASM_PAGE)
    const { Memory } = (globalThis as unknown as { WebAssembly: { Memory: SharedMemoryConstructor } }).WebAssembly
    const memory = new Memory({ initial: wasmPages, maximum: wasmPages, shared: true })
    this.#kernel = kernel
    this.buffer = memory.buffer
    this.nbytes = memory.buffer.byteLength
    this.userAddr = kernel.addressOf(new Uint8Array(memory.buffer))
    this.#memfd = kernel.memfdCreate('hetmem')
    try {
      kernel.ftruncate(this.#memfd, this.nbytes)
      const flags = MAP_SHARED | MAP_NORESERVE
      this.aliasAddr = kernel.mmap(0, this.nbytes, PROT_READ | PROT_WRITE, flags, this.#memfd)
      kernel.mmap(this.userAddr, this.nbytes, PROT_READ | PROT_WRITE, flags | MAP_FIXED, this.#memfd)
    } catch (error) {
      kernel.close(this.#memfd)
      throw error
    }
    memories.set(this.userAddr, memory)
    for (const addr of [this.userAddr, this.aliasAddr]) {
      // A child process has no use for the pages, and would share them without being asked.
      kernel.madvise(addr, this.nbytes, MADV_DONTFORK)
      kernel.madvise(addr, this.nbytes, MADV_DONTDUMP)
    }
  }

  /** The file behind both mappings, for whoever reads and writes whole pages of it. It stays the segment's. */
  get memfd(): number {
    assert(!this.#closed, 'the segment is open')
    return this.#memfd
  }

  /** The contents, for the engine. A look at a hole of the file fills it with a page of zeroes. */
  get alias(): Uint8Array {
    assert(!this.#closed, 'the segment is open')
    this.#alias ??= new Uint8Array(this.#kernel.view(this.aliasAddr, this.nbytes))
    return this.#alias
  }

  /** Gives the file pages of zeroes where it has holes in the range. Offsets are in bytes from the start. */
  populate(offset: number, nbytes: number): void {
    this.#kernel.fallocate(this.#memfd, 0, offset, nbytes)
  }

  /** Writes whole pages to the file. Cheaper than through the alias where the file has none: no fault, nothing is cleared. */
  write(contents: Uint8Array, offset: number): void {
    for (let done = 0; done < contents.length; ) {
      done += writeSync(this.#memfd, contents, done, contents.length - done, offset + done)
    }
  }

  /** Gives the pages of the range back to the system; both mappings lose them too. */
  punch(offset: number, nbytes: number): void {
    this.#kernel.fallocate(this.#memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, nbytes)
  }

  /** Takes the translations of the range from programs. Contents stay in the file. */
  zapUser(offset: number, nbytes: number): void {
    this.#kernel.madvise(this.userAddr + offset, nbytes, MADV_DONTNEED)
  }

  /** The same for the alias: its pages no longer count twice as resident; a look brings them back. */
  zapAlias(offset: number, nbytes: number): void {
    this.#kernel.madvise(this.aliasAddr + offset, nbytes, MADV_DONTNEED)
  }

  /** Bytes of memory that the file takes, as the system counts. */
  fileBytes(): number {
    return fstatSync(this.#memfd).blocks * 512 // the unit of st_blocks
  }

  /**
   * Gives all memory back. Programs that still have arrays read zeroes from now on. The range must be unregistered, or the
   * userfaultfd closed.
   */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    const kernel = this.#kernel
    const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE
    kernel.mmap(this.userAddr, this.nbytes, PROT_READ | PROT_WRITE, flags, -1)
    kernel.close(this.#memfd)
    if (this.#alias === undefined) kernel.munmap(this.aliasAddr, this.nbytes)
    else {
      // The engine may have views of it. They show zeroes until the last one is gone.
      kernel.mmap(this.aliasAddr, this.nbytes, PROT_READ | PROT_WRITE, flags, -1)
      unusedAliases.register(this.#alias.buffer, { kernel, addr: this.aliasAddr, nbytes: this.nbytes })
    }
    memories.delete(this.userAddr)
  }
}
