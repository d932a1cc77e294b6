// One page fault at a time: touches of fresh pages, no two neighbours in a row, against the same in C.

import type { Contest } from '../harness.ts'
import { openLiveHeap, pinToProcessor, someProcessor } from './bench-heap.ts'
import { CHandler } from './c-handler.ts'

/** A power of two. */
const NPAGES = 4096
/** Odd, so `i * ORDER` modulo NPAGES visits every page once. The handler in C has the same. */
const ORDER = 0x9e3779b1

export async function prepareSingleFaults(): Promise<Contest> {
  const cpu = await someProcessor()
  // Before the engine begins: its thread inherits it.
  await pinToProcessor(cpu)
  const handler = new CHandler(cpu)
  const heap = await openLiveHeap({ size: '64 MiB' })
  const array = heap.alloc(Uint8Array, NPAGES * 4096)
  return {
    candidate: async () => {
      const start = performance.now()
      touchAll(array)
      const ns = (1e6 * (performance.now() - start)) / NPAGES
      await heap.discard(array)
      return ns
    },
    baseline: () => handler.touch(NPAGES),
    close: () => handler.close(),
  }
}

function touchAll(array: Uint8Array): number {
  let sum = 0
  for (let i = 0; i < NPAGES; i++) sum += array[(Math.imul(i, ORDER) & (NPAGES - 1)) * 4096]
  return sum
}
