// mlock and munlock (mm/mlock.c of Linux 6.1): the pages are made present, and reclaim leaves them alone.

import { type Addr, pageAlignDown, pageAlignUp } from '../base/addr.ts'
import { EAGAIN, EFAULT, EINVAL, ENOMEM } from '../base/errno.ts'
import { mmPopulate } from './gup.ts'
import type { Mm } from './mm.ts'
import { VM_HUGETLB, VM_LOCKED, VM_SPECIAL } from './vm-flags.ts'
import { linearPageIndex, type Vma } from './vma.ts'
import { changeVmaFlags } from './vma-adjust.ts'

/**
 * The first half of mlock, with mmapLock held for writing: reclaim leaves the mappings alone from now on.
 *
 * Returns 0, -ENOMEM (a part is not mapped) or -EINVAL.
 */
export function mmMlock(mm: Mm, addr: Addr, length: number): number {
  const start = pageAlignDown(addr)
  return applyLockFlags(mm, start, pageAlignUp(addr + length) - start, VM_LOCKED)
}

/**
 * The second half, with mmapLock held for reading, as it may have to wait for a page.
 *
 * Returns 0, -ENOMEM (a page cannot be made present) or -EAGAIN: out of memory, or with `sys.waitFor` set, wait and call again.
 */
export function mlockPopulate(mm: Mm, addr: Addr, length: number): number {
  const start = pageAlignDown(addr)
  const populated = mmPopulate(mm, start, pageAlignUp(addr + length) - start)
  if (populated === -EFAULT) return -ENOMEM
  return populated === -ENOMEM ? -EAGAIN : populated
}

/**
 * Lets the pages of `length` bytes be reclaimed again (`munlock`).  *  * Returns 0, or  * - -ENOMEM  a part of the range is not
 * mapped  * - -EINVAL  the range is none
 */
export function mmMunlock(mm: Mm, addr: Addr, length: number): number {
  const start = pageAlignDown(addr)
  return applyLockFlags(mm, start, pageAlignUp(addr + length) - start, 0)
}

function applyLockFlags(mm: Mm, start: Addr, nbytes: number, flags: number): number {
  if (!Number.isSafeInteger(start) || !Number.isSafeInteger(nbytes) || start < 0 || nbytes < 0) return -EINVAL
  const end = start + nbytes
  if (end === start) return 0
  let vma = mm.vmaLookup(start)
  if (vma === null) return -ENOMEM
  let prev: Vma | null = start > vma.start ? vma : mm.prevVma(vma)
  for (let at = start; ; ) {
    const to = Math.min(vma.end, end)
    const newFlags = (vma.flags & ~VM_LOCKED) | flags
    let changed: Vma = vma
    if (newFlags !== vma.flags && (vma.flags & (VM_SPECIAL | VM_HUGETLB)) === 0) {
      const result = changeVmaFlags(vma, prev, at, to, newFlags, linearPageIndex(vma, at))
      if (typeof result === 'number') return result
      changed = result
    }
    prev = changed
    at = Math.max(to, changed.end)
    if (at >= end) return 0
    const next = mm.findVma(changed.end)
    if (next === null || next.start !== at) return -ENOMEM
    vma = next
  }
}
