// Solves -u_xx - u_yy = f on the unit square, by finite differences and conjugate gradients: a loop of many small kernels.
//
// The GPU has the vectors, which come to it once and stay; the CPU has the two numbers that steer the loop. What has to be done until
// the next of them is known is one batch, so each step is two batches and two small arrays that the CPU reads.
//
// Prints:
//   ... iterations
//   largest error ...

import { type Batch, f32, kernel, openHeap, read, readWrite, u32, uniform, write } from 'hetmem'

/** Inner points of the grid in a row; the boundary is zero. */
const SIDE = 63
const WORKGROUP = 64
const n = SIDE * SIDE
const h = 1 / (SIDE + 1)

const heap = await openHeap({ device: { memory: '16 MiB' } })
const vector = (name: string) => heap.alloc(Float32Array, n, { name })
const [u, residual, direction, product] = ['u', 'residual', 'direction', 'product'].map(vector)
const partial = heap.alloc(Float32Array, Math.ceil(n / WORKGROUP), { name: 'partial sums' })

/** product = A direction, for the matrix of the five-point star. */
const applyStar = kernel({
  name: 'star',
  args: { direction: read(f32), product: write(f32), side: uniform(u32) },
  code: /* wgsl */ `
    @compute @workgroup_size(${WORKGROUP})
    fn main(@builtin(global_invocation_id) id: vec3u) {
      let x = id.x % side;
      let y = id.x / side;
      var value = 4 * direction[id.x];
      if (x > 0) { value -= direction[id.x - 1]; }
      if (x + 1 < side) { value -= direction[id.x + 1]; }
      if (y > 0) { value -= direction[id.x - side]; }
      if (y + 1 < side) { value -= direction[id.x + side]; }
      product[id.x] = value;
    }`,
})

/** sum += factor * source */
const addScaled = kernel({
  name: 'add scaled',
  args: { sum: readWrite(f32), source: read(f32), factor: uniform(f32) },
  code: /* wgsl */ `
    @compute @workgroup_size(${WORKGROUP})
    fn main(@builtin(global_invocation_id) id: vec3u) {
      sum[id.x] += factor * source[id.x];
    }`,
})

/** direction = residual + factor * direction */
const turn = kernel({
  name: 'turn',
  args: { direction: readWrite(f32), residual: read(f32), factor: uniform(f32) },
  code: /* wgsl */ `
    @compute @workgroup_size(${WORKGROUP})
    fn main(@builtin(global_invocation_id) id: vec3u) {
      direction[id.x] = residual[id.x] + factor * direction[id.x];
    }`,
})

/** The sum of a[i] * b[i] over each workgroup. */
const multiplyAndSum = kernel({
  name: 'multiply and sum',
  args: { a: read(f32), b: read(f32), partial: write(f32), length: uniform(u32) },
  code: /* wgsl */ `
    var<workgroup> sums: array<f32, ${WORKGROUP}>;

    @compute @workgroup_size(${WORKGROUP})
    fn main(
      @builtin(global_invocation_id) id: vec3u,
      @builtin(local_invocation_index) local: u32,
      @builtin(workgroup_id) group: vec3u,
    ) {
      sums[local] = 0;
      if (id.x < length) { sums[local] = a[id.x] * b[id.x]; }
      for (var step = ${WORKGROUP / 2}u; step > 0; step /= 2) {
        workgroupBarrier();
        if (local < step) { sums[local] += sums[local + step]; }
      }
      if (local == 0) { partial[group.x] = sums[0]; }
    }`,
})

const groups = { workgroups: partial.length }

/** Adds launches that sum a[i] * b[i] up, as far as a workgroup can. */
function dot(batch: Batch, a: Float32Array, b: Float32Array): void {
  batch.run(multiplyAndSum, { a, b, partial, length: n }, groups)
}

/** The rest of the sum. */
async function summed(): Promise<number> {
  await heap.sync(partial, 'read')
  return partial.reduce((sum, value) => sum + value, 0)
}

// u = sin(pi x) sin(pi y) is the solution for f = 2 pi^2 u.
const solution = (i: number) =>
  Math.sin(Math.PI * h * ((i % SIDE) + 1)) * Math.sin(Math.PI * h * (Math.floor(i / SIDE) + 1))
for (let i = 0; i < n; i++) residual[i] = 2 * Math.PI ** 2 * solution(i) * h ** 2
// The solution is a single frequency of the grid, which would be found at once: begin from somewhere else.
for (let i = 0; i < n; i++) direction[i] = ((i * 7919) % 101) / 101
u.set(direction)
await heap.batch((batch) => {
  batch.run(applyStar, { direction, product, side: SIDE }, n)
  batch.run(addScaled, { sum: residual, source: product, factor: -1 }, n)
  dot(batch, residual, residual)
})
let squared = await summed()
const enough = 1e-10 * squared
let factor = 0
let iterations = 0
while (squared > enough && iterations < 1000) {
  await heap.batch((batch) => {
    batch.run(turn, { direction, residual, factor }, n)
    batch.run(applyStar, { direction, product, side: SIDE }, n)
    dot(batch, direction, product)
  })
  const step = squared / (await summed())
  await heap.batch((batch) => {
    batch.run(addScaled, { sum: u, source: direction, factor: step }, n)
    batch.run(addScaled, { sum: residual, source: product, factor: -step }, n)
    dot(batch, residual, residual)
  })
  const before = squared
  squared = await summed()
  factor = squared / before
  iterations++
}

await heap.sync(u)
const error = u.reduce((largest, value, i) => Math.max(largest, Math.abs(value - solution(i))), 0)
console.log(`${iterations} iterations`)
console.log(`largest error ${error.toExponential(1)}`)
if (!(error < 1e-3)) throw new Error('the error is larger than that of the differences')
await heap.close()
