// Arrays larger than the memory of the device. The program does nothing about it: the launch is cut into slices that fit, because the
// code says which elements an invocation uses, and the next slice comes in while one is computed.
//
// Prints:
//   x and y: 64 MiB, the device: 16 MiB
//   y[0] = 1
//   y[8388607] = 16777215
//   saxpy: direct, ... slices; ... to webgpu (...), ... back (...); ...

import { f32, formatSize, kernel, openHeap, read, readWrite, uniform } from 'hetmem'

const memory = '16 MiB'
const heap = await openHeap({ device: { memory } })
const n = 8 * 2 ** 20
const x = heap.alloc(Float32Array, n, { name: 'x' })
const y = heap.alloc(Float32Array, n, { name: 'y' })
for (let i = 0; i < n; i++) x[i] = i
y.fill(1)

const saxpy = kernel({
  name: 'saxpy',
  args: { x: read(f32), y: readWrite(f32), a: uniform(f32) },
  code: /* wgsl */ `
    @compute @workgroup_size(64)
    fn main(@builtin(global_invocation_id) id: vec3u) {
      y[id.x] += a * x[id.x];
    }`,
})
const receipt = await heap.run(saxpy, { x, y, a: 2 }, n)

await heap.sync(y)
console.log(`x and y: ${formatSize(x.byteLength + y.byteLength)}, the device: ${memory}`)
console.log(`y[0] = ${y[0]}`)
console.log(`y[${n - 1}] = ${y[n - 1]}`)
console.log(`${receipt}`)
for (let i = 0; i < n; i++)
  if (y[i] !== Math.fround(1 + 2 * i)) throw new Error(`y[${i}] is ${y[i]}, wanted ${1 + 2 * i}`)
await heap.close()
