// The kernels of a search as a heap runs them: which arrays they use, and how.
//
// A strip belongs to its invocation, so the arrays of strips may be cut to fit a device; what is said of vertices is needed
// whole, as neighbours may be anywhere.

import { atomic, kernel, read, readWrite, u32, uniform } from '../index.ts'
import type { Direction } from './level-plan.ts'
import { FROM_ABOVE, FROM_BELOW } from './search.wgsl.ts'
import { STRIP } from './strips.ts'

const ARGS = {
  owners: read(u32, { slice: 'linear' }),
  columns: read(u32, { slice: { stride: STRIP } }),
  firsts: read(u32, { slice: 'whole' }),
  parents: readWrite(atomic(u32), { slice: 'whole' }),
  levels: readWrite(atomic(u32), { slice: 'whole' }),
  progress: readWrite(atomic(u32), { slice: 'whole' }),
  depth: uniform(u32),
}

export const SEARCH_KERNELS = {
  fromAbove: kernel({ name: 'bfs from above', args: ARGS, code: FROM_ABOVE }),
  fromBelow: kernel({ name: 'bfs from below', args: ARGS, code: FROM_BELOW }),
} satisfies Record<Direction, unknown>
