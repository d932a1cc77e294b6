// The heaps of several threads with one engine. The first has opened it; the others announce themselves in a place that they know
// from a handle, and have a channel of their own from then on.
//
//   attaching thread ── { join: 3 } ──> channel of the heap
//                    <── { joined } ─── channel of client 3 ──> calls, answers and news
//
// What comes through one channel is in order, what comes through two is not. A call may be about an array of another thread, and
// overtake the one that maps it: so it waits until every map that was sent before it came has begun. Maps wait for nobody.
//
// When a heap frees an array of another one, that one is told: the room is his. Of those who are gone, closed or not, somebody else has to
// give the room back.

import type { EnginePort, NewArray } from './protocol.ts'
import { type Channel, type EngineNews, serveCalls } from './remote-port.ts'
import { MAPS_SENT } from './words.ts'

/** Announces a client. */
export interface JoinMessage {
  readonly join: number
  /** Where the system shows the thread; null where it does not. */
  readonly thread: string | null
}

/** Looks after the room of heaps that are gone. */
export interface Executor {
  /** Whether a thread has ended, as `JoinMessage` names it. */
  isGone(thread: string): boolean
  /** A client is gone, or one of his arrays is: these are left. */
  left(client: number, arrays: readonly NewArray[]): void
  /** Somebody has freed an array of a client who is gone. */
  freed(array: NewArray): void
}

/** Name of the channel of a client. */
export function clientChannelName(heap: string, client: number): string {
  return `${heap} ${client}`
}

/** The heap that has opened the engine. */
export const FIRST_CLIENT = 1

interface Client {
  /** Null for one on this thread. */
  readonly channel: Channel | null
  readonly thread: string | null
  /** What it holds. */
  readonly holds: Set<number>
  tell(news: EngineNews): void
  /** Begins the calls that have come and were not looked at. */
  takeCalls(): void
}

/** A call that waits for maps. */
interface Waiting {
  readonly nmaps: number
  readonly begin: () => void
}

export class ClientHub {
  readonly #calls: EnginePort
  readonly #name: string
  readonly #open: (name: string) => Channel
  readonly #clients = new Map<number, Client>()
  /** Arrays, and who has allocated them, by number of the array. */
  readonly #arrays = new Map<number, { readonly client: number; readonly array: NewArray }>()
  readonly #executor: Executor | null
  readonly #words: Int32Array
  /** Maps that have begun. */
  #nmaps = 0
  /** In the order in which they came, of each client. */
  readonly #waiting = new Map<number, Waiting[]>()
  #door: Channel | null = null

  /** `open` opens channels by their names; that of the heap is `name`. `words` are those of words.ts. */
  constructor(
    calls: EnginePort,
    name: string,
    words: Int32Array,
    open: (name: string) => Channel,
    executor: Executor | null = null,
  ) {
    this.#executor = executor
    this.#calls = calls
    this.#words = words
    this.#name = name
    this.#open = open
  }

