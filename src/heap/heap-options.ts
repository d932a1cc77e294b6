// What a heap can be opened with. Every option has a default; what is not an option, or makes no sense, is refused by name.

import { PAGE_SIZE, pageAlignUp } from '../base/addr.ts'
import { formatSize, type Size } from '../base/size.ts'
import { HEAP_BYTES_MAX, SEGMENT_BYTES_MAX } from './arena.ts'
import { describe } from './array-types.ts'
import { type DeviceOption, type DeviceSettings, parseDevices } from './device-options.ts'
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

/** What `openHeap` takes. Every option has a default. */
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
  /**
   * Devices that use the heap: `{ memory: '256 MiB' }` is a GPU, and so is a GPUDevice of the program's own, which makes the heap
   * explicit. Default: none.
   */
  readonly device?: DeviceOption | readonly DeviceOption[]
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
   * Live mode: a touch that waits for a page is given up, and the process ends with a message, when no data has moved and no launch
   * has ended for so many milliseconds. A launch may take longer only if nobody waits for it. Default 60,000.
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

/** What a heap of another thread can be attached with. */
export type AttachOptions = Pick<HeapOptions, 'unfreed' | 'onNotice'>

/** Options with every default filled in. */
export type AttachSettings = Pick<HeapSettings, 'unfreed' | 'onNotice'>

/** Throws a TypeError or RangeError that names the option, its value and what was wanted. */
export function parseAttachOptions(options: AttachOptions): AttachSettings {
  checkNames(options, 'options', ['unfreed', 'onNotice'])
  return {
    unfreed: oneOf(options.unfreed, 'unfreed', UNFREED_OPTIONS, 'ignore'),
    onNotice: parseOnNotice(options.onNotice),
  }
}

/** Options with every default filled in. */
export interface HeapSettings {
  readonly mode: ModeOption
  readonly size: number
  readonly segmentMax: number
  readonly shared: boolean
  readonly engineWorker: EngineWorker | null
  readonly devices: readonly DeviceSettings[]
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

/** Throws a TypeError or RangeError that names the option, its value and what was wanted. */
export function parseHeapOptions(options: HeapOptions): HeapSettings {
  checkNames(options, 'options', OPTION_NAMES)
  const { size = HEAP_BYTES_MAX, segments = SEGMENT_BYTES_MAX, trace = {}, memory, swap } = options
  const mode = oneOf(options.mode, 'mode', MODE_OPTIONS, 'auto')
  const shared = parseShared(options.shared)
  const engineWorker = parseEngine(options.engine, mode, shared)
  const devices = parseDevices(options.device ?? [])
  const isHere = hasOwnDevice(devices, mode, engineWorker)
  return {
    mode: engineWorker === null && !isHere ? mode : 'explicit',
    size: parsePages(size, 'size', HEAP_BYTES_MAX),
    segmentMax: parsePages(segments, 'segments', SEGMENT_BYTES_MAX),
    shared,
    engineWorker,
    devices,
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

const NOT_SHARED = 'there is no SharedArrayBuffer here; a web page needs cross-origin isolation for it'

const PATIENCE_DEFAULT = 60_000 // milliseconds

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

/** Whether there is a GPUDevice of the program's own: the engine has to be on its thread then. */
function hasOwnDevice(devices: readonly DeviceSettings[], mode: ModeOption, worker: EngineWorker | null): boolean {
  const own = devices.find((device) => device.kind === 'webgpu' && device.gpuDevice !== null)
  if (own === undefined) return false
  const why = `device "${own.name}" is a GPUDevice of this thread`
  if (mode !== 'auto' && mode !== 'explicit') throw new HeapTypeError(`mode is ${mode}, wanted explicit: ${why}`)
  if (worker !== null) throw new HeapTypeError(`engine is a worker, wanted none: ${why}`)
  return true
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
