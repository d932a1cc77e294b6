// The way to an engine for a thread that cannot be sure that it lives, nor wait for it in the usual way.

import type { EngineCall, EngineCalls, Reply } from './protocol.ts'
import { type Channel, type EngineNews, RemotePort } from './remote-port.ts'
import { ENGINE_CLOSED, ENGINE_DIED, ENGINE_LIVES, STATE, STRAYS } from './words.ts'

/** Milliseconds that a fence may take: as long as the engine has to do with other things. */
const FENCE_MAX_MS = 10_000

/** A port that says no as soon as the engine is dead, also before this thread has been told. */
export class LivingPort extends RemotePort {
  readonly words: Int32Array

  /** `words` are those of words.ts. */
  constructor(channel: Channel, words: Int32Array, onNews: (news: EngineNews) => void) {
    super(channel, onNews)
    this.words = words
  }

  override call<C extends EngineCall>(call: C, args: EngineCalls[C]['args'], reply: (reply: Reply<C>) => void): void {
    this.look()
    super.call(call, args, reply)
    // A program that has touched what was freed must not find in a new array what it left there.
    if (call === 'map' && Atomics.load(this.words, STRAYS) > 0) this.#fence()
  }

  /** Refuses all calls, also those that wait, if the engine is gone. */
  look(): void {
    const state = Atomics.load(this.words, STATE)
    if (state === ENGINE_DIED) this.fail({ code: 'ENGINE_DIED', message: 'the engine of the heap is gone' })
    if (state === ENGINE_CLOSED) this.fail({ code: 'CLOSED', message: 'the heap was closed' })
  }

  /** Returns when the engine has begun the calls before. It only stores, so it is looked after. */
  #fence(): void {
    const word = new Int32Array(new SharedArrayBuffer(4))
    super.call('fence', { word }, () => {})
    for (let ms = 0; ms < FENCE_MAX_MS && Atomics.load(word, 0) === 0; ms++) {
      if (Atomics.load(this.words, STATE) !== ENGINE_LIVES) return
      Atomics.wait(word, 0, 0, 1)
    }
  }
}
