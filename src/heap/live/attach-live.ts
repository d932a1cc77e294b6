// The live heap of another thread, on this one. It has an arena of its own, in extents that nobody else allocates in, so `alloc` is
// as quick as ever; everything else is between it and the engine.

import { loadKernel } from '../../mmu/userfaultfd/ffi.ts'
import type { EngineNews } from '../engine/remote-port.ts'
import { ENGINE_DIED, STATE } from '../engine/words.ts'
import type { FileOpener } from '../files.ts'
import { Heap } from '../heap.ts'
import { registerPort } from '../heap-engines.ts'
import type { LiveHandle } from '../heap-handle.ts'
import type { AttachSettings } from '../heap-options.ts'
import { joinEngine } from '../join-engine.ts'
import { groupChannel } from './channels.ts'
import { thisThread, watchEngine } from './engine-watch.ts'
import { endProcess } from './life.ts'
import { LiveSharing, makeArena } from './live-sharing.ts'
import { LimitedRoom } from './room.ts'

/** Rejects with a HeapError CLOSED if the heap was closed. */
export async function attachLive(
  handle: LiveHandle,
  { onNotice, unfreed }: AttachSettings,
  openFile: FileOpener,
): Promise<Heap> {
  const { mode, words, memory, swapFd, thread, endsProcess } = handle
  const kernel = await loadKernel()
  let isJoined = false
  const stopWatching = watchEngine(thread, words, () => {
    stopWatching()
    Atomics.store(words, STATE, ENGINE_DIED)
    if (isJoined && endsProcess) endProcess(kernel, 'a live heap cannot go on, as the thread that had opened it ended')
  })
  try {
    const onNews = ({ freed }: EngineNews): void => {
      if (freed !== undefined) heap.freedByOthers(freed.id)
    }
    const { client, port } = await joinEngine(handle, groupChannel, onNews, thisThread())
    isJoined = true
    const heap = new Heap({
      mode,
      arena: makeArena(kernel, handle, client),
      port,
      room: LimitedRoom.attach(kernel, memory, words, swapFd),
      openFile,
      unfreed,
      onNotice,
      sharing: new LiveSharing(handle, { isAttached: true }),
      whenGone: async () => {
        stopWatching()
        port.fail({ code: 'CLOSED', message: 'the heap was closed' })
      },
    })
    registerPort(heap, port)
    return heap
  } catch (error) {
    stopWatching()
    throw error
  }
}
