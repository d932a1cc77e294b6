// The thread of a live heap's engine. It lives until the heap is closed, and if it ends before, so does the process (life.ts).

import { parentPort, workerData } from 'node:worker_threads'
import { assert } from '../../base/assert.ts'
import { loadKernel } from '../../mmu/userfaultfd/ffi.ts'
import { BatchSink } from '../../trace/batch-sink.ts'
import { ClientHub, FIRST_CLIENT } from '../engine/client-hub.ts'
import type { EnginePort } from '../engine/protocol.ts'
import type { EngineNews } from '../engine/remote-port.ts'
import { ENGINE_CLOSED, ENGINE_DIED, HEARTBEAT, STATE, STRAYS } from '../engine/words.ts'
import { Extents } from '../extents.ts'
import { parkOnRequest } from '../parking.ts'
import { closeTraceFiles, openTraceFiles } from '../trace-files.ts'
import { groupChannel, portChannel } from './channels.ts'
import type { EngineReady, EngineStart } from './engine-settings.ts'
import { thisThread } from './engine-watch.ts'
import { LeftRoom } from './left-room.ts'
import { endProcess, heartbeatMs } from './life.ts'
import { LiveEngine } from './live-engine.ts'

assert(parentPort !== null, 'this is the thread of an engine')
const program = parentPort
const { settings, port, words } = workerData as EngineStart
const kernel = await loadKernel()

const channel = portChannel(port)
const batches = new BatchSink({
  post: (events) => channel.send({ events } satisfies EngineNews),
  schedule: (flush) => void setImmediate(flush),
})
const live = new LiveEngine({
  kernel,
  settings,
  words,
  sinks: [...openTraceFiles(settings.trace), ...(settings.isTraced ? [batches] : [])],
  takeCalls: () => clients.takeCalls(),
  giveUp: (message) => die(message),
  onStrays: (count) => void Atomics.store(words, STRAYS, count),
})
const opened = live.open(settings)
if (settings.devices.some(({ kind }) => kind === 'webgpu')) {
  parkOnRequest(program, words, () => opened.then(() => live.engine.abandonDevices()))
}
await opened

const calls: EnginePort = {
  call(call, args, reply) {
    live.engine.call(call, args, (answer) => {
      // Whoever has an answer has all that led to it.
      batches.flush()
      // And after this one he may let his process end.
      if (call === 'close') Atomics.store(words, STATE, ENGINE_CLOSED)
      reply(answer)
      if (call === 'close') void end()
    })
  },
}
const { owners, extentPages, memory } = settings
const left = new LeftRoom(kernel, new Extents(owners, extentPages, FIRST_CLIENT), words, memory.swapFd)
const clients = new ClientHub(calls, settings.channel, words, groupChannel, left)
clients.add(FIRST_CLIENT, channel)
clients.listen()
channel.keepAlive(true)

// From here on programs have memory that only this thread can keep.
process.on('uncaughtException', (error) => die(`its engine failed: ${error.stack ?? error}`))
process.on('unhandledRejection', (error) => die(`its engine failed: ${error instanceof Error ? error.stack : error}`))
process.on('exit', (code) => {
  if (Atomics.load(words, STATE) !== ENGINE_CLOSED) die(`its engine ended with code ${code}`)
})

setInterval(() => {
  Atomics.add(words, HEARTBEAT, 1)
  clients.sweep()
}, heartbeatMs(settings.patienceMs)).unref()

const { ranges, buffers } = live.mmu
program.postMessage({ fd: live.events.fd, ranges, buffers, thread: thisThread() } satisfies EngineReady)

async function end(): Promise<void> {
  await live.close()
  clients.close()
  process.exit(0)
}

function die(message: string): never {
  Atomics.store(words, STATE, ENGINE_DIED)
  try {
    closeTraceFiles()
  } catch {
    // The message matters more.
  }
  const text = `a live heap cannot go on, as ${message}`
  if (settings.endsProcess) endProcess(kernel, text)
  process.removeAllListeners('exit')
  process.exit(1)
}
