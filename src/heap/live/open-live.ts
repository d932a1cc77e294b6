// Opens live heaps. The program's side of one is a Heap as in every mode; its engine runs on a thread of its own.

import { threadId } from 'node:worker_threads'
import { PAGE_SIZE } from '../../base/addr.ts'
import { detectLive, type LiveSupport, type NoLiveSupport } from '../../mmu/userfaultfd/features.ts'
import { loadKernel } from '../../mmu/userfaultfd/ffi.ts'
import { UFFD_SOURCES } from '../../mmu/userfaultfd/uffd.ts'
import { SinkList } from '../../trace/sink.ts'
import { FIRST_CLIENT } from '../engine/client-hub.ts'
import type { EngineNews } from '../engine/remote-port.ts'
import { makeWords } from '../engine/words.ts'
import { Extents } from '../extents.ts'
import { openFile } from '../files-node.ts'
import { Heap } from '../heap.ts'
import { registerPort } from '../heap-engines.ts'
import type { LiveHandle } from '../heap-handle.ts'
import type { HeapSettings, ModeOption } from '../heap-options.ts'
import { withSites } from '../site-port.ts'
import { traceHeader } from '../trace-files.ts'
import { ENGINE_PROGRAM, EngineThread } from './engine-thread.ts'
import { LiveSharing, makeArena } from './live-sharing.ts'
import { LimitedRoom } from './room.ts'

/** Segments are made of memories of WebAssembly, whose pages are of 64 KiB. */
const GRANULE = 65536

/** Heaps that this thread has opened. */
let nheaps = 0

/** Opens a live heap, or says why there is none here. Rejects with a HeapError FAILED if there can be no swap file. */
export async function openLive(settings: HeapSettings): Promise<Heap | string> {
  const { mode, size, shared, trace, unfreed, onNotice } = settings
  if (!shared) return 'the memory of a live heap is shared memory'
  const support = await findSupport(mode)
  if (support.mode === 'unavailable') return support.reason
  const kernel = await loadKernel()
  const words = makeWords(true)
  const room = LimitedRoom.make(kernel, settings.memory, words)
  const nframes = (Math.ceil(size / GRANULE) * GRANULE) / PAGE_SIZE
  const channel = `hetmem ${process.pid} ${threadId} ${++nheaps}`
  const sinks = new SinkList(trace.sinks)
  const { owners, npages: extentPages } = Extents.make(nframes, FIRST_CLIENT)
  const engine = new EngineThread(
    kernel,
    words,
    {
      support,
      channel,
      nframes,
      memory: room.forEngine,
      devices: settings.devices,
      verbose: trace.verbose,
      trace: { files: trace.files, allocations: trace.allocations, header: traceHeader(support.mode) },
      isTraced: trace.sinks.length > 0,
      owners,
      extentPages,
      patienceMs: settings.patience,
      endsProcess: settings.onEngineDeath === 'abort',
      extensions: ENGINE_PROGRAM.extensions?.href ?? null,
    },
    takeNews,
  )
  const ready = await engine.whenReady().catch((error: Error) => error)
  if (ready instanceof Error) {
    room.close()
    return `its engine does not start: ${ready.message}`
  }
  const handle: LiveHandle = {
    kind: 'hetmem heap',
    mode: support.mode,
    channel,
    buffers: ready.buffers,
    owners,
    extentPages,
    words,
    memory: settings.memory,
    swapFd: room.forEngine.swapFd,
    thread: ready.thread,
    endsProcess: settings.onEngineDeath === 'abort',
  }
  const heap = new Heap({
    mode: support.mode,
    arena: makeArena(kernel, handle, FIRST_CLIENT),
    port: withSites(engine.port, trace),
    room,
    openFile,
    unfreed,
    onNotice,
    sharing: new LiveSharing(handle, { isAttached: false }),
    whenGone: () => engine.whenGone().then(() => room.close()),
  })
  registerPort(heap, engine.port)
  return heap

  function takeNews({ events = [], freed }: EngineNews): void {
    for (const event of events) sinks.write(event)
    if (freed !== undefined) heap.freedByOthers(freed.id)
  }
}

/** What the machine has to offer, by mode. It is tried once per process: some sandboxes say yes and do nothing. */
const found = new Map<ModeOption, Promise<LiveSupport | NoLiveSupport>>()

function findSupport(mode: ModeOption): Promise<LiveSupport | NoLiveSupport> {
  let support = found.get(mode)
  if (support === undefined) {
    const sources = mode === 'live-user' ? (['user-mode'] as const) : UFFD_SOURCES
    support = detectLive({ sources, tracking: ENGINE_PROGRAM.tracking })
    found.set(mode, support)
  }
  return support
}
