// Heaps under Node, and under runtimes that are like it.

import { findAdapter } from '../devices/webgpu/adapter.ts'
import { openFile } from './files-node.ts'
import type { Heap } from './heap.ts'
import type { HeapOptions } from './heap-options.ts'
import { openHeapOn } from './open-heap.ts'
import type { Platform } from './platform.ts'
import { openTraceFiles, traceHeader } from './trace-files.ts'

const NODE: Platform = {
  findAdapter,
  traceVariable: () => process.env['HETMEM_TRACE'],
  openTraceFiles: ({ files, allocations }, mode) => openTraceFiles({ files, allocations, header: traceHeader(mode) }),
  openFile,
  async openLive(settings) {
    // Loaded where somebody wants it: it is of no use to other systems.
    const { openLive } = await import('./live/open-live.ts')
    return await openLive(settings)
  },
}

/**
 * Opens a heap.
 *
 *     const heap = await openHeap()
 *     const x = heap.alloc(Float32Array, 1_000_000, { name: 'x' })
 *
 * Rejects with a TypeError or RangeError for options that are none, and with a HeapError: MODE_UNAVAILABLE if the mode is not to be
 * had here, NOT_IN_MODE for options that mean nothing in the mode.
 */
export function openHeap(options: HeapOptions = {}): Promise<Heap> {
  return openHeapOn(NODE, options)
}
