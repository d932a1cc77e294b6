// The swap file of a live heap, as the program's side has it: made when the heap is opened, without a name, so that nothing is
// left of it whatever happens; and reserved block by block for each array when it is allocated, so that swap is never full when a
// page has to go. Page n of the heap has the block at n * 4096, hence the file is sparse, and as long as the heap.

import { closeSync, constants, openSync, unlinkSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { EOPNOTSUPP } from '../../base/errno.ts'
import { FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, type Kernel } from '../../mmu/userfaultfd/ffi.ts'
import { HeapError } from '../heap-error.ts'

/** An unnamed file in a directory; `openat(2)` has it together with O_DIRECTORY. */
const O_TMPFILE = 0o20000000 | (constants.O_DIRECTORY ?? 0)

const ZEROES = new Uint8Array(1024 * 1024)

export class SwapFile {
  /** For all threads of the process. */
  readonly fd: number
  readonly directory: string
  readonly #kernel: Kernel
  #isOpen = true

  /** Makes one. Throws a HeapError FAILED where there can be none in `directory`, by default that for temporary files. */
  static make(kernel: Kernel, directory = tmpdir()): SwapFile {
    return new SwapFile(kernel, directory, openUnnamed(directory))
  }

  /** The file behind a descriptor, which another thread may have made. */
  constructor(kernel: Kernel, directory: string, fd: number) {
    this.#kernel = kernel
    this.directory = directory
    this.fd = fd
  }

  /** Reserves blocks. Throws a HeapError OUT_OF_SPACE; `what` says for what, in the message. Offsets and sizes are in bytes. */
  reserve(offset: number, nbytes: number, what: string): void {
    try {
      this.#reserve(offset, nbytes)
    } catch (error) {
      this.release(offset, nbytes)
      const why = error instanceof Error ? error.message : String(error)
      throw new HeapError('OUT_OF_SPACE', `${what}: no room for it in the swap file in ${this.directory}: ${why}`, {
        cause: error,
      })
    }
  }

  /** Gives blocks back to the file system. */
  release(offset: number, nbytes: number): void {
    if (!this.#isOpen) return
    try {
      this.#kernel.fallocate(this.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, nbytes)
    } catch {
      // A file system that cannot do that has the file for itself until it is closed.
    }
  }

  /** All contents are gone. The thread that writes the file has ended. */
  close(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    closeSync(this.fd)
  }

  #reserve(offset: number, nbytes: number): void {
    try {
      this.#kernel.fallocate(this.fd, 0, offset, nbytes)
    } catch (error) {
      if ((error as { errno?: unknown }).errno !== -EOPNOTSUPP) throw error
      // What is written has its place too.
      for (let done = 0; done < nbytes; ) {
        done += writeSync(this.fd, ZEROES, 0, Math.min(ZEROES.length, nbytes - done), offset + done)
      }
    }
  }
}

function openUnnamed(directory: string): number {
  try {
    return openSync(directory, O_TMPFILE | constants.O_RDWR, 0o600)
  } catch (error) {
    if (!isUnsupported(error)) throw cannotOpen(directory, error)
  }
  const path = join(directory, `hetmem-swap-${process.pid}-${Math.random().toString(36).slice(2)}`)
  try {
    const fd = openSync(path, 'wx+', 0o600)
    unlinkSync(path)
    return fd
  } catch (error) {
    throw cannotOpen(directory, error)
  }
}

/** The file system has no unnamed files. Older kernels take the flag for an attempt to write a directory. */
function isUnsupported(error: unknown): boolean {
  const { code } = error as { code?: unknown }
  return code === 'EOPNOTSUPP' || code === 'ENOTSUP' || code === 'EISDIR' || code === 'EINVAL'
}

function cannotOpen(directory: string, error: unknown): HeapError {
  const why = error instanceof Error ? error.message : String(error)
  return new HeapError('FAILED', `no swap file in ${directory}: ${why}`, { cause: error })
}
