// What a heap and its engine say to each other. Everything here is plain data, so that the engine can run on the thread of the
// program or in a worker of its own: what differs is who carries the messages.
//
// Calls are begun in the order in which they are sent. The answer may come at once, before the call returns, when there is
// nobody to wait for and no thread in between.

import type { KernelReceipt } from '../../devices/webgpu/kernel-launch.ts'
import type { KernelLaunch, KernelProgram } from '../../kernel/program.ts'
import type { SwapStats } from '../../mm/swap.ts'
import type { Counters } from '../../trace/counters.ts'
import type { Access } from '../../trace/events.ts'
import type { ArrayTypeName } from '../array-types.ts'
import type { HeapErrorCode, Misuse } from '../heap-error.ts'

/** Bytes of the heap, in one array. */
export interface ByteRange {
  readonly start: number
  /** Exclusive. */
  readonly end: number
}

/** A new array, with all its pages. */
export interface NewArray {
  readonly id: number
  readonly name: string
  readonly type: ArrayTypeName
  readonly length: number
  readonly nbytes: number
  readonly readOnly: boolean
  readonly addr: number
  readonly npages: number
  /** So many pages from the first on were those of another array before. They are zero again. */
  readonly nstale: number
  /** What the array shows; null for memory of its own. */
  readonly file: ArrayFile | null
}

/** A part of a file, from its beginning to the end of the array. */
export interface ArrayFile {
  readonly path: string
  /** Descriptor, open until the call is answered. */
  readonly fd: number
  /** Bytes from the beginning of the file. */
  readonly offset: number
  /** Size and time of the last change, when the array was made. */
  readonly size: number
  readonly mtimeMs: number
}

/** Why pages were left as they were. */
export const SKIP_REASONS = [
  'in place', // they are where they were wanted
  'in part', // the page has other elements too
  'no device', // there is none to move them to
  'held', // withResident or pin has them
  'no room', // the device has not as much memory
  'only live', // the hint means something in live mode only
] as const
export type SkipReason = (typeof SKIP_REASONS)[number]

/** Pages of an array that an operation left as they were. */
export interface Skipped {
  /** Name of the array. */
  readonly array: string
  readonly pages: number
  readonly why: SkipReason
}

/** What an operation came to. */
export interface Outcome {
  /** Pages that changed hands or places. */
  readonly pages: number
  /** Bytes that were copied for it. */
  readonly bytes: number
  readonly skipped: readonly Skipped[]
}

/** Advice about how memory will be used. */
export const ADVICE = [
  'normal', // nothing in particular
  'sequential', // from front to back, once
  'random', // here and there
  'cold', // not by a device for a while: its pages go back to system memory
] as const
export type Advice = (typeof ADVICE)[number]

/** Where pages are. */
export const PLACES = [
  'cpu', // the CPU may read and write them
  'shared', // the CPU may read them, and devices may have copies
  'system', // in system memory, but nobody's: the CPU gets them with sync
  'swap', // in the swap file, or in the file that the array shows
  'device', // on a device
  'moving', // on the way
] as const
export type Place = (typeof PLACES)[number]

/** Neighbouring pages in one place. */
export interface PlaceRun {
  readonly place: Place
  /** For 'device' and 'shared': which, where that is known. */
  readonly device?: string
  readonly pages: number
}

/** What a device holds, in bytes. */
export interface DeviceStats {
  readonly name: string
  /** What it is, as a phrase: the name of an adapter. */
  readonly hardware: string
  /** What one should know about it, as a phrase: that it is slow, or smaller than wanted. null for nothing. */
  readonly note: string | null
  /** Bytes of device memory. */
  readonly memory: number
  /** Bytes that hold pages. */
  readonly used: number
}

/** A thread of the program that waits for a page now. */
export interface WaitingTouch {
  /** Name of the array, empty for memory that is none. */
  readonly array: string
  /** Number of the thread, as the system counts; 0 where it does not tell. */
  readonly thread: number
  readonly access: Access
  /** Milliseconds that it has waited. */
  readonly ms: number
  /** For what, as a phrase. */
  readonly reason: string
}

/** System memory behind the arrays. */
export interface MemoryStats {
  /** Bytes of pages that have contents in system memory now. */
  readonly resident: number
  /** Bytes that they may have; null for no limit. */
  readonly limit: number | null
  /** Pages that were taken beyond the limit, as nothing could be written out at the time. */
  readonly pagesOverLimit: number
  /** What went to swap and came back, in pages; null where there is none. */
  readonly swap: Readonly<SwapStats> | null
}

