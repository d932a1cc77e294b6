// A device whose memory is ordinary RAM: start here. The whole HMM driver of src/devices/driver stands on it, with copies that take
// the time of a chosen link, and kernels that are functions. So everything that a driver has to do (pages pinned in place,
// read duplicates, claims, eviction, loss) runs wherever JavaScript runs.

import { PAGE_SIZE } from '../../base/addr.ts'
import { parseSize, type Size } from '../../base/size.ts'
import type { System } from '../../mm/system.ts'
import {
  type DeviceClock,
  DeviceDriver,
  type DriverHandle,
  type DriverOptions,
  type Program,
  SYSTEM_CLOCK,
} from '../driver/index.ts'
import type { LaunchMemory } from './launch-memory.ts'
import { type CopierMaker, MemoryHardware } from './memory-hardware.ts'

export interface MemoryDeviceOptions extends DriverOptions {
  /** In events, receipts and errors. Default `memory`. */
  readonly name?: string
  /** Device memory, a multiple of 4 KiB. */
  readonly memory: Size
  /** Microseconds that a copy takes besides its bytes. Default 0. */
  readonly latency?: number
  /** Bytes per second of the link, in each direction. Default: no limit. */
  readonly bandwidth?: Size
  /** Default: that of the machine. Copies that take no time need none. */
  readonly clock?: DeviceClock
  /** Copies what is read ahead beside this thread. Default: nobody does. */
  readonly copier?: CopierMaker | undefined
}

/** Works on the ranges of a launch, or of a slice of one. It has done its work when it returns, or when its promise resolves. */
export type Kernel = Program<LaunchMemory>

export type MemoryDeviceHandle = DriverHandle<LaunchMemory>

export class MemoryDevice extends DeviceDriver<LaunchMemory> {
  readonly hardware: MemoryHardware

  /** Adds a device to the machine. Throws a TypeError or RangeError for options that make no sense. */
  constructor(sys: System, options: MemoryDeviceOptions) {
    const { name = 'memory', latency = 0, clock = SYSTEM_CLOCK } = options
    const nbytes = parseSize(options.memory, 'memory')
    if (nbytes === 0 || nbytes % PAGE_SIZE !== 0) {
      throw new RangeError(`memory of ${nbytes} bytes, wanted a multiple of ${PAGE_SIZE}`)
    }
    const bandwidth =
      options.bandwidth === undefined ? Number.POSITIVE_INFINITY : parseSize(options.bandwidth, 'bandwidth')
    if (!(latency >= 0) || bandwidth === 0) {
      throw new RangeError(`latency of ${latency} us at ${bandwidth} bytes/s, wanted at least 0 us and 1 byte/s`)
    }
    const hardware = new MemoryHardware(sys.mmu, nbytes / PAGE_SIZE, clock, { latency, bandwidth }, options.copier)
    super(sys, hardware, { ...options, name, clock })
    this.hardware = hardware
  }
}
