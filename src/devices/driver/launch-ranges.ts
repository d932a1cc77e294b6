// What a program knows of the device: where the ranges that its launch declared lie in device memory, and nothing else. A range
// may lie in several pieces. Hardware wraps this in something that its programs can use (DeviceHardware.memoryOf).
//
// What is handed out of a range for writing counts as written, page by page, as hardware without finer dirty bits would
// have it. A program that knows better looks for reading and says afterwards what it wrote (`markWritten`).

import { type Addr, PAGE_SIZE } from '../../base/addr.ts'
import { assert, formatAddr } from '../../base/assert.ts'
import type { Access } from '../../trace/events.ts'
import type { AddrRange } from '../claims.ts'
import type { FramePool } from './frame-pool.ts'
import type { RangeUse } from './range-use.ts'

/** Bytes of a range that lie next to each other in device memory. */
export interface DevicePiece {
  /** Of the first byte, in the address space. */
  readonly addr: Addr
  /** Of the first byte, in device memory: `frame * 4096` and what it is into its page. */
  readonly offset: number
  readonly nbytes: number
}

/** A range as a launch declared it, and the pages that were brought in for it. */
export interface DeclaredRange {
  readonly range: AddrRange
  readonly access: Access
  readonly use: RangeUse
}

export class LaunchRanges {
  /** Aborted when the program gives the launch up. A program that runs long may look at it. */
  readonly signal: AbortSignal | undefined
  private readonly pool: FramePool
  /** Those for writing first. null once the launch has ended. */
  private declared: readonly DeclaredRange[] | null

  constructor(pool: FramePool, declared: readonly DeclaredRange[], signal: AbortSignal | undefined) {
    this.pool = pool
    this.signal = signal
    this.declared = [...declared].sort((a, b) => Number(b.access === 'write') - Number(a.access === 'write'))
  }

  /**
   * The pieces of a declared range, or of part of one, ascending. With 'write' they count as written.
   *
   * Throws a RangeError for bytes that the launch did not declare, or not for writing.
   */
  *pieces(range: AddrRange, access: Access): IterableIterator<DevicePiece> {
    const use = this.find(range, access)
    const { start } = use
    const { bankPages } = this.pool
    const last = pageIn(use, range.end - 1)
    for (let page = pageIn(use, range.start), addr = range.start; page <= last; ) {
      if (this.declared === null) throw afterTheEnd(range)
      const frame = use.frameAt(page)
      const limit = Math.min(last + 1, page + bankPages - (frame % bankPages))
      let next = use.firstFrame >= 0 ? limit : page + 1
      while (next < limit && use.frameAt(next) === frame + next - page) next++
      if (access === 'write') this.pool.dirty.fill(1, frame, frame + next - page)
      const end = Math.min(range.end, start + next * PAGE_SIZE)
      yield { addr, offset: frame * PAGE_SIZE + (addr % PAGE_SIZE), nbytes: end - addr }
      page = next
      addr = end
    }
  }

  /** The whole range as one piece. Throws a RangeError if it lies in several, or as `pieces`. */
  piece(range: AddrRange, access: Access): DevicePiece {
    const [first, second] = this.pieces(range, access)
    if (second !== undefined) throw new RangeError(`${formatRange(range)} lies in several pieces, wanted one`)
    return first
  }

  /** Some bytes of a range were written. Throws a RangeError as `pieces`. */
  markWritten(range: AddrRange): void {
    for (const _ of this.pieces(range, 'write'));
  }

  /** Where one word lies in device memory, in bytes. Throws a RangeError as `pieces`, and for what is no multiple of 4. */
  word(addr: Addr, access: Access): number {
    const use = this.find({ start: addr, end: addr + 4 }, access)
    if (addr % 4 !== 0) throw new RangeError(`word at ${formatAddr(addr)}, wanted a multiple of 4`)
    const frame = use.frameAt(pageIn(use, addr))
    if (access === 'write') this.pool.dirty[frame] = 1
    return frame * PAGE_SIZE + (addr % PAGE_SIZE)
  }

  revoke(): void {
    this.declared = null
  }

  private find(range: AddrRange, access: Access): RangeUse {
    const { declared } = this
    if (declared === null) throw afterTheEnd(range)
    for (const each of declared) {
      if (access === 'write' && each.access !== 'write') break
      if (each.range.start <= range.start && range.end <= each.range.end && range.start < range.end) {
        assert(each.use.frameAt(pageIn(each.use, range.start)) >= 0, 'a launch begins when all its pages are there')
        return each.use
      }
    }
    const what = access === 'write' ? 'for writing' : 'at all'
    throw new RangeError(`${formatRange(range)} is not declared ${what} by the launch`)
  }
}

function pageIn(use: RangeUse, addr: Addr): number {
  return Math.floor((addr - use.start) / PAGE_SIZE)
}

function afterTheEnd(range: AddrRange): RangeError {
  return new RangeError(`${formatRange(range)} after the end of the launch`)
}

function formatRange({ start, end }: AddrRange): string {
  return `[${formatAddr(start)}, ${formatAddr(end)})`
}
