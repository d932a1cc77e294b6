// What passes between the program and the thread of its engine besides calls: how to begin, and what came of it.

import type { MessagePort } from 'node:worker_threads'
import type { UserRange } from '../../mmu/userfaultfd/exit-hook.ts'
import type { LiveSupport } from '../../mmu/userfaultfd/features.ts'
import type { DeviceSettings } from '../device-options.ts'
import type { TraceFileSettings } from '../trace-options.ts'
import type { EngineMemory } from './memory-limit.ts'

export interface EngineSettings {
  readonly support: LiveSupport
  /** Where other threads join: the name of a BroadcastChannel. */
  readonly channel: string
  /** Pages of the heap, in whole 64 KiB. */
  readonly nframes: number
  readonly memory: EngineMemory
  readonly devices: readonly DeviceSettings[]
  readonly verbose: boolean
  /** Files that the engine writes events to. */
  readonly trace: TraceFileSettings
  /** The program wants to have the events. */
  readonly isTraced: boolean
  /** Who allocates where: see extents.ts. */
  readonly owners: Int32Array<SharedArrayBuffer>
  readonly extentPages: number
  readonly patienceMs: number
  /** The end of the engine is that of the process. */
  readonly endsProcess: boolean
  /** Module with extensions of the engine, null for none. */
  readonly extensions: string | null
}

/** `workerData` of the engine's thread. */
export interface EngineStart {
  readonly settings: EngineSettings
  /** For the calls of the program. */
  readonly port: MessagePort
  /** See engine/words.ts. */
  readonly words: Int32Array<SharedArrayBuffer>
}

/** What the engine's thread tells when it is ready. */
export interface EngineReady {
  /** The userfaultfd, and what is registered with it. */
  readonly fd: number
  readonly ranges: readonly UserRange[]
  /** The segments. */
  readonly buffers: readonly SharedArrayBuffer[]
  /** Where the system shows the thread: 'PID/task/TID' below /proc. */
  readonly thread: string
}
