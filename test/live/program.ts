// What the programs beside this file have in common: a live heap as the command line says, threads that touch it, and a last line
// of JSON for the test. `--mode live-user --tracking sync --case NAME`.

import { Worker } from 'node:worker_threads'
import type { HeapOptions } from '../../src/heap/heap-options.ts'
import { ENGINE_PROGRAM } from '../../src/heap/live/engine-thread.ts'
import { openHeap } from '../../src/heap/on-node.ts'
import type { WriteTracking } from '../../src/mmu/userfaultfd/userfaultfd-mmu.ts'
import { ExtendedHeap } from '../helpers/extended-heap.ts'

/** What follows `--name` on the command line. */
export function argument(name: string): string | undefined {
  const at = process.argv.indexOf(`--${name}`)
  return at < 0 ? undefined : process.argv[at + 1]
}

/** A heap with a memory device of 4 MiB, unless told otherwise. */
export async function openProgramHeap(options: HeapOptions = {}): Promise<ExtendedHeap> {
  ENGINE_PROGRAM.extensions = new URL('../helpers/engine-extensions.js', import.meta.url)
  ENGINE_PROGRAM.tracking = (argument('tracking') ?? 'async') as WriteTracking
  ENGINE_PROGRAM.heapMiB = Number(argument('heap-mib') ?? ENGINE_PROGRAM.heapMiB)
  const wanted = argument('mode') as 'live' | 'live-user' | undefined
  const device = { kind: 'memory', memory: '4 MiB' } as const
  const heap = await openHeap({ mode: wanted ?? 'live', size: '64 MiB', device, ...options })
  if (wanted !== undefined && heap.mode !== wanted) throw new Error(`the heap is ${heap.mode}, wanted ${wanted}`)
  return new ExtendedHeap(heap)
}

/** Runs the case that the command line names, and prints what it returns. */
export async function runCase(cases: Readonly<Record<string, () => unknown>>): Promise<void> {
  const name = argument('case') ?? ''
  const run = cases[name]
  if (run === undefined) throw new Error(`there is no case ${name}`)
  console.log(JSON.stringify(await run()))
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/** A thread of the program, and what it posts. */
export class TestThread {
  readonly worker: Worker
  readonly #messages: unknown[] = []
  #arrived: () => void = () => {}

  /** Runs `body`, the text of a function of `data`, and posts its result; it has `post` and `Worker` besides. */
  constructor(body: string, data: unknown) {
    const program = `
      const { parentPort, workerData, Worker } = require('node:worker_threads')
      const post = (value) => parentPort.postMessage(value)
      post('running')
      post((${body})(workerData))
    `
    this.worker = new Worker(program, { eval: true, workerData: data })
    this.worker.on('message', (message) => {
      this.#messages.push(message)
      this.#arrived()
    })
  }

  /** What it posts next. */
  async next(): Promise<unknown> {
    while (this.#messages.length === 0) {
      await new Promise<void>((resolve) => {
        this.#arrived = resolve
      })
    }
    return this.#messages.shift()
  }
}

/** Starts a thread. Resolves when it runs. */
export async function startThread(data: unknown, body: string): Promise<TestThread> {
  const thread = new TestThread(body, data)
  await thread.next()
  return thread
}

/** Resolves when a thread waits for a page. */
export async function somebodyWaits({ heap }: ExtendedHeap): Promise<void> {
  while ((await heap.stats()).waiting.length === 0) await pause(5)
}

/** Resolves when all of an array is with a device. */
export async function isAway(fixture: ExtendedHeap, array: Float32Array | Int32Array): Promise<void> {
  while (!/^D+$/.test(await fixture.places(array))) await pause(5)
}
