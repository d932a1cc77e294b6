// A range of an address space as an operation uses it, in whole pages.

import { type Addr, PAGE_SIZE } from '../../base/addr.ts'
import type { Access } from '../../trace/events.ts'

export interface RangeUse {
  readonly access: Access
  /** First page of the range. */
  readonly start: Addr
  /** Frame of each page, -1 while it is not there. */
  readonly frames: Int32Array
  /** It has to lie in neighbouring frames. */
  readonly inOnePiece: boolean
  /** The frame where it is going to begin if it has to lie in one piece and does not yet; -1 before that is settled. */
  firstFrame: number
}

/** End of the last page of a use. */
export function endOf({ start, frames }: RangeUse): Addr {
  return start + frames.length * PAGE_SIZE
}

/** Pages of a use that are not there. */
export function nmissing({ frames }: RangeUse): number {
  let count = 0
  for (let i = 0; i < frames.length; i++) if (frames[i] < 0) count++
  return count
}
