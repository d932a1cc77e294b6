// Files in memory: tmpfs files and shared anonymous memory. Follows mm/shmem.c and the fault-around of mm/filemap.c of
// Linux 6.1. A page that was never written is made on first touch; reclaim moves pages to swap.

import { PAGE_SIZE, type Pfn, pteIndex } from '../base/addr.ts'
import { assert } from '../base/assert.ts'
import { EAGAIN, EBADF, EINVAL, EIO, ENOMEM } from '../base/errno.ts'
import type { AddressSpace } from './address-space.ts'
import { setFileEntry } from './fault.ts'
import { PG_DIRTY, PG_HWPOISON, PG_LOCKED, PG_READAHEAD, PG_SWAPBACKED, PG_UPTODATE } from './page.ts'
import { allocKernelPage, getPage, putPage, waitForPage } from './page-alloc.ts'
import { addToSwapCache, deleteFromSwapCache, freeSwapAndCache } from './swap.ts'
import { readSwapSlot } from './swap-in.ts'
import { swapReadPages, waitForSwapIo } from './swap-io.ts'
import type { System } from './system.ts'
import { deleteFromPageCache, unmapMappingRange } from './truncate.ts'
import {
  VM_FAULT_LOCKED,
  VM_FAULT_NOPAGE,
  VM_FAULT_OOM,
  VM_FAULT_RETRY,
  VM_FAULT_SIGBUS,
  type VmFault,
} from './vm-fault.ts'
import type { Vma, VmFile, VmOps } from './vma.ts'

/**
 * A file in memory that can be mapped. Sizes and offsets are in pages. It exists until whoever made it closes it and nobody
 * maps it any more, like a file of tmpfs that was unlinked; from then on its calls return -EBADF.
 */
export class ShmemFile implements VmFile {
  readonly name: string
  readonly mapping: AddressSpace
  private readonly sys: System
  private isOpen = true
  private isGone = false

  constructor(sys: System, name: string, npages: number) {
    this.sys = sys
    this.name = name
    this.mapping = sys.createAddressSpace(name, npages)
  }

  mmap(vma: Vma): number {
    vma.ops = SHMEM_VM_OPS
    return 0
  }

  /**
   * The page of the file, made if it is not there; without a reference for the caller. Returns -ENOMEM if there is no frame,
   * -EAGAIN if it has to be waited for (`sys.waitFor`), -EIO if it was lost in swap, -EINVAL beyond the end.
   */
  getPage(pgoff: number): Pfn {
    const err = this.checkPage(pgoff)
    if (err !== 0) return err
    const pfn = shmemGetPage(this.sys, this.mapping, pgoff)
    if (pfn < 0) return pfn
    putPage(this.sys, pfn)
    return pfn
  }

  /** Writes bytes into one page of the file, as write(2) does. Returns 0, -EINVAL (not one page of the file), -ENOMEM, -EAGAIN, -EIO (poisoned or lost). */
  writePage(pgoff: number, bytes: Uint8Array, offset = 0): number {
    const err = this.checkPage(pgoff)
    if (err !== 0) return err
    if (!Number.isSafeInteger(offset) || offset < 0 || offset + bytes.length > PAGE_SIZE) return -EINVAL
    const pfn = shmemGetPage(this.sys, this.mapping, pgoff)
    if (pfn < 0) return pfn
    const poisoned = (this.sys.pages.flags[pfn] & PG_HWPOISON) !== 0
    if (!poisoned) {
      this.sys.mmu.bytes(pfn).set(bytes, offset)
      this.sys.pages.setDirty(pfn)
    }
    putPage(this.sys, pfn)
    return poisoned ? -EIO : 0
  }

  /**
   * Sets the size of the file. What lies beyond the end is unmapped twice, as the kernel does against late copies. Returns 0
   * or -EINVAL.
   */
  truncate(npages: number): number {
    if (this.isGone) return -EBADF
    if (!Number.isSafeInteger(npages) || npages < 0) return -EINVAL
    const { mapping } = this
    const old = mapping.npages
    mapping.npages = npages
    if (npages > old) return 0
    if (old > npages) unmapMappingRange(mapping, npages, Number.POSITIVE_INFINITY, true)
    this.dropPages(npages, Number.POSITIVE_INFINITY)
    if (old > npages) unmapMappingRange(mapping, npages, Number.POSITIVE_INFINITY, true)
    return 0
  }

