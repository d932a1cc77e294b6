// What the driver needs of a device with memory of its own: start here to bring up another one. The driver (device-driver.ts)
// knows pages, mappings and who may use what; the hardware knows bytes. Its memory is numbered in frames of 4 KiB.
//
// The device works in order: what is asked of it later happens later. So a frame can have a new owner as soon as nobody uses its
// contents any more; whatever is asked of the device for the new owner comes after what was asked for the old one.
//
//   upload, clear, move, what a program submits ────> one queue ────> fence() resolves
//                                    download ─────────┘ reads what everything before has left
//
// When the device is gone everything that waits for it rejects, and `onLost` has been called by then.

import type { CopyList } from './copy-list.ts'
import type { LaunchRanges } from './launch-ranges.ts'

/**
 * Pages of an upload: four blocks of 2 MiB. What one costs besides the copies is paid for all of them once. Nobody else gets a turn
 * meanwhile, and write faults wait, so it takes more only where hardware asks for that (`uploadPages`).
 */
export const UPLOAD_PAGES_MAX = 2048

/** What a program is given of device memory. */
export interface ProgramMemory {
  /** The launch is over: a program that goes on is thrown out. */
  revoke(): void
}

export interface DeviceHardware<Memory extends ProgramMemory = ProgramMemory> {
  /** Frames of device memory. */
  readonly npages: number
  /** Memory may consist of several banks of this many frames (the last may be shorter). Nothing lies in two of them at once. */
  readonly bankPages: number
  /** Bytes that a program can use as one piece, at most. */
  readonly pieceBytesMax: number
  /** Neighbouring pages that are best uploaded at a time, more than UPLOAD_PAGES_MAX only where nobody waits for the engine. */
  readonly uploadPages: number
  /** Called once, with a phrase, when the hardware finds out that it is gone. */
  onLost: (reason: string) => void

  /**
   * Null when an upload of `uploadPages` pages can be taken at once, or what to wait for until it can. Rejects when the device
   * is gone.
   */
  ready(): Promise<void> | null
  /**
   * Copies to the device, after `ready`; the list and system memory are read before it returns. Returns null if that is all, or a promise of the
   * moment at which the source is not needed any more, which rejects if the device fails meanwhile.
   */
  upload(list: CopyList): Promise<void> | null
  /** Null, or the moment at which everything uploaded so far can be used. Rejects if the device is gone. */
  uploaded(): Promise<void> | null
  /**
   * Copies to system memory. Returns null if that is done, or a promise of the moment at which it is, until when both sides stay what
   * they are. Rejects, with nothing that could be relied on copied, if the device fails. With `ahead` nobody waits for it yet, so it
   * need not be this thread that copies, and the CPU may be shown the pages as soon as they are copied.
   */
  download(list: CopyList, ahead?: boolean): Promise<void> | null
  /** Makes frames zero. */
  clear(frames: readonly number[]): void
  /** Copies frame `from[i]` to frame `to[i]`; no frame is both. */
  move(from: readonly number[], to: readonly number[]): void
  /** Null if nothing is under way, or the moment at which everything asked for so far is done. Rejects if the device fails. */
  fence(): Promise<void> | null
  /** The declared ranges of a launch, as programs for this hardware want to see them. */
  memoryOf(ranges: LaunchRanges): Memory

  /** The driver gives the device up: whatever waits for it, now or later, rejects with this. */
  fail(reason: Error): void
  /** Nobody uses it any more. */
  destroy(): void
}
