// The workloads of examples/ at several sizes of their arrays, as multiples of the device memory: on a heap, and as one would do without
// one. Where everything fits the device, that is plain WebGPU with everything there; where it does not, what is written by hand
// for the workload; and always plain JavaScript, which here says more of the machine than of the heap: a software GPU computes
// on the same cores.

import { changes } from './compare/changes.ts'
import { conjugateGradient } from './compare/conjugate-gradient.ts'
import { DEVICE_MEMORY, HeapSide, type Opponent, preparePlain } from './compare/contests.ts'
import { embedding } from './compare/embedding.ts'
import { gather } from './compare/gather.ts'
import { neighbours } from './compare/neighbours.ts'
import { saxpy } from './compare/saxpy.ts'
import type { Workload } from './compare/workload.ts'
import type { BenchCase, Suite } from './harness.ts'

interface Compared {
  readonly workload: Workload
  /** Bounds of the ratio where everything fits, and where it does not. */
  readonly goals: Readonly<Record<Exclude<Opponent, 'js'>, number>>
}

export const COMPARED: readonly Compared[] = [
  { workload: saxpy, goals: { resident: 1.3, hand: 1.5 } },
  { workload: conjugateGradient, goals: { resident: 1.3, hand: 1.5 } },
  { workload: changes, goals: { resident: 1.3, hand: 1.5 } },
  { workload: neighbours, goals: { resident: 1.3, hand: 1.5 } },
  { workload: embedding, goals: { resident: 1.3, hand: 5 } },
  { workload: gather, goals: { resident: 1.3, hand: 5 } },
]

const SIZES: readonly { readonly times: number; readonly opponents: readonly Opponent[] }[] = [
  { times: 0.5, opponents: ['resident', 'js'] },
  { times: 1, opponents: ['resident', 'hand', 'js'] },
  { times: 2, opponents: ['hand', 'js'] },
  { times: 4, opponents: ['hand', 'js'] },
]

const AGAINST: Readonly<Record<Opponent, string>> = {
  resident: 'plain WebGPU with everything on the device',
  hand: 'plain WebGPU in as much memory, by hand',
  js: 'plain JavaScript',
}

const cases: BenchCase[] = COMPARED.flatMap(({ workload, goals }) =>
  SIZES.flatMap(({ times, opponents }) => {
    const side = new HeapSide(workload, times)
    return opponents.map((opponent) => ({
      name: `${workload.name}-${times}x-${opponent}`,
      together: `${workload.name}-${times}x`,
      summary: `${workload.summary}; arrays ${times} times as large as the device memory; against ${AGAINST[opponent]}.`,
      unit: 'ms',
      better: 'lower' as const,
      goal: opponent === 'js' ? null : goals[opponent],
      prepare: () => side.against(opponent),
    }))
  }),
)

export const compare: Suite = {
  name: 'compare',
  summary: `workloads on a heap with ${DEVICE_MEMORY / 2 ** 20} MiB of device memory, against doing without one`,
  baseline: {
    summary: 'saxpy in plain JavaScript.',
    unit: 'ms',
    prepare: () => preparePlain(saxpy),
  },
  cases,
}
