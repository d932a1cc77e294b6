// Opens heaps: decides how accesses of the CPU are found, and puts arena, engine and devices together.

import { describe } from '../base/describe.ts'
import type { Engine } from './engine/engine.ts'
import type { EnginePort } from './engine/protocol.ts'
import { openExplicit } from './explicit/open-explicit.ts'
import type { Heap } from './heap.ts'
import { HeapError, HeapTypeError } from './heap-error.ts'
import type { HeapHandle } from './heap-handle.ts'
import {
  type AttachOptions,
  type HeapOptions,
  type HeapSettings,
  parseAttachOptions,
  parseHeapOptions,
} from './heap-options.ts'
import type { Platform } from './platform.ts'
import { withTraceVariable } from './trace-options.ts'

/** Opens a heap. What rejects it is told beside `openHeap` of the platform. */
export async function openHeapOn(platform: Platform, options: HeapOptions): Promise<Heap> {
  const parsed = parseHeapOptions(options)
  const settings = { ...parsed, trace: withTraceVariable(parsed.trace, platform.traceVariable()) }
  const heap = await openInMode(platform, settings)
  if (settings.devices.length > 0) await announceDevices(heap, settings)
  return heap
}

async function openInMode(platform: Platform, settings: HeapSettings): Promise<Heap> {
  const live = settings.mode === 'explicit' ? null : await platform.openLive(settings)
  if (live !== null && typeof live !== 'string') return live
  if (settings.mode === 'live' || settings.mode === 'live-user') {
    throw new HeapError('MODE_UNAVAILABLE', `no ${settings.mode} heap: ${live}`)
  }
  if (settings.liveOnly.length > 0) throw notInExplicit(settings, live)
  const { heap, port, engine } = await openExplicit(platform, settings)
  registerPort(heap, port)
  if (engine !== null) registerEngine(heap, engine)
  if (live !== null) announce(settings, whyExplicit(live))
  return heap
}

/** Attaches the heap of another thread. What rejects it is told beside `attachHeap` of the platform. */
export async function attachHeapOn(platform: Platform, handle: HeapHandle, options: AttachOptions): Promise<Heap> {
  if (handle?.kind !== 'hetmem heap') {
    throw new HeapTypeError(`handle is ${describe(handle)}, wanted what \`heap.handle\` of another thread was`)
  }
  return await platform.attachLive(handle, parseAttachOptions(options))
}

/** The engine of a heap on this thread, for launches until there are kernels. */
export function engineOf(heap: Heap): Engine {
  const engine = engines.get(heap)
  if (engine === undefined) throw new HeapError('FAILED', 'the engine of the heap is not on this thread')
  return engine
}

const engines = new WeakMap<Heap, Engine>()

/** Says which engine a heap has, for `engineOf`. */
export function registerEngine(heap: Heap, engine: Engine): void {
  engines.set(heap, engine)
}

/** The way to the engine of a heap, for what the heap has no call for. */
export function portOf(heap: Heap): EnginePort {
  const port = ports.get(heap)
  if (port === undefined) throw new HeapError('FAILED', 'the engine of the heap is not known')
  return port
}

const ports = new WeakMap<Heap, EnginePort>()

/** Says how the engine of a heap is reached, for `portOf`. */
export function registerPort(heap: Heap, port: EnginePort): void {
  ports.set(heap, port)
}

function notInExplicit({ liveOnly }: HeapSettings, whyNot: string | null): HeapError {
  const names = liveOnly.join(' and ')
  const bound = 'arrays lie in buffers of the program, which are bounded by RAM'
  const why = whyNot === null ? '' : `; mode is explicit because ${whyNot}`
  return new HeapError('NOT_IN_MODE', `${names} in explicit mode: ${bound}${why}`)
}

const announced = new Set<string>()

/** Says something once. */
function announce({ onNotice }: HeapSettings, text: string): void {
  if (announced.has(text)) return
  announced.add(text)
  onNotice(`hetmem: ${text}`)
}

function whyExplicit(whyNotLive: string): string {
  return `heaps are explicit here, so call sync before the CPU uses what a device had: ${whyNotLive}`
}

/** Devices that are not what one would expect say so. */
async function announceDevices(heap: Heap, settings: HeapSettings): Promise<void> {
  const { devices } = await heap.stats()
  for (const { name, note } of devices) if (note !== null) announce(settings, `device "${name}": ${note}`)
}
