// Opens live heaps. The program's side of one is a Heap as in every mode; its engine runs on a thread of its own.

import { PAGE_SIZE } from '../../base/addr.ts'
import { formatSize } from '../../base/size.ts'
import { detectLive, type LiveSupport, type NoLiveSupport } from '../../mmu/userfaultfd/features.ts'
import { loadKernel } from '../../mmu/userfaultfd/ffi.ts'
import { SEGMENT_MAX } from '../../mmu/userfaultfd/segment.ts'
import { UFFD_SOURCES } from '../../mmu/userfaultfd/uffd.ts'
import { SinkList } from '../../trace/sink.ts'
import { Arena, ArenaSegment, type SegmentSource } from '../arena.ts'
import type { EngineNews } from '../engine/remote-port.ts'
import { openFile } from '../files-node.ts'
import { Heap } from '../heap.ts'
import { HeapError } from '../heap-error.ts'
import type { HeapSettings, ModeOption } from '../heap-options.ts'
import { registerPort } from '../open-heap.ts'
import { withSites } from '../site-port.ts'
import { traceHeader } from '../trace-files.ts'
import { ENGINE_PROGRAM, EngineThread } from './engine-thread.ts'
import { LimitedRoom } from './room.ts'

/** Segments are made of memories of WebAssembly, whose pages are of 64 KiB. */
const GRANULE = 65536

/** Opens a live heap, or says why there is none here. Rejects with a HeapError FAILED if there can be no swap file. */
export async function openLive(settings: HeapSettings): Promise<Heap | string> {
  const { mode, size, shared, trace, unfreed, onNotice } = settings
  if (!shared) return 'the memory of a live heap is shared memory'
  const support = await findSupport(mode)
  if (support.mode === 'unavailable') return support.reason
  const kernel = await loadKernel()
  const room = new LimitedRoom(kernel, settings.memory)
  const sinks = new SinkList(trace.sinks)
  const engine = new EngineThread(
    kernel,
    {
      support,
      nframes: (Math.ceil(size / GRANULE) * GRANULE) / PAGE_SIZE,
      memory: room.forEngine,
      devices: settings.devices,
      verbose: trace.verbose,
      trace: { files: trace.files, allocations: trace.allocations, header: traceHeader(support.mode) },
      isTraced: trace.sinks.length > 0,
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
  const segments = ready.buffers.map((buffer, i) => new ArenaSegment(i * SEGMENT_MAX, buffer))
  const heap = new Heap({
    mode: support.mode,
    arena: new Arena(new NoMoreSegments(size), () => {}, segments),
    port: withSites(engine.port, trace),
    room,
    openFile,
    unfreed,
    onNotice,
    whenGone: () => engine.whenGone().then(() => room.close()),
  })
  registerPort(heap, engine.port)
  return heap

  function takeNews({ events = [] }: EngineNews): void {
    for (const event of events) sinks.write(event)
  }
}

/** All segments are there from the beginning. */
class NoMoreSegments implements SegmentSource {
  readonly #size: number

  constructor(size: number) {
    this.#size = size
  }

  /** The engine sees to it, when it has given the pages away. */
  clear(): void {}

  make(npages: number, _align: number, what: string): ArenaSegment {
    const needed = formatSize(npages * PAGE_SIZE)
    const text = `${what}: no segment has room for ${needed}, of ${formatSize(this.#size)} in all`
    throw new HeapError('OUT_OF_SPACE', `${text}; free arrays, or open the heap with a larger size`)
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
