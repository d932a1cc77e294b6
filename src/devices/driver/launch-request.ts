// What a driver is asked for with a launch: ranges, a program, and how it may be cut.

import type { Placement } from '../../hmm/policy.ts'
import type { AddrRange } from '../claims.ts'

/** What a launch, or a part of one, works on. */
export interface LaunchSlice {
  /** Bytes that the program reads. */
  readonly read?: readonly AddrRange[]
  /** Bytes that the program writes, or reads and writes. */
  readonly write?: readonly AddrRange[]
}

/** What a slice must not exceed. */
export interface DeviceLimits {
  /** Pages of device memory. */
  readonly npages: number
  /** Pages of a bank: what has to lie in one piece is at most that. */
  readonly bankPages: number
  /** Bytes that a program can use as one piece. */
  readonly pieceBytesMax: number
}

/**
 * The work of a launch, called once for each slice when its ranges are on the device. It returns, or resolves, when the frames may
 * change hands: when it has handed all its work to the hardware, which works in order, or when the work is done. Throwing, or
 * rejecting, ends the launch; what was written stays written.
 */
export type Program<Memory, Slice extends LaunchSlice = LaunchSlice> = (
  memory: Memory,
  slice: Slice,
  index: number,
) => void | Promise<void>

export interface LaunchRequest<Slice extends LaunchSlice = LaunchSlice> extends LaunchSlice {
  /** In receipts and errors. Default `kernel`. */
  readonly name?: string
  /** Each range has to lie in one piece of device memory, as programs need it that bind it. Default false. */
  readonly inOnePiece?: boolean
  /**
   * Cuts the launch into slices that fit, in order, each with some of the ranges above. What it throws, `run` rejects with before
   * anything has happened. Default: the launch is one slice.
   */
  readonly slices?: (limits: DeviceLimits) => readonly Slice[]
  /** Copy what was written to system memory before the launch ends. Default false. */
  readonly durable?: boolean
  /** The program is not the hardware's, and may take as long as it likes: the device does not count as hung meanwhile. Default false. */
  readonly isPatient?: boolean
  /** How pages should come to the device; the policy knows better where it is left out. */
  readonly placement?: Placement
  /** Arrays that the ranges are parts of: what lies around missing pages may come along. Only where a touch brings pages back. */
  readonly around?: readonly AddrRange[]
  /** Has to end first, and well: what it rejects with, this launch rejects with, and has not begun. It was handed in before. */
  readonly after?: Promise<unknown>
  /** Gives the launch up: before the next slice, or as soon as the program returns. */
  readonly signal?: AbortSignal
}
