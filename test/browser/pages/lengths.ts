// Exactly as many invocations as were asked for, up to arrays of 191 MiB.

import { LENGTHS, LONG, runLength } from '../../workloads/lengths.ts'
import { report } from './report.ts'

await report(async () => {
  const outcomes: [number, string][] = []
  for (const n of [...LENGTHS, LONG]) outcomes.push([n, await runLength(n)])
  return outcomes
})
