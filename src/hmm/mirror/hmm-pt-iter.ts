// Walks a mirror page table. Follows hmm_pt_iter of the 2015 HMM patches (MR-40 to MR-44). An iterator stands in at most
// one last-level directory, which it protects: that directory and all above it stay in the tree until the iterator moves
// on. Entries of the directory are `words[2 * index]` and `words[2 * index + 1]`, index as returned by the last move.
//
//   const iter = new HmmPtIter(pt)
//   for (let i = iter.walk(start, end); i >= 0; i = iter.walk(iter.next, end)) {
//     for (const stop = i + iter.npages; i < stop; i++) visit(iter.words, i)     // pages iter.addr, iter.addr + 4096, ...
//   }
//   iter.fini()
//
// It differs in that the address and the end of the part are fields, so a move allocates nothing.

import { type Addr, PAGE_SIZE } from '../../base/addr.ts'
import { assert } from '../../base/assert.ts'
import type { HmmPt, HmmPtDirectory } from './hmm-pt.ts'

/** A walk over the page table of a mirror, which holds the directories that it is in. */
export class HmmPtIter {
  readonly pt: HmmPt
  /** Page that the last move stopped at. */
  addr: Addr = 0
  /** First address after the part that the last move looked at: the reach of one directory, or of a hole. */
  next: Addr = 0
  /** Last-level directory that it stands in. */
  private cur: HmmPtDirectory | null = null
  private readonly dead: HmmPtDirectory[] = []

  constructor(pt: HmmPt) {
    this.pt = pt
  }

  /** Entries of the directory that the iterator stands in. Not to be used after the next move. */
  get words(): Uint32Array {
    return this.current.words
  }

  /** Pages from `addr` to `next`. */
  get npages(): number {
    return (this.next - this.addr) / PAGE_SIZE
  }

  /**
   * Looks at one page: index of its entry if its directory exists, else -1. `next` is the end of the directory's reach, or of
   * the missing one's, at most `end`. `addr` is page aligned and inside the table.
   */
  lookup(addr: Addr, end: Addr): number {
    const { pt } = this
    const { llevel } = pt
    this.addr = addr
    if (this.isInside(addr)) {
      this.next = this.endOfReach(end)
      return pt.index(addr, llevel)
    }
    let dir = pt.top
    for (let level = 0; level < llevel; level++) {
      const child = dir.children[pt.index(addr, level)]
      if (child === null) {
        this.next = pt.levelNext(addr, clip(end, pt), level)
        return -1
      }
      dir = child
    }
    this.moveTo(dir)
    this.next = this.endOfReach(end)
    return pt.index(addr, llevel)
  }

  /**
   * Goes to the first page at or after `addr` and below `end` whose directory exists. Returns the index of its entry, with
   * `addr` and `next` set; or -1 with both at `end`.
   */
  walk(addr: Addr, end: Addr): number {
    const stop = clip(end, this.pt)
    for (let at = addr; at < stop; at = this.next) {
      const index = this.lookup(at, stop)
      if (index >= 0) return index
    }
    this.addr = end
    this.next = end
    return -1
  }

  /** Like `lookup`, but makes the missing directories. Returns -1 if there is no room for them. */
  populate(addr: Addr, end: Addr): number {
    const { pt } = this
    const { llevel } = pt
    this.addr = addr
    if (!this.isInside(addr)) {
      let dir = pt.top
      let created: HmmPtDirectory | null = null
      for (let level = 0; level < llevel; level++) {
        let child = dir.children[pt.index(addr, level)]
        if (child === null) {
          child = pt.allocDirectory(dir, addr)
          // What is above is held by this new one now, or goes again if there is none.
          if (created !== null) pt.unrefDirectory(created, 1, this.dead)
          if (child === null) {
            this.next = pt.levelNext(addr, clip(end, pt), level)
            return -1
          }
          created = child
        }
        dir = child
      }
      if (created === dir) this.own(dir)
      else this.moveTo(dir)
    }
    this.next = this.endOfReach(end)
    return pt.index(addr, llevel)
  }

  /** Locks the current directory against other changes of its entries. */
  directoryLock(): void {
    const dir = this.current
    assert(!dir.locked, 'a mirror directory is locked once')
    dir.locked = true
  }

  /** Gives the lock of the current directory back. */
  directoryUnlock(): void {
    const dir = this.current
    assert(dir.locked, 'a mirror directory was locked')
    dir.locked = false
  }

  /** `count` entries of the current directory became valid. */
  directoryRef(count = 1): void {
    this.current.refcount += count
    this.pt.nvalid += count
  }

  /** `count` entries of the current directory became invalid. */
  directoryUnref(count = 1): void {
    this.pt.nvalid -= count
    this.pt.unrefDirectory(this.current, count, this.dead)
  }

  /** Leaves the table: drops the protection and frees what became empty. The iterator can be used again. */
  fini(): void {
    this.leave()
    for (const dir of this.dead) this.pt.recycleDirectory(dir)
    this.dead.length = 0
  }

  private get current(): HmmPtDirectory {
    assert(this.cur !== null, 'the iterator stands in a directory')
    return this.cur
  }

  private isInside(addr: Addr): boolean {
    const dir = this.cur
    if (dir === null) return false
    return this.pt.llevel === 0 || (addr >= dir.base && addr < dir.base + this.pt.coverage[this.pt.llevel - 1])
  }

  private endOfReach(end: Addr): Addr {
    const stop = clip(end, this.pt)
    return this.pt.llevel === 0 ? stop : this.pt.levelNext(this.addr, stop, this.pt.llevel - 1)
  }

  private moveTo(dir: HmmPtDirectory): void {
    dir.refcount++
    this.own(dir)
  }

  /** Stands in `dir` with a reference that is already counted. */
  private own(dir: HmmPtDirectory): void {
    this.leave()
    this.cur = dir
  }

  private leave(): void {
    const dir = this.cur
    if (dir === null) return
    this.cur = null
    this.pt.unrefDirectory(dir, 1, this.dead)
  }
}

function clip(end: Addr, pt: HmmPt): Addr {
  return end > pt.last ? pt.last + 1 : end
}
