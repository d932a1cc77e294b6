// Looks rows up in a table that is larger than the device: an embedding, as models of language and of tastes have them.
//
// Nobody can say beforehand which rows a launch uses: they are in the data. So such a launch goes through a page table: what it does
// not find on the device is noted, brought in, and done again. As with words and people, few rows are used most of the time, and
// those stay on the device, so the second batch brings less.
//
// Prints:
//   table: 16 MiB, the device: 4 MiB
//   batch 0: paged, ... to the GPU
//   batch 1: paged, ... to the GPU
//   batch 2: paged, ... to the GPU

import { f32, formatSize, kernel, openHeap, read, u32, write } from 'hetmem'

const WIDTH = 16
const ROWS = 2 ** 18
const BATCH = 2048
const memory = '4 MiB'

const heap = await openHeap({ device: { memory } })
const table = heap.alloc(Float32Array, ROWS * WIDTH, { name: 'table' })
const rows = heap.alloc(Uint32Array, BATCH, { name: 'rows' })
const found = heap.alloc(Float32Array, BATCH * WIDTH, { name: 'found' })
for (let i = 0; i < table.length; i++) table[i] = i

const lookUp = kernel({
  name: 'look up',
  args: { table: read(f32), rows: read(u32), found: write(f32) },
  code: /* wgsl */ `
    @compute @workgroup_size(64)
    fn main(@builtin(global_invocation_id) id: vec3u) {
      let row = id.x / ${WIDTH}u;
      found[id.x] = table[rows[row] * ${WIDTH}u + id.x % ${WIDTH}u];
    }`,
})

// Zipf's law: the k-th most popular row is used 1 / k^1.3 as often as the first. Popular rows are anywhere in the table.
let seed = 7
const random = () => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
  return seed / 2 ** 32
}
const popular = () => Math.min(ROWS, Math.floor((1 - random()) ** (-1 / 0.3))) - 1
const rowOf = (rank: number) => Math.imul(rank, 0x9e3779b1) >>> (32 - Math.log2(ROWS))

console.log(`table: ${formatSize(table.byteLength)}, the device: ${memory}`)
for (let batch = 0; batch < 3; batch++) {
  await heap.sync(rows)
  for (let i = 0; i < BATCH; i++) rows[i] = rowOf(popular())
  const receipt = await heap.run(lookUp, { table, rows, found }, found.length)
  await heap.sync(found, 'read')
  const nbytes = Object.values(receipt.bytesToDevice).reduce((sum, each) => sum + each)
  console.log(`batch ${batch}: ${receipt.mode}, ${formatSize(nbytes)} to the GPU`)
  const wrong = found.findIndex((value, i) => value !== rows[Math.floor(i / WIDTH)] * WIDTH + (i % WIDTH))
  if (wrong >= 0) throw new Error(`element ${wrong} is ${found[wrong]}`)
}
await heap.close()
