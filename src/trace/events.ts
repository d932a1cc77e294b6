/**
 * What hetmem reports about itself: one typed record per thing that happened, in the vocabulary of the field.
 *
 * The words follow GPU drivers with unified memory: fault, replay, migration with a cause, duplication, thrashing,
 * throttling; and the kernel's for swap and mmu notifier. docs/trace-schema.md in the repository has the same for readers of trace files. Bytes are counted by transfer events alone, so a page that
 * changes its place without being copied (it was clean, or never written) is a migration without a transfer.
 */

import type { Addr } from '../base/addr.ts'

/** Why data moved, or a copy was made or dropped. */
export const CAUSES = [
  'fault', // somebody touched it
  'prefetch', // somebody was expected to touch it
  'eviction', // the room was needed
  'coherence', // the other side was about to see something old
  'user', // the program asked for it
] as const
export type Cause = (typeof CAUSES)[number]

/** From where to where data moved. Host is system memory. */
export const DIRECTIONS = ['host-to-device', 'device-to-host', 'device-to-device'] as const
export type Direction = (typeof DIRECTIONS)[number]

export const ACCESSES = ['read', 'write'] as const
export type Access = (typeof ACCESSES)[number]

/** How a launch got at its data. */
export const LAUNCH_MODES = [
  'direct', // each range in one piece, bound as it is
  'paged', // through the page table of the device
  'resumable', // in steps, each with the pages that it asked for
] as const
export type LaunchMode = (typeof LAUNCH_MODES)[number]

/** Events of an mmu notifier, as the kernel's MMU_NOTIFY_* constants number them. */
export const NOTIFY_EVENTS = [
  'UNMAP',
  'CLEAR',
  'PROTECTION_VMA',
  'PROTECTION_PAGE',
  'SOFT_DIRTY',
  'RELEASE',
  'MIGRATE',
  'EXCLUSIVE',
] as const
export type NotifyEvent = (typeof NOTIFY_EVENTS)[number]

/** What every event may carry. */
interface CommonFields {
  /** When it was over, in the unit of the tracer's clock. */
  readonly time: number
  /** How long it took, in the same unit, so it began at time - duration. */
  readonly duration?: number | undefined
  /** First byte it is about. */
  readonly start?: Addr | undefined
  /** The byte after the last one it is about. */
  readonly end?: Addr | undefined
  /** Name of the allocation that holds `start`. */
  readonly allocation?: string | undefined
  /** Name of the device that took part. */
  readonly device?: string | undefined
  /** Place in the program's source that led to it, as file:line. */
  readonly site?: string | undefined
}

interface RangeFields extends CommonFields {
  readonly start: Addr
  readonly end: Addr
}

interface DeviceRangeFields extends RangeFields {
  readonly device: string
}

/** A device joined. */
export interface DeviceEvent extends CommonFields {
  readonly kind: 'device'
  readonly device: string
  /** Bytes of its memory. */
  readonly nbytes: number
  /** What it is, as a phrase: name of the adapter, or of what stands in for one. */
  readonly hardware: string
}

/** A device is gone, with all pages that it had. */
export interface DeviceLostEvent extends CommonFields {
  readonly kind: 'device-lost'
  readonly device: string
  /** Why, as a phrase. */
  readonly reason: string
}

/** An allocation began; the range is all its pages. From here on its name stands for what happens there. */
export interface AllocEvent extends RangeFields {
  readonly kind: 'alloc'
  readonly allocation: string
  /** What it holds: 'Float32Array'. */
  readonly type: string
}

/** An allocation ended; its pages are nowhere any more. */
export interface FreeEvent extends RangeFields {
  readonly kind: 'free'
  readonly allocation: string
}

/** The contents of pages were given up; the pages are nowhere until they are used again. */
export interface DiscardEvent extends RangeFields {
  readonly kind: 'discard'
  readonly npages: number
}

/** A CPU access that needed the fault handler. The range is what became accessible, which may be more than one page. */
export interface CpuFaultEvent extends RangeFields {
  readonly kind: 'cpu-fault'
  readonly access: Access
  /** Number of the thread that waited, as the operating system counts them. */
  readonly thread?: number | undefined
}

/** Device accesses that found no translation, served together. */
export interface DeviceFaultEvent extends DeviceRangeFields {
  readonly kind: 'device-fault'
  readonly access: Access
  /** Faults in the batch, 1 or more. */
  readonly nfaults: number
}

/** Work that a device does again because it missed pages, or because what it had read was invalidated meanwhile. */
export interface ReplayEvent extends CommonFields {
  readonly kind: 'replay'
  readonly device: string
  /** Pieces of work done again: invocations, workgroups or faults, whatever the device repeats. */
  readonly count: number
}

/**
 * A kernel ran on a device, or failed to. Its time is queued, service, compute and flush, one after the other; where it was cut
 * into slices, each is the sum over them.
 */
