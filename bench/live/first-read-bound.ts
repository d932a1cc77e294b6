// The least that the first read of pages takes whose frames were kept: one thread copies, another maps what has been copied and
// touches it, and nobody keeps any books. What a heap needs beyond that is its own.

import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { detectLive, openDetected } from '../../src/mmu/userfaultfd/features.ts'
import { loadKernel } from '../../src/mmu/userfaultfd/ffi.ts'
import { Segment } from '../../src/mmu/userfaultfd/segment.ts'
import { Uffd } from '../../src/mmu/userfaultfd/uffd.ts'
import { UFFDIO_REGISTER_MODE_MINOR, UFFDIO_REGISTER_MODE_WP } from '../../src/uapi/userfaultfd.ts'
import type { Measure } from '../harness.ts'
import type { CopyOrder } from './copy-worker.ts'

const PAGE_SIZE = 4096
const PIECE = 2 ** 21 // bytes
/** Words that both threads share: the number of the round, and pieces copied in it. */
const ROUND = 0
const COPIED = 1

/** In GiB per second, of `nbytes`. */
export async function prepareFirstReadBound(nbytes: number): Promise<Measure> {
  const kernel = await loadKernel()
  const support = await detectLive()
  if (support.mode === 'unavailable') throw new Error(support.reason)
  const segment = new Segment(kernel, nbytes)
  segment.alias.fill(1)
  const uffd = new Uffd(kernel, openDetected(kernel, support))
  uffd.register(segment.userAddr, nbytes, UFFDIO_REGISTER_MODE_MINOR | UFFDIO_REGISTER_MODE_WP)
  const memory = new Uint8Array(new SharedArrayBuffer(nbytes)).fill(2)
  const words = new Int32Array(new SharedArrayBuffer(8))
  const order: CopyOrder = { words, memory, aliasAddr: segment.aliasAddr, piece: PIECE }
  const worker = new Worker(new URL('./copy-worker.js', import.meta.url), { workerData: order, execArgv: [] })
  await once(worker, 'message')
  worker.unref()
  const program = new Uint8Array(segment.buffer)
  return () => {
    segment.zapUser(0, nbytes)
    const start = performance.now()
    Atomics.store(words, COPIED, 0)
    Atomics.add(words, ROUND, 1)
    Atomics.notify(words, ROUND)
    let sum = 0
    for (let at = 0; at < nbytes; at += PIECE) {
      while (Atomics.load(words, COPIED) <= at / PIECE) Atomics.wait(words, COPIED, at / PIECE)
      uffd.mapPages(segment.userAddr + at, PIECE, true)
      for (let i = at; i < at + PIECE; i += PAGE_SIZE) sum += program[i]
    }
    if (sum !== 2 * (nbytes / PAGE_SIZE)) throw new Error(`the pages sum up to ${sum}`)
    return (1000 * nbytes) / 2 ** 30 / (performance.now() - start)
  }
}
