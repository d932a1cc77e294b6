// The file of a dmirror device as something to mmap: a mapping that holds ordinary pages which are nobody's anonymous
// memory and no file's page cache. Follows dmirror_fops_mmap of lib/test_hmm.c, Linux 6.1 (spec TD-32).

import { PAGE_SIZE } from '../../base/addr.ts'
import { ENOMEM } from '../../base/errno.ts'
import { insertPage } from '../../mm/insert.ts'
import { allocZeroedPage, putPage } from '../../mm/page-alloc.ts'
import type { Vma, VmFile } from '../../mm/vma.ts'

/** A file whose mappings are of the mixed-map type (`insertPage` makes them so) and full of zeroed pages from the start. */
export class DmirrorFile implements VmFile {
  readonly name: string
  readonly mapping = null

  constructor(name: string) {
    this.name = name
  }

  /** Returns 0, or -ENOMEM with the pages inserted so far in place: mmap takes the mapping down again. */
  mmap(vma: Vma): number {
    const { sys } = vma.mm
    for (let addr = vma.start; addr < vma.end; addr += PAGE_SIZE) {
      const pfn = allocZeroedPage(vma.mm, addr)
      if (pfn < 0) return -ENOMEM
      const ret = insertPage(vma, addr, pfn)
      putPage(sys, pfn) // the entry holds its own reference
      if (ret !== 0) return ret
    }
    return 0
  }
}
