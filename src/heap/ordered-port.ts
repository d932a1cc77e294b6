// The way to the engine, with the possibility to wait on the way: what is sent while somebody waits is sent afterwards, in order.
// A launch whose size the heap says needs it: it begins before whatever the program asked for after it.

import type { EngineCall, EngineCalls, EnginePort, Reply } from './engine/protocol.ts'

/** Calls that have no order with launches: memory and kernels are there as soon as the program has them. */
const AT_ONCE: ReadonlySet<EngineCall> = new Set(['segment', 'map', 'fence', 'program'])

export class OrderedPort implements EnginePort {
  readonly #port: EnginePort
  /** What is sent when nobody waits any more; null if nobody does. */
  #later: (() => void)[] | null = null

  constructor(port: EnginePort) {
    this.#port = port
  }

  call<C extends EngineCall>(call: C, args: EngineCalls[C]['args'], reply: (reply: Reply<C>) => void): void {
    if (this.#later === null || AT_ONCE.has(call)) this.#port.call(call, args, reply)
    else this.#later.push(() => this.#port.call(call, args, reply))
  }

  /**
   * Runs `work`, which sends by the port that it is given; everything else waits until it has ended. Of several, one after the
   * other. Settles like `work`.
   */
  before<T>(work: (port: EnginePort) => Promise<T>): Promise<T> {
    if (this.#later !== null) {
      // It is one of those that wait. What comes after it waits for it in turn.
      return new Promise((resolve, reject) => {
        this.#later?.push(() => this.before(work).then(resolve, reject))
      })
    }
    const later: (() => void)[] = []
    this.#later = later
    const result = work(this.#port)
    const go = (): void => {
      this.#later = null
      while (later.length > 0 && this.#later === null) later.shift()!()
      // One of those that waited makes the rest wait again.
      const again = this.#later as (() => void)[] | null
      if (again !== null) again.push(...later)
    }
    void result.then(go, go)
    return result
  }
}
