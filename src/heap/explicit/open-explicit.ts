// Opens explicit heaps. The engine runs on this thread, where it needs nothing of the runtime, or in a worker that the program made for
// it, where it does not keep this thread from its own work.

import { SinkList } from '../../trace/sink.ts'
import { Arena, GrowingSegments } from '../arena.ts'
import type { Engine } from '../engine/engine.ts'
import type { EnginePort } from '../engine/protocol.ts'
import { Heap, type HeapParts } from '../heap.ts'
import type { HeapSettings } from '../heap-options.ts'
import type { Platform } from '../platform.ts'
import { withSites } from '../site-port.ts'
import { lenderOf } from '../with-buffer.ts'
import type { EngineWorker } from './channel.ts'
import { startEngine } from './engine-thread.ts'

export interface ExplicitHeap {
  readonly heap: Heap
  readonly port: EnginePort
  /** Null if it is in a worker. */
  readonly engine: Engine | null
}

/** Rejects with a HeapError if a device, a file of the trace, or the worker cannot be had. */
export async function openExplicit(platform: Platform, settings: HeapSettings): Promise<ExplicitHeap> {
  const { trace, engineWorker } = settings
  const sinks = [...platform.openTraceFiles(trace, 'explicit'), ...trace.sinks]
  if (engineWorker !== null) return await openInWorker(platform, engineWorker, settings, new SinkList(sinks))
  // Loaded only where it runs: a page whose engine is in a worker does without.
  const { makeExplicitEngine } = await import('./explicit-engine.ts')
  const engine = await makeExplicitEngine({ ...settings, verbose: trace.verbose }, sinks, platform.makeDevice)
  return { heap: makeHeap(platform, settings, engine, { lend: lenderOf(engine) }), port: engine, engine }
}

async function openInWorker(
  platform: Platform,
  worker: EngineWorker,
  settings: HeapSettings,
  sinks: SinkList,
): Promise<ExplicitHeap> {
  const { size, segmentMax, devices, check, trace } = settings
  const engine = { size, segmentMax, devices, check, verbose: trace.verbose }
  const isTraced = trace.sinks.length + trace.files.length > 0
  const { port, whenGone } = await startEngine(worker, { engine, isTraced }, ({ events = [] }) => {
    for (const event of events) sinks.write(event)
  })
  const end = async (): Promise<void> => {
    await whenGone()
    sinks.close()
  }
  const heap = makeHeap(platform, settings, port, { whenGone: end })
  return { heap, port, engine: null }
}

function makeHeap(
  { openFile }: Platform,
  settings: HeapSettings,
  port: EnginePort,
  parts: Pick<HeapParts, 'whenGone' | 'lend'>,
): Heap {
  const { size, segmentMax, shared, trace, unfreed, onNotice } = settings
  const makeBuffer = (nbytes: number) => (shared ? new SharedArrayBuffer(nbytes) : new ArrayBuffer(nbytes))
  const arena = new Arena(new GrowingSegments({ size, segmentMax, makeBuffer }), ({ addr, buffer }) => {
    port.call('segment', { addr, buffer }, () => {})
  })
  return new Heap({
    mode: 'explicit',
    arena,
    port: withSites(port, trace),
    unfreed,
    onNotice,
    ...(openFile !== null && { openFile }),
    ...parts,
  })
}
