// What a kernel sees of a memory device: the bytes of the ranges that its launch declared. The kernels of a memory device are
// functions, so there is no compiler to keep them inside their ranges; this does.

import type { Addr } from '../../base/addr.ts'
import type { Access } from '../../trace/events.ts'
import type { AddrRange } from '../claims.ts'
import type { LaunchRanges, ProgramMemory } from '../driver/index.ts'

/** Bytes of a range that lie next to each other in device memory. */
export interface Piece {
  /** Of the first byte, in the address space. */
  readonly addr: Addr
  readonly bytes: Uint8Array<ArrayBufferLike>
}

export class LaunchMemory implements ProgramMemory {
  private readonly ranges: LaunchRanges
  private readonly memory: Uint8Array
  private readonly words: Uint32Array

  /** `memory` holds the frames of the device one behind the other. */
  constructor(ranges: LaunchRanges, memory: Uint8Array) {
    this.ranges = ranges
    this.memory = memory
    this.words = new Uint32Array(memory.buffer)
  }

  /** Aborted when the program gives the launch up. A kernel that runs long may look at it. */
  get signal(): AbortSignal | undefined {
    return this.ranges.signal
  }

  /**
   * The pieces of a declared range, or of part of one, ascending. With 'write' they count as written.
   *
   * Throws a RangeError for bytes that the launch did not declare, or not for writing.
   */
  *pieces(range: AddrRange, access: Access = 'read'): IterableIterator<Piece> {
    for (const { addr, offset, nbytes } of this.ranges.pieces(range, access)) {
      yield { addr, bytes: this.memory.subarray(offset, offset + nbytes) }
    }
  }

  /** The whole range as one piece. Throws a RangeError if it lies in several, or as `pieces`. */
  bytes(range: AddrRange, access: Access = 'read'): Uint8Array<ArrayBufferLike> {
    const { offset, nbytes } = this.ranges.piece(range, access)
    return this.memory.subarray(offset, offset + nbytes)
  }

  /** The 32-bit word at a multiple of 4. Throws a RangeError as `pieces`. */
  load32(addr: Addr): number {
    return this.words[this.ranges.word(addr, 'read') / 4]
  }

  /** Marks the one page that it writes. */
  store32(addr: Addr, value: number): void {
    this.words[this.ranges.word(addr, 'write') / 4] = value
  }

  revoke(): void {
    this.ranges.revoke()
  }
}
