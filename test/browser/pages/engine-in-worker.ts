// A heap whose engine is in a worker: what the heap does is the same, and this thread is free meanwhile.

import { openHeap } from 'hetmem'

export async function useEngineIn(worker: Worker): Promise<unknown> {
  const device = { kind: 'memory', memory: '1 MiB' } as const
  const heap = await openHeap({ engine: worker, device, check: true })
  const x = heap.alloc(Int32Array, 4096, { name: 'x' }).fill(3)
  const taken = `${await heap.prefetch(x, { access: 'readWrite' })}`
  const where = `${await heap.where(x)}`
  x[5] = 7
  const misuse = await heap.sync(x).catch((error: Error) => error.message)
  await heap.sync(x)
  heap.free(x)
  const closed = `${await heap.close()}`
  return { mode: heap.mode, taken, where, misuse, kept: x[5], closed }
}

/** What openHeap says of a worker whose program does not exist. */
export async function refusalOfMissing(): Promise<string> {
  const worker = new Worker('/missing.js', { type: 'module' })
  return await openHeap({ engine: worker }).then(
    () => 'opened',
    (error: Error) => error.message,
  )
}
