// Finds the nearest neighbours of some vectors among many, which are more than the device has room for.
//
// All queries go in one launch. The code says that invocation i uses vector i, so the launch is cut into slices of vectors: each
// comes to the device once, whatever the number of queries, and as it is only read, nothing of it is brought back.
//
// Prints:
//   vectors: 16 MiB, the device: 4 MiB
//   query 0: 5000 at distance 0.1..., then ... at ...
//   query 1: 21384 at distance 0.1..., then ... at ...
//   query 2: 37768 at distance 0.1..., then ... at ...
//   query 3: 54152 at distance 0.1..., then ... at ...

import { f32, formatSize, kernel, openHeap, read, u32, uniform, write } from 'hetmem'

const DIMENSIONS = 64
const QUERIES = 4
const count = 65_536
const memory = '4 MiB'

const heap = await openHeap({ device: { memory } })
const vectors = heap.alloc(Float32Array, count * DIMENSIONS, { name: 'vectors' })
const queries = heap.alloc(Float32Array, QUERIES * DIMENSIONS, { name: 'queries' })
const distances = heap.alloc(Float32Array, count * QUERIES, { name: 'distances' })

// Numbers that look random and are the same every time.
let seed = 1
const random = () => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
  return seed / 2 ** 32 - 0.5
}
for (let i = 0; i < vectors.length; i++) vectors[i] = random()
// Each query is one of the vectors, a little moved.
const known = Array.from({ length: QUERIES }, (_, q) => 5000 + q * (count / QUERIES))
known.forEach((vector, q) => {
  for (let d = 0; d < DIMENSIONS; d++) queries[q * DIMENSIONS + d] = vectors[vector * DIMENSIONS + d] + random() / 16
})

const measure = kernel({
  name: 'measure',
  args: { vectors: read(f32), queries: read(f32), distances: write(f32), nqueries: uniform(u32) },
  code: /* wgsl */ `
    const DIMENSIONS = ${DIMENSIONS}u;

    @compute @workgroup_size(64)
    fn main(@builtin(global_invocation_id) id: vec3u) {
      for (var q = 0u; q < nqueries; q++) {
        var sum = 0.0;
        for (var d = 0u; d < DIMENSIONS; d++) {
          let difference = vectors[id.x * DIMENSIONS + d] - queries[q * DIMENSIONS + d];
          sum += difference * difference;
        }
        distances[id.x * nqueries + q] = sqrt(sum);
      }
    }`,
})
await heap.run(measure, { vectors, queries, distances, nqueries: QUERIES }, count)
await heap.sync(distances, 'read')

console.log(`vectors: ${formatSize(vectors.byteLength)}, the device: ${memory}`)
for (let q = 0; q < QUERIES; q++) {
  const [nearest, second] = twoNearest(q)
  const at = (vector: number) => distances[vector * QUERIES + q].toFixed(3)
  console.log(`query ${q}: ${nearest} at distance ${at(nearest)}, then ${second} at ${at(second)}`)
  if (nearest !== known[q]) throw new Error(`query ${q} was made of vector ${known[q]}`)
}
await heap.close()

function twoNearest(query: number): [number, number] {
  let nearest = -1
  let second = -1
  const distance = (vector: number) => (vector < 0 ? Number.POSITIVE_INFINITY : distances[vector * QUERIES + query])
  for (let i = 0; i < count; i++) {
    if (distance(i) < distance(nearest)) [nearest, second] = [i, nearest]
    else if (distance(i) < distance(second)) second = i
  }
  return [nearest, second]
}
