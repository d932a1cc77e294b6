// The thread of an engine with GPUs, when the process ends. Dawn takes the whole process down if a thread is ended while its GPU works:
// when a result is handed to JavaScript, or when a promise is left. So before the main thread lets all others end, it asks that thread
// to end its GPUs and to stand still.

import type { MessagePort, Worker } from 'node:worker_threads'
import type { Kernel } from '../../mmu/userfaultfd/ffi.ts'
import { PARKED } from '../engine/words.ts'

/** Milliseconds that the process waits for GPUs: they end what they have begun. After that it ends without a word to anybody. */
const PATIENCE_MS = 10_000

/** The engine's side: when it is asked to, it stands still for ever, after `endGpus`. */
export function parkOnRequest(program: MessagePort, words: Int32Array, endGpus: () => Promise<unknown>): void {
  const park = (): void => {
    Atomics.store(words, PARKED, 1)
    Atomics.notify(words, PARKED)
    Atomics.wait(words, PARKED, 1)
  }
  program.on('message', () => void endGpus().then(park, park))
  program.unref()
}

/** The main thread's side. Returns a function that takes the hook away again. */
export function parkOnExit(kernel: Kernel, worker: Worker, words: Int32Array): () => void {
  const park = (code: number): void => {
    worker.postMessage(null)
    if (Atomics.wait(words, PARKED, 0, PATIENCE_MS) === 'timed-out') kernel.exit(code)
  }
  process.on('exit', park)
  return () => {
    process.off('exit', park)
  }
}
