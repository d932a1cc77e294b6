// The heap of another thread, on this one. It has an arena of its own, in extents that nobody else allocates in, so `alloc` is as
// quick as ever; everything else is between it and the engine.

import { loadKernel } from '../../mmu/userfaultfd/ffi.ts'
import { clientChannelName, FIRST_CLIENT, type JoinMessage } from '../engine/client-hub.ts'
import type { Channel, EngineNews } from '../engine/remote-port.ts'
import type { FileOpener } from '../files.ts'
import { Heap } from '../heap.ts'
import { HeapError } from '../heap-error.ts'
import type { HeapHandle } from '../heap-handle.ts'
import type { AttachSettings } from '../heap-options.ts'
import { registerPort } from '../open-heap.ts'
import { groupChannel } from './channels.ts'
import { ENGINE_LIVES, LAST_CLIENT, STATE } from './life.ts'
import { LiveSharing, makeArena } from './live-sharing.ts'
import { LivingPort } from './living-port.ts'
import { LimitedRoom } from './room.ts'

/** How often a thread that waits looks whether the engine lives, as nobody tells it. */
const LOOK_MS = 100

/** Rejects with a HeapError CLOSED or ENGINE_DIED. */
export async function attachLive(
  handle: HeapHandle,
  { onNotice, unfreed }: AttachSettings,
  openFile: FileOpener,
): Promise<Heap> {
  const { mode, words, channel: name, memory, swapFd } = handle
  const kernel = await loadKernel()
  const client = Atomics.add(words, LAST_CLIENT, 1) + 1 + FIRST_CLIENT
  const channel = watched(groupChannel(clientChannelName(name, client)), () => port.look())
  let joined: () => void = () => {}
  const joining = new Promise<void>((resolve) => {
    joined = resolve
  })
  const port = new LivingPort(channel, words, (news: EngineNews) => {
    if (news.joined === true) joined()
    if (news.freed !== undefined) heap.freedByOthers(news.freed.id)
  })
  const timer = setInterval(() => {
    if (Atomics.load(words, STATE) !== ENGINE_LIVES) joined()
  }, LOOK_MS)
  const door = groupChannel(name)
  door.send({ join: client } satisfies JoinMessage)
  await joining
  clearInterval(timer)
  door.close()
  if (Atomics.load(words, STATE) !== ENGINE_LIVES) {
    channel.close()
    throw new HeapError('CLOSED', 'the heap of the handle was closed')
  }
  const heap = new Heap({
    mode,
    arena: makeArena(kernel, handle, client),
    port,
    room: LimitedRoom.attach(kernel, memory, words, swapFd),
    openFile,
    unfreed,
    onNotice,
    sharing: new LiveSharing(handle, { isAttached: true }),
    whenGone: async () => port.fail({ code: 'CLOSED', message: 'the heap was closed' }),
  })
  registerPort(heap, port)
  return heap
}

/** A channel whose user looks now and then while it waits for an answer. */
function watched(channel: Channel, look: () => void): Channel {
  let timer: ReturnType<typeof setInterval> | undefined
  return {
    ...channel,
    keepAlive(wanted) {
      clearInterval(timer)
      if (wanted) timer = setInterval(look, LOOK_MS)
      channel.keepAlive(wanted)
    },
  }
}
