// What is compared: a workload, solved in four ways that take turns. All of them begin a round with data in the memory of the CPU, end
// it with results there, and must come to the same results.

import type { Heap } from '../../src/index.ts'
import type { PlainGpu } from '../webgpu/plain-gpu.ts'

/** One way to solve a workload, again and again. */
export interface Solver {
  /** One round: what the CPU has to give for it, the work, and its results in `result`. */
  round(): Promise<void> | void
  readonly result: Float32Array | Uint32Array
}

export interface Workload {
  readonly name: string
  /** What a round does: 'y += 2x, and all of y read'. */
  readonly summary: string
  /** How far two results may be apart, relative to the larger of them; 0 where all count the same. */
  readonly tolerance: number
  /** The heap may use less device memory than the arrays take, which are `nbytes` together. */
  onHeap(nbytes: number, heap: Heap): Solver
  /** Plain WebGPU with everything on the device; of what the CPU changes only that is uploaded. */
  resident(nbytes: number, gpu: PlainGpu): Solver
  /** Plain WebGPU with `memory` bytes of buffers, as one would write it for this workload by hand. */
  byHand(nbytes: number, gpu: PlainGpu, memory: number): Solver
  /** Plain JavaScript on plain arrays. */
  plain(nbytes: number): Solver
}

/** Throws unless both came to the same results. */
export function checkSame({ name, tolerance }: Workload, ours: Solver['result'], theirs: Solver['result']): void {
  if (ours.length !== theirs.length) throw new Error(`${name}: ${ours.length} results, wanted ${theirs.length}`)
  for (let i = 0; i < ours.length; i++) {
    const apart = Math.abs(ours[i] - theirs[i])
    if (apart <= tolerance * Math.max(Math.abs(ours[i]), Math.abs(theirs[i]))) continue
    throw new Error(`${name}: result ${i} is ${ours[i]}, wanted ${theirs[i]}`)
  }
}
