// Kernels that are bound directly, as programs of the driver: each slice is one dispatch on bindings of its own ranges.

import type { LaunchReceipt, LaunchRequest } from '../driver/index.ts'
import { type DirectCall, type DirectKernel, planSlices, rangesOfCall, type Slice } from './direct-kernel.ts'
import type { WebGpuDevice, WebGpuDeviceHandle } from './webgpu-device.ts'

/** What a launch can be told besides what its kernel says. */
export type DirectOptions = Pick<LaunchRequest, 'durable' | 'placement' | 'signal'>

/**
 * Runs a kernel on ranges of the address space, in slices that fit the device.
 *
 * Rejects with a TypeError or RangeError for arguments that do not fit the kernel, with an MmError ENOMEM if one invocation needs
 * more than the device has, with a GpuError if the kernel does not compile, and as `DriverHandle.run`.
 */
export async function runDirect(
  { hardware, dispatcher }: WebGpuDevice,
  handle: WebGpuDeviceHandle,
  kernel: DirectKernel,
  call: DirectCall,
  options: DirectOptions = {},
): Promise<LaunchReceipt> {
  const { read = [], write = [] } = rangesOfCall(kernel, call)
  const workgroups = hardware.context.device.limits.maxComputeWorkgroupsPerDimension
  const request: LaunchRequest<Slice> = {
    ...options,
    name: kernel.name,
    read,
    write,
    inOnePiece: true,
    slices: (limits) => planSlices(kernel, call, { ...limits, workgroups }),
  }
  // Compiled while pages move; a mistake in the kernel is told when it would run.
  const compiling = dispatcher.compile(kernel)
  compiling.catch(() => {})
  return await handle.run(request, async (memory, slice) => {
    const compiled = await compiling
    const places = slice.args.map((arg) => memory.binding(arg, arg.access))
    dispatcher.submit(compiled, slice, places, call.uniforms ?? null)
  })
}
