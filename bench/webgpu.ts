// What a heap adds to WebGPU, and what it saves, against the same written by hand on the same adapter.

import { preparePageCopy } from './core/page-copy.ts'
import type { BenchCase, Suite } from './harness.ts'
import { prepareChanges, prepareChangesAtBest } from './webgpu/changes.ts'
import { prepareBatch, prepareResidentLaunch } from './webgpu/resident.ts'
import { prepareReadback, prepareStream, prepareUpload } from './webgpu/transfer.ts'

const LAUNCHES = 300

/** One of a hundred of 131,072 pages. */
const SCATTERED = { mib: 512, runPages: 1 }
const IN_RUNS = { mib: 512, runPages: 16 }

const changedCases: BenchCase[] = [
  {
    name: 'changed-scattered',
    summary:
      'A launch on 512 MiB of which single pages, one of a hundred, were changed; against uploading everything, to memory that a command ' +
      'has written before.',
    ...launchesPerSecond(6),
    prepare: () => prepareChanges({ ...SCATTERED, isFresh: false }),
  },
  {
    name: 'changed-64KiB',
    summary: 'The same where pages change in runs of 64 KiB.',
    ...launchesPerSecond(20),
    prepare: () => prepareChanges({ ...IN_RUNS, isFresh: false }),
  },
  ...[256, 64].map((mib) => ({
    name: `changed-64KiB-of-${mib}MiB`,
    summary: `The same for ${mib} MiB, of which the launch itself takes more of the time.`,
    ...launchesPerSecond(null),
    prepare: () => prepareChanges({ ...IN_RUNS, mib, isFresh: false }),
  })),
  {
    name: 'changed-scattered-fresh',
    summary:
      'changed-scattered against uploading everything to memory that no command has ever written, which a software adapter lets Dawn write ' +
      'directly.',
    ...launchesPerSecond(6),
    prepare: () => prepareChanges({ ...SCATTERED, isFresh: true }),
  },
  {
    name: 'changed-64KiB-fresh',
    summary: 'The same for changed-64KiB.',
    ...launchesPerSecond(20),
    prepare: () => prepareChanges({ ...IN_RUNS, isFresh: true }),
  },
  {
    name: 'changed-scattered-bound',
    summary:
      'What no heap can beat in changed-scattered: writeBuffer for each changed page by somebody who knows which they are, and a launch; ' +
      'against uploading everything.',
    ...launchesPerSecond(6),
    prepare: () => prepareChangesAtBest({ ...SCATTERED, isFresh: false }),
  },
  {
    name: 'changed-64KiB-bound',
    summary: 'The same for changed-64KiB, with a writeBuffer for each run.',
    ...launchesPerSecond(20),
    prepare: () => prepareChangesAtBest({ ...IN_RUNS, isFresh: false }),
  },
  {
    name: 'changed-scattered-fresh-bound',
    summary: 'The same for changed-scattered-fresh, to such memory.',
    ...launchesPerSecond(6),
    prepare: () => prepareChangesAtBest({ ...SCATTERED, isFresh: true }),
  },
  {
    name: 'changed-64KiB-fresh-bound',
    summary: 'The same for changed-64KiB-fresh.',
    ...launchesPerSecond(20),
    prepare: () => prepareChangesAtBest({ ...IN_RUNS, isFresh: true }),
  },
]

const cases: BenchCase[] = [
  {
    name: 'resident',
    summary:
      'A launch on two arrays of 4,000,000 floats that are on the device; against the same WGSL in plain WebGPU.',
    unit: 'ms',
    better: 'lower',
    goal: 1.05,
    prepare: prepareResidentLaunch,
  },
  {
    name: 'batch',
    summary: `${LAUNCHES} launches on 16,384 elements in one batch; against ${LAUNCHES} dispatches in one submit.`,
    unit: 'ms',
    better: 'lower',
    goal: 1.3,
    prepare: () => prepareBatch(LAUNCHES),
  },
  {
    name: 'upload',
    summary:
      'Prefetch of 256 MiB that the program has written, to memory that a kernel has written before; against writeBuffer, at once or in ' +
      'pieces that are submitted one by one, whichever is faster.',
    unit: 'ms',
    better: 'lower',
    goal: 1 / 0.85,
    prepare: () => prepareUpload(false),
  },
  {
    name: 'upload-fresh',
    summary: 'The same to memory that no kernel has written yet, which a software adapter lets Dawn write directly.',
    unit: 'ms',
    better: 'lower',
    goal: 1 / 0.85,
    prepare: () => prepareUpload(true),
  },
  {
    name: 'readback',
    summary:
      'Sync of 256 MiB that the device has written; against copies to mapped buffers and from there, of all of it or of pieces, whichever is faster.',
    unit: 'ms',
    better: 'lower',
    goal: 1 / 0.85,
    prepare: prepareReadback,
  },
  {
    name: 'stream',
    summary:
      'A launch on 128 MiB with 32 MiB of device memory, and sync of what it wrote; against chunks by hand with two sets of buffers.',
    unit: 'ms',
    better: 'lower',
    goal: 1.3,
    prepare: prepareStream,
  },
  ...changedCases,
]

export const webgpu: Suite = {
  name: 'webgpu',
  summary: 'launches and transfers of a heap on the WebGPU adapter that is there',
  baseline: {
    summary: 'Plain copy between two buffers of 256 MiB, per 4 KiB page.',
    unit: 'ns/page',
    prepare: preparePageCopy,
  },
  cases,
}

function launchesPerSecond(goal: number | null): Pick<BenchCase, 'unit' | 'better' | 'goal'> {
  return { unit: '1/s', better: 'higher', goal }
}
