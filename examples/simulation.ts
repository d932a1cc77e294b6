// A simulation of which the CPU changes one hundredth in each step, while the GPU works on all of it.
//
// The state is on the device from the first step on. After that only pages that were changed travel: the heap knows which they are,
// and the program does not have to. In explicit mode `sync` says what the CPU is going to change; a live heap finds out by itself.
//
// Prints:
//   step 0: 4096 pages to the GPU, energy 0.0
//   step 1: 41 pages to the GPU, energy 1312.0
//   step 2: 41 pages to the GPU, energy 4264.0
//   step 3: 41 pages to the GPU, energy 9512.0

import { f32, kernel, openHeap, read, u32, uniform, write } from 'hetmem'

const PAGE_FLOATS = 1024
const PER_INVOCATION = 64
const npages = 4096
const n = npages * PAGE_FLOATS
const changed = npages / 100

const heap = await openHeap({ device: { memory: '64 MiB' } })
const speed = heap.alloc(Float32Array, n, { name: 'speed' })
const energies = heap.alloc(Float32Array, n / PER_INVOCATION, { name: 'energies' })

/** The energy of 64 particles each. */
const sumEnergies = kernel({
  name: 'sum energies',
  args: { speed: read(f32), energies: write(f32), count: uniform(u32) },
  code: /* wgsl */ `
    @compute @workgroup_size(64)
    fn main(@builtin(global_invocation_id) id: vec3u) {
      var sum = 0.0;
      for (var i = 0u; i < count; i++) {
        let v = speed[id.x * count + i];
        sum += v * v / 2;
      }
      energies[id.x] = sum;
    }`,
})

let expected = 0
for (let step = 0; step < 4; step++) {
  const receipt = await heap.run(sumEnergies, { speed, energies, count: PER_INVOCATION }, energies.length)
  await heap.sync(energies, 'read')
  const energy = energies.reduce((sum, value) => sum + value, 0)
  const moved = receipt.pages.duplicated
  console.log(`step ${step}: ${moved} pages to the GPU, energy ${energy.toFixed(1)}`)
  if (energy !== expected) throw new Error(`the energy is ${energy}, wanted ${expected}`)
  if (step > 0 && moved > 2 * changed) throw new Error(`${moved} pages travelled, and ${changed} were changed`)

  // Somebody is pushed: sixteen particles of one page in a hundred.
  for (let page = 37 * step; page < npages; page += 100) {
    const pushed = speed.subarray(page * PAGE_FLOATS, page * PAGE_FLOATS + 16)
    await heap.sync(pushed)
    expected -= pushed.reduce((sum, v) => sum + (v * v) / 2, 0)
    pushed.fill(step + 2)
    expected += (16 * (step + 2) ** 2) / 2
  }
}
await heap.close()