  /** Whoever wants to join may do so from now on. */
  listen(): void {
    if (this.#door !== null) return
    this.#door = this.#open(this.#name)
    this.#door.listen((message) => this.#letIn(message))
  }

  /** Adds a heap on this thread. Returns its way to the engine. */
  addHere(client: number, onNews: (news: EngineNews) => void): EnginePort {
    this.#clients.set(client, { channel: null, thread: null, holds: new Set(), tell: onNews, takeCalls: () => {} })
    return this.#callsOf(client)
  }

  /** Adds one on another thread. */
  add(client: number, channel: Channel, thread: string | null = null): void {
    const take = serveCalls(this.#callsOf(client), channel)
    const tell = (news: EngineNews): void => channel.send(news)
    this.#clients.set(client, { channel, thread, holds: new Set(), tell, takeCalls: () => takeAll(channel, take) })
  }

  /** Looks whether threads have ended without closing their heaps. */
  sweep(): void {
    for (const client of [...this.#clients.keys()]) this.#find(client)
  }

  /** Begins the calls that have come and were not looked at. */
  takeCalls(): void {
    if (this.#door !== null) takeAll(this.#door, (message) => this.#letIn(message))
    for (const { takeCalls } of this.#clients.values()) takeCalls()
  }

  /** Nobody can join any more, nor is heard. */
  close(): void {
    this.#door?.close()
    for (const { channel } of this.#clients.values()) channel?.close()
    this.#clients.clear()
  }

  #letIn(message: unknown): void {
    const { join, thread } = message as JoinMessage
    const channel = this.#open(clientChannelName(this.#name, join))
    this.add(join, channel, thread)
    channel.send({ joined: true } satisfies EngineNews)
  }

  #callsOf(client: number): EnginePort {
    return {
      call: (call, args, reply) => {
        const begin = (): void => {
          this.#calls.call(call, args, (answer) => {
            reply(answer)
            if (!answer.ok) return
            if (call === 'unmap') this.#unmapped((args as { id: number }).id)
            else if (call === 'unmapAt') this.#freedByOthers((answer.answer as { id: number }).id)
            else if (call === 'hold') this.#held(client, (answer.answer as { hold: number }).hold)
            else if (call === 'release') this.#clients.get(client)?.holds.delete((args as { hold: number }).hold)
            else if (call === 'detach') this.#remove(client)
          })
        }
        if (call === 'map') {
          const array = args as NewArray
          this.#arrays.set(array.id, { client, array })
          begin()
          this.#nmaps++
          this.#beginWaiting()
        } else if (call === 'segment' || call === 'fence') begin()
        else this.#beginInTurn(client, begin)
      },
    }
  }

  #beginInTurn(client: number, begin: () => void): void {
    const nmaps = Atomics.load(this.#words, MAPS_SENT)
    const waiting = this.#waiting.get(client)
    if (waiting !== undefined) waiting.push({ nmaps, begin })
    else if (this.#nmaps < nmaps) this.#waiting.set(client, [{ nmaps, begin }])
    else begin()
  }

  #beginWaiting(): void {
    for (const [client, waiting] of this.#waiting) {
      while (waiting.length > 0 && waiting[0].nmaps <= this.#nmaps) waiting.shift()?.begin()
      if (waiting.length === 0) this.#waiting.delete(client)
    }
  }

  #freedByOthers(id: number): void {
    const found = this.#arrays.get(id)
    if (found === undefined) return
    const owner = this.#find(found.client)
    if (owner !== undefined) owner.tell({ freed: { id } })
    else this.#executor?.freed(found.array)
    this.#unmapped(id)
  }

  #unmapped(id: number): void {
    const found = this.#arrays.get(id)
    this.#arrays.delete(id)
    if (found !== undefined && !this.#clients.has(found.client)) this.#leave(found.client)
  }

  /** A client, unless its thread has ended. */
  #find(client: number): Client | undefined {
    const found = this.#clients.get(client)
    const thread = found?.thread ?? null
    if (found === undefined || thread === null || this.#executor?.isGone(thread) !== true) return found
    // What it said before.
    found.takeCalls()
    this.#remove(client)
    return undefined
  }

  #held(client: number, hold: number): void {
    const holder = this.#clients.get(client)
    if (holder !== undefined) holder.holds.add(hold)
    else this.#calls.call('release', { hold }, () => {})
  }

  /** Its heap was closed, or its thread has ended. */
  #remove(client: number): void {
    const gone = this.#clients.get(client)
    if (gone === undefined) return
    gone.channel?.close()
    this.#clients.delete(client)
    for (const hold of gone.holds) this.#calls.call('release', { hold }, () => {})
    this.#leave(client)
  }

  #leave(client: number): void {
    const left = [...this.#arrays.values()].filter((each) => each.client === client)
    this.#executor?.left(
      client,
      left.map(({ array }) => array),
    )
  }
}

function takeAll(channel: Channel, take: (message: unknown) => void): void {
  for (let next = channel.receive(); next !== undefined; next = channel.receive()) take(next.message)
}
