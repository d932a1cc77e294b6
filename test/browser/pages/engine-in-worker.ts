// A heap whose engine is in a worker: what the heap does is the same, and this thread is free meanwhile.

import { i32, kernel, openHeap, readWrite } from 'hetmem'

const addOne = kernel({
  name: 'add one',
  args: { x: readWrite(i32) },
  code: /* wgsl */ `
    @compute @workgroup_size(64)
    fn main(@builtin(global_invocation_id) id: vec3u) { x[id.x] += 1; }`,
})

export async function useEngineIn(worker: Worker): Promise<unknown> {
  const heap = await openHeap({ engine: worker, device: { memory: '1 MiB' }, check: true, onNotice: () => {} })
  const x = heap.alloc(Int32Array, 4096, { name: 'x' }).fill(3)
  await heap.run(addOne, { x }, x.length)
  await heap.sync(x)
  const added = x.every((value) => value === 4)
  const taken = `${await heap.prefetch(x, { access: 'readWrite' })}`
  const where = `${await heap.where(x)}`
  x[5] = 7
  const misuse = await heap.sync(x).catch((error: Error) => error.message)
  await heap.sync(x)
  heap.free(x)
  const closed = `${await heap.close()}`
  return { mode: heap.mode, added, taken, where, misuse, kept: x[5], closed }
}

/** What openHeap says of a worker whose program does not exist. */
export async function refusalOfMissing(): Promise<string> {
  const worker = new Worker('/missing.js', { type: 'module' })
  return await openHeap({ engine: worker }).then(
    () => 'opened',
    (error: Error) => error.message,
  )
}
