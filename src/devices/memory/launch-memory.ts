// What a kernel sees of the device: the ranges that its launch declared, in device memory. The kernels of a memory device are
// functions, so there is no compiler to keep them inside their ranges; this does. A range may lie in several pieces.
//
// What is handed out of a range for writing counts as written, page by page, as hardware without finer dirty bits would
// have it; `store32` marks the one page that it writes.

import { type Addr, PAGE_SIZE } from '../../base/addr.ts'
import { assert, formatAddr } from '../../base/assert.ts'
import type { Access } from '../../trace/events.ts'
import type { AddrRange } from '../claims.ts'
import type { FramePool } from './frame-pool.ts'
import type { RangeUse } from './operation.ts'

/** Bytes of a range that lie next to each other in device memory. */
export interface Piece {
  /** Of the first byte, in the address space. */
  readonly addr: Addr
  readonly bytes: Uint8Array<ArrayBufferLike>
}

export class LaunchMemory {
  /** Aborted when the program gives the launch up. A kernel that runs long may look at it. */
  readonly signal: AbortSignal | undefined
  private readonly pool: FramePool
  /** Those for writing first. null once the launch has ended. */
  private uses: readonly RangeUse[] | null

  constructor(pool: FramePool, uses: readonly RangeUse[], signal: AbortSignal | undefined) {
    this.pool = pool
    this.signal = signal
    this.uses = [...uses].sort((a, b) => Number(b.access === 'write') - Number(a.access === 'write'))
  }

  /**
   * The pieces of a declared range, or of part of one, ascending. With 'write' they count as written.
   *
   * Throws a RangeError for bytes that the launch did not declare, or not for writing.
   */
  *pieces(range: AddrRange, access: Access = 'read'): IterableIterator<Piece> {
    const use = this.find(range, access)
    for (let addr = range.start; addr < range.end; ) {
      const frame = use.frames[pageIn(use, addr)]
      let next = Math.min(range.end, addr - (addr % PAGE_SIZE) + PAGE_SIZE)
      let nframes = 1
      while (next < range.end && use.frames[pageIn(use, next)] === frame + nframes) {
        next = Math.min(range.end, next + PAGE_SIZE)
        nframes++
      }
      if (access === 'write') this.pool.dirty.fill(1, frame, frame + nframes)
      const offset = frame * PAGE_SIZE + (addr % PAGE_SIZE)
      yield { addr, bytes: this.pool.bytes.subarray(offset, offset + (next - addr)) }
      addr = next
    }
  }

  /** The whole range as one piece. Throws a RangeError if it lies in several, or as `pieces`. */
  bytes(range: AddrRange, access: Access = 'read'): Uint8Array<ArrayBufferLike> {
    const [first, second] = this.pieces(range, access)
    if (second !== undefined) throw new RangeError(`${formatRange(range)} lies in several pieces, wanted one`)
    return first.bytes
  }

  /** The 32-bit word at a multiple of 4. Throws a RangeError as `pieces`. */
  load32(addr: Addr): number {
    const use = this.find({ start: addr, end: addr + 4 }, 'read')
    return this.pool.words[this.wordAt(use, addr)]
  }

  store32(addr: Addr, value: number): void {
    const use = this.find({ start: addr, end: addr + 4 }, 'write')
    this.pool.dirty[use.frames[pageIn(use, addr)]] = 1
    this.pool.words[this.wordAt(use, addr)] = value
  }

  /** The launch is over: a kernel that goes on is thrown out. */
  revoke(): void {
    this.uses = null
  }

  private wordAt(use: RangeUse, addr: Addr): number {
    if (addr % 4 !== 0) throw new RangeError(`word at ${formatAddr(addr)}, wanted a multiple of 4`)
    return (use.frames[pageIn(use, addr)] * PAGE_SIZE + (addr % PAGE_SIZE)) / 4
  }

  private find(range: AddrRange, access: Access): RangeUse {
    const { uses } = this
    if (uses === null) throw new RangeError(`${formatRange(range)} after the end of the launch`)
    for (const use of uses) {
      if (access === 'write' && use.access !== 'write') break
      if (use.range.start <= range.start && range.end <= use.range.end && range.start < range.end) {
        assert(use.frames[pageIn(use, range.start)] >= 0, 'a launch begins when all its pages are there')
        return use
      }
    }
    const what = access === 'write' ? 'for writing' : 'at all'
    throw new RangeError(`${formatRange(range)} is not declared ${what} by the launch`)
  }
}

function pageIn(use: RangeUse, addr: Addr): number {
  return Math.floor((addr - use.start) / PAGE_SIZE)
}

function formatRange({ start, end }: AddrRange): string {
  return `[${formatAddr(start)}, ${formatAddr(end)})`
}
