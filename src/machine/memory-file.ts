// A file in memory as programs of the simulated machine have it: where the core answers with an error number, its calls throw.

import type { Pfn } from '../base/addr.ts'
import { throwOnError } from '../base/errno.ts'
import { ShmemFile } from '../mm/shmem.ts'
import type { System } from '../mm/system.ts'
import { checkBytes, checkWhole } from './arguments.ts'

/**
 * Sizes and offsets are in pages. The calls throw a TypeError or RangeError for what is no number of pages, and an MmError:
 * EINVAL beyond the end of the file, ENOMEM, EIO for a broken page, EBADF once the file is closed and nobody maps it.
 */
export class MemoryFile extends ShmemFile {
  /** Made by `Machine.createFile`. */
  constructor(sys: System, name: string, npages: number) {
    if (typeof name !== 'string') throw new TypeError(`name is ${String(name)}, wanted a string`)
    checkWhole(npages, 'npages')
    super(sys, name, npages)
  }

  /** The frame of a page, made if it is not there. */
  override getPage(pgoff: number): Pfn {
    checkWhole(pgoff, 'pgoff')
    return throwOnError(super.getPage(pgoff), 'getPage')
  }

  /** Writes bytes into one page of the file. */
  override writePage(pgoff: number, bytes: Uint8Array, offset = 0): number {
    checkWhole(pgoff, 'pgoff')
    checkBytes(bytes, 'bytes')
    checkWhole(offset, 'offset')
    return throwOnError(super.writePage(pgoff, bytes, offset), 'writePage')
  }

  /** Sets the size of the file; mappings lose what lies beyond. */
  override truncate(npages: number): number {
    checkWhole(npages, 'npages')
    return throwOnError(super.truncate(npages), 'truncate')
  }

  /** Makes pages holes again that read as zero; the size stays. */
  override punchHole(pgoff: number, npages: number): number {
    checkWhole(pgoff, 'pgoff')
    checkWhole(npages, 'npages')
    return throwOnError(super.punchHole(pgoff, npages), 'punchHole')
  }
}
