// Files of 2 MiB pages, and what mmap makes of them. Follows fs/hugetlbfs/inode.c and the mapping operations of mm/hugetlb.c,
// Linux 6.1. A MAP_HUGETLB mapping maps a file of its own, without a name, which goes with its last mapping. Offsets and sizes
// are in pages of 4 KiB here as everywhere, and multiples of 512 where the kernel wants whole huge pages.

import { type Addr, HPAGE_PMD_NR, isPmdAligned, PAGE_SIZE, type Pfn } from '../base/addr.ts'
import { assert } from '../base/assert.ts'
import { EINVAL, ENOMEM } from '../base/errno.ts'
import type { AddressSpace } from './address-space.ts'
import { dropReservation, inheritReservation, ReserveMap, reserveHugePages } from './hugetlb-reserve.ts'
import { unmapHugepageRange, unshareForSplit } from './hugetlb-unmap.ts'
import type { System } from './system.ts'
import { deleteFromPageCache } from './truncate.ts'
import { VM_DONTEXPAND, VM_HUGETLB, VM_WRITE } from './vm-flags.ts'
import { type Vma, type VmFile, type VmOps, vmaPages } from './vma.ts'

export class HugetlbFile implements VmFile {
  readonly name: string
  readonly mapping: AddressSpace
  private readonly sys: System
  /** Promises of the file's shared mappings. */
  private readonly reserveMap = new ReserveMap()
  /** Mappings, and the one who made the file until `close`. */
  private users = 1

  /** A file of `npages` pages of 4 KiB, a multiple of 512; none of them exists before it is touched. */
  constructor(sys: System, name: string, npages: number) {
    assert(npages % HPAGE_PMD_NR === 0, () => `a hugetlb file of ${npages} pages, wanted a multiple of ${HPAGE_PMD_NR}`)
    this.sys = sys
    this.name = name
    this.mapping = sys.createAddressSpace(name, npages, true)
  }

  /** Returns 0, -EINVAL (the mapping does not begin at a huge page of the file), -ENOMEM (the pool cannot promise the pages). */
  mmap(vma: Vma): number {
    if (vma.pgoff % HPAGE_PMD_NR !== 0) return -EINVAL
    const end = vma.pgoff + vmaPages(vma)
    if (!reserveHugePages(vma, this.reserveMap, vma.pgoff / HPAGE_PMD_NR, end / HPAGE_PMD_NR)) return -ENOMEM
    vma.flags |= VM_HUGETLB | VM_DONTEXPAND
    vma.ops = HUGETLB_VM_OPS
    this.users++
    if ((vma.flags & VM_WRITE) !== 0) this.mapping.npages = Math.max(this.mapping.npages, end)
    return 0
  }

  /** Sets the size. Private copies beyond the end go too. Returns 0, or -EINVAL unless the size is whole huge pages. */
  truncate(npages: number): number {
    if (!Number.isSafeInteger(npages) || npages < 0 || npages % HPAGE_PMD_NR !== 0) return -EINVAL
    this.mapping.npages = npages
    this.unmap(npages, Number.POSITIVE_INFINITY)
    const freed = this.dropPages(npages, Number.POSITIVE_INFINITY)
    this.unreserve(npages, Number.POSITIVE_INFINITY, freed)
    return 0
  }

  /** Deallocates the whole huge pages of `[pgoff, pgoff + npages)`; what is cut off at either end becomes zero. */
  punchHole(pgoff: number, npages: number): number {
    if (!Number.isSafeInteger(pgoff) || !Number.isSafeInteger(npages) || pgoff < 0 || npages <= 0) return -EINVAL
    const end = pgoff + npages
    const first = Math.ceil(pgoff / HPAGE_PMD_NR) * HPAGE_PMD_NR
    const last = Math.floor(end / HPAGE_PMD_NR) * HPAGE_PMD_NR
    this.clear(pgoff, Math.min(first, end))
    if (first < last) {
      this.unmap(first, last)
      for (const cached of this.cachedPages(first, last)) {
        this.dropPages(cached, cached + 1)
        this.unreserve(cached, cached + HPAGE_PMD_NR, 1)
      }
    }
    if (last >= first) this.clear(last, end)
    return 0
  }

  /** The maker has no use for the file any more; it goes when nobody maps it. */
  close(): void {
    this.release()
  }

  /** One user more: a mapping was copied. */
  hold(): void {
    this.users++
  }

  /** One user less. The last one takes pages and promises along. */
  release(): void {
    assert(this.users > 0, () => `hugetlb file ${this.name} has a user for each release`)
    this.users--
    if (this.users > 0) return
    const freed = this.dropPages(0, Number.POSITIVE_INFINITY)
    this.unreserve(0, Number.POSITIVE_INFINITY, freed)
    this.sys.mappings.delete(this.mapping.id)
  }

  /** Pages of the file in `[from, to)` that are in the cache. */
  private cachedPages(from: number, to: number): number[] {
    return [...this.mapping.pages.keys()].filter((pgoff) => pgoff >= from && pgoff < to)
  }

  /** Takes `[from, to)` out of every mapping, with one event each. */
  private unmap(from: number, to: number): void {
    this.mapping.iMmap.forEachOverlap(from, to - 1, ({ value: vma }) => {
      const first = Math.max(from, vma.pgoff)
      const start = vma.start + (first - vma.pgoff) * PAGE_SIZE
      unmapHugepageRange(vma, start, Math.min(vma.end, start + (to - first) * PAGE_SIZE))
    })
  }

  /** Takes the pages of `[from, to)` out of the cache; returns how many huge pages that were. */
  private dropPages(from: number, to: number): number {
    const dropped = this.cachedPages(from, to)
    for (const pgoff of dropped) deleteFromPageCache(this.sys, this.mapping, this.mapping.pages.get(pgoff) as Pfn)
    return dropped.length
  }

  /** Ends the promises for `[from, to)`, of which `freed` had been kept. */
  private unreserve(from: number, to: number, freed: number): void {
    const promised = this.reserveMap.delete(Math.floor(from / HPAGE_PMD_NR), to / HPAGE_PMD_NR)
    this.sys.hugetlb.unreserve(promised - freed)
  }

  /** Zeroes pages of the file that lie in one huge page, if it is there. */
  private clear(from: number, to: number): void {
    const offset = from % HPAGE_PMD_NR
    const head = this.mapping.pages.get(from - offset)
    if (head === undefined) return
    for (let i = 0; i < to - from; i++) this.sys.mmu.clearFrame(head + offset + i)
  }
}

/** The file behind a MAP_HUGETLB mapping of `npages` pages. Who maps it closes it, so that it goes with the mapping. */
export function makeHugetlbFile(sys: System, npages: number): HugetlbFile {
  return new HugetlbFile(sys, 'anon_hugepage', npages)
}

// A mapping with `close` never merges with another: its promises are its own.
const HUGETLB_VM_OPS: VmOps = {
  name: 'hugetlb',
  maySplit: (_vma: Vma, addr: Addr): number => (isPmdAligned(addr) ? 0 : -EINVAL),
  split: unshareForSplit,
  open(vma: Vma): void {
    inheritReservation(vma)
    fileOf(vma).hold()
  },
  close(vma: Vma): void {
    dropReservation(vma)
    fileOf(vma).release()
  },
}

function fileOf(vma: Vma): HugetlbFile {
  assert(vma.file instanceof HugetlbFile, 'a hugetlb mapping has a hugetlb file')
  return vma.file
}
