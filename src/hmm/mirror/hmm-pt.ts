// The page table of one mirror: a radix tree of directories with 512 entries of 64 bits, as deep as the address space needs.
// Follows hmm_pt of the 2015 HMM patches (MR-30 to MR-36). It differs in that an inner directory holds references to the
// lower ones instead of frame numbers with a VALID bit, and that freed directories are kept for reuse.
//
//   top  [last >> shift[0]] + 1 entries, always there, not counted
//    └─ directory   refcount = sub-directories + iterators that stand in it
//        └─ last-level directory   refcount = valid entries + iterators that stand in it
//
// A directory goes as soon as its count is 0 (MR-35), so what exists says where the device has pages.

import { type Addr, PAGE_SHIFT, PAGE_SIZE } from '../../base/addr.ts'
import { assert, formatAddr } from '../../base/assert.ts'
import { type HmmPte, hmmPteIsValid, hmmPteRead } from './hmm-pte.ts'

/** Bits of the address that one level decodes. */
export const HMM_PT_LEVEL_SHIFT = 9
export const HMM_PT_MAX_LEVEL = 6
/** Entries of a directory. */
export const HMM_PT_DIRECTORY_ENTRIES = 1 << HMM_PT_LEVEL_SHIFT

/** Free directories that a table keeps, per kind. 256 last-level ones are 1 MiB, and map 512 MiB. */
const SPARE_MAX = 256

const NO_WORDS = new Uint32Array(0)
const NO_CHILDREN: (HmmPtDirectory | null)[] = []

/** What an HmmPt is made with. */
export interface HmmPtOptions {
  /** Directories that may exist at once, the top one not counted. Populating beyond it fails. Default: no limit. */
  readonly directoriesMax?: number
}

/** One directory of the page table of a mirror. */
export class HmmPtDirectory {
  /** 0 for the top directory. */
  readonly level: number
  /** Last level: two words per entry, see hmm-pte.ts. Empty in the others. */
  readonly words: Uint32Array
  /** Other levels: the directories below. Empty in the last. */
  readonly children: (HmmPtDirectory | null)[]
  parent: HmmPtDirectory | null = null
  /** First address that it covers. */
  base: Addr = 0
  /** Valid entries or sub-directories, plus iterators that stand here. Not kept for the top directory. */
  refcount = 0
  /** Somebody changes entries here; nobody else may clear any meanwhile (MR-36). */
  locked = false

  constructor(level: number, isLast: boolean, nentries: number) {
    this.level = level
    this.words = isLast ? new Uint32Array(2 * nentries) : NO_WORDS
    this.children = isLast ? NO_CHILDREN : new Array<HmmPtDirectory | null>(nentries).fill(null)
  }
}

/** The page table of a mirror. */
export class HmmPt {
  /** Last address inside; the end of a page. */
  readonly last: Addr
  /** Position of the lowest address bit that each level decodes. */
  readonly shift: readonly number[]
  /** Bytes that one entry of each level covers: 2 ** shift. */
  readonly coverage: readonly number[]
  /** The last level: entries there are pages. */
  readonly llevel: number
  readonly top: HmmPtDirectory
  readonly directoriesMax: number
  /** Directories in the tree besides the top one. */
  ndirectories = 0
  /** Valid entries in the whole table. */
  nvalid = 0
  private readonly spareInner: HmmPtDirectory[] = []
  private readonly spareLast: HmmPtDirectory[] = []

  /** `last` is the last address to cover, below 2^53; it is rounded up to the end of its page. */
  constructor(last: Addr, options: HmmPtOptions = {}) {
    assert(Number.isSafeInteger(last) && last >= 0, () => `last address of a mirror page table is ${last}`)
    this.last = last - (last % PAGE_SIZE) + (PAGE_SIZE - 1)
    const lastPage = Math.floor(last / PAGE_SIZE)
    const shift: number[] = []
    for (let s = Math.floor(mostSignificantBit(lastPage) / HMM_PT_LEVEL_SHIFT) * HMM_PT_LEVEL_SHIFT + PAGE_SHIFT; ; ) {
      shift.push(s)
      if (s === PAGE_SHIFT) break
      s -= HMM_PT_LEVEL_SHIFT
    }
    this.shift = shift
    this.coverage = shift.map((s) => 2 ** s)
    this.llevel = shift.length - 1
    this.directoriesMax = options.directoriesMax ?? Number.POSITIVE_INFINITY
    this.top = new HmmPtDirectory(0, this.llevel === 0, Math.floor(this.last / this.coverage[0]) + 1)
  }

  /** Place of an address in a directory of `level`. */
  index(addr: Addr, level: number): number {
    return Math.floor(addr / this.coverage[level]) & (HMM_PT_DIRECTORY_ENTRIES - 1)
  }

  /** First address after what the entry of `addr` at `level` covers, at most `end` (`hmm_pt_level_next`). */
  levelNext(addr: Addr, end: Addr, level: number): Addr {
    const size = this.coverage[level]
    const next = (Math.floor(addr / size) + 1) * size
    return next < end ? next : end
  }

