// A program that traces one event into the file of its argument and leaves without closing anything.

import { openTraceFiles } from '../../src/heap/trace-files.ts'

const [sink] = openTraceFiles({
  files: [{ format: 'jsonl', path: process.argv[2], overwrite: true }],
  allocations: false,
  header: { timeUnit: 'us' },
})
sink.write({ time: 1, kind: 'cpu-fault', start: 0, end: 4096, access: 'read' })
process.exit(3)
