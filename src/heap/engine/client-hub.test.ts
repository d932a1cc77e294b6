// Who joins an engine, and in which order the calls of several heaps begin.

import { beforeEach, describe, expect, it } from 'vitest'
import { ClientHub, clientChannelName, type Executor, FIRST_CLIENT } from './client-hub.ts'
import type { EnginePort, NewArray } from './protocol.ts'
import type { Channel, EngineNews } from './remote-port.ts'
import { MAPS_SENT, makeWords } from './words.ts'

/** Channels by name; messages stay until they are delivered. */
class Network {
  readonly #takers = new Map<string, (message: unknown) => void>()
  readonly #queues = new Map<string, unknown[]>()
  /** What was sent through a channel. */
  readonly sent = new Map<string, unknown[]>()

  readonly open = (name: string): Channel => ({
    send: (message) => void this.sent.set(name, [...(this.sent.get(name) ?? []), message]),
    listen: (take) => void this.#takers.set(name, take),
    receive: () => {
      const message = this.#queues.get(name)?.shift()
      return message === undefined ? undefined : { message }
    },
    keepAlive: () => {},
    close: () => void this.#takers.delete(name),
  })

  /** Something comes, and waits for the loop. */
  post(name: string, message: unknown): void {
    this.#queues.set(name, [...(this.#queues.get(name) ?? []), message])
  }

  /** The loop brings what has come. */
  deliver(name: string): void {
    for (const message of this.#queues.get(name)?.splice(0) ?? []) this.#takers.get(name)?.(message)
  }

  isOpen(name: string): boolean {
    return this.#takers.has(name)
  }
}

const HEAP = 'heap'

let network: Network
let hub: ClientHub
let words: Int32Array
let begun: string[]
let news: EngineNews[]
let here: EnginePort

/** Answers at once. `unmapAt` frees the array of its argument, or array 1. */
const engine: EnginePort = {
  call(call, args, reply) {
    begun.push(call === 'map' ? `map ${(args as NewArray).id}` : call)
    const answers: Record<string, unknown> = { unmapAt: { id: 1, ...args }, hold: { hold: 5 } }
    reply({ ok: true, answer: (answers[call] ?? null) as never })
  },
}

/** Threads that have ended, and what the hub says of what they leave. */
let gone: Set<string>
let left: string[]
const executor: Executor = {
  isGone: (thread) => gone.has(thread),
  left: (client, arrays) => void left.push(`${client}: ${arrays.map(({ id }) => id).join(' ')}`),
  freed: ({ id }) => void left.push(`freed ${id}`),
}

/** A heap on another thread sends a call, and says so where it maps. */
function send(client: number, call: string, args: unknown = {}): void {
  network.post(clientChannelName(HEAP, client), { id: 7, call, args })
  if (call === 'map') Atomics.add(words, MAPS_SENT, 1)
}

beforeEach(() => {
  network = new Network()
  words = makeWords(true)
  begun = []
  news = []
  gone = new Set()
  left = []
  hub = new ClientHub(engine, HEAP, words, network.open, executor)
  here = hub.addHere(FIRST_CLIENT, (each) => news.push(each))
  hub.listen()
  for (const join of [2, 3]) network.post(HEAP, { join, thread: null })
  network.deliver(HEAP)
})

describe('ClientHub', () => {
  it('answers those who join, each on a channel of its own', () => {
    expect(network.sent.get(clientChannelName(HEAP, 2))).toEqual([{ joined: true }])
    send(2, 'stats')
    network.deliver(clientChannelName(HEAP, 2))
    expect(begun).toEqual(['stats'])
    expect(network.sent.get(clientChannelName(HEAP, 2))?.at(-1)).toEqual({ id: 7, reply: { ok: true, answer: null } })
  })

  it('a call waits for maps that were sent before it came, and those behind it wait for it', () => {
    send(2, 'map', { id: 5 })
    send(3, 'sync')
    send(3, 'map', { id: 6 })
    send(3, 'discard')
    network.deliver(clientChannelName(HEAP, 3))
    // Maps wait for nobody.
    expect(begun).toEqual(['map 6'])
    network.deliver(clientChannelName(HEAP, 2))
    expect(begun).toEqual(['map 6', 'map 5', 'sync', 'discard'])
  })

  it('the heap on this thread waits for those of others too', () => {
    send(2, 'map', { id: 5 })
    here.call('stats', {}, () => {})
    expect(begun).toEqual([])
    network.deliver(clientChannelName(HEAP, 2))
    expect(begun).toEqual(['map 5', 'stats'])
  })

  it('takeCalls() begins what has come, also of somebody who has just joined', () => {
    network.post(HEAP, { join: 4, thread: null })
    send(4, 'map', { id: 8 })
    send(2, 'map', { id: 9 })
    hub.takeCalls()
    expect(begun.sort()).toEqual(['map 8', 'map 9'])
  })

  it('tells whoever has allocated an array that somebody else has freed it', () => {
    here.call('map', { id: 1 } as NewArray, () => {})
    Atomics.add(words, MAPS_SENT, 1)
    send(2, 'unmapAt')
    network.deliver(clientChannelName(HEAP, 2))
    expect(news).toEqual([{ freed: { id: 1 } }])
    // The room is his; a second time there is nobody to tell.
    send(3, 'unmapAt')
    network.deliver(clientChannelName(HEAP, 3))
    expect(news).toHaveLength(1)
  })

  it('looks after what those who go leave: what they hold, and their arrays', () => {
    network.post(HEAP, { join: 4, thread: 'T4' })
    network.deliver(HEAP)
    send(4, 'map', { id: 8, addr: 4096 })
    send(4, 'map', { id: 9, addr: 8192 })
    send(4, 'hold')
    network.deliver(clientChannelName(HEAP, 4))
    hub.sweep()
    expect(left).toEqual([])
    send(4, 'unmap', { id: 9 })
    gone.add('T4')
    // What it said before it went is heard.
    hub.sweep()
    hub.sweep()
    expect(begun).toEqual(['map 8', 'map 9', 'hold', 'unmap', 'release'])
    expect([left, network.isOpen(clientChannelName(HEAP, 4))]).toEqual([['4: 8'], false])
    send(2, 'unmapAt', { id: 8 })
    network.deliver(clientChannelName(HEAP, 2))
    expect(left).toEqual(['4: 8', 'freed 8', '4: '])
  })

  it('forgets those who go', () => {
    send(2, 'map', { id: 1 })
    send(2, 'detach')
    network.deliver(clientChannelName(HEAP, 2))
    expect(network.isOpen(clientChannelName(HEAP, 2))).toBe(false)
    send(3, 'unmapAt')
    network.deliver(clientChannelName(HEAP, 3))
    expect(network.sent.get(clientChannelName(HEAP, 2))).toHaveLength(3)
    hub.close()
    expect([network.isOpen(HEAP), network.isOpen(clientChannelName(HEAP, 3))]).toEqual([false, false])
  })
})
