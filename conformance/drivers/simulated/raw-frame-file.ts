// The file behind mappings of kind `pfnmap` and `special`: every page of a mapping shows one and the same frame, which has
// bytes but, as far as mm may look, no page structure.

import { PAGE_SIZE, type Pfn } from '../../../src/base/addr.ts'
import { insertPfnMixed, remapPfnRange } from '../../../src/mm/insert.ts'
import type { Vma, VmFile } from '../../../src/mm/vma.ts'

export class RawFrameFile implements VmFile {
  readonly name: string
  readonly mapping = null
  private readonly kind: 'pfnmap' | 'special'
  private readonly pfn: Pfn

  /** `pfnmap` maps the frame as memory-mapped I/O is, `special` as one entry among ordinary pages would be. */
  constructor(kind: 'pfnmap' | 'special', pfn: Pfn) {
    this.name = kind
    this.kind = kind
    this.pfn = pfn
  }

  mmap(vma: Vma): number {
    for (let addr = vma.start; addr < vma.end; addr += PAGE_SIZE) {
      const ret = this.kind === 'pfnmap' ? remapPfnRange(vma, addr, this.pfn, 1) : insertPfnMixed(vma, addr, this.pfn)
      if (ret !== 0) return ret
    }
    return 0
  }
}
