// Opens heaps: decides how accesses of the CPU are found, and puts arena, engine and devices together.

import { describe } from '../base/describe.ts'
import { attachExplicit } from './explicit/explicit-sharing.ts'
import { openExplicit } from './explicit/open-explicit.ts'
import type { Heap } from './heap.ts'
import { registerEngine, registerPort } from './heap-engines.ts'
import { HeapError, HeapTypeError } from './heap-error.ts'
import type { HeapHandle } from './heap-handle.ts'
import {
  type AttachOptions,
  HEAP_MODES,
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
  platform.checkDevices(parsed.devices)
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
  if (!isHandle(handle)) {
    throw new HeapTypeError(`handle is ${describe(handle)}, wanted what \`heap.handle\` of another thread was`)
  }
  const settings = parseAttachOptions(options)
  return handle.mode === 'explicit' ? attachExplicit(platform, handle, settings) : platform.attachLive(handle, settings)
}

/** A handle goes by message. What went through JSON has lost its memory on the way. */
function isHandle(handle: HeapHandle): boolean {
  if (handle?.kind !== 'hetmem heap' || !HEAP_MODES.includes(handle.mode) || !ArrayBuffer.isView(handle.words))
    return false
  return handle.mode === 'explicit' ? 'heapId' in handle : 'buffers' in handle
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
