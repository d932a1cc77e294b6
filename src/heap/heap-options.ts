// What a heap can be opened with. Every option has a default; what is not an option, or makes no sense, is refused by name.

import { PAGE_SIZE, pageAlignUp } from '../base/addr.ts'
import { formatSize, type Size } from '../base/size.ts'
import { ON_LOST, type OnLost } from '../devices/memory/index.ts'
import { HEAP_BYTES_MAX, SEGMENT_BYTES_MAX } from './arena.ts'
import { describe } from './array-types.ts'
import { PLACES } from './engine/protocol.ts'
import type { EngineWorker } from './explicit/channel.ts'
import { HeapRangeError, HeapTypeError } from './heap-error.ts'
import { type MemorySettings, parseMemory, type SwapSpec } from './memory-options.ts'
import { checkNames, flag, oneOf, parseBytes } from './option-checks.ts'
import { parseTraceOptions, type TraceOptions, type TraceSettings } from './trace-options.ts'

/** How the CPU's accesses to pages that are elsewhere are found. */
export const HEAP_MODES = [
  'live', // the hardware traps them: Linux, with userfaultfd
  'live-user', // the same without privileges: not those inside of system calls
  'explicit', // nobody does: the program calls `sync` before
] as const
export type HeapMode = (typeof HEAP_MODES)[number]

export const MODE_OPTIONS = ['auto', 'live', 'live-user', 'explicit'] as const
export type ModeOption = (typeof MODE_OPTIONS)[number]

/** What `close` does about arrays that were not freed. */
export const UNFREED_OPTIONS = ['ignore', 'warn', 'error'] as const
export type UnfreedOption = (typeof UNFREED_OPTIONS)[number]

/** What the end of the engine means for the program. */
export const ENGINE_DEATH_OPTIONS = ['abort', 'error'] as const
export type EngineDeathOption = (typeof ENGINE_DEATH_OPTIONS)[number]

/** A device whose memory is ordinary RAM: for tests and for trying things out. Its kernels are functions. */
export interface MemoryDeviceSpec {
  readonly kind: 'memory'
  /** In statistics, receipts and errors. Default 'memory', 'memory 2', ... */
  readonly name?: string
  /** Device memory, rounded up to pages of 4 KiB. Default '64 MiB'. */
  readonly memory?: Size
  /** Microseconds that a copy takes besides its bytes. Default 0. */
  readonly latency?: number
  /** Bytes per second in each direction. Default: no limit. */
  readonly bandwidth?: Size
  /** What is found where the newest contents went with a lost device: an error, or bytes 0xff. Default 'sigbus': an error. */
  readonly onLost?: OnLost
}

export type DeviceSpec = MemoryDeviceSpec

export interface HeapOptions {
  /**
   * 'live' is with the privileges that there are, 'live-user' without; both reject where they are not to be had. 'auto' takes
   * 'explicit' then and says why, once. Default 'auto'.
   */
  readonly mode?: ModeOption
  /** What all arrays together may take, up to 16 GiB, with a page of 4 KiB between two. Costs nothing. Default '16 GiB'. */
  readonly size?: Size
  /** The largest segment. Each is one buffer, made when it is needed, and an array lies in one. Default '4 GiB'. */
  readonly segments?: Size
  /** Arrays lie in SharedArrayBuffers. Default: where these exist. */
  readonly shared?: boolean
  /**
   * A worker for the engine, whose program is `hetmem/engine-worker`, so that moving memory does not keep this thread from its own
   * work. For explicit mode, with shared arrays. The heap ends it. Default: the engine runs on this thread.
   */
  readonly engine?: EngineWorker
  /** Devices that use the heap. Default: none. */
  readonly device?: DeviceSpec | readonly DeviceSpec[]
  /**
   * Explicit mode: find out when the CPU touches pages that a device has. It costs time for each page that changes hands.
   * Default: true, unless NODE_ENV is 'production'.
   */
  readonly check?: boolean
  readonly trace?: TraceOptions
  /** What `close` does about arrays that were not freed: nothing, a warning, or an error. Default 'ignore'. */
  readonly unfreed?: UnfreedOption
  /**
   * Live mode: bytes of system memory that the heap may keep; what is colder goes to swap, and without swap arrays can have no more
   * than that together. In explicit mode an error. Default: no limit.
   */
  readonly memory?: Size
  /**
   * Live mode: bytes that arrays can have beyond `memory`, in a swap file. The file has room for every array, so it becomes as long as
   * `memory` and `swap` together. It lies in the directory for temporary files, or in that of `path`. In explicit mode an error.
   */
  readonly swap?: Size | SwapSpec
  /**
   * Live mode: a touch that waits for a page is given up, and the process ends with a message, when nothing at all has moved for
   * so many milliseconds. Default 60,000.
   */
  readonly patience?: number
  /**
   * Live mode: what happens when the engine fails. A page that is not here cannot be had then, so the process ends with a message;
   * with 'error' it goes on, touches find whatever there is, and every call is refused. Default 'abort'.
   */
  readonly onEngineDeath?: EngineDeathOption
  /** Takes notices and warnings. Default: console.warn. */
  readonly onNotice?: (text: string) => void
}

