// The page cache of one file: which page of the file is in which frame, and which mappings show it. Follows
// `struct address_space` of Linux 6.1 with the semantics of shmem (tmpfs, shared anonymous memory): a page of the file is
// in the cache, in swap, or a hole that reads as zero.

import type { Pfn } from '../base/addr.ts'
import { IntervalTree } from '../base/interval-tree.ts'
import type { Vma } from './vma.ts'

export class AddressSpace {
  readonly id: number
  readonly name: string
  /** Size of the file in pages; a touch beyond it is SIGBUS. */
  npages: number
  /** Cached pages by page of the file. The cache holds one reference on each. */
  readonly pages = new Map<number, Pfn>()
  /** Pages that reclaim wrote to swap, by page of the file: swap offsets. */
  readonly swapped = new Map<number, number>()
  /** Mappings of the file, by page offset (`i_mmap`). */
  readonly iMmap = new IntervalTree<Vma>()
  /** Pages are of the hugetlb pool; offsets count 4 KiB pages all the same. */
  readonly isHugetlb: boolean

  constructor(id: number, name: string, npages: number, isHugetlb = false) {
    this.id = id
    this.name = name
    this.npages = npages
    this.isHugetlb = isHugetlb
  }
}
