// A thread that attaches a heap and runs a kernel of its own on arrays of another thread, as often as it is told.

import { workerData } from 'node:worker_threads'
import { attachHeap } from '../../src/heap/on-node.ts'
import { type HeapHandle, kernel, readWrite, u32 } from '../../src/index.ts'

const { handle, x, times } = workerData as { handle: HeapHandle; x: Uint32Array; times: number }
const addTen = kernel({
  name: 'add ten',
  args: { x: readWrite(u32) },
  code: '@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) { x[id.x] += 10u; }',
})
const heap = await attachHeap(handle)
for (let i = 0; i < times; i++) await heap.run(addTen, { x }, x.length)
await heap.close()