/** Options with every default filled in. */
export interface HeapSettings {
  readonly mode: ModeOption
  readonly size: number
  readonly segmentMax: number
  readonly shared: boolean
  readonly engineWorker: EngineWorker | null
  readonly devices: readonly MemoryDeviceSettings[]
  readonly check: boolean
  readonly trace: TraceSettings
  readonly unfreed: UnfreedOption
  readonly memory: MemorySettings
  /** Names of options that mean something in live mode only. */
  readonly liveOnly: readonly string[]
  /** Milliseconds. */
  readonly patience: number
  readonly onEngineDeath: EngineDeathOption
  readonly onNotice: (text: string) => void
}

export interface MemoryDeviceSettings {
  readonly name: string
  /** Bytes. */
  readonly memory: number
  readonly latency: number
  /** Bytes per second; undefined for no limit. */
  readonly bandwidth: number | undefined
  readonly onLost: OnLost
}

/** Throws a TypeError or RangeError that names the option, its value and what was wanted. */
export function parseHeapOptions(options: HeapOptions): HeapSettings {
  checkNames(options, 'options', OPTION_NAMES)
  const { size = HEAP_BYTES_MAX, segments = SEGMENT_BYTES_MAX, trace = {}, memory, swap } = options
  const mode = oneOf(options.mode, 'mode', MODE_OPTIONS, 'auto')
  const shared = parseShared(options.shared)
  const engineWorker = parseEngine(options.engine, mode, shared)
  return {
    mode: engineWorker === null ? mode : 'explicit',
    size: parsePages(size, 'size', HEAP_BYTES_MAX),
    segmentMax: parsePages(segments, 'segments', SEGMENT_BYTES_MAX),
    shared,
    engineWorker,
    devices: parseDevices(options.device ?? []),
    check: flag(options.check, 'check', !isProduction()),
    trace: parseTraceOptions(trace),
    unfreed: oneOf(options.unfreed, 'unfreed', UNFREED_OPTIONS, 'ignore'),
    memory: parseMemory(memory, swap),
    liveOnly: [...(memory === undefined ? [] : ['memory']), ...(swap === undefined ? [] : ['swap'])],
    patience: parsePatience(options.patience),
    onEngineDeath: oneOf(options.onEngineDeath, 'onEngineDeath', ENGINE_DEATH_OPTIONS, 'abort'),
    onNotice: parseOnNotice(options.onNotice),
  }
}

const OPTION_NAMES = [
  'mode',
  'size',
  'segments',
  'shared',
  'engine',
  'device',
  'check',
  'trace',
  'unfreed',
  'memory',
  'swap',
  'patience',
  'onEngineDeath',
  'onNotice',
] as const satisfies readonly (keyof HeapOptions)[]

const DEVICE_OPTION_NAMES = [
  'kind',
  'name',
  'memory',
  'latency',
  'bandwidth',
  'onLost',
] as const satisfies readonly (keyof MemoryDeviceSpec)[]

const DEVICE_KINDS = ['memory'] as const satisfies readonly DeviceSpec['kind'][]

const NOT_SHARED = 'there is no SharedArrayBuffer here; a web page needs cross-origin isolation for it'

const PATIENCE_DEFAULT = 60_000 // milliseconds

const DEVICE_MEMORY_DEFAULT = '64 MiB'

// ---- devices ----

