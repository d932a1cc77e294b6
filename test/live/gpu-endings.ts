// Ways for a process to end while a GPU works for its heap. Arguments: mode, and which way. What matters is the exit status: Dawn
// ends the whole process when a thread is ended under it.

import { Worker } from 'node:worker_threads'
import { kernel, openHeap, readWrite, u32 } from '../../src/index.ts'

const [mode, way] = process.argv.slice(2) as ['explicit' | 'live' | 'engine in a worker', string]

/** Of an invocation. Who terminates the engine does so while the kernel runs, however quick the machine is. */
const rounds = way === 'terminate' ? 400_000 : 40_000

const slow = kernel({
  name: 'slow',
  args: { y: readWrite(u32) },
  code: `
    @compute @workgroup_size(64)
    fn main(@builtin(global_invocation_id) id: vec3u) {
      var sum = id.x;
      for (var i = 0u; i < ${rounds}u; i++) { sum = sum * 1664525u + 1013904223u; }
      y[id.x] = select(7u, sum, sum == 3u);
    }`,
})

const engine =
  mode === 'engine in a worker' ? new Worker(new URL('../../src/engine-worker-node-entry.js', import.meta.url)) : null
const heap = await openHeap({
  ...(engine === null ? { mode: mode as 'explicit' | 'live' } : { engine }),
  size: '16 MiB',
  device: { memory: '1 MiB' },
  onNotice: () => {},
})
const y = heap.alloc(Uint32Array, 4096, { name: 'y' }).fill(1)
const launched = heap.run(slow, { y }, y.length)
launched.catch((error: Error) => console.log(error.message))
// The kernel is under way, or about to be.
await new Promise((resolve) => setTimeout(resolve, way.endsWith('at once') ? 0 : 150))

switch (way) {
  case 'exit':
  case 'exit at once':
    process.exit(0)
    break
  case 'close': {
    const closing = heap.close()
    await Promise.all([launched, closing])
    console.log('closed')
    break
  }
  case 'sync':
    await heap.sync(y)
    console.log(y[0], y[4095])
    await heap.close()
    break
  case 'terminate':
  case 'terminate at once':
    await engine?.terminate()
    await launched.catch(() => {})
    break
  case 'end':
    // Nothing but the launch keeps the process, and nobody closes the heap.
    await launched
    console.log('ran')
}
