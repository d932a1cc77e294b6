// mmap, munmap and the end of an address space (mm/mmap.c of Linux 6.1).

import { type Addr, isPageAligned, isPmdAligned, PAGE_SIZE, PMD_SIZE, pageAlignUp, pmdAlignUp } from '../base/addr.ts'
import { EBADF, EINVAL, ENODEV, ENOMEM, EOPNOTSUPP, EOVERFLOW } from '../base/errno.ts'
import {
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_HUGETLB,
  MAP_NORESERVE,
  MAP_POPULATE,
  MAP_PRIVATE,
  MAP_SHARED,
  PROT_EXEC,
  PROT_READ,
  PROT_WRITE,
} from '../uapi/mman.ts'
import { unlinkAnonVmas } from './anon-vma.ts'
import { mmPopulate } from './gup.ts'
import { makeHugetlbFile } from './hugetlb-file.ts'
import type { Mm } from './mm.ts'
import {
  ADDR_MAX,
  MMU_NOTIFY_RELEASE,
  MMU_NOTIFY_UNMAP,
  MmuNotifierRange,
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from './mmu-notifier.ts'
import { makeSharedAnonymousFile } from './shmem.ts'
import {
  VM_EXEC,
  VM_HUGETLB,
  VM_MAYEXEC,
  VM_MAYREAD,
  VM_MAYSHARE,
  VM_MAYWRITE,
  VM_NORESERVE,
  VM_READ,
  VM_SHARED,
  VM_SOFTDIRTY,
  VM_SPECIAL,
  VM_WRITE,
} from './vm-flags.ts'
import { accountFlags, DUMMY_VM_OPS, Vma, type VmFile, vmaLink, vmaUnlinkFile } from './vma.ts'
import { canVmaMergeAfter, canVmaMergeBefore, splitVma, vmaExpand } from './vma-adjust.ts'
import { unmapSingleVma } from './zap.ts'

/** Where mappings without a wanted address go, downwards from here. */
const MMAP_BASE: Addr = 0x7fff_0000_0000

/** Files end below 2^64 bytes. */
const FILE_PAGES_MAX = 2 ** 52

/** VM_READ, VM_WRITE and VM_EXEC of PROT_* bits. */
export function protToVmFlags(prot: number): number {
  return (
    ((prot & PROT_READ) !== 0 ? VM_READ : 0) |
    ((prot & PROT_WRITE) !== 0 ? VM_WRITE : 0) |
    ((prot & PROT_EXEC) !== 0 ? VM_EXEC : 0)
  )
}

/**
 * Maps `length` bytes. Without MAP_FIXED the address is chosen (`addr` is only a hint); with it, what is mapped there goes.
 *
 * Returns the address, or -EINVAL (unaligned, no length, neither or both of MAP_SHARED and MAP_PRIVATE, the address space is
 * dead), -ENOMEM (no room),
 * -EBADF (no file, or one that is gone), -EOVERFLOW (`pgoff`, in pages, too far in the file), -EOPNOTSUPP (a file or shared
 * memory where pages have home frames), or what the file's mmap answers.
 */
export function mmMmap(
  mm: Mm,
  addr: Addr,
  length: number,
  prot: number,
  flags: number,
  file: VmFile | null = null,
  pgoff = 0,
): number {
  if (mm.users <= 0) return -EINVAL
  if (!Number.isSafeInteger(addr) || !Number.isSafeInteger(length) || addr < 0 || length <= 0) return -EINVAL
  if (!Number.isSafeInteger(pgoff) || pgoff < 0) return -EINVAL
  const anonymous = (flags & MAP_ANONYMOUS) !== 0
  if (!anonymous && !isUsableFile(mm, file)) return -EBADF
  const type = flags & (MAP_SHARED | MAP_PRIVATE)
  if (type !== MAP_SHARED && type !== MAP_PRIVATE) return -EINVAL
  const fileIsHugetlb = !anonymous && file?.mapping?.isHugetlb === true
  if (!anonymous && !fileIsHugetlb && (flags & MAP_HUGETLB) !== 0) return -EINVAL
  const hugetlb = fileIsHugetlb || (flags & MAP_HUGETLB) !== 0
  const nbytes = hugetlb ? pmdAlignUp(length) : pageAlignUp(length)
  if (nbytes > mm.taskSize) return -ENOMEM
  if (pgoff + nbytes / PAGE_SIZE > FILE_PAGES_MAX) return -EOVERFLOW

  let start = addr
  if ((flags & MAP_FIXED) !== 0) {
    if (!isPageAligned(addr) || (hugetlb && !isPmdAligned(addr))) return -EINVAL
    if (addr + nbytes > mm.taskSize) return -ENOMEM
  } else {
    start = findUnmappedArea(mm, nbytes, hugetlb ? PMD_SIZE : PAGE_SIZE)
    if (start < 0) return start
  }

  let vmFlags = protToVmFlags(prot) | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC
  if (type === MAP_SHARED) vmFlags |= VM_SHARED | VM_MAYSHARE
  if ((flags & MAP_NORESERVE) !== 0) vmFlags |= VM_NORESERVE
  let ret: number
  if (anonymous && hugetlb) {
    const backing = makeHugetlbFile(mm.sys, nbytes / PAGE_SIZE)
    ret = mmapRegion(mm, start, nbytes, vmFlags, backing, 0, false)
    backing.close()
  } else {
    const sharedAnonymous = anonymous && type === MAP_SHARED
    const offset = !anonymous ? pgoff : sharedAnonymous ? 0 : start / PAGE_SIZE
    ret = mmapRegion(mm, start, nbytes, vmFlags, anonymous ? null : file, offset, sharedAnonymous)
  }
  if (ret >= 0 && (flags & MAP_POPULATE) !== 0) mmPopulate(mm, start, nbytes)
  return ret
}

/** There is a file, and its page cache still exists. */
function isUsableFile(mm: Mm, file: VmFile | null): boolean {
  if (file === null) return false
  return file.mapping === null || mm.sys.mappings.get(file.mapping.id) === file.mapping
}

function mmapRegion(
  mm: Mm,
  addr: Addr,
  nbytes: number,
  requested: number,
  file: VmFile | null,
  pgoff: number,
  sharedAnonymous: boolean,
): number {
  // Pages of a file have no home frame in an address space.
  if (!mm.sys.mmu.capabilities.anyFrame && (file !== null || sharedAnonymous)) return -EOPNOTSUPP
  const end = addr + nbytes
  const unmapped = mmMunmap(mm, addr, nbytes)
  if (unmapped !== 0) return -ENOMEM
  let flags = requested | VM_SOFTDIRTY
  const isHugetlb = file?.mapping?.isHugetlb === true
  if (!isHugetlb) flags |= accountFlags(flags)

  if (!sharedAnonymous && expandNeighbour(mm, addr, end, flags, file, pgoff)) return addr

  const nameless = sharedAnonymous ? makeSharedAnonymousFile(mm.sys, nbytes / PAGE_SIZE) : null
  const backing = nameless ?? file
  const vma = new Vma(mm, addr, end, flags, pgoff, backing, backing === null ? null : DUMMY_VM_OPS)
  if (backing !== null) {
    const err = backing.mmap(vma)
    if (err !== 0) {
      // What its driver mapped before it failed goes again.
      unmapRegion(mm, [vma], addr, end, mm.vmaBefore(addr)?.end ?? 0, mm.findVma(end)?.start ?? 0)
      return err
    }
  }
  vmaLink(vma)
  nameless?.close() // from now on it lives as long as it is mapped
  return addr
}

/** Lets the mapping before or after `[addr, end)`, or both, grow over it, if they agree in everything. */
function expandNeighbour(mm: Mm, addr: Addr, end: Addr, flags: number, file: VmFile | null, pgoff: number): boolean {
  if ((flags & VM_SPECIAL) !== 0) return false
  const next = mm.findVma(addr)
  const prev = mm.vmaBefore(addr)
  const npages = (end - addr) / PAGE_SIZE
  let grow: Vma | null = null
  let mergeStart = addr
  let mergeEnd = end
  let mergePgoff = pgoff
  if (next !== null && next.start === end && canVmaMergeBefore(next, flags, null, file, pgoff + npages)) {
    mergeEnd = next.end
    grow = next
    mergePgoff = next.pgoff - npages
  }
  if (prev !== null && prev.end === addr && canVmaMergeAfter(prev, flags, grow?.anonVma ?? null, file, pgoff)) {
    mergeStart = prev.start
    grow = prev
    mergePgoff = prev.pgoff
  }
  if (grow === null) return false
  vmaExpand(grow, mergeStart, mergeEnd, mergePgoff, next)
  grow.flags |= VM_SOFTDIRTY
  return true
}

/** A free stretch of `nbytes`, as high as possible; -ENOMEM if there is none. */
function findUnmappedArea(mm: Mm, nbytes: number, align: number): number {
  let top = Math.min(MMAP_BASE, mm.taskSize)
  for (let i = mm.vmas.length - 1; i >= -1; i--) {
    const floor = i >= 0 ? mm.vmas[i].end : PAGE_SIZE
    if (floor < top) {
      const start = top - nbytes - ((top - nbytes) % align)
      if (start >= floor) return start
    }
    if (i >= 0) top = Math.min(top, mm.vmas[i].start)
  }
  return -ENOMEM
}

/**
 * Unmaps `[start, start + length)` under one UNMAP event, if anything is mapped there (MN-60).
 *
 * Returns 0, -EINVAL (unaligned, no length, outside the address space), or what a mapping objects to being split.
 */
export function mmMunmap(mm: Mm, start: Addr, length: number): number {
  if (!Number.isSafeInteger(start) || !Number.isSafeInteger(length)) return -EINVAL
  if (!isPageAligned(start) || start < 0 || length <= 0 || start + length > mm.taskSize) return -EINVAL
  const end = start + pageAlignUp(length)
  const first = mm.findVmaIntersection(start, end)
  if (first === null) return 0
  if (start > first.start) {
    const err = splitVma(first, start, false)
    if (err !== 0) return err
  }
  const tail = mm.findVma(end - 1)
  if (tail !== null && tail.start < end && tail.end > end) {
    const err = splitVma(tail, end, true)
    if (err !== 0) return err
  }
  const gone: Vma[] = []
  for (let vma = mm.findVmaIntersection(start, end); vma !== null; vma = mm.findVmaIntersection(start, end)) {
    mm.removeVma(vma)
    gone.push(vma)
  }
  const prev = mm.vmaBefore(start)
  const next = mm.findVma(end)
  unmapRegion(mm, gone, start, end, prev?.end ?? 0, next?.start ?? 0)
  for (const vma of gone) vma.ops?.close?.(vma)
  return 0
}

/** Zaps the mappings, which are out of the address space already, and frees the tables that only they used. */
function unmapRegion(mm: Mm, gone: Vma[], start: Addr, end: Addr, floor: Addr, ceiling: Addr): void {
  const range = new MmuNotifierRange(MMU_NOTIFY_UNMAP, gone[0], mm, start, end)
  mmuNotifierInvalidateRangeStart(range)
  for (const vma of gone) unmapSingleVma(vma, start, end, null)
  mmuNotifierInvalidateRangeEnd(range)
  freePageTables(mm, gone, floor, ceiling)
}

/** Neighbours less than 2 MiB apart are handled as one stretch. */
function freePageTables(mm: Mm, gone: Vma[], floor: Addr, ceiling: Addr): void {
  for (let i = 0; i < gone.length; i++) {
    const { start } = gone[i]
    unlinkVma(gone[i])
    while (
      (gone[i].flags & VM_HUGETLB) === 0 &&
      i + 1 < gone.length &&
      gone[i + 1].start <= gone[i].end + 0x20_0000 &&
      (gone[i + 1].flags & VM_HUGETLB) === 0
    ) {
      i++
      unlinkVma(gone[i])
    }
    mm.pageTable.free(start, gone[i].end, floor, i + 1 < gone.length ? gone[i + 1].start : ceiling)
  }
}

function unlinkVma(vma: Vma): void {
  unlinkAnonVmas(vma)
  vmaUnlinkFile(vma)
  if (vma.file?.mapping?.iMmap.size === 0) vma.file.unmapped?.()
}

/**
 * Drops a user reference. With the last one the address space dies: RELEASE and UNMAP over everything (MN-61), then all pages
 * are freed. Subscriptions stay until their drivers remove them. Returns 0, or -ENODEV if it is dead already.
 */
export function mmput(mm: Mm): number {
  if (mm.users <= 0) return -ENODEV
  mm.users--
  if (mm.users === 0) exitMmap(mm)
  return 0
}

function exitMmap(mm: Mm): void {
  const release = new MmuNotifierRange(MMU_NOTIFY_RELEASE, null, mm, 0, ADDR_MAX)
  mmuNotifierInvalidateRangeStart(release)
  mmuNotifierInvalidateRangeEnd(release)
  const gone = [...mm.vmas]
  mm.vmas.length = 0
  mm.vmaChanged()
  if (gone.length > 0) {
    const range = new MmuNotifierRange(MMU_NOTIFY_UNMAP, gone[0], mm, 0, ADDR_MAX)
    mmuNotifierInvalidateRangeStart(range)
    for (const vma of gone) unmapSingleVma(vma, vma.start, vma.end, null)
    mmuNotifierInvalidateRangeEnd(range)
    freePageTables(mm, gone, 0, 0)
    for (const vma of gone) vma.ops?.close?.(vma)
  }
  mm.sys.mms.delete(mm)
  mm.sys.mmu.detach(mm.space)
}
