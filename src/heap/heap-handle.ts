// How the heap of one thread is found by others: a handle is plain data, which goes wherever messages go, and attachHeap() makes
// a heap of it there.

import type { MemorySettings } from './memory-options.ts'

interface CommonHandle {
  readonly kind: 'hetmem heap'
  /** Where threads join: the name of a BroadcastChannel. */
  readonly channel: string
  /** See engine/words.ts. */
  readonly words: Int32Array<SharedArrayBuffer>
}

export interface LiveHandle extends CommonHandle {
  readonly mode: 'live' | 'live-user'
  readonly buffers: readonly SharedArrayBuffer[]
  /** See extents.ts. */
  readonly owners: Int32Array<SharedArrayBuffer>
  readonly extentPages: number
  /** What bounds the room for arrays. */
  readonly memory: MemorySettings
  /** The swap file, -1 for none. */
  readonly swapFd: number
  /** Where the system shows the thread of the engine, below /proc, and whether its end is that of the process. */
  readonly thread: string
  readonly endsProcess: boolean
}

export interface ExplicitHandle extends CommonHandle {
  readonly mode: 'explicit'
  /** Stands in each segment, see arena.ts. */
  readonly heapId: readonly number[]
  /** Bytes of all segments together, and of one at most. */
  readonly size: number
  readonly segmentMax: number
}

/** For `attachHeap` on another thread of the same process. */
export type HeapHandle = LiveHandle | ExplicitHandle

/** What the heaps of several threads have in common, as one of them sees it. */
export interface HeapSharing {
  /** The engine is that of another heap, which goes on when this one is closed. */
  readonly isAttached: boolean
  /** A number for an array that no other has. */
  nextId(): number
  /** A call that maps an array was sent. From now on other threads may get the array. */
  mapSent(): void
  /** For other threads. Throws a HeapError NOT_IN_MODE where none can join. */
  handle(): HeapHandle
}
