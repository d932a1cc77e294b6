// Opens heaps: decides how accesses of the CPU are found, and puts arena, engine and devices together.

import { PAGE_SIZE } from '../base/addr.ts'
import { Arena, addressPages, GrowingSegments } from './arena.ts'
import { ArrayTable } from './engine/array-table.ts'
import { Engine } from './engine/engine.ts'
import { ExplicitBackend } from './engine/explicit-backend.ts'
import { MemoryEngineDevice } from './engine/memory-device.ts'
import { Heap } from './heap.ts'
import { HeapError } from './heap-error.ts'
import { type HeapOptions, type HeapSettings, parseHeapOptions } from './heap-options.ts'
import type { Platform } from './platform.ts'

/** Opens a heap. What rejects it is told beside `openHeap` of the platform. */
export async function openHeapOn(platform: Platform, options: HeapOptions): Promise<Heap> {
  const settings = parseHeapOptions(options)
  const whyNot = settings.mode === 'explicit' ? null : platform.whyNotLive()
  if (settings.mode === 'live') throw new HeapError('MODE_UNAVAILABLE', `no live heap: ${whyNot}`)
  if (settings.liveOnly.length > 0) throw notInExplicit(settings, whyNot)
  const heap = await openExplicit(settings)
  if (whyNot !== null) announce(settings, whyNot)
  return heap
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

async function openExplicit(settings: HeapSettings): Promise<Heap> {
  const { size, segmentMax, shared, devices, check, trace, unfreed, onNotice } = settings
  const arrays = new ArrayTable()
  const tagOf = check ? (pfn: number) => arrays.useTag(pfn) : undefined
  const engine = new Engine({
    backend: new ExplicitBackend(addressPages(size, segmentMax), tagOf),
    arrays,
    devicePages: devices.reduce((sum, { memory }) => sum + memory / PAGE_SIZE, DEVICE_GAP_PAGES * (devices.length + 1)),
    verbose: trace.verbose,
    sinks: trace.sinks,
  })
  for (const device of devices) await engine.addDevice(async (site) => new MemoryEngineDevice(site, device))
  const makeBuffer = (nbytes: number) => (shared ? new SharedArrayBuffer(nbytes) : new ArrayBuffer(nbytes))
  const arena = new Arena(new GrowingSegments({ size, segmentMax, makeBuffer }), ({ addr, buffer }) => {
    engine.call('segment', { addr, buffer }, () => {})
  })
  const heap = new Heap({ mode: 'explicit', arena, port: engine, unfreed, onNotice })
  registerEngine(heap, engine)
  return heap
}

/** Device memory begins at multiples of 2 MiB. */
const DEVICE_GAP_PAGES = 512

function notInExplicit({ liveOnly }: HeapSettings, whyNot: string | null): HeapError {
  const names = liveOnly.join(' and ')
  const bound = 'arrays lie in buffers of the program, which are bounded by RAM'
  const why = whyNot === null ? '' : `; mode is explicit because ${whyNot}`
  return new HeapError('NOT_IN_MODE', `${names} in explicit mode: ${bound}${why}`)
}

const announced = new Set<string>()

/** Says once why the heap is not live. */
function announce({ onNotice }: HeapSettings, whyNot: string): void {
  if (announced.has(whyNot)) return
  announced.add(whyNot)
  onNotice(`hetmem: heaps are explicit here, so call sync before the CPU uses what a device had: ${whyNot}`)
}
