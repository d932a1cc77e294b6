// What tracing costs: an array twice as large as the device streams through it, with and without. Blocks of 2 MiB are how drivers move
// data, with four events each; single pages that go back and forth are the worst that can happen, as an event then stands for hardly
// any work.

import { PAGE_SIZE } from '../src/base/addr.ts'
import { MIB } from '../src/base/size.ts'
import type { BenchCase, Suite } from './harness.ts'
import { prepareTracing, prepareUntraced, type Streaming, type Tracing } from './trace/traced-heap.ts'

const BLOCKS = { blockBytes: 2 * MIB, nblocks: 128 }
const PAGES = { blockBytes: PAGE_SIZE, nblocks: 1600 }

const WHAT: Readonly<Record<Tracing, string>> = {
  default: 'with the counters that every heap keeps',
  jsonl: 'with a trace in JSON lines',
  files: 'with traces in JSON lines and for Perfetto',
  sites: 'with a trace that names the lines of the program',
}

export const trace: Suite = {
  name: 'trace',
  summary:
    'processor time of a heap whose array streams through a device, traced, against the same with the tracer off',
  baseline: {
    summary: 'An array of 32 MiB through a memory device of 16 MiB in blocks of 2 MiB, per block, with the tracer off.',
    unit: 'ns/block',
    prepare: () => prepareUntraced(BLOCKS),
  },
  cases: [
    traced('default', 'default', BLOCKS, 1.02),
    traced('jsonl', 'jsonl', BLOCKS, 1.02),
    traced('files', 'files', BLOCKS, 1.05),
    traced('sites', 'sites', BLOCKS, 1.25),
    traced('pages-default', 'default', PAGES, 1.1),
    traced('pages-jsonl', 'jsonl', PAGES, 1.5),
  ],
}

function traced(name: string, tracing: Tracing, size: Streaming, goal: number): BenchCase {
  const unit = size === BLOCKS ? 'blocks of 2 MiB' : 'single pages'
  return {
    name,
    summary: `Streaming ${unit} ${WHAT[tracing]}; against the same with the tracer off.`,
    unit: size === BLOCKS ? 'ns/block' : 'ns/page',
    better: 'lower',
    goal,
    prepare: () => prepareTracing(tracing, size),
  }
}
