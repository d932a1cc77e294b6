// A workload on a heap against other ways to solve it. Before anything is timed both go some rounds, whose results must be the same.

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

/** A workload on a heap, for all that it is compared with: arrays `times` as large as the device memory of `memory` bytes. */
export class HeapSide {
  private readonly workload: Workload
  private readonly nbytes: number
  private readonly memory: number
  private ours: Solver | null = null
  private rounds = 0

  constructor(workload: Workload, times: number, memory = DEVICE_MEMORY) {
    this.workload = workload
    this.nbytes = times * memory
    this.memory = memory
  }

  /** In milliseconds per round. The candidate of all contests is the same function. */
  async against(opponent: Opponent): Promise<Contest> {
    const { workload, nbytes, memory } = this
    this.ours ??= await this.open()
    const theirs = await makeOpponent(workload, nbytes, opponent, memory)
    // Results depend on the rounds before.
    for (let round = 0; round < this.rounds; round++) await theirs.round()
    for (let round = 0; round < CHECKED_ROUNDS; round++) {
      await this.ours.round()
      this.rounds++
      await theirs.round()
      checkSame(workload, this.ours.result, theirs.result)
    }
    return { candidate: this.measure, baseline: timed(theirs) }
  }

  private readonly measure: Measure = () => milliseconds(async () => this.ours?.round())

  private async open(): Promise<Solver> {
    // What plain WebGPU has too: arrays of this thread alone, and nobody who checks how the program goes about them.
    const { workload, nbytes, memory } = this
    const heap = await openHeap({ mode: 'explicit', shared: false, check: false, device: { memory } })
    return workload.onHeap(nbytes, heap)
  }
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
