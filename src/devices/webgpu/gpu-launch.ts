// What a program sees of a WebGPU device: the ranges that its launch declared, as places in buffers, and the queue. Everything that
// is submitted before the program returns finds the pages where they are now.

import type { Addr } from '../../base/addr.ts'
import type { Access } from '../../trace/events.ts'
import type { AddrRange } from '../claims.ts'
import type { LaunchRanges, ProgramMemory } from '../driver/index.ts'
import type { GpuBanks } from './gpu-banks.ts'
import type { GpuContext } from './gpu-context.ts'

/** A range in one piece, as a binding takes it. The offset is exact: round it down where a multiple of 256 is needed. */
export interface GpuBinding {
  readonly buffer: GPUBuffer
  readonly offset: number
  readonly size: number
}

/** A piece of a range that may lie in several. */
export interface GpuPiece extends GpuBinding {
  /** Of the first byte, in the address space. */
  readonly addr: Addr
}

/** A launch of code that somebody else dispatches, and the memory that it uses. */
export class GpuLaunch implements ProgramMemory {
  readonly device: GPUDevice
  /** @internal */
  readonly ranges: LaunchRanges
  private readonly context: GpuContext
  private readonly banks: GpuBanks

  /** @internal */
  constructor(context: GpuContext, banks: GpuBanks, ranges: LaunchRanges) {
    this.device = context.device
    this.context = context
    this.banks = banks
    this.ranges = ranges
  }

  /** Aborted when the program gives the launch up. */
  get signal(): AbortSignal | undefined {
    return this.ranges.signal
  }

  /**
   * Where a declared range lies, or part of one. With 'write' it counts as written.
   *
   * Throws a RangeError for bytes that the launch did not declare, or not for writing, and if they lie in several pieces (launch
   * with `inOnePiece` then).
   */
  binding(range: AddrRange, access: Access = 'read'): GpuBinding {
    const { offset, nbytes } = this.ranges.piece(range, access)
    return { ...this.banks.place(offset), size: nbytes }
  }

  /** The pieces of a range, ascending. Throws a RangeError as `binding`. */
  *pieces(range: AddrRange, access: Access = 'read'): IterableIterator<GpuPiece> {
    for (const { addr, offset, nbytes } of this.ranges.pieces(range, access)) {
      yield { addr, ...this.banks.place(offset), size: nbytes }
    }
  }

  /** Some bytes were written that were looked up for reading. Throws a RangeError as `binding`. */
  markWritten(range: AddrRange): void {
    this.ranges.markWritten(range)
  }

  /** Records commands and submits them. */
  submit(record: (encoder: GPUCommandEncoder) => void): void {
    this.context.submit(record)
  }

  revoke(): void {
    this.ranges.revoke()
  }
}
