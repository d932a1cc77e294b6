// The way to an engine on another thread: calls and answers as messages. Messages of one channel arrive in the order in which
// they were sent, so calls begin in their order too.
//
//   RemotePort ── { id, call, args } ──> serveCalls ──> Engine.call
//       └──────── { id, reply } <───────────┘

import type { TraceEvent } from '../../trace/events.ts'
import type { EngineCall, EngineCalls, EnginePort, Failure, Reply } from './protocol.ts'

/** One end of a pair, or of a group, that messages go between. */
export interface Channel {
  send(message: unknown): void
  /** Calls `take` with each message that comes. */
  listen(take: (message: unknown) => void): void
  /** The next message that has come and was not taken yet. */
  receive(): { readonly message: unknown } | undefined
  /** Calls `then` when the other end is gone. */
  onClose?(then: () => void): void
  /** Whether the thread is kept alive to hear more. It is not, to begin with. */
  keepAlive(wanted: boolean): void
  close(): void
}

interface CallMessage {
  readonly id: number
  readonly call: EngineCall
  readonly args: EngineCalls[EngineCall]['args']
}

/** What an engine says without being asked. */
export interface EngineNews {
  /** Memory of an array that this heap allocated is free, because somebody else freed the array. */
  readonly freed?: { readonly id: number }
  readonly events?: readonly TraceEvent[]
  /** A heap that wanted to join has joined. */
  readonly joined?: true
}

type ReplyMessage = { readonly id: number; readonly reply: Reply<EngineCall> }

export class RemotePort implements EnginePort {
  readonly #channel: Channel
  readonly #replies = new Map<number, (reply: Reply<EngineCall>) => void>()
  readonly #onNews: (news: EngineNews) => void
  #lastId = 0
  #failure: Failure | null = null

  constructor(channel: Channel, onNews: (news: EngineNews) => void) {
    this.#channel = channel
    this.#onNews = onNews
    channel.listen((message) => this.#take(message as ReplyMessage | EngineNews))
  }

  call<C extends EngineCall>(call: C, args: EngineCalls[C]['args'], reply: (reply: Reply<C>) => void): void {
    if (this.#failure !== null) {
      reply({ ok: false, failure: this.#failure })
      return
    }
    const id = ++this.#lastId
    // Whoever waits for an answer keeps the program alive; a heap that nobody waits for does not.
    if (this.#replies.size === 0) this.#channel.keepAlive(true)
    this.#replies.set(id, reply as (reply: Reply<EngineCall>) => void)
    this.#channel.send({ id, call, args } satisfies CallMessage)
  }

  /** The engine is gone: everything that waits, and all that comes, is refused. */
  fail(failure: Failure): void {
    if (this.#failure !== null) return
    // What it said before it went.
    for (let next = this.#channel.receive(); next !== undefined; next = this.#channel.receive()) {
      this.#take(next.message as ReplyMessage | EngineNews)
    }
    this.#failure = failure
    const replies = [...this.#replies.values()]
    this.#replies.clear()
    this.#channel.keepAlive(false)
    this.#channel.close()
    for (const reply of replies) reply({ ok: false, failure })
  }

  #take(message: ReplyMessage | EngineNews): void {
    if (!('id' in message)) {
      this.#onNews(message)
      return
    }
    const reply = this.#replies.get(message.id)
    this.#replies.delete(message.id)
    if (this.#replies.size === 0) this.#channel.keepAlive(false)
    reply?.(message.reply)
  }
}

/** Begins each call that comes through a channel. Returns what takes a message, for those that are received by hand. */
export function serveCalls(engine: EnginePort, channel: Channel): (message: unknown) => void {
  const take = (message: unknown): void => {
    const { id, call, args } = message as CallMessage
    engine.call(call, args, (reply) => channel.send({ id, reply } satisfies ReplyMessage))
  }
  channel.listen(take)
  return take
}
