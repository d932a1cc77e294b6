// The heaps of several threads with one engine. The first has opened it; the others announce themselves in a place that they know
// from a handle, and have a channel of their own from then on.
//
//   attaching thread ── { join: 3 } ──> channel of the heap
//                    <── { joined } ─── channel of client 3 ──> calls, answers and news
//
// What comes through one channel is in order, what comes through two is not. A call may be about an array of another thread, and
// overtake the one that maps it: so it waits until every map that was sent before it came has begun. Maps wait for nobody.
//
// When a heap frees an array of another one, that one is told: the room is his.

import type { EnginePort } from './protocol.ts'
import { type Channel, type EngineNews, serveCalls } from './remote-port.ts'
import { MAPS_SENT } from './words.ts'

/** Announces a client. */
export interface JoinMessage {
  readonly join: number
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
  /** Who has allocated an array. */
  readonly #owners = new Map<number, number>()
  readonly #words: Int32Array
  /** Maps that have begun. */
  #nmaps = 0
  /** In the order in which they came, of each client. */
  readonly #waiting = new Map<number, Waiting[]>()
  #door: Channel | null = null

  /** `open` opens channels by their names; that of the heap is `name`. `words` are those of words.ts. */
  constructor(calls: EnginePort, name: string, words: Int32Array, open: (name: string) => Channel) {
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
    this.#clients.set(client, { channel: null, tell: onNews, takeCalls: () => {} })
    return this.#callsOf(client)
  }

  /** Adds one on another thread. */
  add(client: number, channel: Channel): void {
    const take = serveCalls(this.#callsOf(client), channel)
    this.#clients.set(client, { channel, tell: (news) => channel.send(news), takeCalls: () => takeAll(channel, take) })
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
    const { join } = message as JoinMessage
    const channel = this.#open(clientChannelName(this.#name, join))
    this.add(join, channel)
    channel.send({ joined: true } satisfies EngineNews)
  }

  #callsOf(client: number): EnginePort {
    return {
      call: (call, args, reply) => {
        const begin = (): void => {
          this.#calls.call(call, args, (answer) => {
            reply(answer)
            if (!answer.ok) return
            if (call === 'unmap') this.#owners.delete((args as { id: number }).id)
            else if (call === 'unmapAt') this.#tellOwner((answer.answer as { id: number }).id)
            else if (call === 'detach') this.#remove(client)
          })
        }
        if (call === 'map') {
          this.#owners.set((args as { id: number }).id, client)
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

  #tellOwner(id: number): void {
    const owner = this.#owners.get(id)
    this.#owners.delete(id)
    if (owner !== undefined) this.#clients.get(owner)?.tell({ freed: { id } })
  }

  #remove(client: number): void {
    this.#clients.get(client)?.channel?.close()
    this.#clients.delete(client)
  }
}

function takeAll(channel: Channel, take: (message: unknown) => void): void {
  for (let next = channel.receive(); next !== undefined; next = channel.receive()) take(next.message)
}
