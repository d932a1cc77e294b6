// What a heap costs before anybody touches it: of the package as it is published, whose parts are few files.

import { readFileSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { type Heap, type HeapOptions, openHeap } from 'hetmem'
import type { Contest } from '../harness.ts'

const MIB = 2 ** 20
const IDLE_MS = 500

function openLiveHeap(options: HeapOptions = {}): Promise<Heap> {
  return openHeap({ mode: 'live', ...options })
}

/** Opening a heap of 16 GiB, against a thread that does nothing. In milliseconds. */
export async function prepareOpening(): Promise<Contest> {
  return { candidate: () => timed(() => openLiveHeap({ size: '16 GiB' })), baseline: () => timed(startThread) }
}

/** Memory of the process that a heap of 16 GiB adds, against `limit` MiB. */
export async function prepareFootprint(limit: number): Promise<Contest> {
  return {
    candidate: async () => {
      const before = residentMib()
      const heap = await openLiveHeap({ size: '16 GiB' })
      const added = residentMib() - before
      await heap.close()
      return Math.max(0, added)
    },
    baseline: () => limit,
  }
}

/** Processor time of a process with an open heap that nobody uses, against `limit` of the time. In milliseconds per second. */
export async function prepareIdle(limit: number): Promise<Contest> {
  const heap = await openLiveHeap()
  heap.alloc(Float32Array, MIB).fill(1)
  return {
    candidate: async () => {
      const start = process.cpuUsage()
      const startMs = performance.now()
      await new Promise((resolve) => setTimeout(resolve, IDLE_MS))
      const { user, system } = process.cpuUsage(start)
      return (user + system) / (performance.now() - startMs)
    },
    baseline: () => 1000 * limit,
  }
}

/** Runs `open` and ends what it opened. Resolves with the milliseconds of the first. */
async function timed(open: () => Promise<{ close(): Promise<unknown> }>): Promise<number> {
  const start = performance.now()
  const opened = await open()
  const ms = performance.now() - start
  await opened.close()
  return ms
}

/** Resolves when the thread can answer, as openHeap does. */
async function startThread(): Promise<{ close(): Promise<unknown> }> {
  const worker = new Worker('require("node:worker_threads").parentPort.postMessage(0)', { eval: true })
  await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
  return { close: () => worker.terminate() }
}

function residentMib(): number {
  const kib = /^VmRSS:\s*(\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]
  return Number(kib) / 1024
}