export interface LaunchEvent extends CommonFields {
  readonly kind: 'launch'
  readonly device: string
  /** Name of the kernel. */
  readonly kernel: string
  readonly mode: LaunchMode
  readonly duration: number
  /** Until everything before it that uses the same data, or the same device, had ended. */
  readonly queued: number
  /** Until all pages were there, copies included. */
  readonly service: number
  /** Copies between system memory and the device, most of it within `service`. */
  readonly transfer: number
  /** While the kernel ran. */
  readonly compute: number
  /** Until what was written was safe in system memory; 0 unless asked for. */
  readonly flush: number
  /** Dispatches that it was cut into, 1 or more. */
  readonly nslices: number
  /** Pages that were on the device already. One that is used twice counts twice, here and below. */
  readonly nresident: number
  /** Pages that came as copies for reading, that were pinned in place, and that moved. */
  readonly nduplicated: number
  readonly npinned: number
  readonly nmigrated: number
  /** Message of the error that it ended with. */
  readonly error?: string | undefined
}

/** Pages that changed their home. */
export interface MigrationEvent extends DeviceRangeFields {
  readonly kind: 'migration'
  readonly cause: Cause
  readonly direction: Direction
  /** Pages that moved. */
  readonly npages: number
  /** Pages of the range that were asked for and stayed. */
  readonly nskipped: number
}

/** Copies for reading that a device got, beside the pages in system memory. */
export interface DuplicationEvent extends DeviceRangeFields {
  readonly kind: 'duplication'
  readonly cause: Cause
  readonly npages: number
}

/** Copies for reading that a device lost. */
export interface DuplicateInvalidatedEvent extends DeviceRangeFields {
  readonly kind: 'duplicate-invalidated'
  readonly cause: Cause
  readonly npages: number
}

/** Pages that go back and forth between two sides more often than the policy likes, or that a launch misses again and again. */
export interface ThrashingEvent extends RangeFields {
  readonly kind: 'thrashing'
  /** Moves that were seen in the window of the policy, or pages that the launch had had before. */
  readonly nmigrations: number
}

/** Somebody was made to wait, so that a page could be used where it is. */
export interface ThrottlingEvent extends CommonFields {
  readonly kind: 'throttling'
  /** How long it has to wait, in the unit of the clock. */
  readonly delay: number
}

/** A CPU access that had to wait longer than a program should have to, over 50 ms by default. */
export interface StallEvent extends RangeFields {
  readonly kind: 'stall'
  readonly duration: number
  /** Number of the thread that waited, as the operating system counts them. */
  readonly thread: number
  /** What it waited for, as a phrase. */
  readonly reason: string
}

/** Pages that were read back from the swap file. */
export interface SwapInEvent extends RangeFields {
  readonly kind: 'swap-in'
  readonly npages: number
}

/** Pages that left system memory for the swap file. */
export interface SwapOutEvent extends RangeFields {
  readonly kind: 'swap-out'
  readonly npages: number
  /** Bytes written to the swap file; less than the pages hold where an old copy there was still good. */
  readonly nbytes: number
}

/** Pages that were filled from a file, when they were touched or ahead of that. */
export interface FileReadEvent extends RangeFields {
  readonly kind: 'file-read'
  readonly npages: number
  /** Bytes read; less than the pages hold at the end of the file. */
  readonly nbytes: number
  /** Path of the file, as it was given. */
  readonly file: string
}

/** The page table was about to change and every subscriber of the range was told. */
export interface InvalidationEvent extends RangeFields {
  readonly kind: 'invalidation'
  readonly event: NotifyEvent
  /** Subscribers called. */
  readonly nsubscribers: number
}

/** Bytes copied between system memory and a device. */
export interface TransferEvent extends DeviceRangeFields {
  readonly kind: 'transfer'
  readonly cause: Cause
  readonly direction: Direction
  readonly nbytes: number
}

export type TraceEvent =
  | DeviceEvent
  | DeviceLostEvent
  | AllocEvent
  | FreeEvent
  | DiscardEvent
  | CpuFaultEvent
  | DeviceFaultEvent
  | ReplayEvent
  | LaunchEvent
  | MigrationEvent
  | DuplicationEvent
  | DuplicateInvalidatedEvent
  | ThrashingEvent
  | ThrottlingEvent
  | StallEvent
  | SwapInEvent
  | SwapOutEvent
  | FileReadEvent
  | InvalidationEvent
  | TransferEvent

export type EventKind = TraceEvent['kind']

/** The event of one kind. */
export type EventOf<K extends EventKind> = Extract<TraceEvent, { kind: K }>

/** An event that is on its way to the tracer, which adds the time. */
export type NewEvent = { [K in EventKind]: Omit<EventOf<K>, 'time'> }[EventKind]

/** How much is recorded: nothing, what moves data or makes somebody wait, or each step behind it too. */
export const LEVELS = ['off', 'events', 'verbose'] as const
export type Level = (typeof LEVELS)[number]

/** The lowest level at which a kind is recorded. */
export const EVENT_LEVELS = {
  device: 'events',
  'device-lost': 'events',
  alloc: 'events',
  free: 'events',
  discard: 'events',
  'cpu-fault': 'events',
  'device-fault': 'events',
  replay: 'events',
  launch: 'events',
  migration: 'events',
  duplication: 'events',
  'duplicate-invalidated': 'events',
  thrashing: 'events',
  throttling: 'events',
  stall: 'events',
  'swap-in': 'events',
  'swap-out': 'events',
  'file-read': 'events',
  invalidation: 'verbose', // accompanies every other change, and most are seen by nobody
  transfer: 'events',
} as const satisfies Record<EventKind, Exclude<Level, 'off'>>

export const EVENT_KINDS = Object.keys(EVENT_LEVELS) as EventKind[]
