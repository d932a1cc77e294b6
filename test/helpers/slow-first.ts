// The order of test files: those that take long begin first, so that at the end no processor is left alone with one of them. Vitest
// goes by the durations of the last run, and in a new clone by the sizes of files, of which the slowest are among the smallest.

import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** Slowest first: what takes ten seconds of processor time or more. */
const SLOW = [
  'test/unit/live-memory.test.ts',
  'src/kernel/paged/paged-kernels.test.ts',
  'test/unit/workloads.test.ts',
  'test/unit/live-swap.test.ts',
  'src/heap/heap.test.ts',
  'src/heap/heap-run.test.ts',
  'test/unit/gpu-endings.test.ts',
  'src/kernel/paged/paged-random.test.ts',
  'src/graph500/main-job.test.ts',
  'src/heap/heap-devices.test.ts',
  'src/heap/ownership.model.test.ts',
  'src/devices/driver/coherence.model.test.ts',
  'src/kernel/paged/paged-algorithms.test.ts',
  'test/model/programs.test.ts',
  'test/docs/code-blocks.test.ts',
  'test/cli/cli.test.ts',
  'examples/examples.test.ts',
  'test/docs/reference.test.ts',
  'test/docs/block-types.test.ts',
  'test/browser/workloads.test.ts',
  'test/browser/workers.test.ts',
  'test/browser/gpu.test.ts',
  'test/browser/heap.test.ts',
]

export default class SlowFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files)
    const rank = ({ moduleId }: TestSpecification): number => {
      const at = SLOW.findIndex((name) => moduleId.endsWith(`/${name}`))
      return at < 0 ? SLOW.length : at
    }
    return sorted.toSorted((a, b) => rank(a) - rank(b))
  }
}
