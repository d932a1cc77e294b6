// Frames: what the kernel keeps in `struct page`, as a struct of arrays indexed by frame number. Follows
// include/linux/mm_types.h and page-flags.h of Linux 6.1 for the meaning of each field; it differs in that mapcount starts
// at 0 and that compound state (a THP or hugetlb page) lives in a side map of the head page.
//
// All frames of the machine share one numbering: system frames first, then the frames that memremap adds for devices.

import type { Pfn } from '../base/addr.ts'
import { AssertionError, assert } from '../base/assert.ts'
import { sparseBuffer } from '../base/sparse-buffer.ts'

export const PG_LOCKED = 1 << 0
export const PG_LRU = 1 << 1
export const PG_ACTIVE = 1 << 2
export const PG_DIRTY = 1 << 3
export const PG_UPTODATE = 1 << 4
export const PG_SWAPBACKED = 1 << 5
export const PG_SWAPCACHE = 1 << 6
export const PG_ANON_EXCLUSIVE = 1 << 7
export const PG_HWPOISON = 1 << 8
export const PG_HEAD = 1 << 9
export const PG_TAIL = 1 << 10
export const PG_HUGETLB = 1 << 11
export const PG_RESERVED = 1 << 12
export const PG_UNEVICTABLE = 1 << 13
export const PG_MLOCKED = 1 << 14
export const PG_REFERENCED = 1 << 15
export const PG_WRITEBACK = 1 << 16
/** `mapping` is an anon_vma, not a file. The kernel keeps this in the low bit of the pointer. */
export const PG_ANON = 1 << 17
/** The frame is in use; a free frame has no flags at all. */
export const PG_ALLOCATED = 1 << 18
/** Read from swap because a neighbour was touched, and not touched itself yet. */
export const PG_READAHEAD = 1 << 19
/** On its way to or from swap. */
export const PG_SWAP_IO = 1 << 21
/** At the cold end of the LRU, and reclaim looks whether it is touched (the kernel: on the inactive list). */
export const PG_AGED = 1 << 20

/** Added to a page's refcount by each FOLL_PIN pin; a count of at least this much means "maybe pinned for DMA". */
export const GUP_PIN_COUNTING_BIAS = 1024

/** Of all fields together. */
const BYTES_PER_FRAME = 38

/** State of a compound page, kept for its head frame. */
export class Compound {
  /** The page has 2^order frames. */
  readonly order: number
  /** Mappings of the page as a whole (PMD entries). */
  mapcount = 0
  /** FOLL_PIN pins; compound pages count them exactly instead of by bias. */
  pincount = 0

  constructor(order: number) {
    this.order = order
  }
}

/** All frames of a system with their state; `struct page`, as columns. */
export class Pages {
  /** Frames with an entry in the arrays: system and device. */
  nframes: number
  refcount: Int32Array
  /** Page-table entries (present and device-private) that map exactly this frame; a PMD mapping counts in the compound. */
  mapcount: Int32Array
  flags: Int32Array
  /** Identity of the anon_vma or address space (key in `System.mappings`), 0 for none. Signed: a Map finds those faster. */
  mapping: Int32Array
  /** Position in the mapping, in pages: virtual page number for anonymous pages, page of the file otherwise. */
  index: Float64Array
  /** Swap offset while PG_SWAPCACHE is set. */
  swap: Uint32Array
  /** LRU links; -1 ends the list. */
  lruNext: Int32Array
  lruPrev: Int32Array
  /** 0 for system frames, otherwise the index of the device's pagemap in `System.pagemaps`. */
  pagemap: Uint16Array
  /** Whatever the driver of a device frame keeps for it (`zone_device_data`). */
  readonly zoneDeviceData = new Map<Pfn, unknown>()
  readonly compound = new Map<Pfn, Compound>()

  /** `capacity`: frames that there may be later without a copy of everything that is known by then. */
  constructor(nframes: number, capacity = nframes) {
    this.nframes = nframes
    const fields = allocateFields(capacity)
    this.refcount = fields.refcount
    this.mapcount = fields.mapcount
    this.flags = fields.flags
    this.mapping = fields.mapping
    this.index = fields.index
    this.swap = fields.swap
    this.lruNext = fields.lruNext
    this.lruPrev = fields.lruPrev
    this.pagemap = fields.pagemap
  }

  /** Makes room for device frames. The arrays are replaced: nobody keeps one across memremap. */
  grow(nframes: number): void {
    if (nframes <= this.refcount.length) {
      this.nframes = Math.max(this.nframes, nframes)
      return
    }
    const fields = allocateFields(Math.max(nframes, Math.ceil(this.refcount.length * 1.25)))
    this.refcount = copyInto(fields.refcount, this.refcount)
    this.mapcount = copyInto(fields.mapcount, this.mapcount)
    this.flags = copyInto(fields.flags, this.flags)
    this.mapping = copyInto(fields.mapping, this.mapping)
    this.index = copyInto(fields.index, this.index)
    this.swap = copyInto(fields.swap, this.swap)
    this.lruNext = copyInto(fields.lruNext, this.lruNext)
    this.lruPrev = copyInto(fields.lruPrev, this.lruPrev)
    this.pagemap = copyInto(fields.pagemap, this.pagemap)
    this.nframes = nframes
  }

