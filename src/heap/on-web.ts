// Heaps in web pages and their workers. Nothing here, nor in what it imports, is Node's.

import { findOwnAdapter } from '../devices/webgpu/own-adapter.ts'
import type { Heap } from './heap.ts'
import { HeapError } from './heap-error.ts'
import type { HeapHandle } from './heap-handle.ts'
import type { AttachOptions, HeapOptions } from './heap-options.ts'
import { attachHeapOn, openHeapOn } from './open-heap.ts'
import type { Platform } from './platform.ts'

const WEB: Platform = {
  async makeDevice(site, settings) {
    const { makeDevice } = await import('./engine/make-device.ts')
    return await makeDevice(site, settings, findOwnAdapter)
  },
  traceVariable: () => undefined,
  openTraceFiles({ files }) {
    if (files.length === 0) return []
    throw new HeapError('FAILED', `opening the trace ${files[0].path}: there are no files here, use trace.sinks`)
  },
  openFile: null,
  openChannel() {
    const why = 'a channel of all threads of a page carries no shared memory'
    throw new HeapError('NOT_IN_MODE', `other threads cannot join the heap of a page: ${why}`)
  },
  checkDevices() {},
  guardEngine: () => () => {},
  openLive: async () => 'real page faults need Node on Linux',
  attachLive: async () => {
    throw new HeapError('MODE_UNAVAILABLE', 'the handle is that of a live heap, wanted Node on Linux')
  },
}

/** Opens a heap, as the function of the same name does under Node (on-node.ts). */
export function openHeap(options: HeapOptions = {}): Promise<Heap> {
  return openHeapOn(WEB, options)
}

/** Is refused here, where no heap can be joined; it has the name that it has under Node. */
export function attachHeap(handle: HeapHandle, options: AttachOptions = {}): Promise<Heap> {
  return attachHeapOn(WEB, handle, options)
}
