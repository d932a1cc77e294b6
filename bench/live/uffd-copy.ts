// What the kernel needs at least to fill fresh pages of a file from memory: UFFDIO_COPY in pieces of 2 MiB.

import { detectLive, openDetected } from '../../src/mmu/userfaultfd/features.ts'
import { loadKernel } from '../../src/mmu/userfaultfd/ffi.ts'
import { Segment } from '../../src/mmu/userfaultfd/segment.ts'
import { Uffd } from '../../src/mmu/userfaultfd/uffd.ts'
import { UFFDIO_COPY, UFFDIO_REGISTER_MODE_MISSING } from '../../src/uapi/userfaultfd.ts'

const PIECE = 2 ** 21 // bytes

export interface UffdTarget {
  /** What it is filled from. */
  readonly source: Uint8Array
  /** Fills it. */
  copyAll(): void
  empty(): void
}

export async function mapUffdTarget(nbytes: number): Promise<UffdTarget> {
  const kernel = await loadKernel()
  const support = await detectLive()
  if (support.mode === 'unavailable') throw new Error(support.reason)
  const fd = openDetected(kernel, support)
  const segment = new Segment(kernel, nbytes)
  new Uffd(kernel, fd).register(segment.userAddr, nbytes, UFFDIO_REGISTER_MODE_MISSING)
  const source = new Uint8Array(nbytes).fill(1)
  const from = kernel.addressOf(source)
  const { control } = kernel
  return {
    // The kernel knows only its address.
    source,
    copyAll() {
      for (let at = 0; at < nbytes; at += PIECE) {
        const fields = [segment.userAddr + at, from + at, PIECE, 0, 0] // struct uffdio_copy: dst, src, len, mode, copy
        for (const [i, value] of fields.entries()) control.set(i, value)
        const result = kernel.ioctl(fd, UFFDIO_COPY)
        if (result < 0) throw new Error(`UFFDIO_COPY failed with ${result}`)
      }
    },
    empty: () => segment.punch(0, nbytes),
  }
}
