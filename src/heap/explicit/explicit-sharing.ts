// An explicit heap as the threads of a program share it. Each makes segments of its own, where nobody else allocates; all have one
// engine, which is on one of these threads or in a worker.

import { Arena } from '../arena.ts'
import type { EnginePort } from '../engine/protocol.ts'
import { ENGINE_CLOSED, LAST_ARRAY, MAPS_SENT, makeWords, STATE } from '../engine/words.ts'
import { GrowingSegments } from '../growing-segments.ts'
import { Heap } from '../heap.ts'
import { registerPort } from '../heap-engines.ts'
import type { ExplicitHandle, HeapSharing } from '../heap-handle.ts'
import type { AttachSettings, HeapSettings } from '../heap-options.ts'
import { joinEngine } from '../join-engine.ts'
import type { Platform } from '../platform.ts'

/** Makes the handle of a heap in shared memory. */
export function makeHandle({ size, segmentMax }: Pick<HeapSettings, 'size' | 'segmentMax'>): ExplicitHandle {
  const heapId = [...crypto.getRandomValues(new Int32Array(4))]
  const channel = `hetmem ${heapId.join(' ')}`
  return { kind: 'hetmem heap', mode: 'explicit', channel, words: makeWords(true), heapId, size, segmentMax }
}

/** The arena of one thread, whose segments are announced to the engine. */
export function makeSharedArena(handle: ExplicitHandle, port: EnginePort): Arena {
  const makeBuffer = (nbytes: number): SharedArrayBuffer => new SharedArrayBuffer(nbytes)
  return new Arena(new GrowingSegments({ ...handle, makeBuffer, shared: handle }), ({ addr, buffer }) => {
    port.call('segment', { addr, buffer }, () => {})
  })
}

export class ExplicitSharing implements HeapSharing {
  readonly isAttached: boolean
  readonly #handle: ExplicitHandle
  readonly #onHandle: () => void

  /** `onHandle` is called before anybody gets the handle. */
  constructor(handle: ExplicitHandle, isAttached: boolean, onHandle: () => void) {
    this.isAttached = isAttached
    this.#handle = handle
    this.#onHandle = onHandle
  }

  nextId(): number {
    return Atomics.add(this.#handle.words, LAST_ARRAY, 1) + 1
  }

  mapSent(): void {
    Atomics.add(this.#handle.words, MAPS_SENT, 1)
  }

  handle(): ExplicitHandle {
    this.#onHandle()
    return this.#handle
  }
}

/** Tells all who have joined that the heap is closed. */
export function markClosed({ words }: ExplicitHandle): void {
  Atomics.store(words, STATE, ENGINE_CLOSED)
}

/** The explicit heap of another thread, on this one. Rejects with a HeapError CLOSED if it was closed. */
export async function attachExplicit(
  { openChannel, openFile }: Platform,
  handle: ExplicitHandle,
  { unfreed, onNotice }: AttachSettings,
): Promise<Heap> {
  const { port } = await joinEngine(handle, openChannel, ({ freed }) => {
    if (freed !== undefined) heap.freedByOthers(freed.id)
  })
  const heap = new Heap({
    mode: 'explicit',
    arena: makeSharedArena(handle, port),
    port,
    unfreed,
    onNotice,
    ...(openFile !== null && { openFile }),
    sharing: new ExplicitSharing(handle, true, () => {}),
    whenGone: async () => port.fail({ code: 'CLOSED', message: 'the heap was closed' }),
  })
  registerPort(heap, port)
  return heap
}
