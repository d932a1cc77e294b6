// Devices that a heap can be opened with. A device is said by kind, or is a GPUDevice of the program's own.

import { PAGE_SIZE, pageAlignUp } from '../base/addr.ts'
import { describe } from '../base/describe.ts'
import { formatSize, type Size } from '../base/size.ts'
import { ON_LOST, type OnLost } from '../devices/driver/device-parts.ts'
import { SEGMENT_BYTES_MAX } from './arena.ts'
import { PLACES } from './engine/protocol.ts'
import { HeapRangeError, HeapTypeError } from './heap-error.ts'
import { checkNames, oneOf, parseBytes } from './option-checks.ts'

/** Which adapter to take where there are several. */
export const ADAPTER_OPTIONS = [
  'high-performance',
  'low-power',
  'software', // runs on the CPU, wherever there is one
] as const
export type AdapterOption = (typeof ADAPTER_OPTIONS)[number]

/** What devices of all kinds can be told. */
interface AnyDeviceSpec {
  /** In statistics, receipts and errors. Default: the kind, with a number for the second one and those after it. */
  readonly name?: string
  /** What is found where the newest contents went with a lost device: an error, or bytes 0xff. Default 'sigbus': an error. */
  readonly onLost?: OnLost
  /**
   * Milliseconds that a kernel may run without any of its parts being done before the device counts as hung. Default 120,000;
   * of memory devices as long as they like.
   */
  readonly deadline?: number
}

/** A GPU. */
export interface WebGpuDeviceSpec extends AnyDeviceSpec {
  /** Default. */
  readonly kind?: 'webgpu'
  /** Device memory, rounded up to pages of 4 KiB. A GPU that has less gives what it has. Default '256 MiB'. */
  readonly memory?: Size
  /** Default: what the platform prefers; software where there is nothing else. */
  readonly adapter?: AdapterOption
  /**
   * A device that the program has made, and that it goes on using. It is not destroyed with the heap. For explicit mode. In Node it lives
   * only as long as somebody has what `create()` of the package webgpu returned; `findAdapter` of hetmem/webgpu keeps that for ever.
   */
  readonly gpuDevice?: GPUDevice
}

/** A device whose memory is ordinary RAM: for tests and for trying things out. Its kernels are functions. */
export interface MemoryDeviceSpec extends AnyDeviceSpec {
  readonly kind: 'memory'
  /** Device memory, rounded up to pages of 4 KiB. Default '64 MiB'. */
  readonly memory?: Size
  /** Microseconds that a copy takes besides its bytes. Default 0. */
  readonly latency?: number
  /** Bytes per second in each direction. Default: no limit. */
  readonly bandwidth?: Size
}

export type DeviceSpec = WebGpuDeviceSpec | MemoryDeviceSpec

/** A device as `openHeap` takes it: what it is to be, or the program's own. */
export type DeviceOption = DeviceSpec | GPUDevice

interface AnyDeviceSettings {
  readonly name: string
  /** Bytes. */
  readonly memory: number
  readonly onLost: OnLost
  /** Microseconds; Infinity for none. */
  readonly deadline: number
}

/** With every default filled in. Plain data but for a device of the program's own. */
export interface WebGpuDeviceSettings extends AnyDeviceSettings {
  readonly kind: 'webgpu'
  readonly adapter: AdapterOption | null
  readonly gpuDevice: GPUDevice | null
}

export interface MemoryDeviceSettings extends AnyDeviceSettings {
  readonly kind: 'memory'
  readonly latency: number
  /** Bytes per second; undefined for no limit. */
  readonly bandwidth: number | undefined
}

export type DeviceSettings = WebGpuDeviceSettings | MemoryDeviceSettings

const ANY_NAMES = ['kind', 'name', 'memory', 'onLost', 'deadline'] as const
const WEBGPU_NAMES = [...ANY_NAMES, 'adapter', 'gpuDevice'] as const satisfies readonly (keyof WebGpuDeviceSpec)[]
const MEMORY_NAMES = [...ANY_NAMES, 'latency', 'bandwidth'] as const satisfies readonly (keyof MemoryDeviceSpec)[]

const DEVICE_KINDS = ['webgpu', 'memory'] as const satisfies readonly DeviceSettings['kind'][]

const WEBGPU_MEMORY_DEFAULT = '256 MiB'
const MEMORY_DEFAULT = '64 MiB'
const DEADLINE_DEFAULT = 120_000 // milliseconds

