// The thread of first-read-bound.ts that copies: a round whenever it is told to, piece by piece.

import { parentPort, workerData } from 'node:worker_threads'
import { waitWhile } from '../../src/heap/wait-while.ts'
import { loadKernel } from '../../src/mmu/userfaultfd/ffi.ts'

/** `workerData` of the thread. */
export interface CopyOrder {
  /** The number of the round, and pieces copied in it. */
  readonly words: Int32Array<SharedArrayBuffer>
  readonly memory: Uint8Array<SharedArrayBuffer>
  readonly aliasAddr: number
  /** Bytes. */
  readonly piece: number
}

const { words, memory, aliasAddr, piece } = workerData as CopyOrder
const alias = new Uint8Array((await loadKernel()).view(aliasAddr, memory.length))
parentPort?.postMessage('ready')
for (let round = 0; ; round++) {
  waitWhile(words, 0, round)
  for (let at = 0; at < memory.length; at += piece) {
    alias.set(memory.subarray(at, at + piece), at)
    Atomics.add(words, 1, 1)
    Atomics.notify(words, 1)
  }
}
