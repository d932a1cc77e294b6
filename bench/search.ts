// The main job, a breadth-first search of a graph, at several sizes of the device: what a heap costs where everything fits, and
// where it does not, against what one would write without one.

import type { BenchCase, Suite } from './harness.ts'
import {
  prepareAgainstChunks,
  prepareAgainstPlain,
  prepareAgainstResident,
  preparePlain,
  prepareRows,
  ROWS_SCALE,
  SCALE,
} from './search/contests.ts'

const cases: BenchCase[] = [
  {
    name: 'fits-0.5x',
    summary:
      'A search whose arrays take half of the device; against the same kernels in plain WebGPU, everything there.',
    unit: 'ms',
    better: 'lower',
    goal: 1.3,
    prepare: () => prepareAgainstResident(0.5),
  },
  {
    name: 'streams-2x',
    summary: 'Arrays twice as large as the device; against parts uploaded by hand to two sets of buffers of that size.',
    unit: 'ms',
    better: 'lower',
    goal: 1.5,
    prepare: () => prepareAgainstChunks(2),
  },
  {
    name: 'streams-4x',
    summary: 'Arrays four times as large as the device; against parts uploaded by hand.',
    unit: 'ms',
    better: 'lower',
    goal: 1.5,
    prepare: () => prepareAgainstChunks(4),
  },
  {
    name: 'resident-4x',
    summary: 'Arrays four times as large as the device; against plain WebGPU that has room for everything.',
    unit: 'ms',
    better: 'lower',
    goal: 5,
    prepare: () => prepareAgainstResident(4),
  },
  {
    name: 'paged-4x',
    summary: `A search row by row at scale ${ROWS_SCALE}, through a page table, arrays four times as large as the device; against the same in plain WebGPU, everything there.`,
    unit: 'ms',
    better: 'lower',
    goal: 5,
    prepare: () => prepareRows(4),
  },
  {
    name: 'plain-4x',
    summary: 'Arrays four times as large as the device; against plain JavaScript. A software GPU does not win this.',
    unit: 'ms',
    better: 'lower',
    goal: 20,
    prepare: () => prepareAgainstPlain(4),
  },
]

export const search: Suite = {
  name: 'search',
  summary: 'a search of a graph that is smaller or larger than the device',
  baseline: {
    summary: `Plain JavaScript, a Kronecker graph of scale ${SCALE}.`,
    unit: 'ms',
    prepare: preparePlain,
  },
  cases,
}
