// All kernels of the tables.

import { DRY_RUNS } from './dry-runs.ts'
import { EXPRESSIONS } from './expressions.ts'
import { FUNCTIONS } from './functions.ts'
import { LOOPS } from './loops.ts'
import { POINTERS } from './pointers.ts'
import { SHAPES } from './shapes.ts'
import { ATOMICS, WORKGROUPS } from './shared.ts'
import type { KernelCase } from './table.ts'

export const KERNELS: Readonly<Record<string, readonly KernelCase[]>> = {
  expressions: EXPRESSIONS,
  shapes: SHAPES,
  functions: FUNCTIONS,
  loops: LOOPS,
  atomics: ATOMICS,
  workgroups: WORKGROUPS,
  pointers: POINTERS,
  'dry runs': DRY_RUNS,
}
