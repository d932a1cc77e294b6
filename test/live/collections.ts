// Collections of garbage all the time while a GPU works: what Dawn hands to JavaScript must live although nobody holds it
// at that moment. `--expose-gc` for Node, `--mode explicit|live` for the program. In live mode the engine's thread collects, too.

import { MATRIX, MATRIX_DEVICES, runCase } from '../workloads/matrix.ts'
import { argument, openProgramHeap } from './program.ts'

const NAMES = ['saxpy', 'ticket counter', 'linked list in steps']
const cases = MATRIX.filter(({ workload, percent }) => NAMES.includes(workload.name) && percent === 25)

const fixture = await openProgramHeap({ size: '16 MiB', device: MATRIX_DEVICES, onNotice: () => {} })
const isLive = argument('mode') !== 'explicit'
if (isLive) await fixture.extension('collect', true)
let ncollections = 0
const collecting = setInterval(() => {
  gc?.()
  ncollections++
}, 5)
const outcomes: string[] = []
for (const each of cases) outcomes.push(await runCase(fixture.heap, each))
clearInterval(collecting)
const inEngine = isLive ? await fixture.extension('collect', false) : ncollections
await fixture.heap.close()
console.log(JSON.stringify({ outcomes, ncollections, inEngine }))
