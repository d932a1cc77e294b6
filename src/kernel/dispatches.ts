// The dispatches that a slice takes. A dispatch has so many workgroups in each dimension at most, and most of them can run the code
// in the form that costs least: what is left over at the edges, where workgroups are not full, is dispatched apart.
//
//   count 200 x 100 in workgroups of 64 x 8:      whole whole whole | direct
//                                                 ...               | ...
//                                                 ------------------+-------
//                                                 direct

import type { Box, Triple } from './grid.ts'
import type { KernelLaunch, ProgramForm } from './program.ts'
import type { LaunchSlice } from './slices.ts'

export interface Dispatch {
  readonly form: ProgramForm
  readonly box: Box
}

/** At most `max` workgroups in each dimension. */
export function dispatchesOf({ program, grid }: KernelLaunch, slice: LaunchSlice, max: number): Dispatch[] {
  const { first, size } = slice.box
  if (!slice.direct) return [...cut(slice.box, max)].map((box) => ({ form: 'indexed', box }))
  const isAtOrigin = first.every((n) => n === 0)
  // Full workgroups from the first one on.
  const full = size.map((n, d) => Math.min(n, max, Math.floor(grid.count[d] / program.workgroupSize[d])))
  if (!isAtOrigin || full.includes(0)) return [...cut(slice.box, max)].map((box) => ({ form: 'direct', box }))
  const [x, y, z] = full
  const rest: Box[] = [
    { first: [x, 0, 0], size: [size[0] - x, size[1], size[2]] },
    { first: [0, y, 0], size: [x, size[1] - y, size[2]] },
    { first: [0, 0, z], size: [x, y, size[2] - z] },
  ]
  const whole: Dispatch = { form: 'whole', box: { first, size: [x, y, z] } }
  return [whole, ...rest.flatMap((box) => [...cut(box, max)].map((each): Dispatch => ({ form: 'direct', box: each })))]
}

/** Boxes of at most `max` in each dimension; none if it is empty. */
function* cut({ first, size }: Box, max: number): Generator<Box> {
  const at = (x: number, y: number, z: number): Triple => [first[0] + x, first[1] + y, first[2] + z]
  for (let z = 0; z < size[2]; z += max) {
    for (let y = 0; y < size[1]; y += max) {
      for (let x = 0; x < size[0]; x += max) {
        const rest: Triple = [size[0] - x, size[1] - y, size[2] - z]
        yield { first: at(x, y, z), size: [Math.min(max, rest[0]), Math.min(max, rest[1]), Math.min(max, rest[2])] }
      }
    }
  }
}
