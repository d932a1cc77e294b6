// What the engine asks of a device. A driver's handle has more; launches go to it directly, through `Engine.launch`.

import { HPAGE_PMD_NR, PAGE_SIZE } from '../../base/addr.ts'
import type { KernelOptions } from '../../devices/webgpu/kernel-launch.ts'
import type { BufferRange } from '../../devices/webgpu/with-buffer.ts'
import type { KernelLaunch } from '../../kernel/program.ts'
import type { Access } from '../../trace/events.ts'
import type { ByteRange, RunOutcome } from './protocol.ts'

export interface EngineDevice {
  readonly name: string
  /** What it is, as a phrase: the name of an adapter. */
  readonly hardware: string
  /** What one should know about it, as a phrase; null for nothing. */
  readonly note: string | null
  /** Identity of its memory: `owner` of its pagemaps. */
  readonly owner: unknown
  /** Bytes of device memory, and how many of them hold pages. */
  readonly nbytes: number
  readonly nbytesUsed: number
  /** A kernel is at work that the device is given up for if it gets nowhere. */
  readonly isWatching: boolean
  /**
   * Brings a range to the device as a launch that uses it so would. Rejects with an MmError, or if the device is lost. Returns
   * how many pages came, and how many were there.
   */
  prefetch(range: ByteRange, access: Access): Promise<{ moved: number; resident: number }>
  /** Moves the pages of a range that it has to system memory, after the launches that may write them. Rejects like `prefetch`. */
  bringBack(range: ByteRange): Promise<void>
  /** Keeps ranges, each in one piece of a GPUBuffer, while `use` runs. Missing for devices that have no such thing. Rejects like a launch. */
  lend?(
    ranges: readonly ByteRange[],
    write: boolean,
    use: (ranges: readonly BufferRange[]) => Promise<void>,
  ): Promise<void>
  /** What is lost with it comes back filled. */
  readonly fillsLost: boolean
  /** If the device is lost and the newest contents of something in the range went with it: a sentence that says so. */
  lostIn(range: ByteRange): string | null
  /**
   * Runs kernels, one after the other. Missing where kernels are functions. Rejects with a CompileError for code that the
   * device does not take, with an MmError ENOMEM if one workgroup needs more than the device has, or if the device is lost.
   */
  run?(launches: readonly KernelLaunch[], options: KernelOptions): Promise<readonly RunOutcome[]>
  /** Ends what must not be under way when its thread ends with the process. Nothing can be asked of it afterwards. */
  abandon?(): Promise<void>
  /** Ends its use of the heap, after everything that it has to do. Its pages come back; those of a lost device cannot. */
  detach(): Promise<void>
  /** Takes the device away. It was detached, and nobody has pages any more. */
  close(): Promise<void>
}

/** Frames that the memory of devices may take up: each begins at a multiple of 2 MiB. `memory` is in bytes. */
export function deviceFrames(devices: readonly { readonly memory: number }[]): number {
  return devices.reduce((sum, { memory }) => sum + memory / PAGE_SIZE, HPAGE_PMD_NR * (devices.length + 1))
}