  /** First frame of the compound page that `pfn` belongs to; `pfn` itself for an ordinary page. */
  head(pfn: Pfn): Pfn {
    return (this.flags[pfn] & PG_TAIL) !== 0 ? pfn - (pfn & 511) : pfn
  }

  /** The frame is a part of a huge page. */
  isCompound(pfn: Pfn): boolean {
    return (this.flags[pfn] & (PG_HEAD | PG_TAIL)) !== 0
  }

  /** What is known of the huge page that begins at a frame; asserts that one does. */
  getCompound(head: Pfn): Compound {
    const compound = this.compound.get(head)
    assert(compound !== undefined, () => `frame ${head} is no compound head`)
    return compound
  }

  /** Mappings of this very page: its own entries plus those of the compound page as a whole (`page_mapcount`). */
  totalMapcount(pfn: Pfn): number {
    const own = this.mapcount[pfn]
    if ((this.flags[pfn] & (PG_HEAD | PG_TAIL)) === 0) return own
    return own + this.getCompound(this.head(pfn)).mapcount
  }

  /** Mappings of the page and of all its parts (`folio_mapcount`); `head` is no tail page. */
  folioMapcount(head: Pfn): number {
    if ((this.flags[head] & PG_HEAD) === 0) return this.mapcount[head]
    const compound = this.getCompound(head)
    let count = compound.mapcount
    for (let i = 0; i < 1 << compound.order; i++) count += this.mapcount[head + i]
    return count
  }

  /** Any mapping of any part of the page (`page_mapped`, `folio_mapped`). */
  isMapped(pfn: Pfn): boolean {
    if ((this.flags[pfn] & (PG_HEAD | PG_TAIL)) === 0) return this.mapcount[pfn] > 0
    const head = this.head(pfn)
    const compound = this.getCompound(head)
    if (compound.mapcount > 0) return true
    for (let i = 0; i < 1 << compound.order; i++) if (this.mapcount[head + i] > 0) return true
    return false
  }

  /** The page is anonymous memory (`PageAnon`). */
  isAnon(pfn: Pfn): boolean {
    return (this.flags[this.head(pfn)] & PG_ANON) !== 0
  }

  /** Somebody holds the lock of the page (`PageLocked`). */
  isLocked(pfn: Pfn): boolean {
    return (this.flags[this.head(pfn)] & PG_LOCKED) !== 0
  }

  /** Locks the page; false if somebody else holds the lock. */
  trylock(pfn: Pfn): boolean {
    const head = this.head(pfn)
    if ((this.flags[head] & PG_LOCKED) !== 0) return false
    this.flags[head] |= PG_LOCKED
    return true
  }

  /** The page is of one process alone, which writes it without a copy (`PageAnonExclusive`). */
  isAnonExclusive(pfn: Pfn): boolean {
    return (this.flags[pfn] & PG_ANON_EXCLUSIVE) !== 0
  }

  /** The contents are newer than those of any copy elsewhere (`SetPageDirty`). */
  setDirty(pfn: Pfn): void {
    this.flags[this.head(pfn)] |= PG_DIRTY
  }

  /** The contents are the same as those of a copy elsewhere (`ClearPageDirty`). */
  clearDirty(pfn: Pfn): void {
    this.flags[this.head(pfn)] &= ~PG_DIRTY
  }

  /** `folio_maybe_dma_pinned`: exact for compound pages, by the bias otherwise. */
  maybeDmaPinned(pfn: Pfn): boolean {
    const head = this.head(pfn)
    if ((this.flags[head] & PG_HEAD) !== 0) return this.getCompound(head).pincount > 0
    return this.refcount[head] >= GUP_PIN_COUNTING_BIAS
  }
}

/**
 * Throws for a frame that is not what it must be. A function of its own, and the message not put together where it is
 * called: the engine would lift the number's conversion to text, which several messages share, into the hot path.
 */
export function badFrame(pfn: Pfn, how: string): never {
  throw new AssertionError(`frame ${pfn} ${how}`)
}

/** All arrays in one buffer, the widest fields first. */
function allocateFields(capacity: number) {
  const buffer = sparseBuffer(BYTES_PER_FRAME * capacity)
  const at = (offset: number): number => offset * capacity
  return {
    index: new Float64Array(buffer, at(0), capacity),
    refcount: new Int32Array(buffer, at(8), capacity),
    mapcount: new Int32Array(buffer, at(12), capacity),
    flags: new Int32Array(buffer, at(16), capacity),
    mapping: new Int32Array(buffer, at(20), capacity),
    swap: new Uint32Array(buffer, at(24), capacity),
    lruNext: new Int32Array(buffer, at(28), capacity),
    lruPrev: new Int32Array(buffer, at(32), capacity),
    pagemap: new Uint16Array(buffer, at(36), capacity),
  }
}

function copyInto<T extends { set(source: T): void }>(target: T, source: T): T {
  target.set(source)
  return target
}
