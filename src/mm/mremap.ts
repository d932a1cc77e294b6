// mremap: growing, shrinking and moving a mapping (mm/mremap.c of Linux 6.1; spec 7.6).

import {
  type Addr,
  isPageAligned,
  isPmdAligned,
  PAGE_SIZE,
  PMD_SIZE,
  PUD_SIZE,
  pageAlignUp,
  pmdAlignUp,
  pmdIndex,
  pteIndex,
} from '../base/addr.ts'
import { EFAULT, EINVAL, ENOMEM, EOPNOTSUPP } from '../base/errno.ts'
import { MREMAP_DONTUNMAP, MREMAP_FIXED, MREMAP_MAYMOVE } from '../uapi/mman.ts'
import { anonVmaClone } from './anon-vma.ts'
import { splitHugePmd } from './huge-pmd.ts'
import { moveHugetlbPageTables } from './hugetlb.ts'
import { forgetReservation } from './hugetlb-reserve.ts'
import type { Mm } from './mm.ts'
import { mmMunmap } from './mmap.ts'
import {
  MMU_NOTIFY_UNMAP,
  MmuNotifierRange,
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from './mmu-notifier.ts'
import { PTE_SOFT_DIRTY } from './pte.ts'
import { tlbUnmap } from './tlb.ts'
import { VM_ACCOUNT, VM_DONTEXPAND, VM_HUGETLB, VM_PFNMAP, VM_SHARED } from './vm-flags.ts'
import { linearPageIndex, type Vma, vmaDup, vmaLink } from './vma.ts'
import { vmaMerge } from './vma-adjust.ts'

/**
 * Resizes or moves a mapping.
 *
 * Returns its address, or -EINVAL (unaligned, overlapping, bad flags), -EFAULT (not one whole mapping), -ENOMEM (no room and
 * not allowed to move), -EOPNOTSUPP (the backend cannot move pages to other addresses).
 */
export function mmMremap(
  mm: Mm,
  oldAddr: Addr,
  oldLength: number,
  newLength: number,
  flags: number,
  newAddr: Addr = 0,
): number {
  if ((flags & ~(MREMAP_FIXED | MREMAP_MAYMOVE | MREMAP_DONTUNMAP)) !== 0) return -EINVAL
  if ((flags & MREMAP_FIXED) !== 0 && (flags & MREMAP_MAYMOVE) === 0) return -EINVAL
  if ((flags & MREMAP_DONTUNMAP) !== 0 && ((flags & MREMAP_MAYMOVE) === 0 || oldLength !== newLength)) return -EINVAL
  if (!Number.isSafeInteger(oldAddr) || !Number.isSafeInteger(oldLength) || !Number.isSafeInteger(newLength))
    return -EINVAL
  if (!isPageAligned(oldAddr) || oldAddr < 0 || oldLength < 0 || newLength <= 0) return -EINVAL
  let oldLen = pageAlignUp(oldLength)
  let newLen = pageAlignUp(newLength)
  const vma = mm.vmaLookup(oldAddr)
  if (vma === null) return -EFAULT
  if ((vma.flags & VM_HUGETLB) !== 0) {
    oldLen = pmdAlignUp(oldLen)
    newLen = pmdAlignUp(newLen)
    if (!isPmdAligned(oldAddr) || !isPmdAligned(newAddr) || newLen > oldLen) return -EINVAL
  }
  if ((flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) !== 0) return mremapTo(mm, oldAddr, oldLen, newAddr, newLen, flags)

  if (oldLen >= newLen) {
    if (oldLen > newLen) {
      const err = mmMunmap(mm, oldAddr + newLen, oldLen - newLen)
      if (err !== 0) return err
    }
    return oldAddr
  }
  const resizable = checkResize(mm, oldAddr, oldLen, newLen, flags)
  if (typeof resizable === 'number') return resizable
  if (oldLen === resizable.end - oldAddr && growInPlace(mm, resizable, newLen - oldLen)) return oldAddr
  if ((flags & MREMAP_MAYMOVE) === 0) return -ENOMEM
  const target = findRoom(mm, newLen)
  if (target < 0) return target
  return moveVma(mm, resizable, oldAddr, oldLen, newLen, target, false)
}

function mremapTo(mm: Mm, addr: Addr, oldLength: number, newAddr: Addr, newLength: number, flags: number): number {
  if (!Number.isSafeInteger(newAddr) || !isPageAligned(newAddr) || newAddr < 0) return -EINVAL
  if (newLength > mm.taskSize || newAddr > mm.taskSize - newLength) return -EINVAL
  if (addr + oldLength > newAddr && newAddr + newLength > addr) return -EINVAL
  if (!mm.sys.mmu.capabilities.anyFrame) return -EOPNOTSUPP
  if ((flags & MREMAP_FIXED) !== 0) {
    const err = mmMunmap(mm, newAddr, newLength)
    if (err !== 0) return err
  }
  let oldLen = oldLength
  if (oldLen > newLength) {
    const err = mmMunmap(mm, addr + newLength, oldLen - newLength)
    if (err !== 0) return err
    oldLen = newLength
  }
  const vma = checkResize(mm, addr, oldLen, newLength, flags)
  if (typeof vma === 'number') return vma
  return moveVma(mm, vma, addr, oldLen, newLength, newAddr, (flags & MREMAP_DONTUNMAP) !== 0)
}

/** The mapping of the whole range, if it may have the new size. */
function checkResize(mm: Mm, addr: Addr, oldLength: number, newLength: number, flags: number): Vma | number {
  const vma = mm.vmaLookup(addr)
  if (vma === null) return -EFAULT
  if (oldLength === 0 && (vma.flags & VM_SHARED) === 0) return -EINVAL
  if ((flags & MREMAP_DONTUNMAP) !== 0 && (vma.flags & (VM_DONTEXPAND | VM_PFNMAP)) !== 0) return -EINVAL
  if (oldLength > vma.end - addr) return -EFAULT
  if (newLength !== oldLength && (vma.flags & (VM_DONTEXPAND | VM_PFNMAP)) !== 0) return -EFAULT
  return vma
}

function growInPlace(mm: Mm, vma: Vma, delta: number): boolean {
  const end = vma.end + delta
  const next = mm.nextVma(vma)
  if (end > mm.taskSize || (next !== null && next.start < end)) return false
  const pgoff = linearPageIndex(vma, vma.end)
  return vmaMerge(mm, vma, vma.end, end, vma.flags, vma.anonVma, vma.file, pgoff) !== null
}

function findRoom(mm: Mm, nbytes: number): number {
  let top = mm.taskSize
  for (let i = mm.vmas.length - 1; i >= 0; i--) {
    if (top - mm.vmas[i].end >= nbytes) return top - nbytes
    top = mm.vmas[i].start
  }
  return top >= nbytes ? top - nbytes : -ENOMEM
}

function moveVma(
  mm: Mm,
  source: Vma,
  oldAddr: Addr,
  oldLength: number,
  newLength: number,
  newAddr: Addr,
  dontUnmap: boolean,
): number {
  if (!mm.sys.mmu.capabilities.anyFrame) return -EOPNOTSUPP
  let vma = source
  if (vma.ops?.maySplit !== undefined) {
    let err = vma.start !== oldAddr ? vma.ops.maySplit(vma, oldAddr) : 0
    if (err === 0 && vma.end !== oldAddr + oldLength) err = vma.ops.maySplit(vma, oldAddr + oldLength)
    if (err !== 0) return err
  }
  const copied = copyVma(vma, newAddr, newLength, linearPageIndex(vma, oldAddr))
  vma = copied.source
  movePageTables(vma, oldAddr, copied.vma, newAddr, oldLength)
  if (dontUnmap) return newAddr
  if ((vma.flags & VM_HUGETLB) !== 0) forgetReservation(vma)

  // The commit charge moves along; what is left of the old mapping keeps its part.
  const charged = (vma.flags & VM_ACCOUNT) !== 0
  const leftBefore = charged && vma.start < oldAddr
  const leftAfter = charged && vma.end > oldAddr + oldLength
  if (charged) vma.flags &= ~VM_ACCOUNT
  mmMunmap(mm, oldAddr, oldLength)
  if (leftBefore) restoreAccount(mm, oldAddr - PAGE_SIZE)
  if (leftAfter) restoreAccount(mm, oldAddr + oldLength)
  return newAddr
}

function restoreAccount(mm: Mm, addr: Addr): void {
  const vma = mm.vmaLookup(addr)
  if (vma !== null) vma.flags |= VM_ACCOUNT
}

/** A mapping like `vma` at the new place, merged with its neighbours there. `source` may have been swallowed in the merge. */
function copyVma(vma: Vma, addr: Addr, length: number, pgoff: number): { vma: Vma; source: Vma } {
  const { mm } = vma
  const start = vma.start
  // Memory that was never faulted gets the offset of its new place, which lets it merge there.
  const offset = vma.isAnonymous && vma.anonVma === null ? addr / PAGE_SIZE : pgoff
  const prev = mm.vmaBefore(addr)
  const merged = vmaMerge(mm, prev, addr, addr + length, vma.flags, vma.anonVma, vma.file, offset)
  if (merged !== null) return { vma: merged, source: start >= merged.start && start < merged.end ? merged : vma }
  const copy = vmaDup(vma)
  copy.start = addr
  copy.end = addr + length
  copy.pgoff = offset
  anonVmaClone(copy, vma)
  copy.ops?.open?.(copy)
  vmaLink(copy)
  return { vma: copy, source: vma }
}

/** Moves the entries as they are, under an UNMAP event over the old range (MN-78). */
function movePageTables(vma: Vma, oldStart: Addr, newVma: Vma, newStart: Addr, length: number): void {
  if (length === 0) return
  if ((vma.flags & VM_HUGETLB) !== 0) {
    moveHugetlbPageTables(vma, newVma, oldStart, newStart, length)
    return
  }
  const { mm } = vma
  const { pageTable } = mm
  const end = oldStart + length
  const range = new MmuNotifierRange(MMU_NOTIFY_UNMAP, vma, mm, oldStart, end)
  mmuNotifierInvalidateRangeStart(range)
  tlbUnmap(mm, oldStart, end)
  let from = oldStart
  let to = newStart
  while (from < end) {
    const oldPmd = pageTable.findPmd(from)
    if (oldPmd === null) {
      const step = extent(from, to, end, PUD_SIZE)
      from += step
      to += step
      continue
    }
    const step = extent(from, to, end, PMD_SIZE)
    const slot = pmdIndex(from)
    if (!oldPmd.isNone(slot)) moveBlock(vma, from, newVma, to, step)
    from += step
    to += step
  }
  mmuNotifierInvalidateRangeEnd(range)
}

/** How far both addresses can go without leaving their aligned block of `size`. */
function extent(from: Addr, to: Addr, end: Addr, size: number): number {
  return Math.min(size - (from % size), size - (to % size), end - from)
}

function moveBlock(vma: Vma, from: Addr, newVma: Vma, to: Addr, nbytes: number): void {
  const { pageTable } = vma.mm
  const oldPmd = pageTable.findPmd(from)
  if (oldPmd === null) return
  const slot = pmdIndex(from)
  const newPmd = pageTable.allocPmd(to)
  const newSlot = pmdIndex(to)
  const wholeBlock = nbytes === PMD_SIZE && newPmd.isNone(newSlot)
  const huge = oldPmd.hugeFlags(slot)
  if (huge !== 0) {
    if (wholeBlock) {
      newPmd.setHuge(newSlot, huge | PTE_SOFT_DIRTY, oldPmd.hugePfn(slot))
      oldPmd.setHuge(slot, 0, 0)
      return
    }
    splitHugePmd(vma, oldPmd, slot, from)
  }
  const table = oldPmd.tables[slot]
  if (table === null) return
  if (wholeBlock) {
    pageTable.clearPteTable(oldPmd, slot)
    pageTable.setPteTable(newPmd, newSlot, table)
    return
  }
  const target = pageTable.allocPte(to)
  const first = pteIndex(from)
  const newFirst = pteIndex(to)
  for (let k = 0; k < nbytes / PAGE_SIZE; k++) {
    const i = 2 * (first + k)
    const j = 2 * (newFirst + k)
    if (table.words[i + 1] === 0) continue
    target.words[j] = table.words[i]
    target.words[j + 1] = table.words[i + 1] | PTE_SOFT_DIRTY
    table.words[i] = 0
    table.words[i + 1] = 0
  }
}
