// Ways for a thread to end while a GPU works for it, on the heap of the main thread that it has joined. Arguments: mode, and which way.
// The process goes on, and so does the heap. Prints what the thread heard when it asked for a GPU of its own, and what became of it.

import { once } from 'node:events'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { attachHeap, type HeapHandle, kernel, openHeap, readWrite, u32 } from '../../src/index.ts'
import { pause } from './program.ts'

interface Shared {
  readonly handle: HeapHandle
  readonly y: Uint32Array
  readonly way: string
}

const addSlowly = kernel({
  name: 'add slowly',
  args: { y: readWrite(u32) },
  code: `
    @compute @workgroup_size(64)
    fn main(@builtin(global_invocation_id) id: vec3u) {
      var sum = id.x;
      for (var i = 0u; i < 40000u; i++) { sum = sum * 1664525u + 1013904223u; }
      y[id.x] += select(1u, sum, sum == 3u);
    }`,
})

/** The other thread. */
async function work({ handle, y, way }: Shared): Promise<void> {
  const own = openHeap({ mode: 'explicit', device: { memory: '1 MiB' } })
  const refusal = await own.then(
    () => 'opened',
    (error: Error) => error.message,
  )
  const heap = await attachHeap(handle)
  heap.run(addSlowly, { y }, y.length).catch(() => {})
  parentPort?.postMessage(refusal)
  await pause(100)
  if (way === 'exits') process.exit(5)
  if (way === 'throws') throw new Error('of the thread')
  setInterval(() => {}, 1000)
}

async function main(mode: 'explicit' | 'live', way: string): Promise<void> {
  const heap = await openHeap({ mode, size: '16 MiB', device: { memory: '1 MiB' }, onNotice: () => {} })
  const y = heap.alloc(Uint32Array, 4096, { name: 'y' }).fill(1)
  const worker = new Worker(new URL(import.meta.url), { workerData: { handle: heap.handle, y, way } })
  const ended = once(worker, 'exit').catch(({ message }: Error) => message)
  const [refusal] = await once(worker, 'message')
  console.log(refusal)
  await pause(100)
  if (way === 'process exits') process.exit(0)
  if (way === 'is terminated') await worker.terminate()
  console.log(await ended)
  // What it has begun ends, and it is not forgotten.
  await heap.run(addSlowly, { y }, y.length)
  await heap.sync(y)
  console.log(y[0], y[4095])
  await heap.close()
}

if (isMainThread) await main(process.argv[2] as 'explicit' | 'live', process.argv[3])
else await work(workerData as Shared)
