// Kernels that are run on a device and on the CPU, in groups by what they show.

import { GRID_CASES } from './kernel-cases/grids.ts'
import { INDEXING_CASES } from './kernel-cases/indexing.ts'
import type { KernelCase } from './kernel-cases/kernel-case.ts'
import { SLICE_CASES } from './kernel-cases/slices.ts'
import { TYPE_CASES } from './kernel-cases/types.ts'

export const KERNEL_CASES: readonly KernelCase[] = [...TYPE_CASES, ...GRID_CASES, ...INDEXING_CASES, ...SLICE_CASES]
