// A WebGPU device as an HMM device: start here. The driver is that of src/devices/driver, on buffers of a GPU; kernels are programs
// that dispatch (kernel-launch.ts), or whatever else is done with a buffer (with-buffer.ts).

import { PAGE_SIZE } from '../../base/addr.ts'
import { parseSize, type Size } from '../../base/size.ts'
import type { System } from '../../mm/system.ts'
import { DeviceDriver, type DriverHandle, type DriverOptions } from '../driver/index.ts'
import type { GpuLaunch } from './gpu-launch.ts'
import { WebGpuHardware } from './webgpu-hardware.ts'

/** What a WebGpuDevice is made with. */
export interface WebGpuDeviceOptions extends DriverOptions {
  /** In events, receipts and errors. Default `webgpu`. */
  readonly name?: string
  /** Device memory, a multiple of 4 KiB. A device that has less gives what it has. */
  readonly memory: Size
  /** The largest buffer. Default: what the device allows. */
  readonly bank?: Size
  /** The GPUDevice is destroyed with the device. Default false: it is the caller's. */
  readonly ownsDevice?: boolean
}

export type WebGpuDeviceHandle = DriverHandle<GpuLaunch>

/** Microseconds without progress after which a device counts as hung. A software driver may take long for one dispatch. */
const DEADLINE = 120e6

/** A GPU as a device with memory of its own: buffers for frames, copies through its queue. */
export class WebGpuDevice extends DeviceDriver<GpuLaunch> {
  /** @internal */
  readonly hardware: WebGpuHardware

  /**
   * Adds a device to the machine. Rejects with a TypeError or RangeError for options that make no sense, and with a GpuError if the
   * GPUDevice is lost or has no memory at all.
   */
  static async create(sys: System, device: GPUDevice, options: WebGpuDeviceOptions): Promise<WebGpuDevice> {
    const nbytes = parsePages(options.memory, 'memory')
    const bankBytesMax = options.bank === undefined ? undefined : parsePages(options.bank, 'bank')
    const { ownsDevice = false } = options
    const hardware = await WebGpuHardware.create(sys.mmu, device, { nbytes, bankBytesMax, ownsDevice })
    return new WebGpuDevice(sys, hardware, options)
  }

  /** Use `create`. */
  private constructor(sys: System, hardware: WebGpuHardware, options: WebGpuDeviceOptions) {
    super(sys, hardware, { deadline: DEADLINE, ...options, name: options.name ?? 'webgpu' })
    this.hardware = hardware
  }
}

function parsePages(size: Size, name: string): number {
  const nbytes = parseSize(size, name)
  if (nbytes === 0 || nbytes % PAGE_SIZE !== 0) {
    throw new RangeError(`${name} of ${nbytes} bytes, wanted a positive multiple of ${PAGE_SIZE}`)
  }
  return nbytes
}
