// A thread that touches memory when it is told to, for tests of the live backend. The thread of the test must not: it would
// wait for a page that only it can bring. So the touch happens in a worker, while the test serves faults in a loop, in
// between looking whether the worker is done. A touch that is never done fails its test alone: the next one gets another worker.

import { readdirSync, readFileSync } from 'node:fs'
import { Worker } from 'node:worker_threads'

const OPERATIONS = ['load', 'store', 'add'] as const
type Operation = (typeof OPERATIONS)[number]

// Words of the control buffer.
const REQUEST = 0
const DONE = 1
const RESULT = 2

const SOURCE = `
  const { parentPort, receiveMessageOnPort, workerData } = require('node:worker_threads')
  const control = new Int32Array(workerData)
  for (let seen = 0; ; ) {
    // It may return for no reason.
    while (Atomics.load(control, ${REQUEST}) === seen) Atomics.wait(control, ${REQUEST}, seen)
    seen = Atomics.load(control, ${REQUEST})
    const { operation, buffer, offset, value } = receiveMessageOnPort(parentPort).message
    const words = new Int32Array(buffer, offset, 1)
    if (operation === 'load') control[${RESULT}] = words[0]
    else if (operation === 'store') words[0] = value
    else control[${RESULT}] = Atomics.add(words, 0, value)
    Atomics.store(control, ${DONE}, seen)
    Atomics.notify(control, ${DONE})
  }
`

export class ProgramThread {
  /** Longest time that a touch may take, and the start of the worker before the first one. */
  timeoutMs = 20_000
  #control!: Int32Array
  #worker!: Worker
  /** What ended the worker. */
  #failure: Error | null = null

  constructor() {
    this.#start()
  }

  /** The word at a byte offset. `serve` is called again and again until the touch is done. */
  load(buffer: SharedArrayBuffer, offset: number, serve: () => void): number {
    return this.#perform('load', buffer, offset, 0, serve)
  }

  store(buffer: SharedArrayBuffer, offset: number, value: number, serve: () => void): void {
    this.#perform('store', buffer, offset, value, serve)
  }

  /** Atomics.add: returns the word before. */
  add(buffer: SharedArrayBuffer, offset: number, value: number, serve: () => void): number {
    return this.#perform('add', buffer, offset, value, serve)
  }

  /** The thread must not be waiting for a page. */
  async end(): Promise<void> {
    await this.#worker.terminate()
  }

  #start(): void {
    const control = new Int32Array(new SharedArrayBuffer(12))
    this.#control = control
    this.#worker = new Worker(SOURCE, { eval: true, workerData: control.buffer })
    this.#worker.unref()
    this.#worker.on('error', (error) => {
      this.#failure = error
    })
  }

  #replace(reason: Error): never {
    void this.#worker.terminate()
    this.#failure = null
    this.#start()
    throw reason
  }

  #perform(operation: Operation, buffer: SharedArrayBuffer, offset: number, value: number, serve: () => void): number {
    if (this.#failure !== null) this.#replace(this.#failure)
    const control = this.#control
    this.#worker.postMessage({ operation, buffer, offset, value })
    const request = Atomics.add(control, REQUEST, 1) + 1
    Atomics.notify(control, REQUEST)
    const deadline = performance.now() + this.timeoutMs
    for (let done = Atomics.load(control, DONE); done !== request; done = Atomics.load(control, DONE)) {
      serve()
      if (performance.now() > deadline) {
        const threads = threadStates()
        this.#replace(
          new Error(`a ${operation} at ${offset} is not done after ${this.timeoutMs} ms; threads: ${threads}`),
        )
      }
      Atomics.wait(control, DONE, done, 1)
    }
    return control[RESULT]
  }
}

/** What each thread of the process waits for in the kernel, 0 if it runs: a page is `handle_userfault`, Atomics.wait a futex. */
function threadStates(): string {
  const folder = '/proc/self/task'
  return readdirSync(folder)
    .map((id) => `${id} ${readFileSync(`${folder}/${id}/wchan`, 'utf8')}`)
    .join(', ')
}
