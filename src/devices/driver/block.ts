// A block of device memory: what comes together and is evicted together. The pool (frame-pool.ts) keeps the counts.

import type { Mm } from '../../mm/mm.ts'

/** Neighbouring frames that were reserved together: frame `first + i` is for page `vpn + i` of the address space. */
export class Block {
  readonly id: number
  readonly mm: Mm
  readonly vpn: number
  readonly first: number
  readonly npages: number
  /** Frames that hold pages or duplicates. */
  live = 0
  /** Frames that an operation uses. They are not evicted. */
  ncaptured = 0
  /** Frames whose contents are nobody's any more, and which an operation uses. */
  nretired = 0
  /** It is being filled: all its frames are reserved. */
  open = true
  /** Operation of the device that used it last, by number. */
  lastUse: number

  constructor(id: number, mm: Mm, vpn: number, first: number, npages: number, lastUse: number) {
    this.id = id
    this.mm = mm
    this.vpn = vpn
    this.first = first
    this.npages = npages
    this.lastUse = lastUse
  }
}
