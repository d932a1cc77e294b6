// What a device is given to run a kernel: plain data, which crosses threads and is the same for the same kernel. Start here to
// run kernels on another kind of device.
//
// A program is compiled once; a launch says which bytes its bindings are this time. The code comes in three forms:
//
//   whole    the bodies as the user wrote them, and nothing that asks for the launch block. For workgroups that are full, from the
//            first one on, of launches in one piece whose arguments begin where their bindings do
//   direct   the same with ids that begin elsewhere, and a guard for workgroups that are not full
//   indexed  each index goes through `hm_at_NAME`, which confines it to the part of the argument that a slice has and moves it
//            to where that lies in the binding. For slices, for arguments that share a binding, for parts of arrays
//
// Bindings of group 0, in this order: a storage buffer for each of `bindings` (all read_write: ranges of one buffer must not be
// bound in two ways), a storage buffer of STRAY_BYTES if the form is strict, the launch block, a uniform buffer for each of `uniforms`.

import type { Grid, Triple } from './grid.ts'
import type { PagedProgram } from './paged/paged-program.ts'

/** Bindings begin at multiples of this, in bytes: what every device accepts. */
export const BINDING_ALIGN = 256

/** Each uniform of a launch begins at a multiple of this in its bytes. */
export const UNIFORM_ALIGN = 256

/** Name of the entry point of every program. */
export const ENTRY_POINT = 'hm_main'

/** Which form of the code. */
export const PROGRAM_FORMS = ['whole', 'direct', 'indexed'] as const
export type ProgramForm = (typeof PROGRAM_FORMS)[number]

/** A storage binding. */
export interface ProgramBinding {
  /** Number in group 0. */
  readonly binding: number
  /** Names of the arguments in it; several if they overlap in memory. */
  readonly args: readonly string[]
  readonly write: boolean
}

/** An array argument. Their order is that of `hm_launch.args`. */
export interface ProgramArgument {
  readonly name: string
  readonly write: boolean
  /** Index in `bindings`. */
  readonly binding: number
  /** Bytes of an element. */
  readonly stride: number
}

export interface ProgramUniform {
  readonly name: string
  readonly binding: number
  /** Bytes. */
  readonly size: number
}

export interface KernelProgram {
  /** Name of the kernel, and of the entry point if it has several. */
  readonly name: string
  /** Invocations of a workgroup. */
  readonly workgroupSize: Triple
  readonly bindings: readonly ProgramBinding[]
  readonly args: readonly ProgramArgument[]
  readonly launchBinding: number
  readonly uniforms: readonly ProgramUniform[]
  /** Where a strict program counts stray indices; null if it is not strict. */
  readonly faultBinding: number | null
  /** Values of overrides, by name. */
  readonly constants: Readonly<Record<string, number>>
  /** WGSL. Both are null if arguments share a binding, or stray indices are counted. */
  readonly whole: string | null
  readonly direct: string | null
  /** WGSL. Null if indices cannot be moved; then `whyNotIndexed` says why, as a phrase. */
  readonly indexed: string | null
  readonly whyNotIndexed: string | null
  /** The kernel as one that goes through a page table, for launches that fit no device. Null if it cannot; then `whyNotPaged` says why. */
  readonly paged: PagedProgram | null
  readonly whyNotPaged: string | null
}

/**
 * Elements that belong to invocations, or to workgroups, of one dimension: number i uses those from i * stride + low to
 * i * stride + high, and no others.
 */
export interface LaunchSlicing {
  readonly per: 'invocation' | 'workgroup'
  readonly stride: number
  readonly low: number
  readonly high: number
}

/** By dimension; null where each invocation may use all elements. */
export type ArgumentSlicing = readonly [LaunchSlicing | null, LaunchSlicing | null, LaunchSlicing | null]

/** An argument of one launch, in the order of `program.args`. */
export interface LaunchArgument {
  /** Elements from the beginning of its binding to its first one. */
  readonly skip: number
  /** Elements, at least 1. */
  readonly length: number
  readonly slicing: ArgumentSlicing
  /** The launch writes all of it, and reads nothing of it. */
  readonly isOverwritten: boolean
}

/** Bytes of the heap that a binding shows, in the order of `program.bindings`. */
export interface LaunchRange {
  /** A multiple of BINDING_ALIGN. */
  readonly start: number
  /** Exclusive; a multiple of 4. */
  readonly end: number
}

/** Bytes of the heap that pointers may touch. */
export interface LaunchReach {
  /** Multiples of 4, the end exclusive. */
  readonly start: number
  readonly end: number
  readonly write: boolean
}

export interface KernelLaunch {
  readonly program: KernelProgram
  readonly ranges: readonly LaunchRange[]
  readonly args: readonly LaunchArgument[]
  /** All uniforms, each from a multiple of UNIFORM_ALIGN on. */
  readonly uniforms: Uint8Array
  readonly grid: Grid
  /** What pointers may touch; empty for a program that follows none. */
  readonly reach: readonly LaunchReach[]
}
