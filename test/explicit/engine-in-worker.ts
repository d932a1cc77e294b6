// A program whose heap has its engine in a worker. Prints what it saw as JSON.

import { Worker } from 'node:worker_threads'
import { openHeap } from '../../src/index.ts'
import { RingSink } from '../../src/trace/index.ts'

const program = new URL('../../src/engine-worker-node-entry.js', import.meta.url)
const device = { kind: 'memory', memory: '1 MiB' } as const
const ring = new RingSink(64)
const heap = await openHeap({ engine: new Worker(program), device, check: true, trace: { sinks: [ring] } })
const x = heap.alloc(Int32Array, 4096, { name: 'x' }).fill(3)
const taken = `${await heap.prefetch(x, { access: 'readWrite' })}`
const where = `${await heap.where(x)}`
x[5] = 7
const misuse = await heap.sync(x).catch((error: Error) => `${error.name}: ${error.message}`)
await heap.sync(x)
heap.free(x)
const closed = `${await heap.close()}`
const events = ring.events().map(({ kind }) => kind)

const dying = new Worker(program)
const doomed = await openHeap({ engine: dying, device })
await dying.terminate()
const refused = await doomed.stats().catch((error: Error) => error.message)

const wrong = new Worker('throw new Error("another program")', { eval: true })
const failed = await openHeap({ engine: wrong }).catch((error: Error) => error.message)

console.log(JSON.stringify({ mode: heap.mode, taken, where, misuse, kept: x[5], closed, events, refused, failed }))
