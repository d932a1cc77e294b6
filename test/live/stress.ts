// Threads read, store and add to random words of a live heap while its pages go to two devices and back, are copied there, are
// pushed out and taken away; launches write the same pages, and all threads allocate and free beside that. Every word belongs to
// somebody who knows what must be in it.
//
//   --seconds 60   --threads 4   --mode live-user   --tracking sync   --pages 8192   --swap   --full
//
// With --swap the heap may keep half of the array in memory, so that RAM, devices and swap are all in use all the time; with --full
// there is just room for what is allocated, so that all of them are full as well.

import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import type { Heap } from '../../src/heap/heap.ts'
import type { HeapHandle } from '../../src/heap/heap-handle.ts'
import { attachHeap } from '../../src/heap/on-node.ts'
import type { Disturbances } from '../helpers/engine-extensions.ts'
import type { ExtendedHeap } from '../helpers/extended-heap.ts'
import { argument, openProgramHeap, pause } from './program.ts'

const PAGE_WORDS = 1024
/** Word `i` belongs to thread `i % 8`, if there is such a thread; then there are those that launches and all threads add to. */
const KINDS = 8
const LAUNCHES = 6
const SHARED = 7
const OWN_WORDS = PAGE_WORDS / KINDS
/** The least that a heap with swap may have. */
const MEMORY_MIN = 16 * 2 ** 20 // bytes
/** What the arrays that come and go have at a time, at most. */
const BESIDE_BYTES = 2 ** 20
/** What there is to be done besides, however slow the machine is: by each thread, and by the main thread. */
const LOADS_MIN = 640
const ARRAYS_MIN = 10

interface ThreadResult {
  readonly stores: number
  readonly loads: number
  readonly wrong: number
  readonly added: number
  readonly narrays: number
}

interface ThreadData {
  readonly handle: HeapHandle
  readonly x: Int32Array
  readonly id: number
  readonly until: number
}

if (isMainThread) await main()
else parentPort?.postMessage(await run(workerData))

async function main(): Promise<void> {
  const seconds = Number(argument('seconds') ?? 5)
  const nthreads = Number(argument('threads') ?? 4)
  const npages = Number(argument('pages') ?? 2048)
  const nbytes = 4096 * npages
  const isFull = process.argv.includes('--full')
  const isSwapping = isFull || process.argv.includes('--swap')
  const memory = Math.max(MEMORY_MIN, nbytes / 2)
  const swap = isFull ? nbytes + BESIDE_BYTES - memory : 2 * nbytes
  const device = { kind: 'memory', memory: '2 MiB' } as const
  const fixture = await openProgramHeap({
    size: 2 * nbytes,
    ...(isSwapping && { memory, swap }),
    device: [
      { ...device, name: 'a', latency: 200 },
      { ...device, name: 'b' },
    ],
  })
  const x = fixture.heap.alloc(Int32Array, npages * PAGE_WORDS, { name: 'x' })
  const until = Date.now() + 1000 * seconds
  await fixture.extension('disturb', { array: fixture.rangeOf(x), word: LAUNCHES, step: KINDS })
  const threads = Array.from({ length: nthreads }, (_, id) => {
    const worker = new Worker(new URL(import.meta.url), {
      workerData: { handle: fixture.heap.handle, x, id, until } satisfies ThreadData,
    })
    return new Promise<ThreadResult>((resolve, reject) => worker.once('message', resolve).once('error', reject))
  })
  let narrays = await comeAndGo(fixture, until)
  const results = await Promise.all(threads)
  const disturbances = (await fixture.extension('calm')) as Disturbances
  await fixture.check()
  const total = (name: keyof ThreadResult): number => results.reduce((all, result) => all + result[name], 0)
  let [sum, added, launched] = [0, 0, 0]
  for (let i = 0; i < x.length; i++) {
    if (i % KINDS === SHARED) added += x[i]
    else if (i % KINDS === LAUNCHES) launched += x[i]
    else sum += x[i]
  }
  narrays += total('narrays')
  const { counters, mode, memory: limits } = await fixture.heap.stats()
  const held = await fixture.extension('memory')
  await fixture.heap.close()
  const lost = {
    stores: total('stores') - sum,
    additions: total('added') - added,
    launches: disturbances.added - launched,
  }
  const faults = counters.cpuFaults
  const { loads, wrong } = { loads: total('loads'), wrong: total('wrong') }
  console.log(JSON.stringify({ mode, loads, wrong, lost, narrays, faults, memory: held, limits, disturbances }))
}

/** Allocates and frees, and finds zeroes and what was stored. Returns how many arrays there were. */
async function comeAndGo({ heap }: ExtendedHeap, until: number): Promise<number> {
  let narrays = 0
  while (Date.now() < until || narrays < ARRAYS_MIN) {
    const array = takeNew(heap, 20_000, narrays)
    if (narrays % 3 === 0) await heap.prefetch(array, { to: narrays % 2 === 0 ? 'a' : 'b', access: 'readWrite' })
    giveBack(heap, array, narrays)
    narrays++
    await pause(2)
  }
  return narrays
}

/** An array that is new, full of a value. */
function takeNew(heap: Heap, lengthMax: number, value: number): Float64Array {
  const array = heap.alloc(Float64Array, 1 + Math.floor(Math.random() * lengthMax))
  if (array.some((each) => each !== 0)) throw new Error('an array is not new')
  return array.fill(value)
}

/** Frees an array that has to be full of a value still. */
function giveBack(heap: Heap, array: Float64Array, value: number): void {
  if (array.some((each) => each !== value)) throw new Error('an array is another one')
  heap.free(array)
}

async function run({ handle, x, id, until }: ThreadData): Promise<ThreadResult> {
  const heap = await attachHeap(handle)
  const npages = x.length / PAGE_WORDS
  const expected = new Int32Array(npages * OWN_WORDS)
  const result = { stores: 0, loads: 0, wrong: 0, added: 0, narrays: 0 }
  while (Date.now() < until || result.loads < LOADS_MIN) {
    const value = result.loads
    const array = takeNew(heap, 2000, value)
    for (let i = 0; i < 64; i++) {
      const page = Math.floor(Math.random() * npages)
      const own = Math.floor(Math.random() * OWN_WORDS)
      const word = page * PAGE_WORDS + own * KINDS + id
      const mine = page * OWN_WORDS + own
      if (x[word] !== expected[mine]) result.wrong++
      result.loads++
      // Most touches only read, so that there are clean pages to be wrong about.
      const choice = Math.random()
      if (choice < 0.3) {
        x[word] = ++expected[mine]
        result.stores++
      } else if (choice < 0.4) {
        Atomics.add(x, word - id + SHARED, 3)
        result.added += 3
      }
    }
    giveBack(heap, array, value)
    result.narrays++
    // What is freed can be used again when the engine has said so.
    await heap.stats()
  }
  await heap.close()
  return result
}
