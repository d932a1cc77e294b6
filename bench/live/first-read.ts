// The first read of an array that a memory device has written: one word per page, front to back. What is timed is the whole way:
// faults, copies from the device, translations.

import type { Placement } from '../../src/hmm/policy.ts'
import type { Contest, Measure } from '../harness.ts'
import { extendEngines, openLiveHeap, order } from './bench-heap.ts'
import { prepareFirstReadBound } from './first-read-bound.ts'
import { mapUffdTarget } from './uffd-copy.ts'

const GIB = 2 ** 30
const PAGE_SIZE = 4096

/** Pages that kept their frames, against copying as much memory. In GiB per second. */
export async function prepareFirstReadKept(): Promise<Contest> {
  return { candidate: await prepareFirstRead('pin'), baseline: prepareCopy() }
}

/** Threads that only copy and map, against the same. In GiB per second. */
export async function prepareFirstReadAtBest(): Promise<Contest> {
  return { candidate: await prepareFirstReadBound(GIB), baseline: prepareCopy() }
}

/** Pages whose frames were freed, against UFFDIO_COPY into an empty file. In GiB per second. */
export async function prepareFirstReadFreed(): Promise<Contest> {
  const candidate = await prepareFirstRead('migrate')
  const target = await mapUffdTarget(GIB)
  return {
    candidate,
    baseline: () => {
      const rate = gibPerSecond(() => target.copyAll())
      target.empty()
      return rate
    },
  }
}

function prepareCopy(): Measure {
  const source = new Uint8Array(GIB).fill(1)
  const target = new Uint8Array(GIB).fill(2)
  return () => gibPerSecond(() => target.set(source))
}

async function prepareFirstRead(placement: Placement): Promise<Measure> {
  extendEngines()
  const heap = await openLiveHeap({ size: '2 GiB', device: { kind: 'memory', memory: GIB } })
  const array = heap.alloc(Uint8Array, GIB).fill(1)
  const start = 4 * heap.ptr(array)
  return async () => {
    await order(heap, 'write', { range: { start, end: start + GIB }, placement })
    return gibPerSecond(() => readPages(array))
  }
}

function readPages(array: Uint8Array): number {
  let sum = 0
  for (let i = 0; i < array.length; i += PAGE_SIZE) sum += array[i]
  return sum
}

function gibPerSecond(work: () => void): number {
  const start = performance.now()
  work()
  return 1000 / (performance.now() - start)
}
