// Programs whose arrays are larger than the memory of their heap. The argument says which; each prints what came of it.

import { closeSync, openSync, readdirSync, readlinkSync, writeSync } from 'node:fs'
import { portOf } from '../../src/heap/open-heap.ts'
import { type Heap, type HeapOptions, openHeap } from '../../src/index.ts'

const [, , what = 'fill', directory = ''] = process.argv
const MIB = 2 ** 20
const PAGE_WORDS = 1024

const programs: Record<string, () => Promise<unknown>> = { fill }

async function open(options: HeapOptions = {}): Promise<Heap> {
  return await openHeap({ mode: 'live', memory: '64 MiB', swap: '512 MiB', ...options })
}

/** Writes everything, and finds it again. */
async function fill(): Promise<unknown> {
  const heap = await open()
  const x = heap.alloc(Uint32Array, (512 * MIB) / 4, { name: 'x' })
  const t0 = performance.now()
  for (let i = 0; i < x.length; i += PAGE_WORDS) x[i] = i * 3
  const t1 = performance.now()
  let wrong = 0
  for (let i = 0; i < x.length; i += PAGE_WORDS) if (x[i] !== (i * 3) >>> 0) wrong++
  const t2 = performance.now()
  const { memory } = await heap.stats()
  await heap.close()
  return { wrong, memory, ms: [t1 - t0, t2 - t1] }
}

console.log(JSON.stringify(await programs[what]()))
