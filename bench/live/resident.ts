// Arrays whose pages are all there: nothing of the heap is in the way, so they are as fast as any other array.

import { type Contest, cpuTimeNs } from '../harness.ts'
import { openLiveHeap } from './bench-heap.ts'

const LENGTH = 2 ** 20 // 4 MiB
const PASSES = 8

export async function prepareResident(): Promise<Contest> {
  const heap = await openLiveHeap({ size: '64 MiB' })
  const ours = heap.alloc(Float32Array, LENGTH).fill(1)
  const plain = new Float32Array(LENGTH).fill(1)
  return { candidate: () => elementsPerNs(ours), baseline: () => elementsPerNs(plain) }
}

function elementsPerNs(array: Float32Array): number {
  const ns = cpuTimeNs(() => {
    for (let pass = 0; pass < PASSES; pass++) update(array)
  })
  return (PASSES * LENGTH) / ns
}

function update(array: Float32Array): void {
  for (let i = 0; i < array.length; i++) array[i] = 0.5 * array[i] + 1
}
