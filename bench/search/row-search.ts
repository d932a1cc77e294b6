// A search as one would first write it: an invocation per vertex, which goes through the neighbours of those that were reached last.
// Which these are is in the data, so on a heap that is larger than the device it goes through a page table.

import type { Csr } from '../../src/graph500/csr.ts'
import { NONE } from '../../src/graph500/edge-list.ts'
import { type Heap, kernel, read, readWrite, u32, uniform, write } from '../../src/index.ts'
import { bufferOf, bytesOf, plainKernel, uniformBuffer, type Words } from '../compare/hand-written.ts'
import type { PlainGpu } from '../webgpu/plain-gpu.ts'

const WORKGROUP = 64

// All that store to a vertex in a launch store the same.
const LEVEL = {
  name: 'level',
  args: { offsets: read(u32), columns: read(u32), levels: readWrite(u32), found: write(u32), depth: uniform(u32) },
  code: `
    @compute @workgroup_size(${WORKGROUP})
    fn main(@builtin(global_invocation_id) id: vec3u) {
      if (levels[id.x] != depth) { return; }
      for (var i = offsets[id.x]; i < offsets[id.x + 1u]; i++) {
        let v = columns[i];
        if (levels[v] == ${NONE}u) {
          levels[v] = depth + 1u;
          found[0] = 1u;
        }
      }
    }`,
}

/** Bytes of the arrays of a search. */
export function rowSearchBytes({ offsets, columns, nvertices }: Csr): number {
  return offsets.byteLength + columns.byteLength + 4 * (nvertices + 1)
}

/** Returns the level of each vertex, NONE where it was not reached. */
export type Search = (root: number) => Promise<Uint32Array>

/** Searches on a heap. */
export function rowSearchOnHeap(heap: Heap, csr: Csr): Search {
  const launched = kernel(LEVEL)
  const offsets = heap.alloc(Uint32Array, csr.offsets.length, { name: 'offsets' })
  const columns = heap.alloc(Uint32Array, csr.columns.length, { name: 'columns' })
  const levels = heap.alloc(Uint32Array, csr.nvertices, { name: 'levels' })
  const found = heap.alloc(Uint32Array, 1, { name: 'found' })
  offsets.set(csr.offsets)
  columns.set(csr.columns)
  return async (root) => {
    await heap.sync(levels)
    levels.fill(NONE)[root] = 0
    for (let depth = 0, more = true; more; depth++) {
      await heap.sync(found)
      found[0] = 0
      await heap.run(launched, { offsets, columns, levels, found, depth }, levels.length)
      await heap.sync(found, 'read')
      more = found[0] === 1
    }
    await heap.sync(levels, 'read')
    return levels
  }
}

/** The same in plain WebGPU, with the graph on the device. */
export function rowSearchOnGpu(gpu: PlainGpu, csr: Csr): Search {
  const { queue } = gpu.device
  const levels = new Uint32Array(csr.nvertices)
  const found = new Uint32Array(1)
  const [onGpu, flag, number] = [gpu.buffer(levels.byteLength), gpu.buffer(4), uniformBuffer(gpu)]
  const graph = [csr.offsets, csr.columns].map((words) => bufferOf(gpu, words as Words))
  const launched = plainKernel(gpu, LEVEL, [...graph, onGpu, flag, number])
  return async (root) => {
    levels.fill(NONE)[root] = 0
    queue.writeBuffer(onGpu, 0, levels)
    for (let depth = 0, more = true; more; depth++) {
      queue.writeBuffer(flag, 0, Uint32Array.of(0))
      queue.writeBuffer(number, 0, Uint32Array.of(depth))
      gpu.submit(launched, levels.length / WORKGROUP)
      await gpu.read(flag, bytesOf(found))
      more = found[0] === 1
    }
    await gpu.read(onGpu, bytesOf(levels))
    return levels
  }
}
