// The workloads on devices with more memory than the data and with less: what became of each.

import { openHeap } from 'hetmem'
import { MATRIX, MATRIX_DEVICES, runCase } from '../../workloads/matrix.ts'
import { report } from './report.ts'

await report(async () => {
  const heap = await openHeap({ size: '16 MiB', device: MATRIX_DEVICES, onNotice: () => {} })
  const outcomes: [string, string][] = []
  for (const each of MATRIX) outcomes.push([each.title, await runCase(heap, each)])
  await heap.close()
  return outcomes
})
