/**
 * What hetmem reports about itself: one typed record per thing that happened, in the vocabulary of the field.
 *
 * The words follow GPU drivers with unified memory: fault, replay, migration with a cause, duplication, thrashing,
 * throttling; and the kernel's for swap and mmu notifier. Bytes are counted by transfer events alone, so a page that
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

/** A CPU access that needed the fault handler. The range is what became accessible, which may be more than one page. */
export interface CpuFaultEvent extends RangeFields {
  readonly kind: 'cpu-fault'
  readonly access: Access
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

/** Pages that go back and forth between two sides more often than the policy likes. */
export interface ThrashingEvent extends RangeFields {
  readonly kind: 'thrashing'
  /** Moves that were seen in the window of the policy. */
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

export interface SwapInEvent extends RangeFields {
  readonly kind: 'swap-in'
  readonly npages: number
}

export interface SwapOutEvent extends RangeFields {
  readonly kind: 'swap-out'
  readonly npages: number
  /** Bytes written to the swap file; less than the pages hold where an old copy there was still good. */
  readonly nbytes: number
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
  | CpuFaultEvent
  | DeviceFaultEvent
  | ReplayEvent
  | MigrationEvent
  | DuplicationEvent
  | DuplicateInvalidatedEvent
  | ThrashingEvent
  | ThrottlingEvent
  | StallEvent
  | SwapInEvent
  | SwapOutEvent
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
  'cpu-fault': 'events',
  'device-fault': 'events',
  replay: 'events',
  migration: 'events',
  duplication: 'events',
  'duplicate-invalidated': 'events',
  thrashing: 'events',
  throttling: 'events',
  stall: 'events',
  'swap-in': 'events',
  'swap-out': 'events',
  invalidation: 'verbose', // accompanies every other change, and most are seen by nobody
  transfer: 'events',
} as const satisfies Record<EventKind, Exclude<Level, 'off'>>

export const EVENT_KINDS = Object.keys(EVENT_LEVELS) as EventKind[]
