// Heaps of other threads join the engine of a heap. They announce themselves in a place that they know from its handle, and have a
// channel of their own from then on.
//
//   attaching thread ── { join: 3 } ──> channel of the heap
//                    <── { joined } ─── channel of client 3 ──> calls, answers and news
//
// When one frees an array of another, the one who has allocated it is told: the room is his.

import type { EnginePort } from './protocol.ts'
import { type Channel, type EngineNews, serveCalls } from './remote-port.ts'

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
  readonly channel: Channel
  readonly take: (message: unknown) => void
}

export class ClientHub {
  readonly #calls: EnginePort
  readonly #open: (name: string) => Channel
  readonly #clients = new Map<number, Client>()
  /** Who has allocated an array. */
  readonly #owners = new Map<number, number>()
  readonly #name: string
  readonly #door: Channel

  /** `first` is the channel of the heap that has opened the engine; `open` opens others by their names. */
  constructor(calls: EnginePort, name: string, first: Channel, open: (name: string) => Channel) {
    this.#calls = calls
    this.#open = open
    this.#name = name
    this.#add(FIRST_CLIENT, first)
    this.#door = open(name)
    this.#door.listen((message) => this.#letIn(message))
  }

  /** Begins the calls that have come and were not looked at. */
  takeCalls(): void {
    takeAll(this.#door, (message) => this.#letIn(message))
    for (const { channel, take } of this.#clients.values()) takeAll(channel, take)
  }

  /** Nobody can join any more, nor is heard. */
  close(): void {
    this.#door.close()
    for (const { channel } of this.#clients.values()) channel.close()
    this.#clients.clear()
  }

  #letIn(message: unknown): void {
    const { join } = message as JoinMessage
    const channel = this.#open(clientChannelName(this.#name, join))
    this.#add(join, channel)
    channel.send({ joined: true } satisfies EngineNews)
  }

  #add(client: number, channel: Channel): void {
    const calls: EnginePort = {
      call: (call, args, reply) => {
        if (call === 'map') this.#owners.set((args as { id: number }).id, client)
        this.#calls.call(call, args, (answer) => {
          reply(answer)
          if (!answer.ok) return
          if (call === 'unmap') this.#owners.delete((args as { id: number }).id)
          else if (call === 'unmapAt') this.#tellOwner((answer.answer as { id: number }).id)
          else if (call === 'detach') this.#remove(client)
        })
      },
    }
    this.#clients.set(client, { channel, take: serveCalls(calls, channel) })
  }

  #tellOwner(id: number): void {
    const owner = this.#owners.get(id)
    this.#owners.delete(id)
    if (owner !== undefined) this.#clients.get(owner)?.channel.send({ freed: { id } } satisfies EngineNews)
  }

  #remove(client: number): void {
    this.#clients.get(client)?.channel.close()
    this.#clients.delete(client)
  }
}

function takeAll(channel: Channel, take: (message: unknown) => void): void {
  for (let next = channel.receive(); next !== undefined; next = channel.receive()) take(next.message)
}
