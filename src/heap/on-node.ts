// Heaps under Node, and under runtimes that are like it.

import { isMainThread, type Worker } from 'node:worker_threads'
import { isNode } from '../base/runtime.ts'
import { findAdapter } from '../devices/webgpu/adapter.ts'
import { openFile } from './files-node.ts'
import type { Heap } from './heap.ts'
import { HeapError } from './heap-error.ts'
import type { HeapHandle } from './heap-handle.ts'
import type { AttachOptions, HeapOptions } from './heap-options.ts'
import { groupChannel } from './live/channels.ts'
import { attachHeapOn, openHeapOn } from './open-heap.ts'
import { parkOnTerminate } from './parking.ts'
import type { Platform } from './platform.ts'
import { openTraceFiles, traceHeader } from './trace-files.ts'

const NODE: Platform = {
  async makeDevice(site, settings) {
    const { makeDevice } = await import('./engine/make-device.ts')
    return await makeDevice(site, settings, findAdapter)
  },
  traceVariable: () => process.env['HETMEM_TRACE'],
  openTraceFiles: ({ files, allocations }, mode) => openTraceFiles({ files, allocations, header: traceHeader(mode) }),
  openFile,
  openChannel: groupChannel,
  checkDevices(devices) {
    // A worker may be terminated at any time, and Dawn ends the process then if its GPU works.
    const own = devices.find((device) => device.kind === 'webgpu' && device.gpuDevice === null)
    if (own === undefined || isMainThread || !isNode()) return
    const why = 'in Node a worker that ends while its GPU works takes the process along'
    const help = 'Open the heap in the main thread, and join it here with attachHeap(heap.handle)'
    throw new HeapError('NO_DEVICE', `device "${own.name}" in a worker: ${why}. ${help}`)
  },
  guardEngine: (worker, words) => parkOnTerminate(worker as Worker, words),
  async openLive(settings) {
    // Loaded where somebody wants it: it is of no use to other systems.
    const { openLive } = await import('./live/open-live.ts')
    return await openLive(settings)
  },
  async attachLive(handle, settings) {
    const { attachLive } = await import('./live/attach-live.ts')
    return await attachLive(handle, settings, openFile)
  },
}

/**
 * Opens a heap.
 *
 *     const heap = await openHeap()
 *     const x = heap.alloc(Float32Array, 1_000_000, { name: 'x' })
 *
 * Rejects with a TypeError or RangeError for options that are none, and with a HeapError: MODE_UNAVAILABLE if the mode is not to be
 * had here, NOT_IN_MODE for options that mean nothing in the mode, NO_DEVICE if there is no GPU to be had, or not on this thread.
 */
export function openHeap(options: HeapOptions = {}): Promise<Heap> {
  return openHeapOn(NODE, options)
}

/**
 * The heap of another thread on this one: the same memory, so arrays mean the same on both, however they came here.
 *
 *     const heap = await attachHeap(workerData.heap)     // what `heap.handle` was over there
 *     const y = heap.alloc(Float32Array, 1000)
 *     await heap.sync(workerData.x)
 *
 * Closing it leaves everything as it is; arrays that were allocated here stay until the other heap is closed or somebody frees them.
 *
 * Rejects with a TypeError for what is no handle, and with a HeapError CLOSED.
 */
export function attachHeap(handle: HeapHandle, options: AttachOptions = {}): Promise<Heap> {
  return attachHeapOn(NODE, handle, options)
}
