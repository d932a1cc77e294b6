// The entry point `hetmem/engine-worker` for Node: the program of a worker thread that a program gives to `openHeap({ engine })`.
//
//   new Worker(new URL(import.meta.resolve('hetmem/engine-worker')))

import { parentPort } from 'node:worker_threads'
import { findAdapter } from './devices/webgpu/adapter.ts'
import { makeDevice } from './heap/engine/make-device.ts'
import type { EngineStart } from './heap/explicit/engine-thread.ts'
import { serveEngine } from './heap/explicit/serve-engine.ts'
import { groupChannel } from './heap/live/channels.ts'
import { parkOnRequest } from './heap/parking.ts'

if (parentPort === null) throw new Error('hetmem/engine-worker is the program of a worker')
const program = parentPort
program.once('message', (start: EngineStart) => {
  const serving = serveEngine(start, (site, settings) => makeDevice(site, settings, findAdapter), groupChannel)
  parkOnRequest(program, start.settings.words, async () => (await serving)?.abandonDevices())
})
