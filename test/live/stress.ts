// Threads read and increment random words while the engine takes pages away, protects them and collects what was written. Each
// thread owns every n-th word of every page, so it knows what it must find.

import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { FIRST_PAGE } from './engine.ts'
import { argument, startEngine } from './start-engine.ts'

const NPAGES = 4096 // 16 MiB
const PAGE_WORDS = 1024
const THREADS_MAX = 8
const OWN_WORDS = PAGE_WORDS / THREADS_MAX

interface ThreadResult {
  readonly stores: number
  readonly loads: number
  readonly wrong: number
}

if (isMainThread) await main()
else parentPort?.postMessage(run(workerData))

async function main(): Promise<void> {
  const seconds = Number(argument('seconds') ?? 5)
  const engine = await startEngine(NPAGES, 4)
  await engine.order({ kind: 'disturb' })
  const results = await Promise.all(
    Array.from({ length: Number(argument('threads') ?? 4) }, (_, id) => {
      const data = { buffer: engine.buffer, id, until: Date.now() + 1000 * seconds }
      const worker = new Worker(new URL(import.meta.url), { workerData: data })
      return new Promise<ThreadResult>((resolve, reject) => worker.once('message', resolve).once('error', reject))
    }),
  )
  const { counts, sum } = await engine.order({ kind: 'check' })
  const { mode, tracking } = engine.started
  const total = (name: keyof ThreadResult) => results.reduce((all, result) => all + result[name], 0)
  await engine.order({ kind: 'close' })
  const stores = total('stores')
  console.log(JSON.stringify({ mode, tracking, sum, stores, loads: total('loads'), wrong: total('wrong'), counts }))
}

function run({ buffer, id, until }: { buffer: SharedArrayBuffer; id: number; until: number }): ThreadResult {
  const words = new Int32Array(buffer, FIRST_PAGE * 4096, NPAGES * PAGE_WORDS)
  const expected = new Int32Array(NPAGES * OWN_WORDS)
  const result = { stores: 0, loads: 0, wrong: 0 }
  while (Date.now() < until) {
    for (let i = 0; i < 64; i++) {
      const page = Math.floor(Math.random() * NPAGES)
      const own = Math.floor(Math.random() * OWN_WORDS)
      const word = page * PAGE_WORDS + own * THREADS_MAX + id
      const mine = page * OWN_WORDS + own
      if (words[word] !== expected[mine]) result.wrong++
      result.loads++
      // Most touches only read, so that there are clean pages to be wrong about.
      if (Math.random() < 0.3) {
        words[word] = ++expected[mine]
        result.stores++
      }
    }
  }
  return result
}
