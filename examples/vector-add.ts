// Adds two arrays on the GPU: the least that there is to see of a heap and a kernel.
//
// The arrays are ordinary typed arrays. `run` brings what the kernel reads to the device and takes what it writes there; `sync` gives
// the sum back to the CPU. (Where the heap is live, a plain load would do that too.)
//
// Prints:
//   sum[0] = 0
//   sum[999999] = 2999997

import { f32, kernel, openHeap, read, write } from 'hetmem'

const heap = await openHeap({ device: { memory: '64 MiB' } })
const n = 1_000_000
const a = heap.alloc(Float32Array, n, { name: 'a' })
const b = heap.alloc(Float32Array, n, { name: 'b' })
const sum = heap.alloc(Float32Array, n, { name: 'sum' })
for (let i = 0; i < n; i++) {
  a[i] = i
  b[i] = 2 * i
}

const add = kernel({
  name: 'add',
  args: { a: read(f32), b: read(f32), sum: write(f32) },
  code: /* wgsl */ `
    @compute @workgroup_size(64)
    fn main(@builtin(global_invocation_id) id: vec3u) {
      sum[id.x] = a[id.x] + b[id.x];
    }`,
})
await heap.run(add, { a, b, sum }, n)

await heap.sync(sum)
console.log(`sum[0] = ${sum[0]}`)
console.log(`sum[${n - 1}] = ${sum[n - 1]}`)
const wrong = sum.findIndex((value, i) => value !== a[i] + b[i])
if (wrong >= 0) throw new Error(`sum[${wrong}] is ${sum[wrong]}, wanted ${a[wrong] + b[wrong]}`)
await heap.close()
