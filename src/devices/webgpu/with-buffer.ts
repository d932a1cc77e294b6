// Part of the heap as a range of a GPUBuffer, for whatever a program or another library does with buffers: drawing, texture copies,
// kernels of its own. The range stays where it is while the callback runs, and everything that is submitted until then finds it.

import type { Access } from '../../trace/events.ts'
import type { AddrRange } from '../claims.ts'
import type { LaunchReceipt } from '../driver/index.ts'
import type { GpuBinding } from './gpu-launch.ts'
import type { WebGpuDeviceHandle } from './webgpu-device.ts'

/** What the callback gets. `offset` is a multiple of 4096 for a range that begins with a page. */
export interface BufferRange extends GpuBinding {
  readonly device: GPUDevice
}

/**
 * Calls `use` with the place of a range. It counts as a launch that reads, or with 'write' reads and writes, the range: the CPU and
 * other launches wait for its end.
 *
 *     await withBuffer(handle, range, 'read', ({ device, buffer, offset, size }) => { ... device.queue.submit([...]) })
 *
 * Rejects as `run`, or with what `use` threw.
 */
export function withBuffer(
  handle: WebGpuDeviceHandle,
  range: AddrRange,
  access: Access,
  use: (range: BufferRange) => void | Promise<void>,
): Promise<LaunchReceipt> {
  return withBuffers(handle, [range], access, ([place]) => use(place))
}

/** The same for several ranges at once: while one is lent the device does nothing else, and could not lend another one. */
export function withBuffers(
  handle: WebGpuDeviceHandle,
  ranges: readonly AddrRange[],
  access: Access,
  use: (ranges: readonly BufferRange[]) => void | Promise<void>,
): Promise<LaunchReceipt> {
  const uses = access === 'write' ? { write: ranges } : { read: ranges }
  return handle.run({ name: 'withBuffer', inOnePiece: true, isPatient: true, ...uses }, (memory) =>
    use(ranges.map((range) => ({ device: memory.device, ...memory.binding(range, access) }))),
  )
}
