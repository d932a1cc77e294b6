// Exactly as many invocations as were asked for, at lengths around the sizes of workgroups and of dispatches, and beyond the device.

import { i32, kernel, openHeap, read, readWrite, uniform } from 'hetmem'
import { report } from './report.ts'

/** 4,194,241 is one more than 65,535 workgroups of 64 have, the most of one dispatch. */
const LENGTHS = [1, 63, 65, 4_194_241]

const addScaled = kernel({
  name: 'add scaled',
  args: { x: read(i32), y: readWrite(i32), a: uniform(i32) },
  code: /* wgsl */ `
    @compute @workgroup_size(64)
    fn main(@builtin(global_invocation_id) id: vec3u) { y[id.x] += a * x[id.x]; }`,
})

await report(async () => {
  const heap = await openHeap({ device: { memory: '8 MiB' }, onNotice: () => {} })
  const wrong: number[] = []
  for (const n of LENGTHS) {
    const x = heap.alloc(Int32Array, n, { name: 'x' })
    // One element more, which no invocation is for.
    const y = heap.alloc(Int32Array, n + 1, { name: 'y' }).fill(5)
    for (let i = 0; i < n; i++) x[i] = i
    await heap.run(addScaled, { x, y, a: 3 }, n)
    await heap.sync(y)
    wrong.push(y.findIndex((value, i) => value !== (i < n ? 5 + 3 * i : 5)))
    heap.free(x)
    heap.free(y)
  }
  await heap.close()
  return wrong
})
