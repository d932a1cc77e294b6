// A range of an address space as an operation uses it, in whole pages.

import { type Addr, PAGE_SIZE } from '../../base/addr.ts'
import type { Access } from '../../trace/events.ts'
import { giveFrameList, takeFrameList } from './frame-lists.ts'

export class RangeUse {
  readonly access: Access
  /** First page of the range. */
  readonly start: Addr
  readonly npages: number
  /** It has to lie in neighbouring frames. */
  readonly inOnePiece: boolean
  /** The frame where it is going to begin if it has to lie in one piece and does not yet; -1 before that is settled. */
  firstFrame = -1
  private list: Int32Array | null = null
  private isWhole = false

  constructor(access: Access, start: Addr, npages: number, inOnePiece: boolean) {
    this.access = access
    this.start = start
    this.npages = npages
    this.inOnePiece = inOnePiece
  }

  /** End of the last page. */
  get end(): Addr {
    return this.start + this.npages * PAGE_SIZE
  }

  /** Frame of each page, -1 while it is not there. */
  get frames(): Int32Array {
    if (this.list === null) {
      const list = takeFrameList(this.npages)
      if (this.isWhole) for (let i = 0, frame = this.firstFrame | 0; i < list.length; i++) list[i] = frame++
      this.list = list
    }
    return this.list
  }

  /** Frame of a page, -1 while it is not there. */
  frameAt(page: number): number {
    return this.isWhole ? this.firstFrame + page : this.frames[page]
  }

  /** All pages are there, in neighbouring frames from `first` on: mostly nobody asks for the list then. */
  setWhole(first: number): void {
    this.firstFrame = first
    this.isWhole = true
  }

  /** Nobody uses it any more. */
  drop(): void {
    if (this.list !== null) giveFrameList(this.list)
    this.list = null
  }
}

/** Pages of a use that are not there. */
export function nmissing({ frames }: RangeUse): number {
  let count = 0
  for (let i = 0; i < frames.length; i++) if (frames[i] < 0) count++
  return count
}
