// How the heap of one thread is found by others: a handle is plain data, which goes wherever messages go, and attachHeap() makes
// a heap of it there.

import type { HeapMode } from './heap-options.ts'
import type { MemorySettings } from './memory-options.ts'

/** For `attachHeap` on another thread of the same process. */
export interface HeapHandle {
  readonly kind: 'hetmem heap'
  readonly mode: HeapMode
  /** Where threads join: the name of a BroadcastChannel. */
  readonly channel: string
  readonly buffers: readonly SharedArrayBuffer[]
  /** See extents.ts. */
  readonly owners: Int32Array<SharedArrayBuffer>
  readonly extentPages: number
  /** See live/life.ts. */
  readonly words: Int32Array<SharedArrayBuffer>
  /** What bounds the room for arrays. */
  readonly memory: MemorySettings
  /** The swap file, -1 for none. */
  readonly swapFd: number
}

/** What the heaps of several threads have in common, as one of them sees it. */
export interface HeapSharing {
  /** The engine is that of another heap, which goes on when this one is closed. */
  readonly isAttached: boolean
  /** A number for an array that no other has. */
  nextId(): number
  /** For other threads. Throws a HeapError NOT_IN_MODE where none can join. */
  handle(): HeapHandle
}
