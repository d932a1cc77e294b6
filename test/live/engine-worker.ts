// The worker of engine.ts: starts the engine with what `workerData` says, tells the main thread where the memory is, and
// follows its orders. Every order is answered with the counts. `disturb` goes on until the next order, a little at a time, so
// that faults are served in between.

import { parentPort, workerData } from 'node:worker_threads'
import { detectLive } from '../../src/mmu/userfaultfd/features.ts'
import { loadKernel } from '../../src/mmu/userfaultfd/ffi.ts'
import { Engine } from './engine.ts'
import type { EngineOptions, EngineReply, Order } from './start-engine.ts'

const { npages, faultAround, sources, tracking } = workerData as EngineOptions
const support = await detectLive({ selfTest: false, sources, tracking })
if (support.mode === 'unavailable') throw new Error(support.reason)
const engine = new Engine(await loadKernel(), support, npages, faultAround)
let disturbing = false

function disturb(): void {
  if (!disturbing) return
  for (let i = 0; i < 4; i++) engine.disturb()
  setImmediate(disturb)
}

function reply(sum = 0): void {
  const { events, mmu, counts } = engine
  const { mode, tracking } = support as Exclude<typeof support, { mode: 'unavailable' }>
  const { ranges, buffers } = mmu
  const message: EngineReply = { fd: events.fd, ranges, buffer: buffers[0], mode, tracking, counts, sum }
  parentPort?.postMessage(message)
}

parentPort?.on('message', (order: Order) => {
  disturbing = false
  switch (order.kind) {
    case 'disturb':
      disturbing = true
      disturb()
      break
    case 'zap':
      engine.zap(order.first, order.npages)
      break
    case 'ignore':
      engine.serving = false
      break
    case 'fail':
      engine.failing = true
      break
    case 'check':
      engine.zap(0, npages)
      engine.validate()
      reply(engine.sum())
      return
    case 'close':
      engine.events.close()
      engine.mmu.close()
      reply()
      parentPort?.close()
      return
  }
  reply()
})
reply()
