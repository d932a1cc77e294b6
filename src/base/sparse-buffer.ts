// Memory for large tables of which little is used: a heap of 16 GiB has 170 MiB of them before anybody touches it.

import { MIB } from './size.ts'

/** Clearing less is quicker than asking the system. */
const SPARSE_MIN = 2 * MIB

/** The C library takes smaller pieces from memory that was freed before, which it has to clear (DEFAULT_MMAP_THRESHOLD_MAX of glibc). */
const FROM_SYSTEM_MIN = 32 * MIB

/**
 * At least `nbytes` bytes of zeroes. A large buffer takes memory only where it is used, and as shared memory it does not make the
 * garbage collector run, which otherwise looks for what so much external memory could be freed with.
 */
export function sparseBuffer(nbytes: number): ArrayBufferLike {
  if (nbytes < SPARSE_MIN || typeof SharedArrayBuffer !== 'function') return new ArrayBuffer(nbytes)
  return new SharedArrayBuffer(Math.max(nbytes, FROM_SYSTEM_MIN))
}
