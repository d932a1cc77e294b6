// What a device is given to run a kernel: plain data, which crosses threads and is the same for the same kernel. Start here to
// run kernels on another kind of device.
//
// A program is compiled once; a launch says which bytes its bindings are this time. The code comes in two forms:
//
//   direct   the bodies as the user wrote them. For launches in one piece, whose arguments begin where their bindings do
//   indexed  each index goes through `hm_at_NAME`, which confines it to the part of the argument that a slice has and moves it
//            to where that lies in the binding. For slices, for arguments that share a binding, for parts of arrays
//
// Bindings of group 0, in this order: a storage buffer for each of `bindings` (all read_write: ranges of one buffer must not be
// bound in two ways), a storage buffer of FAULT_BYTES if the form is strict, the launch block, a uniform buffer for each of `uniforms`.

import type { ColumnShift } from './edited-text.ts'
import type { Grid, Triple } from './grid.ts'

/** Bindings begin at multiples of this, in bytes: what every device accepts. */
export const BINDING_ALIGN = 256

/** Each uniform of a launch begins at a multiple of this in its bytes. */
export const UNIFORM_ALIGN = 256

/** WGSL with an entry point `hm_main`. */
export interface ProgramCode {
  readonly wgsl: string
  /** The lines of the user; those behind are the library's. */
  readonly userLines: number
  readonly shifts: readonly ColumnShift[]
}

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
  /** Programs with the same key are the same. */
  readonly key: string
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
  /** Null if the arguments share bindings, or strays are counted. */
  readonly direct: ProgramCode | null
  /** Null if indices cannot be moved; then `whyNotIndexed` says why, as a phrase. */
  readonly indexed: ProgramCode | null
  readonly whyNotIndexed: string | null
}

/** Elements of an argument that belong to invocations, or to workgroups, of one dimension; see SliceSpec. */
export interface LaunchSlicing {
  readonly dimension: 0 | 1 | 2
  readonly per: 'invocation' | 'workgroup'
  /** Elements. */
  readonly stride: number
  /** Invocations or workgroups. */
  readonly before: number
  readonly after: number
}

/** An argument of one launch, in the order of `program.args`. */
export interface LaunchArgument {
  /** Elements from the beginning of its binding to its first one. */
  readonly skip: number
  /** Elements, at least 1. */
  readonly length: number
  /** Null if each invocation may use all of it. */
  readonly slicing: LaunchSlicing | null
}

/** Bytes of the heap that a binding shows, in the order of `program.bindings`. */
export interface LaunchRange {
  /** A multiple of BINDING_ALIGN. */
  readonly start: number
  /** Exclusive; a multiple of 4. */
  readonly end: number
}

export interface KernelLaunch {
  readonly program: KernelProgram
  readonly ranges: readonly LaunchRange[]
  readonly args: readonly LaunchArgument[]
  /** All uniforms, each from a multiple of UNIFORM_ALIGN on. */
  readonly uniforms: Uint8Array
  readonly grid: Grid
}
