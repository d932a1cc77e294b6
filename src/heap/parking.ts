// The thread of an engine with GPUs, when it is to end. Dawn takes the whole process down if a thread is ended while its GPU works: when a
// result is handed to JavaScript, or when a promise is left. So whoever ends that thread, the process or a program that terminates the
// worker, first asks it to end its GPUs and to stand still.
//
// Nobody can ask a thread that others may terminate at any time, so heaps with GPUs are opened in the main thread (on-node.ts).

import type { MessagePort, Worker } from 'node:worker_threads'
import { PARKED } from './engine/words.ts'
import { waitWhile } from './wait-while.ts'

/** Milliseconds that others wait for GPUs: these end what they have begun. */
const PATIENCE_MS = 10_000

/** The engine's side: when it is asked to, it stands still for ever, after `endGpus`. */
export function parkOnRequest(program: MessagePort, words: Int32Array, endGpus: () => Promise<unknown>): void {
  const park = (): void => {
    Atomics.store(words, PARKED, 1)
    Atomics.notify(words, PARKED)
    waitWhile(words, PARKED, 1)
  }
  program.on('message', () => void endGpus().then(park, park))
  program.unref()
}

/** The main thread's side; `giveUp` ends a process that has waited too long. Returns a function that takes the hook away again. */
export function parkOnExit(worker: Worker, words: Int32Array, giveUp: (code: number) => void): () => void {
  const park = (code: number): void => {
    worker.postMessage(null)
    if (!waitWhile(words, PARKED, 0, PATIENCE_MS)) giveUp(code)
  }
  const release = (): void => {
    process.off('exit', park)
  }
  process.on('exit', park)
  worker.once('exit', release)
  return release
}

/** As parkOnExit, and also before the program terminates the worker, which is its own. */
export function parkOnTerminate(worker: Worker, words: Int32Array<SharedArrayBuffer>): () => void {
  const release = parkOnExit(worker, words, () => process.kill(process.pid, 'SIGKILL'))
  const terminate = worker.terminate
  const restore = (): void => {
    release()
    worker.terminate = terminate
  }
  worker.terminate = async () => {
    worker.ref()
    worker.postMessage(null)
    await Atomics.waitAsync(words, PARKED, 0, PATIENCE_MS).value
    restore()
    return await worker.terminate()
  }
  worker.once('exit', restore)
  return restore
}