function parseDevices(option: DeviceSpec | readonly DeviceSpec[]): readonly MemoryDeviceSettings[] {
  const specs = Array.isArray(option) ? (option as readonly DeviceSpec[]) : [option as DeviceSpec]
  const names = new Set<string>(PLACES)
  return specs.map((spec, i) => {
    const device = parseDevice(spec, Array.isArray(option) ? `device[${i}]` : 'device', i)
    if (names.has(device.name)) {
      throw new HeapRangeError(`name of device ${i} is ${describe(device.name)}, wanted a name that nothing else has`)
    }
    names.add(device.name)
    return device
  })
}

function parseDevice(spec: DeviceSpec, where: string, index: number): MemoryDeviceSettings {
  checkNames(spec, where, DEVICE_OPTION_NAMES)
  oneOf<string>(spec.kind, `${where}.kind`, DEVICE_KINDS)
  const { name = index === 0 ? 'memory' : `memory ${index + 1}`, memory = DEVICE_MEMORY_DEFAULT } = spec
  if (typeof name !== 'string' || name === '') {
    throw new HeapTypeError(`${where}.name is ${describe(name)}, wanted a text`)
  }
  const latency = spec.latency ?? 0
  if (typeof latency !== 'number' || Number.isNaN(latency)) {
    throw new HeapTypeError(`${where}.latency is ${describe(latency)}, wanted microseconds`)
  }
  if (latency < 0 || latency === Number.POSITIVE_INFINITY) {
    throw new HeapRangeError(`${where}.latency is ${latency}, wanted microseconds from 0`)
  }
  const bandwidth = spec.bandwidth === undefined ? undefined : parseBytes(spec.bandwidth, `${where}.bandwidth`)
  if (bandwidth === 0) throw new HeapRangeError(`${where}.bandwidth is 0, wanted at least 1 byte per second`)
  return {
    name,
    memory: parsePages(memory, `${where}.memory`, SEGMENT_BYTES_MAX),
    latency,
    bandwidth,
    onLost: oneOf(spec.onLost, `${where}.onLost`, ON_LOST, 'sigbus'),
  }
}

// ---- one option ----

/** Bytes in whole pages, rounded up, at least one. */
function parsePages(size: Size, name: string, max: number): number {
  const nbytes = pageAlignUp(parseBytes(size, name))
  if (nbytes < PAGE_SIZE || nbytes > max) {
    throw new HeapRangeError(`${name} is ${size}, wanted more than 0 bytes and at most ${formatSize(max)}`)
  }
  return nbytes
}

function parseShared(shared: boolean | undefined): boolean {
  const hasShared = typeof SharedArrayBuffer === 'function'
  if (shared === true && !hasShared) throw new HeapRangeError(`shared is true, wanted false: ${NOT_SHARED}`)
  return flag(shared, 'shared', hasShared)
}

function parseEngine(engine: EngineWorker | undefined, mode: ModeOption, shared: boolean): EngineWorker | null {
  if (engine === undefined) return null
  if (typeof engine !== 'object' || engine === null || typeof engine.postMessage !== 'function') {
    throw new HeapTypeError(`engine is ${describe(engine)}, wanted a worker`)
  }
  if (mode !== 'auto' && mode !== 'explicit') {
    throw new HeapTypeError(
      `engine is a worker in ${mode} mode, which has a thread of its own for it: wanted explicit mode`,
    )
  }
  if (!shared) {
    const why = typeof SharedArrayBuffer === 'function' ? 'shared is false' : NOT_SHARED
    throw new HeapRangeError(`engine is a worker, wanted none where arrays are not shared: ${why}`)
  }
  return engine
}

function parsePatience(patience = PATIENCE_DEFAULT): number {
  if (typeof patience !== 'number' || Number.isNaN(patience)) {
    throw new HeapTypeError(`patience is ${describe(patience)}, wanted milliseconds`)
  }
  if (patience < 1) throw new HeapRangeError(`patience is ${patience}, wanted at least 1 millisecond`)
  return patience
}

function parseOnNotice(onNotice: ((text: string) => void) | undefined): (text: string) => void {
  if (onNotice === undefined) return (text) => console.warn(text)
  if (typeof onNotice !== 'function') {
    throw new HeapTypeError(`onNotice is ${describe(onNotice)}, wanted a function`)
  }
  return onNotice
}

/** Bundlers put a text in the place of `process.env.NODE_ENV`; elsewhere there may be no process. */
function isProduction(): boolean {
  try {
    return process.env.NODE_ENV === 'production'
  } catch {
    return false
  }
}
