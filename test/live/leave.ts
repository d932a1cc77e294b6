// A worker waits for a page that nobody brings, and the program wants to end. `--how exit`: the main thread has the exit hook.
// `--how terminate`: the engine is ended, which closes the descriptor, and the worker goes on. `--how throw`: the engine ends by
// itself, in the middle of the fault.

import { Worker } from 'node:worker_threads'
import { releaseOnExit } from '../../src/mmu/userfaultfd/exit-hook.ts'
import { loadKernel } from '../../src/mmu/userfaultfd/ffi.ts'
import { FIRST_PAGE } from './engine.ts'
import { argument, startEngine } from './start-engine.ts'

const TOUCHER = `
  const { parentPort, workerData } = require('node:worker_threads')
  parentPort.postMessage('touching')
  const value = new Uint32Array(workerData, ${FIRST_PAGE * 4096})[0]
  parentPort.postMessage(value)
`

const engine = await startEngine(4)
const kernel = await loadKernel()
const { fd, ranges } = engine.started
const words = new Uint32Array(engine.buffer, FIRST_PAGE * 4096)
words[0] = 77
await engine.order({ kind: 'zap', first: 0, npages: 4 })
const how = argument('how')
await engine.order({ kind: how === 'throw' ? 'fail' : 'ignore' })
const ended = new Promise<string>((resolve) => engine.worker.once('error', (error: Error) => resolve(error.message)))

const toucher = new Worker(TOUCHER, { eval: true, workerData: engine.buffer })
const nextMessage = () => new Promise((resolve) => toucher.once('message', resolve))
await nextMessage()
const seen = nextMessage()
await new Promise((resolve) => setTimeout(resolve, 100))

if (how === 'exit') {
  releaseOnExit(kernel, fd, ranges)
  console.log('{"left":true}')
  process.exit(0)
}
const end = how === 'throw' ? await ended : await engine.worker.terminate()
console.log(JSON.stringify({ end, seen: await seen }))
