// A thread with the heap of another one: it does what it is told, one thing after the other, and answers.

import { parentPort } from 'node:worker_threads'
import { assert } from '../../src/base/assert.ts'
import { attachHeap } from '../../src/heap/on-node.ts'
import type { Heap, HeapArray, HeapHandle } from '../../src/index.ts'
import { ExtendedHeap } from './extended-heap.ts'

export type AttachedTask =
  | { readonly do: 'attach'; readonly handle: HeapHandle }
  | { readonly do: 'alloc'; readonly length: number; readonly value: number }
  | { readonly do: 'free' | 'sync' | 'where' | 'prefetch' | 'addOne' | 'pointer' | 'sum'; readonly array: Float32Array }
  | { readonly do: 'arrays' | 'stats' | 'close' }

assert(parentPort !== null, 'this is a thread')
const program = parentPort
let attached: Heap | null = null

async function perform(task: AttachedTask): Promise<unknown> {
  if (task.do === 'attach') {
    attached = await attachHeap(task.handle, { onNotice: (text) => program.postMessage({ notice: text }) })
    return attached.mode
  }
  assert(attached !== null, 'a heap is attached')
  const heap = attached
  switch (task.do) {
    case 'alloc':
      return heap.alloc(Float32Array, task.length).fill(task.value)
    case 'free':
      heap.free(task.array)
      await heap.stats()
      return null
    case 'sync':
      return `${await heap.sync(task.array)}`
    case 'where':
      return `${await heap.where(task.array)}`
    case 'prefetch':
      return `${await heap.prefetch(task.array, { access: 'readWrite' })}`
    case 'addOne':
      return (await new ExtendedHeap(heap).run('addOne', { write: [task.array as HeapArray] })).pages
    case 'pointer': {
      const pointer = heap.ptr(task.array)
      return [pointer, heap.view(Float32Array, pointer, 2)[1]]
    }
    case 'sum':
      return task.array.reduce((sum, value) => sum + value, 0)
    case 'arrays':
      return heap.arrays
    case 'stats':
      return (await heap.stats()).mode
    case 'close':
      return (await heap.close()).unfreed.length
  }
}

program.on('message', (task: AttachedTask) => {
  perform(task).then(
    (answer) => program.postMessage({ answer }),
    ({ code, message }) => program.postMessage({ code, message }),
  )
})
