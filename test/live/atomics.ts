// Atomic operations on words of pages that come and go: additions by several threads add up.

import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { FIRST_PAGE } from './engine.ts'
import { startEngine } from './start-engine.ts'

const NPAGES = 64
const NTHREADS = 3
const ADDITIONS = 20_000

if (isMainThread) await main()
else parentPort?.postMessage(run(workerData))

async function main(): Promise<void> {
  const engine = await startEngine(NPAGES)
  await engine.order({ kind: 'disturb' })
  const sums = await Promise.all(
    Array.from({ length: NTHREADS }, () => {
      const worker = new Worker(new URL(import.meta.url), { workerData: engine.buffer })
      return new Promise<number>((resolve, reject) => worker.once('message', resolve).once('error', reject))
    }),
  )
  const words = new Int32Array(engine.buffer, FIRST_PAGE * 4096, NPAGES * 1024)
  const swapped = Atomics.compareExchange(words, 1, 0, 5)
  const { counts, sum } = await engine.order({ kind: 'check' })
  const { mode } = engine.started
  await engine.order({ kind: 'close' })
  console.log(JSON.stringify({ mode, sum: sum - 5, expected: sums.reduce((a, b) => a + b), swapped, counts }))
}

/** Adds to the first word of random pages; returns the sum of what was added. */
function run(buffer: SharedArrayBuffer): number {
  const words = new Int32Array(buffer, FIRST_PAGE * 4096, NPAGES * 1024)
  let sum = 0
  for (let i = 0; i < ADDITIONS; i++) {
    Atomics.add(words, 1024 * Math.floor(Math.random() * NPAGES), (i % 3) + 1)
    sum += (i % 3) + 1
  }
  return sum
}