/** Throws a TypeError or RangeError that names the option, its value and what was wanted. */
export function parseDevices(option: DeviceOption | readonly DeviceOption[]): readonly DeviceSettings[] {
  const options = Array.isArray(option) ? (option as readonly DeviceOption[]) : [option as DeviceOption]
  const names = new Set<string>(PLACES)
  return options.map((each, i) => {
    const device = parseDevice(each, Array.isArray(option) ? `device[${i}]` : 'device', i)
    if (names.has(device.name)) {
      throw new HeapRangeError(`name of device ${i} is ${describe(device.name)}, wanted a name that nothing else has`)
    }
    names.add(device.name)
    return device
  })
}

function parseDevice(option: DeviceOption, where: string, index: number): DeviceSettings {
  if (isGpuDevice(option)) return parseWebGpu({ gpuDevice: option }, where, index)
  const kind = oneOf<string>((option as DeviceSpec | null)?.kind, `${where}.kind`, DEVICE_KINDS, 'webgpu')
  return kind === 'memory'
    ? parseMemory(option as MemoryDeviceSpec, where, index)
    : parseWebGpu(option as WebGpuDeviceSpec, where, index)
}

function parseWebGpu(spec: WebGpuDeviceSpec, where: string, index: number): WebGpuDeviceSettings {
  checkNames(spec, where, WEBGPU_NAMES)
  const { memory = WEBGPU_MEMORY_DEFAULT, adapter, gpuDevice = null } = spec
  if (gpuDevice !== null && !isGpuDevice(gpuDevice)) {
    throw new HeapTypeError(`${where}.gpuDevice is ${describe(gpuDevice)}, wanted a GPUDevice`)
  }
  if (gpuDevice !== null && adapter !== undefined) {
    throw new HeapTypeError(`${where}.adapter is ${describe(adapter)}, wanted none beside a gpuDevice`)
  }
  return {
    kind: 'webgpu',
    ...parseAny(spec, 'webgpu', memory, DEADLINE_DEFAULT, where, index),
    adapter: adapter === undefined ? null : oneOf(adapter, `${where}.adapter`, ADAPTER_OPTIONS),
    gpuDevice,
  }
}

function parseMemory(spec: MemoryDeviceSpec, where: string, index: number): MemoryDeviceSettings {
  checkNames(spec, where, MEMORY_NAMES)
  const bandwidth = spec.bandwidth === undefined ? undefined : parseBytes(spec.bandwidth, `${where}.bandwidth`)
  if (bandwidth === 0) throw new HeapRangeError(`${where}.bandwidth is 0, wanted at least 1 byte per second`)
  return {
    kind: 'memory',
    ...parseAny(spec, 'memory', spec.memory ?? MEMORY_DEFAULT, Number.POSITIVE_INFINITY, where, index),
    latency: parseTime(spec.latency, 0, `${where}.latency`, 'microseconds from 0', 0),
    bandwidth,
  }
}

function parseAny(
  spec: AnyDeviceSpec,
  kind: string,
  memory: Size,
  deadline: number,
  where: string,
  index: number,
): AnyDeviceSettings {
  const { name = index === 0 ? kind : `${kind} ${index + 1}` } = spec
  if (typeof name !== 'string' || name === '') {
    throw new HeapTypeError(`${where}.name is ${describe(name)}, wanted a text`)
  }
  const nbytes = pageAlignUp(parseBytes(memory, `${where}.memory`))
  if (nbytes < PAGE_SIZE || nbytes > SEGMENT_BYTES_MAX) {
    const wanted = `wanted more than 0 bytes and at most ${formatSize(SEGMENT_BYTES_MAX)}`
    throw new HeapRangeError(`${where}.memory is ${memory}, ${wanted}`)
  }
  return {
    name,
    memory: nbytes,
    onLost: oneOf(spec.onLost, `${where}.onLost`, ON_LOST, 'sigbus'),
    deadline: 1000 * parseTime(spec.deadline, deadline, `${where}.deadline`, 'milliseconds from 1', 1),
  }
}

function parseTime(time: number | undefined, byDefault: number, name: string, wanted: string, least: number): number {
  if (time === undefined) return byDefault
  if (typeof time !== 'number' || Number.isNaN(time)) {
    throw new HeapTypeError(`${name} is ${describe(time)}, wanted ${wanted}`)
  }
  if (time < least || time === Number.POSITIVE_INFINITY)
    throw new HeapRangeError(`${name} is ${time}, wanted ${wanted}`)
  return time
}

/** Objects of another realm, or of a library, are GPUDevices too. */
function isGpuDevice(value: unknown): value is GPUDevice {
  if (typeof value !== 'object' || value === null) return false
  const { createBuffer, queue } = value as Partial<GPUDevice>
  return typeof createBuffer === 'function' && typeof queue === 'object'
}
