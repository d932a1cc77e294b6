// Kernels on the WebGPU of the browser: arrays larger than the device, values exact, and misuse found.

import { f32, kernel, openHeap, read, readWrite, uniform } from 'hetmem'
import { report } from './report.ts'

const saxpy = kernel({
  name: 'saxpy',
  args: { x: read(f32), y: readWrite(f32), a: uniform(f32) },
  code: /* wgsl */ `
    @compute @workgroup_size(64)
    fn main(@builtin(global_invocation_id) id: vec3u) { y[id.x] += a * x[id.x]; }`,
})

await report(async () => {
  const notices: string[] = []
  const heap = await openHeap({ device: { memory: '1 MiB' }, check: true, onNotice: (text) => notices.push(text) })
  const n = 1_000_003
  const x = heap.alloc(Float32Array, n, { name: 'x' })
  const y = heap.alloc(Float32Array, n, { name: 'y' })
  for (let i = 0; i < n; i++) x[i] = i % 1000
  y.fill(1)
  const receipt = await heap.run(saxpy, { x, y, a: 2 }, n)
  await heap.sync(y)
  const wrong = y.findIndex((value, i) => value !== 1 + 2 * (i % 1000))

  await heap.run(saxpy, { x, y: y.subarray(0, 1000), a: 1 }, 1000)
  y[7] = 0
  const misuse = await heap.sync(y).catch((error: Error) => error.message)
  await heap.sync(y)
  const [{ name, memory }] = (await heap.stats()).devices
  await heap.close()
  return {
    notices: notices.filter((text) => !text.startsWith('hetmem: heaps are explicit here')),
    isCut: receipt.slices > 8,
    mode: receipt.mode,
    last: y[n - 1],
    again: y[999],
    ...{ wrong, misuse, name, memory },
  }
})
