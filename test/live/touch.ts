// The main thread touches ordinary typed arrays, and each touch of a page that is not there is served by the engine.

import { FIRST_PAGE } from './engine.ts'
import { argument, startEngine } from './start-engine.ts'

const NPAGES = 256
const FLOATS = 1024 // of 4 bytes, in a page

const engine = await startEngine(NPAGES, Number(argument('fault-around') ?? 1))
const array = new Float32Array(engine.buffer, FIRST_PAGE * 4096, NPAGES * FLOATS)
const zeroes = array.every((value) => value === 0)
for (let i = 0; i < array.length; i++) array[i] = i
await engine.order({ kind: 'zap', first: 0, npages: NPAGES })
let sum = 0
for (let i = 0; i < array.length; i += FLOATS) sum += array[i]
array.copyWithin(0, FLOATS, 2 * FLOATS)
const { counts } = await engine.order({ kind: 'check' })
const { mode, tracking } = engine.started
await engine.order({ kind: 'close' })
console.log(JSON.stringify({ mode, tracking, zeroes, sum, counts, afterClose: array[5] }))
