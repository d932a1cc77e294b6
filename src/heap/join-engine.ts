// Joins the engine of another thread's heap, with what its handle says (engine/client-hub.ts).

import { clientChannelName, FIRST_CLIENT, type JoinMessage } from './engine/client-hub.ts'
import { LivingPort } from './engine/living-port.ts'
import type { Channel, EngineNews } from './engine/remote-port.ts'
import { ENGINE_LIVES, LAST_CLIENT, STATE } from './engine/words.ts'
import { HeapError } from './heap-error.ts'
import type { HeapHandle } from './heap-handle.ts'

/** How often a thread that waits looks whether the engine lives, as nobody tells it. */
const LOOK_MS = 100

export interface Joined {
  /** Number of this heap. */
  readonly client: number
  readonly port: LivingPort
}

/** Rejects with a HeapError CLOSED if the heap was closed. `open` opens channels by their names; `thread` is this one's. */
export async function joinEngine(
  { channel: name, words }: HeapHandle,
  open: (name: string) => Channel,
  onNews: (news: EngineNews) => void,
  thread: string | null = null,
): Promise<Joined> {
  const client = Atomics.add(words, LAST_CLIENT, 1) + 1 + FIRST_CLIENT
  const channel = watched(open(clientChannelName(name, client)), () => port.look())
  let joined: () => void = () => {}
  const joining = new Promise<void>((resolve) => {
    joined = resolve
  })
  const port = new LivingPort(channel, words, (news) => {
    if (news.joined === true) joined()
    else onNews(news)
  })
  const timer = setInterval(() => {
    if (Atomics.load(words, STATE) !== ENGINE_LIVES) joined()
  }, LOOK_MS)
  const door = open(name)
  door.send({ join: client, thread } satisfies JoinMessage)
  await joining
  clearInterval(timer)
  door.close()
  if (Atomics.load(words, STATE) === ENGINE_LIVES) return { client, port }
  channel.close()
  throw new HeapError('CLOSED', 'the heap of the handle was closed')
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