  /** The entry of one page, 0 if there is none. For single looks; walks use an iterator. */
  entry(addr: Addr): HmmPte {
    if (!(addr >= 0 && addr <= this.last)) return 0n as HmmPte
    let dir: HmmPtDirectory | null = this.top
    for (let level = 0; level < this.llevel; level++) {
      dir = dir.children[this.index(addr, level)]
      if (dir === null) return 0n as HmmPte
    }
    return hmmPteRead(dir.words, this.index(addr, this.llevel))
  }

  /**
   * Makes the directory below `parent` that covers `addr` and enters it there. Its count is 1, which belongs to the caller;
   * the parent's count goes up by one. Returns null if there is no room for another one.
   */
  allocDirectory(parent: HmmPtDirectory, addr: Addr): HmmPtDirectory | null {
    if (this.ndirectories >= this.directoriesMax) return null
    const level = parent.level + 1
    const isLast = level === this.llevel
    const spare = isLast ? this.spareLast : this.spareInner
    const at = spare.findLastIndex((dir) => dir.level === level)
    const dir = at < 0 ? new HmmPtDirectory(level, isLast, HMM_PT_DIRECTORY_ENTRIES) : spare.splice(at, 1)[0]
    dir.parent = parent
    dir.base = addr - (addr % this.coverage[parent.level])
    dir.refcount = 1
    parent.children[this.index(addr, parent.level)] = dir
    parent.refcount++
    this.ndirectories++
    return dir
  }

  /**
   * Drops `count` references. A directory that loses its last one is taken out of the tree, with it every one above that
   * becomes empty. They are appended to `dead`; `recycleDirectory` ends them once nobody can hold them (MR-34).
   */
  unrefDirectory(dir: HmmPtDirectory, count: number, dead: HmmPtDirectory[]): void {
    let at = dir
    let drop = count
    for (;;) {
      const parent = at.parent
      if (parent === null) return // the top directory stays
      at.refcount -= drop
      assert(at.refcount >= 0, () => `mirror directory at ${formatAddr(at.base)} has ${at.refcount} references`)
      if (at.refcount > 0) return
      const index = this.index(at.base, parent.level)
      if (parent.children[index] === at) parent.children[index] = null
      this.ndirectories--
      dead.push(at)
      at = parent
      drop = 1
    }
  }

  /** Ends a directory that has left the tree. */
  recycleDirectory(dir: HmmPtDirectory): void {
    assert(dir.refcount === 0 && !dir.locked, () => `mirror directory at ${formatAddr(dir.base)} is still in use`)
    dir.parent = null
    const spare = dir.level === this.llevel ? this.spareLast : this.spareInner
    if (spare.length >= SPARE_MAX) return
    dir.words.fill(0) // no valid entry is left, but a driver may have marked others
    spare.push(dir)
  }

  /** Throws unless counts, links and bounds are right. Walks the whole table; no iterator may be open. */
  validate(): void {
    const seen = { ndirectories: 0, nvalid: 0 }
    this.validateBelow(this.top, seen)
    assert(seen.nvalid === this.nvalid, () => `mirror table has ${seen.nvalid} valid entries, says ${this.nvalid}`)
    assert(
      seen.ndirectories === this.ndirectories,
      () => `mirror table has ${seen.ndirectories} directories, says ${this.ndirectories}`,
    )
  }

  private validateBelow(dir: HmmPtDirectory, seen: { ndirectories: number; nvalid: number }): void {
    let used = 0
    if (dir.level === this.llevel) {
      for (let i = 0; i < dir.words.length / 2; i++) if (hmmPteIsValid(dir.words, i)) used++
      seen.nvalid += used
    } else {
      const size = this.coverage[dir.level]
      dir.children.forEach((child, i) => {
        if (child === null) return
        used++
        seen.ndirectories++
        assert(child.parent === dir, () => `mirror directory at ${formatAddr(child.base)} has another parent`)
        assert(child.level === dir.level + 1, () => `mirror directory at ${formatAddr(child.base)} has a wrong level`)
        assert(child.base === dir.base + i * size, () => `mirror directory at ${formatAddr(child.base)} is misplaced`)
        this.validateBelow(child, seen)
      })
    }
    assert(!dir.locked, () => `mirror directory at ${formatAddr(dir.base)} is locked`)
    if (dir === this.top) return
    assert(used > 0, () => `mirror directory at ${formatAddr(dir.base)} is empty`)
    assert(
      dir.refcount === used,
      () => `mirror directory at ${formatAddr(dir.base)}: ${used} in use, ${dir.refcount} counted`,
    )
  }
}

/** Position of the highest set bit, 0 for 0. `n` is below 2^53. */
function mostSignificantBit(n: number): number {
  const high = Math.floor(n / 2 ** 32)
  if (high > 0) return 63 - Math.clz32(high)
  return n === 0 ? 0 : 31 - Math.clz32(n)
}
