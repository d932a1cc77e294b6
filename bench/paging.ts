// What going through a page table costs, against the same WGSL with bindings of its own on the same adapter.

import { preparePageCopy } from './core/page-copy.ts'
import type { BenchCase, Suite } from './harness.ts'
import {
  type BenchKernel,
  prepareBoundAtomics,
  prepareEmptyRound,
  prepareResidentKernel,
} from './paging/resident-kernels.ts'

const COUNT = 262_144
const MAIN = `@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u)`

const random = (below: number): Uint32Array => {
  let state = 1
  return Uint32Array.from({ length: COUNT }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return (state >>> 8) % below
  })
}
const floats = {
  type: 'f32',
  words: () => new Uint32Array(Float32Array.from({ length: COUNT }, (_, i) => i % 100).buffer),
}
const indices = { type: 'u32', words: () => random(COUNT) }
const zeros = { type: 'u32', words: () => new Uint32Array(COUNT) }

const SAXPY: BenchKernel = {
  name: 'saxpy',
  code: `${MAIN} { y[id.x] += 2.0 * x[id.x]; }`,
  args: { x: floats, y: floats },
  invocations: COUNT,
}
const GATHER: BenchKernel = {
  name: 'gather',
  code: `${MAIN} { y[id.x] = x[at[id.x]]; }`,
  args: { x: floats, at: indices, y: floats },
  invocations: COUNT,
}
const CHASE: BenchKernel = {
  name: 'chase',
  code: `${MAIN} { var k = id.x; for (var n = 0u; n < 64u; n++) { k = at[k]; } y[id.x] = k; }`,
  args: { at: indices, y: zeros },
  invocations: 16_384,
}
const BFS: BenchKernel = {
  name: 'bfs-step',
  // Eight neighbours of each vertex; a third of the vertices is in the frontier. Marks are idempotent, so they are stored plainly.
  code: `${MAIN} { if (level[id.x] % 3u != 0u) { return; }
    for (var e = 0u; e < 8u; e++) { let v = at[id.x * 8u + e] % 32768u; if (seen[v] == 0u) { seen[v] = id.x + 1u; } } }`,
  args: { at: indices, level: indices, seen: zeros },
  invocations: 32_768,
}
const NEIGHBOURS: BenchKernel = {
  name: 'neighbours',
  code: `${MAIN} { var sum = 0.0; for (var k = 0u; k < 32u; k++) { sum += x[id.x * 32u + k]; } y[id.x] = sum; }`,
  args: { x: floats, y: floats },
  invocations: COUNT / 32,
}
const HISTOGRAM: BenchKernel = {
  name: 'histogram',
  // Of sums of 32 numbers: most of it is plain loads.
  code: `${MAIN} { var sum = 0u; for (var k = 0u; k < 32u; k++) { sum += at[id.x * 32u + k]; } atomicAdd(&bins[sum >> 15u], 1u); }`,
  args: { at: indices, bins: { type: 'atomic<u32>', words: () => new Uint32Array(1024) } },
  invocations: COUNT / 32,
}
const ROWS: BenchKernel = {
  name: 'rows',
  code: `${MAIN} { for (var k = 0u; k < 32u; k++) { y[id.x * 32u + k] = 2.0 * x[id.x * 32u + k]; } }`,
  args: { x: floats, y: floats },
  invocations: COUNT / 32,
}
const SPANS: BenchKernel = {
  ...NEIGHBOURS,
  name: 'neighbours-spans',
  plain: NEIGHBOURS.code,
  code: `${MAIN} { var sum = 0.0;
    for (var i = id.x * 32u; i < id.x * 32u + 32u; ) {
      let n = x_span(i, id.x * 32u + 32u - i);
      for (var k = 0u; k < n; k++) { sum += x_at(k); }
      i += n;
    }
    y[id.x] = sum; }`,
}
const REDUCE: BenchKernel = {
  name: 'reduce',
  code: `var<workgroup> part: array<f32, 64>;
    @compute @workgroup_size(64)
    fn main(@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_index) l: u32, @builtin(workgroup_id) g: vec3u) {
      part[l] = x[id.x]; workgroupBarrier();
      for (var d = 32u; d > 0u; d >>= 1u) { if (l < d) { part[l] += part[l + d]; } workgroupBarrier(); }
      if (l == 0u) { y[g.x] = part[0]; } }`,
  args: { x: floats, y: floats },
  invocations: 65_536,
}

function resident(kernel: BenchKernel, summary: string, goal: number): BenchCase {
  const against = 'on data that is on the device; against the same WGSL in plain WebGPU.'
  const prepare = () => prepareResidentKernel(kernel)
  return { name: kernel.name, summary: `${summary}, ${against}`, unit: 'ms', better: 'lower', goal, prepare }
}

const cases: BenchCase[] = [
  resident(SAXPY, 'Two arrays of 262,144 floats', 2.5),
  resident(GATHER, '262,144 random loads', 2.5),
  resident(BFS, 'A step of a search over 32,768 vertices', 2.5),
  resident(REDUCE, 'Sums of 64 with barriers', 2.5),
  resident(HISTOGRAM, 'A histogram of 8,192 sums of 32', 2.5),
  {
    name: 'bound-atomics',
    summary:
      'The same histogram with its bins bound directly; against bins among the pages, which makes every load atomic.',
    unit: 'ms',
    better: 'lower',
    goal: 1.1,
    prepare: () => prepareBoundAtomics(HISTOGRAM),
  },
  resident(ROWS, '8,192 rows of 32 stores', 5),
  resident(NEIGHBOURS, '8,192 sums of 32 neighbours', 2.5),
  resident(SPANS, 'The same sums with spans', 2),
  resident(CHASE, '16,384 chases of 64 hops', 2),
  {
    name: 'empty-round',
    summary: 'A round that finds nothing missing; against an empty submit with a small readback.',
    unit: 'ms',
    better: 'lower',
    goal: 4,
    prepare: prepareEmptyRound,
  },
]

export const paging: Suite = {
  name: 'paging',
  summary: 'kernels through a page table on the WebGPU adapter that is there',
  baseline: {
    summary: 'Plain copy between two buffers of 256 MiB, per 4 KiB page.',
    unit: 'ns/page',
    prepare: preparePageCopy,
  },
  cases,
}