  /** Deallocates pages; the size stays and private copies live on (`fallocate` with PUNCH_HOLE). Returns 0 or -EINVAL. */
  punchHole(pgoff: number, npages: number): number {
    if (this.isGone) return -EBADF
    if (!Number.isSafeInteger(pgoff) || !Number.isSafeInteger(npages) || pgoff < 0 || npages <= 0) return -EINVAL
    unmapMappingRange(this.mapping, pgoff, npages, false)
    this.dropPages(pgoff, npages)
    return 0
  }

  /** Whoever made the file has no use for it any more: it goes with its last mapping. The second call does nothing. */
  close(): void {
    this.isOpen = false
    this.releaseUnused()
  }

  unmapped(): void {
    this.releaseUnused()
  }

  /** Without maker and mappings nobody can reach the contents: pages, swap slots and the page cache go. */
  private releaseUnused(): void {
    if (this.isOpen || this.isGone || this.mapping.iMmap.size > 0) return
    this.isGone = true
    this.dropPages(0, Number.POSITIVE_INFINITY)
    this.sys.mappings.delete(this.mapping.id)
  }

  /** 0 if the page is one of the file. */
  private checkPage(pgoff: number): number {
    if (this.isGone) return -EBADF
    return Number.isSafeInteger(pgoff) && pgoff >= 0 && pgoff < this.mapping.npages ? 0 : -EINVAL
  }

  private dropPages(first: number, npages: number): void {
    const { mapping, sys } = this
    for (const [pgoff, pfn] of [...mapping.pages]) {
      if (pgoff < first || pgoff >= first + npages) continue
      if (sys.pages.isMapped(pfn)) unmapMappingRange(mapping, pgoff, 1, false)
      deleteFromPageCache(sys, mapping, pfn)
    }
    for (const [pgoff, slot] of [...mapping.swapped]) {
      if (pgoff < first || pgoff >= first + npages) continue
      mapping.swapped.delete(pgoff)
      freeSwapAndCache(sys, slot)
    }
  }
}

/** The memory behind a shared anonymous mapping: a file of its own, without a name (`shmem_zero_setup`). Who maps it closes it. */
export function makeSharedAnonymousFile(sys: System, npages: number): ShmemFile {
  return new ShmemFile(sys, 'shared anonymous', npages)
}

export const SHMEM_VM_OPS: VmOps = {
  name: 'shmem',
  fault: shmemFault,
  mapPages: filemapMapPages,
}

/**
 * The page with a reference for the caller: from the page cache, from swap, or new. Returns the frame, or
 * - -EAGAIN it is being read from swap or written there, or there may be a frame later: `sys.waitFor` is set
 * - -ENOMEM there is no frame
 * - -EIO    its contents in swap were lost
 */
export function shmemGetPage(sys: System, mapping: AddressSpace, pgoff: number): Pfn {
  const { pages } = sys
  const cached = mapping.pages.get(pgoff)
  if (cached !== undefined) {
    getPage(sys, cached)
    return cached
  }
  const slot = mapping.swapped.get(pgoff)
  const pfn = slot === undefined ? newPage(sys) : swapInFilePage(sys, slot)
  if (pfn < 0) return pfn === -ENOMEM && sys.waitFor !== null ? -EAGAIN : pfn
  if (slot !== undefined) {
    mapping.swapped.delete(pgoff)
    sys.swap?.free(slot)
    pages.flags[pfn] |= PG_DIRTY
  }
  pages.flags[pfn] |= PG_SWAPBACKED | PG_UPTODATE
  pages.mapping[pfn] = mapping.id
  pages.index[pfn] = pgoff
  mapping.pages.set(pgoff, pfn)
  getPage(sys, pfn)
  return pfn
}

