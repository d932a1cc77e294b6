// Opens explicit heaps. The engine runs on this thread, where it needs nothing of the runtime, or in a worker that the program made for
// it, where it does not keep this thread from its own work.

import { SinkList } from '../../trace/sink.ts'
import { Arena } from '../arena.ts'
import { ClientHub, FIRST_CLIENT } from '../engine/client-hub.ts'
import type { Engine } from '../engine/engine.ts'
import type { EnginePort } from '../engine/protocol.ts'
import { GrowingSegments } from '../growing-segments.ts'
import { Heap, type HeapParts } from '../heap.ts'
import type { HeapSettings } from '../heap-options.ts'
import type { Platform } from '../platform.ts'
import { withSites } from '../site-port.ts'
import { lenderOf } from '../with-buffer.ts'
import type { EngineWorker } from './channel.ts'
import { startEngine } from './engine-thread.ts'
import { ExplicitSharing, makeHandle, makeSharedArena, markClosed } from './explicit-sharing.ts'

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
  const lend = lenderOf(engine)
  if (!settings.shared) return { heap: makeHeap(platform, settings, engine, { lend }), port: engine, engine }
  const handle = makeHandle(settings)
  const hub = new ClientHub(engine, handle.channel, handle.words, platform.openChannel)
  const port = hub.addHere(FIRST_CLIENT, ({ freed }) => {
    if (freed !== undefined) heap.freedByOthers(freed.id)
  })
  const heap = makeHeap(platform, settings, port, {
    lend,
    arena: makeSharedArena(handle, port),
    // A channel costs something, and most heaps are for one thread.
    sharing: new ExplicitSharing(handle, false, () => hub.listen()),
    whenGone: async () => {
      markClosed(handle)
      hub.close()
    },
  })
  return { heap, port, engine }
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
  const handle = makeHandle(settings)
  const { channel, words } = handle
  const { port, whenGone } = await startEngine(
    worker,
    { engine, isTraced, channel, words },
    ({ events = [], freed }) => {
      for (const event of events) sinks.write(event)
      if (freed !== undefined) heap.freedByOthers(freed.id)
    },
    platform.guardEngine,
  )
  const end = async (): Promise<void> => {
    markClosed(handle)
    await whenGone()
    sinks.close()
  }
  const sharing = new ExplicitSharing(handle, false, () => {})
  const heap = makeHeap(platform, settings, port, { arena: makeSharedArena(handle, port), sharing, whenGone: end })
  return { heap, port, engine: null }
}

function makeHeap(
  { openFile }: Platform,
  settings: HeapSettings,
  port: EnginePort,
  parts: Partial<Pick<HeapParts, 'arena' | 'sharing' | 'whenGone' | 'lend'>>,
): Heap {
  const { trace, unfreed, onNotice } = settings
  return new Heap({
    mode: 'explicit',
    arena: parts.arena ?? makeOwnArena(settings, port),
    port: withSites(port, trace),
    unfreed,
    onNotice,
    ...(openFile !== null && { openFile }),
    ...parts,
  })
}

/** Of ordinary buffers, which no other thread can have. */
function makeOwnArena({ size, segmentMax }: HeapSettings, port: EnginePort): Arena {
  const makeBuffer = (nbytes: number): ArrayBuffer => new ArrayBuffer(nbytes)
  return new Arena(new GrowingSegments({ size, segmentMax, makeBuffer }), ({ addr, buffer }) => {
    port.call('segment', { addr, buffer }, () => {})
  })
}