export interface EngineStats {
  /** Live mode: touches that wait. */
  readonly waiting: readonly WaitingTouch[]
  readonly memory: MemoryStats
  readonly devices: readonly DeviceStats[]
  /** What happened since the heap was opened; all zero while tracing is off. */
  readonly counters: Counters
  /** The same by name of the array. */
  readonly byArray: Readonly<Record<string, Counters>>
}

/** A launch that names its program. */
export interface RunLaunch extends Omit<KernelLaunch, 'program'> {
  /** As `program` called it. */
  readonly program: string
}

/** What a run, or a part of one, came to. */
export type RunOutcome = KernelReceipt

/** Calls: what each is given, and what it answers. */
export interface EngineCalls {
  /** Memory for arrays to come. */
  segment: { args: { addr: number; buffer: ArrayBufferLike }; answer: null }
  map: { args: NewArray; answer: null }
  /** Takes effect after the launches that use the array. */
  unmap: { args: { id: number }; answer: null }
  /** The same for an array of another thread's heap: the range is all of its elements. Answers which one that is. */
  unmapAt: { args: { range: ByteRange }; answer: { id: number } }
  sync: { args: { ranges: readonly ByteRange[]; write: boolean }; answer: Outcome }
  /** Gives ranges to the CPU and keeps them there until `release`. */
  hold: { args: { ranges: readonly ByteRange[]; write: boolean }; answer: { hold: number; outcome: Outcome } }
  release: { args: { hold: number }; answer: null }
  /** `device` null: the first one. */
  prefetch: {
    args: { ranges: readonly ByteRange[]; write: boolean; device: string | null }
    answer: Outcome
  }
  /** Makes a program known by a name that no other heap uses. */
  program: { args: { id: string; program: KernelProgram }; answer: null }
  /** Runs launches, one after the other. `device` null: the first one that runs kernels. `sliceMax` null: as it fits. */
  run: {
    args: {
      /** For `abort`: a name that no other heap uses. */
      run: string
      name: string
      launches: readonly RunLaunch[]
      device: string | null
      durable: boolean
      sliceMax: number | null
    }
    answer: readonly RunOutcome[]
  }
  /** Gives a run up, if it has not ended. */
  abort: { args: { run: string }; answer: null }
  discard: { args: { ranges: readonly ByteRange[] }; answer: Outcome }
  advise: { args: { ranges: readonly ByteRange[]; advice: Advice }; answer: Outcome }
  where: { args: { range: ByteRange }; answer: { array: string; runs: readonly PlaceRun[] } }
  /** Sets a word to 1 when the calls before have begun, for a thread that cannot await. */
  fence: { args: { word: Int32Array<SharedArrayBuffer> }; answer: null }
  /** Calls one of the engine's `extensions`, for what is no business of programs: tests and measurements. */
  extension: { args: { name: string; data: unknown }; answer: unknown }
  stats: { args: Record<string, never>; answer: EngineStats }
  /** A heap that had joined goes. */
  detach: { args: Record<string, never>; answer: { misuses: readonly Misuse[] } }
  close: { args: Record<string, never>; answer: { misuses: readonly Misuse[] } }
}
export type EngineCall = keyof EngineCalls

/** What a device's compiler said about one of the launches of a run. */
export interface CompileFailure {
  /** Index of the launch. */
  readonly launch: number
  /** The code, and the place in it, from 1; 0 if it is about no place. */
  readonly wgsl: string
  readonly text: string
  readonly line: number
  readonly column: number
}

/** A refusal, as plain data. */
export interface Failure {
  readonly code: HeapErrorCode
  readonly message: string
  /** For NOT_OWNED. */
  readonly misuses?: readonly Misuse[]
  /** For BAD_KERNEL. */
  readonly compile?: CompileFailure
}

export type Reply<C extends EngineCall> =
  | { readonly ok: true; readonly answer: EngineCalls[C]['answer'] }
  | { readonly ok: false; readonly failure: Failure }

/** The way to an engine. */
export interface EnginePort {
  call<C extends EngineCall>(call: C, args: EngineCalls[C]['args'], reply: (reply: Reply<C>) => void): void
}