function newPage(sys: System): Pfn {
  const pfn = allocKernelPage(sys)
  if (pfn < 0) return -ENOMEM
  sys.mmu.clearFrame(pfn)
  sys.lru.add(pfn)
  return pfn
}

/** The page in a slot, out of the swap cache if it was there; the file still has its use of the slot. */
function swapInFilePage(sys: System, slot: number): Pfn {
  const { swap } = sys
  assert(swap !== null, 'a page in swap implies a swap area')
  const cached = swap.cache.get(slot)
  if (cached !== undefined) {
    if (waitForSwapIo(sys, swap, cached)) return -EAGAIN
    sys.pages.flags[cached] &= ~PG_READAHEAD
    getPage(sys, cached)
    deleteFromSwapCache(sys, cached)
    return cached
  }
  if (swap.lost.has(slot)) return -EIO
  const pfn = allocKernelPage(sys)
  if (pfn < 0) return -ENOMEM
  if (swap.device.isSynchronous) {
    readSwapSlot(swap, pfn, slot)
    sys.lru.add(pfn)
    return pfn
  }
  swapReadPages(sys, swap, [{ slot, pfn }])
  swap.stats.waits++
  waitForPage(sys, pfn)
  return -EAGAIN
}

/** Moves a page of a file from the page cache to the swap cache under `slot`; the file holds the slot (`shmem_writepage`). */
export function shmemMoveToSwap(sys: System, mapping: AddressSpace, pfn: Pfn, slot: number): void {
  const { pages, swap } = sys
  assert(swap !== null, 'there is swap')
  const pgoff = pages.index[pfn]
  addToSwapCache(sys, swap, pfn, slot)
  swap.duplicate(slot)
  mapping.swapped.set(pgoff, slot)
  mapping.pages.delete(pgoff)
  pages.mapping[pfn] = 0
  putPage(sys, pfn)
}

function shmemFault(vmf: VmFault): number {
  const { vma, pgoff } = vmf
  const { sys } = vma.mm
  const mapping = vma.file?.mapping
  assert(mapping, 'a shmem mapping has a file')
  if (pgoff >= mapping.npages) return VM_FAULT_SIGBUS
  const pfn = shmemGetPage(sys, mapping, pgoff)
  if (pfn === -EAGAIN) return VM_FAULT_RETRY
  if (pfn < 0) return pfn === -EIO ? VM_FAULT_SIGBUS : VM_FAULT_OOM
  if (!sys.pages.trylock(pfn)) {
    waitForPage(sys, pfn)
    putPage(sys, pfn)
    return VM_FAULT_RETRY
  }
  vmf.page = pfn
  return VM_FAULT_LOCKED
}

/** Maps pages `[first, last]` of the file that are cached and not in use by somebody else, where the entry is empty. */
function filemapMapPages(vmf: VmFault, first: number, last: number): number {
  const { vma } = vmf
  const { sys, pageTable } = vma.mm
  const { pages } = sys
  const mapping = vma.file?.mapping
  assert(mapping, 'a file mapping has a file')
  const end = Math.min(last, mapping.npages - 1)
  let ret = 0
  for (let pgoff = first; pgoff <= end; pgoff++) {
    const pfn = mapping.pages.get(pgoff)
    if (pfn === undefined) continue
    if ((pages.flags[pfn] & (PG_LOCKED | PG_UPTODATE)) !== PG_UPTODATE) continue
    const addr = vma.start + (pgoff - vma.pgoff) * PAGE_SIZE
    const table = pageTable.allocPte(addr)
    if ((pages.flags[pfn] & PG_HWPOISON) !== 0) continue
    if (table.words[2 * pteIndex(addr) + 1] !== 0) continue
    getPage(sys, pfn)
    if (addr === vmf.address) ret = VM_FAULT_NOPAGE
    setFileEntry(vmf, pfn, addr)
  }
  return ret
}

/** The mapping is of a file in memory. */
export function vmaIsShmem(vma: Vma): boolean {
  return vma.ops === SHMEM_VM_OPS
}
