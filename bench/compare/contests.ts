// A workload on a heap against another way to solve it. Before anything is timed both go some rounds, whose results must be the same.

import { openHeap } from '../../src/index.ts'
import type { Contest, Measure } from '../harness.ts'
import { PlainGpu } from '../webgpu/plain-gpu.ts'
import { milliseconds } from '../webgpu/resident.ts'
import { checkSame, type Solver, type Workload } from './workload.ts'

/** What a heap and what is written by hand may use of the device. */
export const DEVICE_MEMORY = 8 * 2 ** 20

/** The second finds what the first has left on the device. */
const CHECKED_ROUNDS = 3

export const OPPONENTS = ['resident', 'hand', 'js'] as const
export type Opponent = (typeof OPPONENTS)[number]

/** In milliseconds per round; the arrays of the workload are `times` as large as the device memory of `memory` bytes. */
export async function prepareComparison(
  workload: Workload,
  times: number,
  opponent: Opponent,
  memory = DEVICE_MEMORY,
): Promise<Contest> {
  const nbytes = times * memory
  // What plain WebGPU has too: arrays of this thread alone, and nobody who checks how the program goes about them.
  const heap = await openHeap({ mode: 'explicit', shared: false, check: false, device: { memory } })
  const ours = workload.onHeap(nbytes, heap)
  const theirs = await makeOpponent(workload, nbytes, opponent, memory)
  for (let round = 0; round < CHECKED_ROUNDS; round++) {
    await ours.round()
    await theirs.round()
    checkSame(workload, ours.result, theirs.result)
  }
  return { candidate: timed(ours), baseline: timed(theirs) }
}

/** Milliseconds per round of plain JavaScript. */
export function preparePlain(workload: Workload): Measure {
  return timed(workload.plain(DEVICE_MEMORY))
}

async function makeOpponent(workload: Workload, nbytes: number, opponent: Opponent, memory: number): Promise<Solver> {
  if (opponent === 'js') return workload.plain(nbytes)
  const gpu = await PlainGpu.open()
  return opponent === 'resident' ? workload.resident(nbytes, gpu) : workload.byHand(nbytes, gpu, memory)
}

function timed(solver: Solver): Measure {
  return () => milliseconds(async () => solver.round())
}
